package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"srs/rtmp"
)

// TestHK01: a refused connection refuses within a second; what is told waits
// until there is somebody.
func TestHK01(t *testing.T) {
	t.Parallel()
	down, free := reserve(t)
	s := startServer(t, defaultVhost(block("http_hooks", "enabled on;", "on_play http://"+down+"/;", "on_unpublish http://"+down+"/;")),
		vhost("publish", block("http_hooks", "enabled on;", "on_publish http://"+down+"/;")))
	code, took := play(t, s, "a", "s")
	if code != rtmp.CodePlayFailed || took > time.Second {
		t.Errorf("%s after %v", code, took)
	}
	s.waitLog(t, "on_play refused.*reason=hook.refused")
	c := dial(t, s).shake(t)
	c.connect(t, "rtmp://publish/live", "live")
	begun := time.Now()
	if code := c.status(t, cmdPublish("s")); code != rtmp.CodePublishDenied || time.Since(begun) > time.Second {
		t.Errorf("%s after %v", code, time.Since(begun))
	}
	s.waitLog(t, "on_publish refused.*reason=hook.refused")
	publishWith(t, s.url("live/s-1")).Close()
	s.waitLog(t, "on_unpublish failed, to be repeated")
	free()
	b := openBooks(t, down)
	eventually(t, 8*time.Second, "the notice", func() bool { return b.heard() == 1 })
}

// TestHK03: headers and body at a few bytes a second are no answer in time.
func TestHK03(t *testing.T) {
	t.Parallel()
	answers{
		{"header", "hook.timeout", drips("HTTP/1.1 200 OK\r\nX: ")},
		{"body", "hook.timeout", drips(ok + "Content-Length: 1000\r\n\r\n")},
		{"chunks", "hook.timeout", drips(ok + "Transfer-Encoding: chunked\r\n\r\n1")},
	}.refuse(t)
}

// TestHK04: answers that break off; a notice is repeated.
func TestHK04(t *testing.T) {
	t.Parallel()
	answers{
		{"reset at the first byte", "hook.bad_response", nil},
		{"reset once asked", "hook.bad_response", resets("")},
		{"reset in the header", "hook.bad_response", resets("HTTP/1.1 20")},
		{"reset in the body", "hook.bad_response", resets(ok + "Content-Length: 10\r\n\r\n0")},
		{"closed without a byte", "hook.bad_response", says("")},
		{"short body", "hook.bad_response", says(ok + "Content-Length: 10\r\n\r\n0")},
		{"short chunk", "hook.bad_response", says(ok + "Transfer-Encoding: chunked\r\n\r\n1\r\n0")},
		{"no HTTP", "hook.bad_response", says("220 mail.example ESMTP\r\n\r\n")},
		{"a body up to the end of the connection", "", says(ok + "\r\n0")},
	}.refuse(t)
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_unpublish")))
	broken := []reply{{cut: true}, {reset: true}, {raw: "HTTP/1.1 20", reset: true}, {raw: ok + "Content-Length: 10\r\n\r\n0"}}
	rcv.script("on_unpublish", func(call) reply {
		if n := len(rcv.all()); n < len(broken) {
			return broken[n]
		}
		return reply{}
	})
	publishWith(t, s.url("live/s")).Close()
	last := rcv.wait(t, "on_unpublish", "s", len(broken)+1)
	for _, c := range rcv.all() {
		if c.body != last.body || c.header.Get("Webhook-Id") != last.header.Get("Webhook-Id") {
			t.Errorf("%v %s", c.header, c.body)
		}
	}
}

// TestHK05: bodies without end are left at 64 KiB (counted in srs/hook), and the
// server's memory stays as it was.
func TestHK05(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 10<<20))
	z.Close()
	packed := ok + "Content-Encoding: gzip\r\n\r\n"
	all := answers{
		{"endless chunks", "hook.too_big", repeats(ok+"Transfer-Encoding: chunked\r\n\r\n", "1000\r\n"+strings.Repeat(" ", 4096)+"\r\n")},
		{"10 GiB", "hook.too_big", says(ok + "Content-Length: 10737418240\r\n\r\n0")},
		{"gzip bombs, one behind the other", "hook.too_big", repeats(packed, bomb.String())},
		{"gzip bomb of 10 KiB", "hook.bad_response", says(packed + bomb.String())}, // not unpacked
		{"64 KiB and one", "hook.too_big", says(ok + "Content-Length: 65537\r\n\r\n" + strings.Repeat(" ", 65537))},
		{"64 KiB", "", says(ok + "Content-Length: 65536\r\n\r\n0" + strings.Repeat(" ", 65535))},
	}
	s := all.serve(t)
	for range 6 { // what the collector leaves is there then
		all.ask(t, s)
	}
	before := s.rss(t)
	s.resetPeak(t)
	all.ask(t, s)
	grown := s.memory(t, "VmHWM") - before
	t.Logf("memory at its peak: %+d KiB", grown>>10)
	if grown > 1<<20 && os.Getenv("SRS_RACE") != "1" {
		t.Errorf("memory grew by %d KiB", grown>>10)
	}
}

// TestHK06: headers without end are left at 32 KiB.
func TestHK06(t *testing.T) {
	t.Parallel()
	answers{
		{"one header of 64 MiB", "hook.too_big", repeats(ok+"X: ", strings.Repeat("x", 4096))},
		{"100,000 headers", "hook.too_big", says(ok + strings.Repeat("a: b\r\n", 100_000) + "\r\n0")},
		{"endless 1xx", "hook.too_big", repeats("", "HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n")},
		{"101 and silence", "hook.status", func(c *net.TCPConn, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			io.Copy(io.Discard, c)
		}},
	}.refuse(t)
}

// TestHK07: the table of answers that are a yes and that are none.
func TestHK07(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_play")))
	verdicts := []struct {
		status int
		body   string
		yes    bool
	}{
		{200, "0", true}, {200, "0\n", true}, {200, " 0\r\n", true}, {201, "0", true},
		{200, `{"code":0}`, true}, {200, `{"code":0,"data":{"code":7}}`, true}, {201, `{"data":[1],"code":0}`, true},
		{200, "", false}, {204, "", false}, {200, "1", false}, {200, "00", false}, {200, "0.0", false}, {200, "-0", false},
		{200, `"0"`, false}, {200, `{"code":1}`, false}, {200, "OK", false}, {200, `{"code":"0"}`, false}, {200, "{}", false},
		{200, `{"Code":0}`, false}, {200, `{"code":0,"code":0}`, false}, {200, "[0]", false}, {200, "0 0", false},
		{200, `{"code":0}x`, false}, {200, "null", false}, {202, "0", false}, {403, "0", false}, {500, "0", false}, {301, "0", false},
	}
	at := 0
	rcv.script("on_play", func(call) reply { return reply{status: verdicts[at].status, body: verdicts[at].body, empty: true} })
	for i, v := range verdicts {
		at = i
		code, _ := play(t, s, "a", "s")
		if yes := code == rtmp.CodePlayStart; yes != v.yes {
			t.Errorf("%d %q: the client was told %s", v.status, v.body, code)
		}
	}
}

// TestHK08: redirects are not followed; nobody hears of them.
func TestHK08(t *testing.T) {
	t.Parallel()
	canary := newReceiver(t)
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_play", "on_stop")))
	n := 0
	for _, to := range []string{canary.url("stolen"), "file:///etc/passwd", "http://169.254.169.254/latest", "//" + canary.addr + "/x"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			rcv.always("on_play", reply{status: status, header: map[string]string{"Location": to}})
			n++
			if code, took := play(t, s, "a", "s"); code != rtmp.CodePlayFailed || took > 2*time.Second {
				t.Errorf("%d to %s: %s after %v", status, to, code, took)
			}
		}
	}
	s.waitCount(t, "reason=hook.redirect", n)
	if len(canary.all()) > 0 || len(rcv.all()) != n {
		t.Errorf("%d calls where the redirects led, %d of %d calls", len(canary.all()), len(rcv.all()), n)
	}
}

// TestHK09: bodies made to hurt a parser.
func TestHK09(t *testing.T) {
	t.Parallel()
	body := func(text string) func(*net.TCPConn, *http.Request) {
		return says(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", ok, len(text), text))
	}
	answers{
		{"60,000 [", "hook.bad_response", body(strings.Repeat("[", 60_000))},
		{"100,000 [", "hook.too_big", body(strings.Repeat("[", 100_000))},
		{"nested objects", "hook.bad_response", body(strings.Repeat(`{"code":`, 7000) + "0" + strings.Repeat("}", 7000))},
		{"no UTF-8", "hook.bad_response", body("{\"code\":0,\"x\":\"\xff\xfe\"}")},
		{"trailing bytes", "hook.bad_response", body(`{"code":0}{"code":0}`)},
		{"a number without end", "hook.bad_response", body(strings.Repeat("0", 60_000))},
	}.refuse(t)
}

// TestHK12: several URLs are asked in order; the first no ends it, and those who
// said yes before hear the end.
func TestHK12(t *testing.T) {
	t.Parallel()
	rcv := make([]*receiver, 3)
	var publish, unpublish []string
	for i := range rcv {
		rcv[i] = newReceiver(t)
		publish = append(publish, rcv[i].url("on_publish"))
		unpublish = append(unpublish, rcv[i].url("on_unpublish"))
	}
	s := startServer(t, defaultVhost(block("http_hooks", "enabled on;", "timeout 1000;",
		"on_publish "+strings.Join(publish, " ")+";", "on_unpublish "+strings.Join(unpublish, " ")+";")))
	for i, second := range []reply{{body: "1"}, {until: make(chan struct{})}} {
		rcv[1].always("on_publish", second)
		stream := fmt.Sprint("s", i)
		c, err := connect(t, s.url("live/"+stream))
		if err != nil {
			t.Fatal(err)
		}
		wantStatus(t, c.Publish(), rtmp.CodePublishDenied)
		end := rcv[0].wait(t, "on_unpublish", stream, 1)
		if want := []string{"hook.denied", "hook.timeout"}[i]; end.text("reason") != want {
			t.Errorf("%s", end.body)
		}
		publishRefused := len(rcv[0].of("on_publish", stream)) == 1 && len(rcv[1].of("on_publish", stream)) == 1 && len(rcv[2].of("on_publish", stream)) == 0
		if !publishRefused {
			t.Errorf("%s: asked %d, %d, %d times", stream, len(rcv[0].of("on_publish", stream)), len(rcv[1].of("on_publish", stream)), len(rcv[2].of("on_publish", stream)))
		}
	}
	rcv[1].always("on_publish", reply{})
	publishWith(t, s.url("live/s0")).Close() // no half state: the name is free
	for _, r := range rcv {
		r.until(t, "the end", func() bool { return len(r.of("on_publish", "s0")) > 0 && len(r.of("on_unpublish", "s0")) > 0 })
	}
	if n := len(rcv[1].of("on_unpublish", "")) + len(rcv[2].of("on_unpublish", "")); n != 2 {
		t.Errorf("%d ends of what was refused or not asked", n-2)
	}
}

// TestHK14: names that look like JSON, like a lookup, like a path.
func TestHK14(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_play")))
	for i, name := range []string{
		`x","code":0,"y":"`, `${jndi:ldap:127.0.0.1}`, `back\slash\u0041`, "\U0001F600 emoji \u2028", `<script>&amp;`, `{}[]:,`, `%2e%2e%00`,
	} {
		code, _ := play(t, s, "a", name+`?p="\`)
		c := rcv.wait(t, "on_play", "", i+1)
		if code != rtmp.CodePlayStart || c.text("stream") != name || c.text("param") != `?p="\` || len(rcv.all()) != i+1 {
			t.Errorf("%q: %s, heard %q, %d calls", name, code, c.text("stream"), len(rcv.all()))
		}
	}
}

// TestHK19: a yes that comes too late is none.
func TestHK19(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_publish", "timeout 500;")))
	late := make(chan struct{})
	rcv.always("on_publish", reply{until: late})
	c, err := connect(t, s.url("live/s"))
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, c.Publish(), rtmp.CodePublishDenied)
	close(late)
	wantFIN(t, c)
	s.waitLog(t, "client closed.*reason=hook.timeout")
	if lines := s.matching(0, "publish started"); len(lines) > 0 {
		t.Errorf("%q", lines)
	}
}

// TestHK23: Retry-After makes no difference to a gate.
func TestHK23(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_play", "on_unpublish")))
	for _, after := range []string{"3600", "-1", "x", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)} {
		for _, status := range []int{429, 503} {
			rcv.always("on_play", reply{status: status, header: map[string]string{"Retry-After": after}})
			if code, took := play(t, s, "a", "s"); code != rtmp.CodePlayFailed || took > 2*time.Second {
				t.Errorf("%d, %s: %s after %v", status, after, code, took)
			}
		}
	}
	rcv.script("on_unpublish", func(call) reply {
		if len(rcv.of("on_unpublish", "")) == 0 {
			return reply{status: 503, header: map[string]string{"Retry-After": "2"}}
		}
		return reply{}
	})
	publishWith(t, s.url("live/s")).Close()
	first, second := rcv.wait(t, "on_unpublish", "s", 1), rcv.wait(t, "on_unpublish", "s", 2)
	if waited := second.at.Sub(first.at); waited < 1900*time.Millisecond {
		t.Errorf("repeated after %v, asked for 2 s", waited)
	}
}

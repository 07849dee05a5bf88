package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"srs/rtmp"
)

// TestHK13: secrets in URLs and parameters, every level of the log, failures of
// all kinds; the log shows none of them.
func TestHK13(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	secret := func(url string) string {
		return strings.Replace(url, "http://", "http://u:SECRET-1@", 1) + "?k=SECRET-2"
	}
	key := "whsec_" + base64.StdEncoding.EncodeToString([]byte("SECRET-4 SECRET-4 SECRET-4"))
	dead := fmt.Sprintf("http://127.0.0.1:%d/x", deadPort(t))
	var blocks []string
	for i, url := range []string{
		rcv.url("on_play"), dead, rawEndpoint(t, says("SECRET-5 is no HTTP\r\n\r\n")), rawEndpoint(t, says(ok+"Content-Length: 100\r\n\r\nSECRET-5")),
		"http://no-such-name.invalid/x", "https" + strings.TrimPrefix(rcv.url("x"), "http"),
		rawEndpoint(t, repeats(ok+"\r\n", "SECRET-5")), rawEndpoint(t, repeats(ok+"X: SECRET-5", "SECRET-5")), rawEndpoint(t, drips(ok+"X: SECRET-5")),
	} {
		blocks = append(blocks, vhost(fmt.Sprintf("v%d", i), block("http_hooks", "enabled on;", "timeout 400;", "secret "+key+";",
			"on_play "+secret(url)+";", "on_stop "+secret(url)+";", "on_unpublish "+secret(url)+";")))
	}
	s := startServer(t, append(blocks, "srs_log_level verbose;")...)
	for i := range blocks {
		v := fmt.Sprintf("v%d", i)
		for _, a := range []reply{{}, {body: "1"}, {body: "SECRET-5"}, {status: 500, body: "SECRET-5"}, {status: 302, header: map[string]string{"Location": "http://SECRET-5/"}}} {
			rcv.always("on_play", a)
			rcv.always("on_unpublish", a)
			play(t, s, v, "s?token=SECRET-3")
			c := dial(t, s).shake(t)
			c.connect(t, "rtmp://"+v+"/live?token=SECRET-3", "live?token=SECRET-3")
			c.status(t, cmdPublish("s?token=SECRET-3"))
			c.Close()
		}
	}
	s.waitCount(t, "on_unpublish failed", 4)
	s.signal(t, syscall.SIGUSR2)
	s.waitLog(t, "counters endpoint=")
	s.stop(t, syscall.SIGTERM)
	text := s.text()
	if i := strings.Index(text, "SECRET"); i >= 0 {
		t.Errorf("the log says %q", text[max(0, i-200):min(len(text), i+50)])
	}
	if i := strings.Index(text, key[6:]); i >= 0 {
		t.Error("the log has the key")
	}
	for _, want := range []string{
		"u:***@", "k=***", "token=***", "reason=hook.denied", "reason=hook.bad_response", "reason=hook.status", "reason=hook.redirect",
		"reason=hook.refused", "reason=hook.tls", "reason=hook.too_big", "reason=hook.timeout",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the log", want)
		}
	}
}

// TestHK16: a name that does not exist refuses in the gate's time. (The last good
// answer, and a name server that hangs: srs/hook.)
func TestHK16(t *testing.T) {
	t.Parallel()
	s := startServer(t, defaultVhost(onPlay("http://no-such-name.invalid/", "timeout 2000;")))
	if code, took := play(t, s, "a", "s"); code != rtmp.CodePlayFailed || took > 4*time.Second {
		t.Errorf("%s after %v", code, took)
	}
	s.waitLog(t, `on_play refused.*reason=hook\.(refused|timeout)`) // as the name server answers, or does not
}

// TestHK17: the endpoint closes its idle connections after a second, and asks for
// one just then; no decision is lost, none is made twice.
func TestHK17(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rcv := newReceiver(t)
	server := &http.Server{Handler: rcv, IdleTimeout: time.Second}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(ln) }()
	t.Cleanup(func() { server.Close(); <-served })
	s := startServer(t, defaultVhost(onPlay("http://"+ln.Addr().String()+"/")))
	for i, wait := range []time.Duration{0, 1500 * time.Millisecond, 1000 * time.Millisecond, 999 * time.Millisecond, 1001 * time.Millisecond} {
		<-time.After(wait)
		if code, _ := play(t, s, "a", fmt.Sprint("s", i)); code != rtmp.CodePlayStart {
			t.Errorf("after %v: %s", wait, code)
		}
	}
	ids := make(map[string]bool)
	for _, c := range rcv.all() {
		ids[c.header.Get("Webhook-Id")] = true
	}
	if len(ids) != 5 {
		t.Errorf("%d events in %d calls", len(ids), len(rcv.all()))
	}
}

// TestHK18: the client leaves while on_publish is pending, and the endpoint then
// says yes: no stream, and the endpoint hears the end. If it never answers, the
// call is over by the timeout all the same.
func TestHK18(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	const timeout = 4 * time.Second
	s := startServer(t, defaultVhost(hooks(rcv, append(allEvents, fmt.Sprintf("timeout %d;", timeout.Milliseconds()))...)))
	yes := make(chan struct{})
	rcv.script("on_publish", func(c call) reply {
		switch {
		case c.text("stream") == "never":
			return reply{until: make(chan struct{})}
		case len(rcv.of("on_publish", "s")) == 0:
			return reply{until: yes}
		}
		return reply{}
	})
	leave := func(stream string) {
		c := dial(t, s).shake(t)
		c.connect(t, s.url("live"), "live")
		c.send(t, cmdCreateStream(), cmdPublish(stream))
		rcv.wait(t, "on_publish", stream, 1)
		c.reset()
	}
	all := []string{"on_connect", "on_publish", "on_unpublish", "on_close"}
	leave("s")
	<-time.After(100 * time.Millisecond)
	close(yes)
	rcv.wait(t, "on_close", "", 1)
	if got := rcv.actions(""); !slices.Equal(got, all) {
		t.Errorf("calls %q", got)
	}

	leave("never")
	begun := time.Now()
	rcv.wait(t, "on_close", "", 2)
	rcv.until(t, "the call to be given up", func() bool { rcv.mu.Lock(); defer rcv.mu.Unlock(); return rcv.left == 1 })
	if took := time.Since(begun); took > timeout {
		t.Errorf("the call was given up after %v", took)
	}
	if got := rcv.actions(rcv.of("on_publish", "never")[0].client()); !slices.Equal(got, all) {
		t.Errorf("calls %q", got)
	}
	eventually(t, longest, "no call to be left", func() bool { // the receiver sees an answer's end before the server does
		mark := s.mark()
		s.signal(t, syscall.SIGUSR2)
		return strings.Contains(s.waitLine(t, mark, "counters endpoint=.*"), " running=0 gates_waiting=0 pending=0 ")
	})
	if lines := s.matching(0, "publish started"); len(lines) > 0 {
		t.Errorf("%q", lines)
	}
	publishWith(t, s.url("live/s"))
}

// TestHK20: an endpoint that answers 500 twice and then 200 gets three requests:
// the same id and body, each with a time and a signature of its own.
func TestHK20(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	key := []byte("thirty bytes of a secret, say.")
	s := startServer(t, defaultVhost(hooks(rcv, "on_unpublish", "secret whsec_"+base64.StdEncoding.EncodeToString(key)+";")))
	rcv.script("on_unpublish", func(call) reply {
		if len(rcv.all()) < 2 {
			return reply{status: 500, header: map[string]string{"Retry-After": "1"}}
		}
		return reply{}
	})
	publishWith(t, s.url("live/s")).Close()
	rcv.wait(t, "on_unpublish", "s", 3)
	s.stop(t, syscall.SIGTERM)
	calls := rcv.all()
	if len(calls) != 3 {
		t.Errorf("%d calls", len(calls))
	}
	seen := make(map[string]bool)
	for _, c := range calls {
		if c.body != calls[0].body || c.header.Get("Webhook-Id") != calls[0].header.Get("Webhook-Id") {
			t.Errorf("%v %s", c.header, c.body)
		}
		if err := verify(c, time.Now(), key); err != nil {
			t.Error(err)
		}
		seen[c.header.Get("Webhook-Timestamp")+c.header.Get("Webhook-Signature")] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d different times and signatures", len(seen))
	}
}

// verify is a receiver's check of a call, as Standard Webhooks 1.0 describes it.
func verify(c call, now time.Time, key []byte) error {
	id, stamp := c.header.Get("Webhook-Id"), c.header.Get("Webhook-Timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return err
	}
	if age := now.Sub(time.Unix(at, 0)).Abs(); age > 5*time.Minute {
		return fmt.Errorf("the time stamp is %v away", age)
	}
	m := hmac.New(sha256.New, key)
	io.WriteString(m, id+"."+stamp+"."+c.body)
	for one := range strings.FieldsSeq(c.header.Get("Webhook-Signature")) {
		version, text, _ := strings.Cut(one, ",")
		sum, err := base64.StdEncoding.DecodeString(text)
		if version == "v1" && err == nil && hmac.Equal(sum, m.Sum(nil)) {
			return nil
		}
	}
	return fmt.Errorf("no signature of %q fits", c.header.Get("Webhook-Signature"))
}

// TestHK21: signatures with one key, with two while they change, and what does
// not verify.
func TestHK21(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	a, b := []byte("the old key, 24 bytes lo"), []byte("the new key with more bytes than the old one")
	text := func(key []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(key) }
	dir := t.TempDir()
	file := filepath.Join(dir, "secrets")
	os.WriteFile(file, []byte(text(a)+"\n"), 0o600)
	conf := defaultVhost(hooks(rcv, "on_play", "secret file:"+file+";"))
	s := startServer(t, conf)
	play(t, s, "a", "s")
	one := rcv.wait(t, "on_play", "", 1)
	if verify(one, time.Now(), a) != nil || verify(one, time.Now(), b) == nil {
		t.Errorf("one key: %v", one.header)
	}
	os.WriteFile(file, []byte(text(a)+"\n"+text(b)+"\n"), 0o600)
	s.signal(t, syscall.SIGHUP)
	s.waitLog(t, "configuration reloaded")
	play(t, s, "a", "s")
	two := rcv.wait(t, "on_play", "", 2)
	if verify(two, time.Now(), a) != nil || verify(two, time.Now(), b) != nil {
		t.Errorf("two keys: %v", two.header)
	}
	tampered := two
	tampered.body = strings.Replace(two.body, `"s"`, `"t"`, 1)
	if tampered.body == two.body || verify(tampered, time.Now(), a) == nil {
		t.Error("a tampered body verifies")
	}
	if verify(two, time.Now().Add(10*time.Minute), a) == nil {
		t.Error("an old call verifies")
	}
	os.WriteFile(file, []byte("whsec_short\n"), 0o600)
	s.signal(t, syscall.SIGHUP)
	s.waitLog(t, "reload: .*secret: ")
}

// TestHK22: many short sessions, many at once: each one's events in order, none
// missing. The long form has 10,000.
func TestHK22(t *testing.T) {
	sessions := 1500
	if os.Getenv("SRS_KILLS") != "" {
		sessions = 10_000
	}
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	begun := time.Now()
	var crowd sync.WaitGroup
	for i := range 50 {
		crowd.Go(func() {
			for n := i; n < sessions; n += 50 {
				publishWith(t, s.url(fmt.Sprint("live/s", n))).Close()
			}
		})
	}
	crowd.Wait()
	rcv.until(t, "all ends", func() bool { return len(rcv.of("on_close", "")) >= sessions })
	t.Logf("%d sessions in %v", sessions, time.Since(begun).Round(time.Millisecond))
	by, repeats := ledgers(t, rcv.all())
	for id, l := range by {
		if !slices.Equal(l.order, []string{"on_connect", "on_publish", "on_unpublish", "on_close"}) {
			t.Errorf("client %s: %q", id, l.order)
		}
	}
	if len(by) != sessions || repeats > 0 {
		t.Errorf("%d clients, %d repeats", len(by), repeats)
	}
}

// TestHK24: proxies of the environment are not for hooks.
func TestHK24(t *testing.T) {
	proxy, rcv := newReceiver(t), newReceiver(t)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "http://"+proxy.addr)
	}
	// Not a loopback name: those never go through a proxy.
	s := startServer(t, defaultVhost(onPlay("http://no-such-name.invalid/", "timeout 1000;")), vhost("direct", hooks(rcv, "on_play")))
	play(t, s, "a", "s")
	if code, _ := play(t, s, "direct", "s"); code != rtmp.CodePlayStart {
		t.Error(code)
	}
	if n := len(proxy.all()); n > 0 {
		t.Errorf("%d calls of the proxy", n)
	}
}

// TestHK25: without hooks, and with hooks that are off, nobody is called and
// nothing is made on disk.
func TestHK25(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	off := strings.Replace(hooks(rcv), "enabled on;", "enabled off;", 1)
	s := startServer(t, defaultVhost(), vhost("off.example", off))
	for _, v := range []string{"a", "off.example"} {
		if code, _ := play(t, s, v, "s"); code != rtmp.CodePlayStart {
			t.Error(code)
		}
	}
	if _, err := os.Stat(s.dir + "/objs/hooks"); err == nil {
		t.Error("a journal was made")
	}
	s.writeConf(t, defaultVhost(), vhost("off.example", hooks(rcv)))
	s.signal(t, syscall.SIGHUP)
	s.waitLog(t, "configuration reloaded")
	play(t, s, "off.example", "s")
	rcv.wait(t, "on_close", "", 1)
	if n := len(rcv.all()); n != 4 {
		t.Errorf("%d calls: %q", n, rcv.actions(""))
	}
	if _, err := os.Stat(s.dir + "/objs/hooks/state"); err != nil {
		t.Error(err)
	}
	s.stop(t, syscall.SIGTERM)
}

// TestHK26: an endpoint on a unix socket that is removed and made again.
func TestHK26(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "hk26") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := dir + "/s.sock"
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(onPlay("http://unix:"+path+":/api?k=v")))
	for round := range 2 {
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: rcv}
		served := make(chan struct{})
		go func() { defer close(served); server.Serve(ln) }()
		code, _ := play(t, s, "a", "s")
		c := rcv.wait(t, "on_play", "", round+1)
		if code != rtmp.CodePlayStart || c.uri != "/api?k=v" {
			t.Errorf("%s, %s", code, c.uri)
		}
		server.Close()
		<-served
		os.Remove(path)
		if code, _ := play(t, s, "a", "s"); code != rtmp.CodePlayFailed {
			t.Errorf("without a socket: %s", code)
		}
	}
}

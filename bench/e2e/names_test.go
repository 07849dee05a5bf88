package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"srs/rtmp"
)

// hooksBelow is an http_hooks block whose URLs begin with a path of their own.
func hooksBelow(r *receiver, path string) string {
	lines := []string{"enabled on;"}
	for _, e := range allEvents {
		lines = append(lines, fmt.Sprintf("%s http://%s/%s/%s;", e, r.addr, path, e))
	}
	return block("http_hooks", lines...)
}

// TestVhosts names a vhost in each way clients do; its own hooks are called.
func TestVhosts(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, vhost("a.example", hooksBelow(rcv, "a")), vhost("b.example", hooksBelow(rcv, "b")),
		defaultVhost(hooksBelow(rcv, "default")))
	for i, test := range []struct {
		name          string
		tcURL, app    string
		stream        string
		connect, path string // whose hooks: for the connection, for the stream
	}{
		{"host of tcUrl", "rtmp://a.example/live", "live", "s?k=v", "a", "a"},
		{"host of tcUrl with port", "rtmp://b.example:1935/live", "live", "s", "b", "b"},
		{"vhost in the app", "rtmp://127.0.0.1/live?vhost=a.example", "live?vhost=a.example", "s", "a", "a"},
		{"vhost in tcUrl only", "rtmp://127.0.0.1/live?vhost=b.example", "live", "s", "b", "b"},
		{"domain in the app", "rtmp://127.0.0.1/live?domain=b.example", "live?domain=b.example", "s", "b", "b"},
		{"vhost in the stream", "rtmp://127.0.0.1/live", "live", "s?vhost=a.example&k=v", "default", "a"},
		{"old form with dots", "rtmp://127.0.0.1/live...vhost...a.example", "live...vhost...a.example", "s", "a", "a"},
		{"old form with commas", "rtmp://127.0.0.1/live,vhost,b.example", "live,vhost,b.example", "s", "b", "b"},
		{"host without a block", "rtmp://c.example/live", "live", "s", "default", "default"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(rcv.all())
			c := dial(t, s).shake(t)
			if code := c.connect(t, test.tcURL, test.app); code != rtmp.CodeConnectSuccess {
				t.Fatalf("connect: %s", code)
			}
			stream := fmt.Sprintf("%c%d%s", test.stream[0], i, test.stream[1:])
			if code := c.status(t, cmdPublish(stream)); code != rtmp.CodePublishStart {
				t.Fatalf("publish: %s", code)
			}
			// Ends of the clients before may still come.
			calls := slices.DeleteFunc(rcv.all()[before:], func(c call) bool { return !slices.Contains(gates, c.action()) })
			if len(calls) != 2 || calls[0].uri != "/"+test.connect+"/on_connect" || calls[1].uri != "/"+test.path+"/on_publish" {
				t.Fatalf("called %d, the last for %s", len(calls), calls[len(calls)-1].uri)
			}
			vhosts := map[string]string{"a": "a.example", "b": "b.example", "default": "__defaultVhost__"}
			pub := calls[1]
			if calls[0].text("vhost") != vhosts[test.connect] || pub.text("vhost") != vhosts[test.path] ||
				pub.text("app") != "live" || pub.text("stream") != fmt.Sprintf("s%d", i) {
				t.Errorf("got %s and %s", calls[0].body, pub.body)
			}
			if _, query, ok := strings.Cut(stream, "?"); ok && pub.text("param") != "?"+query {
				t.Errorf("param is %q, want %q", pub.text("param"), "?"+query)
			}
			c.Close()
			rcv.wait(t, "on_unpublish", fmt.Sprintf("s%d", i), 1)
		})
	}
	s.stop(t, syscall.SIGTERM)
	for _, c := range rcv.all() { // ends go where their begins went
		path, _, _ := strings.Cut(c.uri[1:], "/")
		if path == "default" && c.text("vhost") != "__defaultVhost__" || path != "default" && c.text("vhost") != path+".example" {
			t.Errorf("%s: %s", c.uri, c.body)
		}
	}
}

// TestVhostsAreKeptApart: the same app and stream in two vhosts are two streams.
func TestVhostsAreKeptApart(t *testing.T) {
	t.Parallel()
	s := startServer(t, vhost("a.example"), vhost("b.example"), defaultVhost())
	publishWith(t, s.url("live/s?vhost=a.example"))
	publishWith(t, s.url("live/s?vhost=b.example"))
	c, err := connect(t, s.url("live...vhost...a.example/s"))
	if err == nil {
		err = c.Publish()
	}
	wantStatus(t, err, rtmp.CodePublishBadName)
}

// TestUnknownVhost is refused where there is no default; a block that is off
// is as good as absent.
func TestUnknownVhost(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, vhost("a.example", hooks(rcv)), vhost("off.example", "enabled off;", hooks(rcv)))
	for _, host := range []string{"c.example", "off.example", "__defaultVhost__"} {
		c := dial(t, s).shake(t)
		if code := c.connect(t, "rtmp://"+host+"/live", "live"); code != rtmp.CodeConnectInvalidApp {
			t.Errorf("host %s: %s", host, code)
		}
		if got := c.end(t, longest); got != endFIN {
			t.Errorf("the connection ends with %s", got)
		}
	}
	if calls := rcv.actions(""); len(calls) != 0 {
		t.Errorf("hooks were called: %q", calls)
	}
}

// TestTokens: what stands behind "?" arrives in the hooks as it was written,
// and does not appear in the log.
//
// No "/" is in it: ffmpeg and librtmp take what stands behind one for the
// stream, and what stands before it for the app.
func TestTokens(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, "srs_log_level verbose;", defaultVhost(hooks(rcv)))
	const param = "?token=SECRET-1%20+a:b&sign=SECRET-2==&x"
	pub := publishFFmpeg(t, s.url("live/s"+param))
	if got := rcv.wait(t, "on_publish", "s", 1).text("param"); got != param {
		t.Errorf("on_publish: param %q, want %q", got, param)
	}
	play := playFFmpeg(t, s.url("live/s"+param))
	if got := rcv.wait(t, "on_play", "s", 1).text("param"); got != param {
		t.Errorf("on_play: param %q, want %q", got, param)
	}
	play.kill()
	pub.kill()
	for action, want := range map[string]string{"on_stop": param, "on_unpublish": param} {
		if got := rcv.wait(t, action, "s", 1).text("param"); got != want {
			t.Errorf("%s: param %q", action, got)
		}
	}

	// In tcUrl, of a client that is refused, and of one that is not RTMP enough.
	rcv.always("on_publish", reply{body: "1"})
	c := dial(t, s).shake(t)
	c.connect(t, s.url("live?token=SECRET-3"), "live?token=SECRET-3")
	c.status(t, cmdPublish("s?token=SECRET-4"))
	c = dial(t, s).shake(t)
	c.connect(t, s.url("live?token=SECRET-5"), "live?token=SECRET-5")
	c.send(t, cmdPublish("../s?token=SECRET-6"))
	c.end(t, longest)
	s.signal(t, syscall.SIGUSR2)
	if code, _ := s.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if lines := s.matching(0, "SECRET"); len(lines) > 0 {
		t.Errorf("the log shows tokens: %q", lines)
	}
}

package e2e

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"srs/rtmp"
)

// TestSlowPlayers has players of the canary's own stream take nothing. The
// canary's player must not notice.
func TestSlowPlayers(t *testing.T) {
	s := startServer(t, defaultVhost())
	other := startCanary(t, s, "canary/c")
	before := other.over(t, 50)
	rss := s.rss(t)
	for range 20 {
		c := dial(t, s)
		c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		c.shake(t)
		c.connect(t, s.url("canary"), "canary")
		c.send(t, cmdCreateStream(), cmdPlay("c")) // and never reads again
	}
	other.atLeast(t, 125)
	other.undisturbed(t, before)
	grown := s.rss(t) - rss
	t.Logf("memory: %+.1f MiB", float64(grown)/(1<<20))
	if grown > memoryBound() {
		t.Errorf("players that take nothing cost the server %d MiB", grown>>20)
	}
}

// TestPlayerFlood asks and never reads the answers.
func TestPlayerFlood(t *testing.T) {
	s := startServer(t, defaultVhost())
	other := startCanary(t, s, "canary/c")
	before := other.over(t, 50)
	rss, mark := s.rss(t), s.mark()
	c := dial(t, s)
	c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	c.shake(t)
	c.connect(t, s.url("live"), "live")
	if code := c.status(t, cmdPlay("s")); code != rtmp.CodePlayStart {
		t.Fatalf("play: %s", code)
	}
	pings := many(10000, func(int) []byte { return rtmp.AppendUserControl(nil, rtmp.EventPing, 1) })
	for begun := time.Now(); ; {
		_, err := c.Write(pings)
		if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
			break
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if time.Since(begun) > longest {
			t.Fatalf("the server takes questions without end: %q", s.matching(mark, "client"))
		}
	}
	wantEnds(t, s, mark, "ctrl.flood", 1)
	other.atLeast(t, 10)
	other.undisturbed(t, before)
	if grown := s.rss(t) - rss; grown > memoryBound() {
		t.Errorf("it cost the server %d MiB", grown>>20)
	}
}

// TestVhostByFFmpeg names the vhost with ffmpeg's own option.
func TestVhostByFFmpeg(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, vhost("a.example", hooks(rcv)), defaultVhost())
	publishFFmpeg(t, s.url("live/s"), "-rtmp_tcurl", "rtmp://a.example/live")
	playFFmpeg(t, s.url("live/s"), "-rtmp_tcurl", "rtmp://a.example/live")
	for _, action := range gates {
		if c := rcv.wait(t, action, "", 1); c.text("vhost") != "a.example" || c.text("tcUrl") != "rtmp://a.example/live" {
			t.Errorf("got %s", c.body)
		}
	}
}

package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"srs/rtmp"
	"srs/rtmp/chunk"
)

// memoryBound is how much an attack may cost, bytes.
func memoryBound() int64 {
	const bound = 32 << 20
	if os.Getenv("SRS_RACE") == "1" { // its shadow memory counts too
		return 4 * bound
	}
	return bound
}

// TestHostile runs every attack against one server on which a canary lives.
func TestHostile(t *testing.T) {
	files := t.TempDir()
	s := startServer(t, defaultVhost(recordTo(files+"/[app]/[stream].[timestamp].flv")))
	other := startCanary(t, s, "canary/c")
	before := other.over(t, 75)
	rss := s.rss(t)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			other.take(t)
			s.resetPeak(t)
			a.run(t, s)
			grown := s.memory(t, "VmHWM") - rss
			other.atLeast(t, 2)
			other.undisturbed(t, before)
			t.Logf("memory at its peak: %+.1f MiB", float64(grown)/(1<<20))
			if grown > memoryBound() {
				t.Errorf("it cost the server %d MiB", grown>>20)
			}
		})
	}
	t.Run("TLS", func(t *testing.T) {
		mark := s.mark()
		c := tls.Client(dial(t, s), &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err == nil {
			t.Error("a TLS handshake succeeded")
		}
		wantEnds(t, s, mark, "hs.tls_on_plain", 1)
	})
	for _, line := range s.matching(0, `\[error\]|^\[2026-01-01 00:00:00`) {
		t.Errorf("the log says: %s", line)
	}
	s.wantMemoryBack(t, rss)
}

// wantMemoryBack waits a while for the server's memory to return to what it
// was. The collector runs when it sees fit, at the latest after two minutes, so
// only more than an attack's bound is an error; the number is in the output.
func (s *srs) wantMemoryBack(t testing.TB, before int64) {
	t.Helper()
	const close = 8 << 20
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(5 * time.Second)
	for s.rss(t)-before > close {
		select {
		case <-tick.C:
			continue
		case <-end:
		}
		break
	}
	left := s.rss(t) - before
	t.Logf("memory after all of it: %+.1f MiB", float64(left)/(1<<20))
	if left > memoryBound() {
		t.Errorf("the server keeps %d MiB", left>>20)
	}
}

// run does the attack and checks how it ends.
func (a attack) run(t *testing.T, s *srs) {
	mark := s.mark()
	times := max(1, a.times)
	clients := make([]*client, times)
	for i := range clients {
		clients[i] = a.stage.reach(t, s)
		clients[i].send(t, a.send...)
	}
	for _, c := range clients {
		if a.stays {
			c.pingUntilAnswered(t)
			c.Close()
			continue
		}
		c.end(t, longest)
	}
	reason := a.reason
	if a.stays {
		reason = "client.(closed|reset)"
	}
	wantEnds(t, s, mark, reason, times)
}

// wantEnds checks that so many connections ended since mark, each with one
// line, of that reason.
func wantEnds(t testing.TB, s *srs, mark int, reason string, times int) {
	t.Helper()
	const ends = `client gone|client closed`
	eventually(t, longest, "the log to say that the connections ended", func() bool {
		return len(s.matching(mark, ends)) >= times
	})
	all := s.matching(mark, ends)
	if len(all) != times || len(s.matching(mark, ` reason=`+reason+` `)) < times {
		t.Errorf("want %d lines with reason=%s, got %q", times, reason, all)
	}
}

// reached counts clients, so that each has a stream of its own.
var reached atomic.Int64

// reach brings a client up to a stage.
func (st stage) reach(t testing.TB, s *srs) *client {
	t.Helper()
	c := dial(t, s)
	stream := fmt.Sprintf("s%d", reached.Add(1))
	if st >= afterHandshake {
		c.shake(t)
	}
	if st >= afterConnect {
		if code := c.connect(t, s.url("live"), "live"); code != rtmp.CodeConnectSuccess {
			t.Fatalf("connect: %s", code)
		}
	}
	switch st {
	case afterPublish:
		if code := c.status(t, cmdPublish(stream)); code != rtmp.CodePublishStart {
			t.Fatalf("publish: %s", code)
		}
	case afterPlay:
		if code := c.status(t, cmdPlay(stream)); code != rtmp.CodePlayStart {
			t.Fatalf("play: %s", code)
		}
	}
	return c
}

// pingUntilAnswered makes sure that the server has taken all that was sent.
func (c *client) pingUntilAnswered(t testing.TB) {
	t.Helper()
	c.send(t, rtmp.AppendUserControl(nil, rtmp.EventPing, 4711))
	c.SetReadDeadline(time.Now().Add(longest))
	want := rtmp.AppendUserControl(nil, rtmp.EventPong, 4711)
	want = want[len(want)-6:]
	for {
		m, ok, err := c.reader.Next()
		if err == nil && !ok {
			var n int
			if n, err = c.Read(c.in[:]); err == nil {
				c.reader.Feed(c.in[:n])
				continue
			}
		}
		if err != nil {
			t.Errorf("the server does not bear it: %v", err)
			return
		}
		if m.Type == chunk.TypeUserControl && bytes.Equal(m.Body, want) {
			return
		}
	}
}

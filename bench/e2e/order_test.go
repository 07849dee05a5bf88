package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"srs/rtmp"
)

// TestGateTimeout: an endpoint that does not answer in time has said no.
func TestGateTimeout(t *testing.T) {
	for _, gate := range gates {
		t.Run(gate, func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			s := startServer(t, defaultVhost(hooks(rcv, slices.Concat(allEvents, []string{"timeout 1000;"})...)))
			rcv.always(gate, reply{until: make(chan struct{})})
			begun := time.Now()
			refusedOnce(t, s, gate, "live")
			if took := time.Since(begun); took < 900*time.Millisecond || took > 3*time.Second {
				t.Errorf("refused after %v, want 1 s", took)
			}
			s.waitLog(t, "reason=hook.timeout")
			s.stop(t, syscall.SIGTERM)
			want := []string{"on_connect", gate, "on_close"}
			if gate == "on_connect" {
				want = want[:1]
			}
			if got := rcv.actions(""); !slices.Equal(got, want) {
				t.Errorf("calls %q, want %q", got, want)
			}
		})
	}
}

// TestEndBeforeNextBegin: while the endpoint is slow to take an on_unpublish,
// the next publisher's on_publish waits; no receiver sees them the other way round.
func TestEndBeforeNextBegin(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	slow := make(chan struct{})
	rcv.script("on_unpublish", func(c call) reply {
		if len(rcv.of("on_unpublish", "")) == 0 {
			return reply{until: slow}
		}
		return reply{}
	})
	publishWith(t, s.url("live/s")).Close()
	rcv.wait(t, "on_unpublish", "s", 1)
	next := dial(t, s).shake(t)
	next.connect(t, s.url("live"), "live")
	next.send(t, cmdCreateStream(), cmdPublish("s"))
	// Another stream of the same endpoint need not wait, and when it is
	// accepted, the next publisher's question has had its time as well.
	publishWith(t, s.url("live/other")).Close()
	rcv.wait(t, "on_unpublish", "other", 1)
	if n := len(rcv.of("on_publish", "s")); n != 1 {
		t.Errorf("on_publish was sent before the on_unpublish was answered")
	}
	close(slow)
	if code := next.status(t, nil); code != rtmp.CodePublishStart {
		t.Errorf("the next publisher was told %s", code)
	}
}

// TestPublishAgain publishes several times on one connection, ended in each
// of the ways that keep the connection.
func TestPublishAgain(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	c := publishWith(t, s.url("live/s"))
	ends := [][]any{
		{rtmp.CommandFCUnpublish, 6.0, nil, "s"}, {rtmp.CommandDeleteStream, 7.0, nil, 1.0}, {rtmp.CommandCloseStream, 8.0, nil},
	}
	for n, end := range ends {
		sendMedia(t, c, 3)
		if err := c.WriteCommand(end...); err != nil {
			t.Fatal(err)
		}
		rcv.wait(t, "on_unpublish", "s", n+1)
		if err := c.Publish(); err != nil {
			t.Fatalf("publish after %v: %v", end[0], err)
		}
	}
	c.Close()
	rcv.wait(t, "on_close", "", 1)
	want := []string{"on_connect"}
	for range len(ends) + 1 {
		want = append(want, "on_publish", "on_unpublish")
	}
	if got := rcv.actions(""); !slices.Equal(got, append(want, "on_close")) {
		t.Errorf("calls %q", got)
	}
}

// TestOnePublisher has a crowd publish one name at the same moment: one wins,
// and neither its stream nor its events show that there were others.
func TestOnePublisher(t *testing.T) {
	t.Parallel()
	const crowd = 50
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	var all []*client
	for range crowd {
		c := dial(t, s).shake(t)
		c.connect(t, s.url("live"), "live")
		all = append(all, c)
	}
	for _, c := range all {
		c.send(t, cmdCreateStream(), cmdPublish("s"))
	}
	codes := make(map[string]int)
	for _, c := range all {
		codes[c.status(t, nil)]++
	}
	if codes[rtmp.CodePublishStart] != 1 || codes[rtmp.CodePublishBadName] != crowd-1 {
		t.Errorf("the crowd was told %v", codes)
	}
	if n := len(rcv.of("on_publish", "")); n != 1 {
		t.Errorf("%d times on_publish", n)
	}
	s.stop(t, syscall.SIGTERM)
	if p, u, c := len(rcv.of("on_publish", "")), len(rcv.of("on_unpublish", "")), len(rcv.of("on_close", "")); p != 1 || u != 1 || c != crowd {
		t.Errorf("%d on_publish, %d on_unpublish, %d on_close of %d", p, u, c, crowd)
	}
}

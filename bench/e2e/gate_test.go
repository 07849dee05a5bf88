package e2e

import (
	"syscall"
	"testing"
	"time"

	"srs/rtmp"
)

// TestHangingGate has an endpoint hang for five seconds on one client of each
// gate; another stream must not notice. It measures, so it runs alone.
func TestHangingGate(t *testing.T) {
	const hang = 5 * time.Second
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	other := startCanary(t, s, "canary/c")
	before := other.over(t, 50)

	open := make(chan struct{})
	timer := time.AfterFunc(hang, func() { close(open) })
	defer timer.Stop()
	for _, gate := range gates {
		rcv.script(gate, func(c call) reply {
			if c.text("app") == gate {
				return reply{until: open}
			}
			return reply{}
		})
	}
	begun := time.Now()
	asking := make(map[string]*client)
	for _, gate := range gates {
		c := dial(t, s).shake(t)
		asking[gate] = c
		if gate == "on_connect" {
			c.send(t, cmdConnect(s.url(gate), gate))
			continue
		}
		c.connect(t, s.url(gate), gate)
		c.send(t, cmdCreateStream(), map[string][]byte{"on_publish": cmdPublish("s"), "on_play": cmdPlay("s")}[gate])
	}
	for gate, want := range map[string]string{
		"on_connect": rtmp.CodeConnectSuccess, "on_publish": rtmp.CodePublishStart, "on_play": rtmp.CodePlayStart,
	} {
		code, err := rtmp.CodePlayReset, error(nil)
		for err == nil && code == rtmp.CodePlayReset {
			name := "onStatus"
			if gate == "on_connect" {
				name = "_result"
			}
			_, code, err = asking[gate].command(name)
		}
		if took := time.Since(begun); err != nil || code != want || took < hang-time.Second {
			t.Errorf("%s: told %q, %v after %v; want %q from the endpoint", gate, code, err, took, want)
		}
	}
	other.undisturbed(t, before)
}

// TestLeavingDuringGate has clients go away while the endpoint thinks: after a
// moment their question is withdrawn and their name is free. The endpoint has
// heard the question and may have said yes, so it hears the end too.
func TestLeavingDuringGate(t *testing.T) {
	for _, test := range []struct {
		name  string
		leave func(c *client)
	}{
		{"with FIN", func(c *client) { c.Close() }},
		{"with RST", func(c *client) { c.reset() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			s := startServer(t, defaultVhost(hooks(rcv)))
			never := make(chan struct{})
			for _, gate := range gates {
				rcv.always(gate, reply{until: never})
				c := dial(t, s).shake(t)
				if gate == "on_connect" {
					c.send(t, cmdConnect(s.url("live"), "live"))
				} else {
					rcv.always("on_connect", reply{})
					c.connect(t, s.url("live"), "live")
					c.send(t, cmdCreateStream(), map[string][]byte{"on_publish": cmdPublish("s"), "on_play": cmdPlay("s")}[gate])
				}
				rcv.wait(t, gate, "", 1)
				left := rcv.leftNow()
				test.leave(c)
				begun := time.Now()
				rcv.until(t, "the server to hang up", func() bool { return rcv.leftNow() > left })
				if took := time.Since(begun); took > 3*time.Second {
					t.Errorf("%s: the question was withdrawn %v after the client", gate, took)
				}
				rcv.always(gate, reply{})
			}
			eventually(t, time.Second, "the name to be free", func() bool {
				c, err := connect(t, s.url("live/s"))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				return c.Publish() == nil
			})
			eventually(t, longest, "nobody to be left", func() bool {
				mark := s.mark()
				s.signal(t, syscall.SIGUSR2)
				s.waitLine(t, mark, "counters action=on_play")
				return len(s.matching(mark, "connections=0 publishers=0 players=0 streams=0")) == 1
			})
			s.stop(t, syscall.SIGTERM)
			for begin, end := range map[string]string{"on_connect": "on_close", "on_publish": "on_unpublish", "on_play": "on_stop"} {
				if begun, ended := len(rcv.of(begin, "")), len(rcv.of(end, "")); begun != ended || begun == 0 {
					t.Errorf("%d times %s and %d times %s; calls: %q", begun, begin, ended, end, rcv.actions(""))
				}
			}
		})
	}
}

// leftNow is how many callers went away before the answer.
func (r *receiver) leftNow() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left
}

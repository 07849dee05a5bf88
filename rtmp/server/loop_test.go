package server

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"srs/amf0"
	"srs/flv"
	"srs/rtmp"
)

// numbered is a frame that carries its number and whose size says so too.
func numbered(n int) []byte {
	b := videoFrame(n%25 == 0, 0, 200+n*37%9000)
	binary.BigEndian.PutUint32(b[6:], uint32(n))
	return b
}

// watch plays until stop says so, given how many frames came and the number of
// the last, and checks that from the keyframe it begins with every frame is
// there; with skips, that what follows a gap is a keyframe.
func watch(c *rtmp.Conn, skips bool, stop func(n, last int) bool) (int, error) {
	last := -1
	for n := 0; ; {
		m, err := c.ReadMessage()
		if err != nil {
			return n, err
		}
		if m.Type != flv.TypeVideo || flv.Sniff(m.Type, m.Body)&flv.VideoFrame == 0 {
			continue
		}
		got := int(binary.BigEndian.Uint32(m.Body[6:]))
		switch {
		case len(m.Body) != len(numbered(got)):
			return n, errors.New("a frame of a wrong size")
		case last < 0 && got%25 != 0:
			return n, errors.New("the first frame is no keyframe")
		case last >= 0 && got != last+1 && !(skips && got > last && got%25 == 0):
			return n, errors.New("a frame is missing")
		}
		last = got
		if n++; stop(n, got) {
			return n, nil
		}
	}
}

// TestSenderStorm: players come, go, stop and begin again on their connection,
// leave without a word, while a stream runs. Nobody misses a frame; in the end
// nothing is left (start checks that).
func TestSenderStorm(t *testing.T) { eachEngine(t, senderStorm) }

func senderStorm(t *testing.T) {
	s := start(t, "min_latency on;")
	p := s.publish("x")
	send(t, p, 9, 0, videoHeader())
	send(t, p, 9, 0, numbered(0))
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	var published, watched atomic.Int64
	wait.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ctx.Err() == nil; n++ {
			if err := p.WriteTag(6, flv.TypeVideo, uint32(n)*40, numbered(n)); err != nil {
				t.Error(err)
				return
			}
			published.Add(1)
			<-tick.C
		}
	})
	const players, rounds = 24, 12
	var storm sync.WaitGroup
	for i := range players {
		storm.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			var c *rtmp.Conn
			for range rounds {
				if c == nil {
					var err error
					if c, err = s.tryDial("x"); err != nil {
						t.Error(err)
						return
					}
				}
				if err := c.Play(); err != nil {
					t.Errorf("play: %v", err)
					return
				}
				frames := 1 + rng.IntN(60)
				n, err := watch(c, false, func(n, _ int) bool { return n >= frames })
				watched.Add(int64(n))
				if err != nil {
					t.Errorf("after %d frames: %v", n, err)
					return
				}
				switch rng.IntN(4) {
				case 0:
					c.Close()
					c = nil
				case 1:
					c.Conn.(*net.TCPConn).SetLinger(0)
					c.Close()
					c = nil
				default:
					if err := stopAndDrain(c); err != nil {
						t.Errorf("closeStream: %v", err)
						return
					}
				}
			}
			if c != nil {
				c.Close()
			}
		})
	}
	storm.Wait()
	cancel()
	wait.Wait()
	s.eventually(func() bool { return s.server.Counters().Players == 0 }, "players stay")
	t.Logf("%d frames published, %d watched", published.Load(), watched.Load())
}

// stopAndDrain ends a play and reads up to the answer of a command behind it.
func stopAndDrain(c *rtmp.Conn) error {
	if err := c.WriteCommand("closeStream", 0.0, amf0.Null{}); err != nil {
		return err
	}
	if err := c.WriteCommand("getStreamLength", 99.0, amf0.Null{}, "x"); err != nil {
		return err
	}
	for {
		m, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if m.Type != rtmp.TypeCommand {
			continue
		}
		if cmd, err := rtmp.ParseCommand(m.Type, m.Body); err == nil && cmd.Name == rtmp.CommandResult && cmd.Transaction == 99 {
			return nil
		}
	}
}

// TestSlowAndQuickTogether: a player that reads late gets whole messages, all
// of them or from a keyframe on; its sender serves the others meanwhile.
func TestSlowAndQuickTogether(t *testing.T) { eachEngine(t, slowAndQuickTogether) }

func slowAndQuickTogether(t *testing.T) {
	s := start(t, "min_latency on; queue_length 3600;")
	p := s.publish("x")
	slow := s.dial("x")
	slow.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	if err := slow.Play(); err != nil {
		t.Fatal(err)
	}
	const frames = 1500 // more than the sockets between them hold
	var wait sync.WaitGroup
	seen := make(chan struct{}, 1<<20) // a token for each frame that a quick player has
	players := 2 * len(s.server.loops)
	for range players {
		quick := s.play("x")
		wait.Go(func() {
			n, err := watch(quick, false, func(n, _ int) bool { seen <- struct{}{}; return n == frames })
			if err != nil {
				t.Errorf("quick player, after %d frames: %v", n, err)
			}
		})
	}
	for n := range frames {
		send(t, p, 9, uint32(n)*40, numbered(n))
		if n >= 100 { // never so far ahead of them that they would be moved on
			for range players {
				<-seen
			}
		}
	}
	wait.Wait() // the quick ones are through, the slow one has not begun
	if n, err := watch(slow, true, func(_, last int) bool { return last == frames-1 }); err != nil {
		t.Errorf("slow player, after %d frames: %v", n, err)
	}
}

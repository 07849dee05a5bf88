package server

import (
	"encoding/binary"
	"testing"
	"time"

	"srs/flv"
)

// TestMergedRead: with mr a publisher is read now and then, and nothing is lost
// of what it sends, nor of its end.
func TestMergedRead(t *testing.T) {
	s := start(t, "min_latency on; publish { mr on; mr_latency 60; normal_timeout 400; }")
	p := s.publish("x")
	c := s.play("x")
	send(t, p, 9, 0, videoHeader())
	const frames = 300
	go func() {
		for n := range frames {
			p.WriteTag(6, flv.TypeVideo, uint32(n)*40, numbered(n))
		}
		p.Close()
	}()
	if n, err := watch(c, false, func(n, last int) bool { return last == frames-1 }); err != nil {
		t.Errorf("after %d frames: %v", n, err)
	}
	s.eventually(func() bool { return s.server.Counters().Publishers == 0 }, "the publisher stays")
}

// TestMergedReadLarge: a publisher that is read now and then is read wholly,
// however much came meanwhile: its rate is not bounded.
func TestMergedReadLarge(t *testing.T) {
	s := start(t, "min_latency on; publish { mr on; mr_latency 300; }")
	p := s.publish("x")
	c := s.play("x")
	const frames, size = 40, 200 << 10 // over a hundred times what one read takes: 38 s
	go func() {
		for n := range frames {
			p.WriteTag(6, flv.TypeVideo, uint32(n)*40, videoFrame(n == 0, byte(n), size))
		}
	}()
	for n := range frames {
		if m := nextMedia(t, c); len(m.Body) != size || m.Body[5] != byte(n) {
			t.Fatalf("%d bytes in place of frame %d", len(m.Body), n)
		}
	}
}

// TestMergedReadSeesTheEnd: a publisher that is read now and then and goes is
// noticed at once, with what it has sent before, when that has come.
func TestMergedReadSeesTheEnd(t *testing.T) {
	s := start(t, "min_latency on; publish { mr on; mr_latency 2500; }")
	p := s.publish("x")
	c := s.play("x")
	send(t, p, flv.TypeVideo, 0, videoFrame(true, 0, 20))
	if m := nextMedia(t, c); m.Body[5] != 0 {
		t.Fatalf("frame %d", m.Body[5])
	} // from now on it rests
	send(t, p, flv.TypeVideo, 40, videoFrame(false, 1, 20))
	send(t, p, flv.TypeVideo, 80, videoFrame(false, 2, 20))
	begun := time.Now()
	p.Close()
	s.eventually(func() bool { return s.server.Counters().Publishers == 0 }, "the publisher stays")
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("noticed after %v", took)
	}
	for n := 1; n < 3; n++ {
		if m := nextMedia(t, c); m.Body[5] != byte(n) {
			t.Errorf("frame %d in place of %d", m.Body[5], n)
		}
	}
}

// TestMergedIsNoLag: what waits for its turn (mw_latency) is nothing the player
// lags behind, however much it is; and where it is longer than two turns, it is
// sent early.
func TestMergedIsNoLag(t *testing.T) {
	for name, step := range map[string]uint32{"within a turn": 2, "longer": 20} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "mw_latency 2500;")
			p := s.publish("x")
			c := s.play("x")
			s.eventually(func() bool { return s.server.Counters().Players == 1 }, "nobody plays")
			const frames = 400 // of 9 MB, with 16 keyframes
			for n := range frames {
				b := append(numbered(n), make([]byte, 18_000)...)
				send(t, p, flv.TypeVideo, uint32(n)*step, b)
			}
			for n := range frames {
				if m := nextMedia(t, c); int(binary.BigEndian.Uint32(m.Body[6:])) != n {
					t.Fatalf("frame %d in place of %d", binary.BigEndian.Uint32(m.Body[6:]), n)
				}
			}
		})
	}
}

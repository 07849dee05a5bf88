package live

import (
	"fmt"
	"testing"
	"time"

	"srs/flv"
	"srs/rtmp/chunk"
)

// TestBell: what rings an armed bell, and when that is to be passed on. "now"
// is at once, numbers are milliseconds, with "m" where it is merging.
func TestBell(t *testing.T) {
	merged := Flush{Every: 350 * time.Millisecond}
	for _, c := range []struct {
		name  string
		flush Flush
		tags  []flv.Tag
		rings string
	}{
		{"video at once", Flush{}, []flv.Tag{key(9)}, "[now]"},
		{"audio later", Flush{}, []flv.Tag{sound(9)}, "[25]"},
		{"audio, then more audio", Flush{}, []flv.Tag{sound(9), sound(9)}, "[25]"},
		{"audio, then the video that takes it along", Flush{}, []flv.Tag{sound(9), inter(9)}, "[25 now]"},
		{"silent behind that", Flush{}, []flv.Tag{inter(9), inter(9), sound(9)}, "[now]"},
		{"headers and metadata later", Flush{}, []flv.Tag{meta("1"), videoHeader("1"), audioHeader("1")}, "[25]"},
		{"min_latency: everything at once", Flush{Immediate: true}, []flv.Tag{sound(9)}, "[now]"},
		{"min_latency is stronger", Flush{Immediate: true, Every: time.Second}, []flv.Tag{sound(9)}, "[now]"},
		{"mw_latency merges video too", merged, []flv.Tag{key(9), sound(9), inter(9)}, "[350m]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			s := usual()
			s.Flush = c.flush
			r := NewRegistry()
			p := start(t, r, s)
			var rings []string
			b := NewBell(func(d Due) {
				text := "now"
				if d.After > 0 {
					text = fmt.Sprint(d.After.Milliseconds())
				}
				if d.Merged {
					text += "m"
				}
				rings = append(rings, text)
			})
			p.stream.Hang(b)
			write(p, c.tags...)
			if len(rings) > 0 {
				t.Error("a silent bell rings")
			}
			for range 2 {
				rings = nil
				b.Arm()
				write(p, c.tags...)
				if got := fmt.Sprint(rings); got != c.rings {
					t.Errorf("rings %s, not %s", got, c.rings)
				}
			}
			rings = nil
			b.Arm()
			p.Close()
			if fmt.Sprint(rings) != "[now]" {
				t.Errorf("the end rings %v", rings)
			}
			p = start(t, r, s)
			b.Hold()
			write(p, at(0, sound(9)), at(1, sound(9)))
			p.stream.TakeDown(b)
			b.Arm()
			write(p, c.tags...)
			p.Close()
			if n := len(rings); n != 1 && !c.flush.Immediate {
				t.Errorf("rings %v when held or taken down", rings)
			}
		})
	}
}

// TestBellMissesNothing: who arms the bell and then looks sees what came
// before, or is told of it.
func TestBellMissesNothing(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	e := hear(t, r, time.Minute)
	p := start(t, r, usual())
	const n = 20_000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			p.Write(key(9))
		}
		p.Close()
	}()
	got, ended := 0, false
	deadline := time.After(time.Minute)
	e.take = func(m chunk.Message) { got++ }
	for got < n || !ended {
		e.drain()
		woken := e.wait()
		if woken == nil {
			continue
		}
		if got == n {
			break
		}
		select {
		case <-woken:
		case <-deadline:
			t.Fatalf("%d of %d came: a message rang nobody", got, n)
		}
	}
	<-done
	e.close()
}

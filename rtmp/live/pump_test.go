package live

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"srs/flv"
)

// TestWake: when a waiting player is woken. Times are milliseconds since the
// publication began.
func TestWake(t *testing.T) {
	type event struct {
		ms  int
		tag flv.Tag
	}
	talk := func(from, to, every int) (list []event) {
		for ms := from; ms < to; ms += every {
			list = append(list, event{ms, sound(9)})
		}
		return list
	}
	for _, c := range []struct {
		name   string
		flush  Flush
		events []event
		wakes  string
	}{
		{"video at once", Flush{}, []event{{10, key(9)}, {50, inter(9)}}, "10:1 50:1"},
		{"audio waits 25 ms", Flush{}, []event{{10, sound(9)}}, "35:1"},
		{"audio goes with the next video", Flush{}, []event{{10, sound(9)}, {20, inter(9)}, {21, sound(9)}}, "20:2 46:1"},
		{"the hold counts from the first", Flush{}, talk(0, 80, 10), "25:3 55:3 85:2"},
		{"headers wait too", Flush{}, []event{{0, videoHeader("1")}, {1, meta("1")}}, "25:2"},
		{"the hold ends with what ended it", Flush{}, []event{{0, sound(9)}, {5, key(9)}, {20, sound(9)}}, "5:2 45:1"},
		{"min_latency: all at once", Flush{Immediate: true}, []event{{0, sound(9)}, {3, inter(9)}, {5, meta("1")}}, "0:1 3:1 5:1"},
		{"min_latency is stronger", Flush{Immediate: true, Every: time.Second}, []event{{3, sound(9)}}, "3:1"},
		{"mw_latency merges video too", Flush{Every: 350 * time.Millisecond}, append([]event{{0, key(9)}}, talk(100, 500, 100)...), "350:4 750:1"},
		{"the end wakes", Flush{Every: time.Minute}, []event{{10, key(9)}}, "1000:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checkLeaks(t)
				s := usual()
				s.Flush = c.flush
				r := NewRegistry()
				e := hear(t, r, time.Minute)
				p := start(t, r, s)
				begun := time.Now()
				var wakes []string
				done := make(chan struct{})
				closed := make(chan struct{})
				go func() {
					defer close(done)
					for {
						if words := e.drain(); len(words) > 0 {
							wakes = append(wakes, fmt.Sprintf("%d:%d", time.Since(begun).Milliseconds(), len(words)))
						}
						woken := e.sub.Wait()
						if woken == nil {
							continue
						}
						select {
						case <-woken:
						case <-closed:
							return
						}
					}
				}()
				for _, ev := range c.events {
					time.Sleep(time.Duration(ev.ms)*time.Millisecond - time.Since(begun))
					synctest.Wait()
					p.Write(at(uint32(ev.ms), ev.tag))
				}
				time.Sleep(time.Second - time.Since(begun))
				p.Close()
				synctest.Wait()
				close(closed)
				<-done
				want(t, wakes, c.wakes)
				e.sub.Close()
			})
		})
	}
}

// TestWaitSeesWhatCame: between Next and Wait nothing is lost, whoever is first.
func TestWaitSeesWhatCame(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	e := hear(t, r, time.Minute)
	p := start(t, r, usual())
	if run := e.next(); run != nil {
		t.Fatal("something is there")
	}
	p.Write(key(9))
	if e.sub.Wait() != nil {
		t.Error("Wait has not seen what came")
	}
	if run := e.next(); run == nil {
		t.Error("nothing is there")
	}
	if run := e.next(); run != nil {
		t.Fatal("it is there twice")
	}
	p.Close()
	if e.sub.Wait() != nil {
		t.Error("Wait has not seen the next block")
	}
	if e.next() != nil || e.sub.Wait() == nil {
		t.Error("Wait does not come to rest")
	}
	e.sub.Close()
}

// TestSweep: once a second the pump calls those that lag, and no others.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checkLeaks(t)
		r := NewRegistry()
		calls := 0
		slow := r.Subscribe(testKey, time.Second, 4096, func() { calls++ })
		fast := r.Subscribe(testKey, time.Second, 4096, func() { t.Error("the fast player lags") })
		p := start(t, r, usual())
		for i := range uint32(75) { // 3 s and a little; a keyframe each second
			frame := inter(9)
			if i%25 == 0 {
				frame = key(9)
			}
			p.Write(at(i*40, frame))
			synctest.Wait()
			if i == 0 {
				slow.Next()
			}
			for run, _ := fast.Next(); run != nil; run, _ = fast.Next() {
			}
			time.Sleep(40 * time.Millisecond)
		}
		p.Close()
		if calls != 2 { // at 2 and 3 s; at 1 s it is not late yet
			t.Errorf("%d calls", calls)
		}
		slow.Close()
		fast.Close()
	})
}

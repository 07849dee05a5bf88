package server

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestTrimOfStreams: what streams let go of counts once, from the most they held.
func TestTrimOfStreams(t *testing.T) {
	var m trimmer
	defer m.stop()
	for _, step := range []struct {
		saw, fell int64
		freed     int
	}{
		{100, 100, 0}, {700, 600, 100}, {0, 600, 100}, {0, 900, 100}, {0, 50, 950}, {0, 0, 1000},
	} {
		m.saw(step.saw)
		if m.fell(step.fell); m.freed != step.freed {
			t.Errorf("%+v: %d bytes", step, m.freed)
		}
	}
}

func TestTrimWaitsAndIsRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m trimmer
		last := func() time.Time {
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.last
		}
		// given checks that memory is given back at that time from now, not before.
		given := func(in time.Duration) {
			t.Helper()
			before := last()
			time.Sleep(in - time.Millisecond) // of the bubble
			if last() != before {
				t.Errorf("given back before %v are over", in)
			}
			time.Sleep(time.Millisecond)
			if last() == before {
				t.Errorf("not given back after %v", in)
			}
		}
		m.add(trimOver - 1)
		if m.timer != nil {
			t.Error("due below the bound")
		}
		m.add(1)
		m.add(trimOver)
		given(trimDelay)
		if m.freed != 0 || m.timer != nil {
			t.Errorf("afterwards %d bytes, timer %v", m.freed, m.timer)
		}
		m.add(trimOver)
		given(trimEvery)
		time.Sleep(time.Hour)
		m.add(trimOver)
		given(trimDelay)
		m.add(trimOver)
		m.stop()
		before := last()
		time.Sleep(time.Hour)
		if last() != before {
			t.Error("the trimmer worked after stop")
		}
	})
}

package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// A trend samples what a process holds while it works, and finds what grows.
type trend struct {
	pid      int          // 0: not known, nothing is sampled
	counters *srsCounters // nil: it tells nothing of itself
	begun    time.Time
	done     chan struct{}
	stop     func() // and wait; may be called again

	// Owned by the sampling goroutine until stop has returned.
	every   time.Duration
	samples []sample
	untold  error // of the last time it was asked for its counters
}

// A sample is what a process holds at a time.
type sample struct {
	Seconds float64 `json:"s"` // since sampling began
	RSS     float64 `json:"rss_mb"`
	Threads float64 `json:"threads"`
	Files   float64 `json:"files"` // open descriptors

	Goroutines float64 `json:"goroutines,omitempty"` // 0: not asked for
}

// Of a long run one sample in two, in four and so on is kept.
const (
	sampleTime = 200 * time.Millisecond
	maxSamples = 2000
	askEvery   = 5 // of so many samples has goroutines, and the last
)

// newTrend begins to sample; counters may be nil.
func newTrend(pid int, counters *srsCounters) *trend {
	t := &trend{pid: pid, counters: counters, begun: time.Now(), every: sampleTime, done: make(chan struct{})}
	over := make(chan struct{})
	t.stop = sync.OnceFunc(func() { close(over); <-t.done })
	go t.run(over)
	return t
}

func (t *trend) run(over <-chan struct{}) {
	defer close(t.done)
	if t.pid == 0 {
		return
	}
	ticker := time.NewTicker(t.every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		t.take(n%askEvery == 0)
		ticker.Reset(t.every)
		select {
		case <-ticker.C:
		case <-over:
			t.take(true)
			return
		}
	}
}

// take takes a sample, of a process that has not ended: others will notice.
func (t *trend) take(ask bool) {
	s, err := takeSample(t.pid)
	if err != nil {
		return
	}
	s.Seconds = time.Since(t.begun).Seconds()
	if ask && t.counters != nil {
		n, err := t.counters.goroutines()
		s.Goroutines, t.untold = float64(n), err
	}
	t.add(s)
}

func (t *trend) add(s sample) {
	if len(t.samples) == maxSamples {
		for i := range maxSamples / 2 {
			t.samples[i] = t.samples[2*i+1]
		}
		t.samples = t.samples[:maxSamples/2]
		t.every *= 2
	}
	t.samples = append(t.samples, s)
}

func takeSample(pid int) (sample, error) {
	u, err := readProc(pid)
	if err != nil {
		return sample{}, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return sample{}, err
	}
	return sample{RSS: float64(u.rss) / 1e6, Threads: float64(u.threads), Files: float64(len(files))}, nil
}

// slope is how much a value grows per second, by least squares over the samples
// since a time; from and to are the fitted values at both ends.
func slope(samples []sample, since float64, of func(sample) float64) (perSecond, from, to float64) {
	var n, sx, sy, sxx, sxy, first, last float64
	for _, s := range samples {
		if s.Seconds < since {
			continue
		}
		if n == 0 {
			first = s.Seconds
		}
		x, y := s.Seconds-first, of(s)
		n, sx, sy, sxx, sxy, last = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y, x
	}
	if d := n*sxx - sx*sx; d > 0 {
		perSecond = (n*sxy - sx*sy) / d
	}
	if n > 0 {
		from = (sy - perSecond*sx) / n
	}
	return perSecond, from, from + perSecond*last
}

func rssOf(s sample) float64   { return s.RSS }
func filesOf(s sample) float64 { return s.Files }

// told are the samples that have goroutines.
func (t *trend) told() []sample {
	return slices.DeleteFunc(slices.Clone(t.samples), func(s sample) bool { return s.Goroutines == 0 })
}

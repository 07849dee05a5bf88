package main

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// TestBuckets: every value lies in its bucket, buckets follow each other
// without a hole and none is wider than a 32nd of its values.
func TestBuckets(t *testing.T) {
	next := uint64(0)
	for i := range (maxExponent + 1) * subBuckets {
		low, high := next, upper(i)
		if bucket(low) != i || bucket(high) != i {
			t.Fatalf("bucket %d: %d to %d lie in %d and %d", i, low, high, bucket(low), bucket(high))
		}
		if (high-low)*subBuckets > low && i >= subBuckets {
			t.Fatalf("bucket %d: %d to %d is too wide", i, low, high)
		}
		next = high + 1
	}
	if last := (maxExponent+1)*subBuckets - 1; bucket(1<<63) != last || bucket(1<<64-1) != last {
		t.Error("what is too large is not in the last bucket")
	}
}

func TestPercentiles(t *testing.T) {
	for name, c := range map[string]struct {
		values         []time.Duration
		p50, p99, p100 time.Duration
	}{
		"nothing":  {nil, 0, 0, 0},
		"one":      {[]time.Duration{7 * time.Microsecond}, 7 * time.Microsecond, 7 * time.Microsecond, 7 * time.Microsecond},
		"negative": {[]time.Duration{-time.Second}, 0, 0, 0},
		"two":      {[]time.Duration{time.Microsecond, 9 * time.Microsecond}, time.Microsecond, 9 * time.Microsecond, 9 * time.Microsecond},
		"odd one":  {append(make([]time.Duration, 99), time.Hour), 0, 0, time.Hour},
		"two odd":  {append(make([]time.Duration, 98), time.Hour, time.Hour), 0, time.Hour, time.Hour},
		"too long": {[]time.Duration{48 * time.Hour}, 48 * time.Hour, 48 * time.Hour, 48 * time.Hour},
	} {
		var h histogram
		for _, d := range c.values {
			h.add(d)
		}
		for p, want := range map[float64]time.Duration{50: c.p50, 99: c.p99, 100: c.p100} {
			got := h.percentile(p)
			if got < want && got < 19*time.Hour || got > want+want/subBuckets {
				t.Errorf("%s: p%v = %v, want %v", name, p, got, want)
			}
		}
		if h.max() != c.p100 {
			t.Errorf("%s: max %v", name, h.max())
		}
	}
}

// TestPercentilesAgainstSorting compares with the exact answer.
func TestPercentilesAgainstSorting(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	var h histogram
	exact := make([]time.Duration, 10000)
	for i := range exact {
		exact[i] = time.Duration(source.ExpFloat64()*20000) * time.Microsecond
	}
	var adders sync.WaitGroup // also: it may be used from many goroutines
	for part := range slices.Chunk(exact, 2500) {
		adders.Go(func() {
			for _, d := range part {
				h.add(d)
			}
		})
	}
	adders.Wait()
	slices.Sort(exact)
	for _, p := range []float64{1, 50, 90, 99, 99.9, 100} {
		want := exact[max(0, int(p/100*10000+0.5)-1)]
		if got := h.percentile(p); got < want || got > want+want/subBuckets+time.Microsecond {
			t.Errorf("p%v = %v, want %v", p, got, want)
		}
	}
}

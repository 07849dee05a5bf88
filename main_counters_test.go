package main

import (
	"math"
	"runtime/metrics"
	"testing"
	"time"
)

// TestAtMost: the bound of the bucket in which a share of the values is full.
func TestAtMost(t *testing.T) {
	h := &metrics.Float64Histogram{
		Counts:  []uint64{0, 98, 1, 0, 1},
		Buckets: []float64{0, 1e-6, 1e-5, 1e-4, 1e-3, math.Inf(1)},
	}
	for share, want := range map[float64]time.Duration{0.5: 10 * time.Microsecond, 0.99: 100 * time.Microsecond, 1: time.Millisecond} {
		if got := atMost(h, share); got != want {
			t.Errorf("%v: %v, want %v", share, got, want)
		}
	}
	if got := atMost(&metrics.Float64Histogram{Counts: []uint64{0}, Buckets: []float64{0, 1}}, 1); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

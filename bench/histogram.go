package main

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// A histogram counts durations in buckets that grow with the value: 32 to each
// power of two of microseconds, so that a percentile is at most 3 % too large.
// It takes 8 KB, however much is added, and is safe for concurrent use.
type histogram struct {
	buckets [(maxExponent + 1) * subBuckets]atomic.Uint64
	count   atomic.Uint64
	largest atomic.Int64 // µs
}

const (
	subBits     = 5
	subBuckets  = 1 << subBits
	maxExponent = 31 // 2^36 µs: 19 hours
)

// bucket gives the place of a value: below 32 µs one for each microsecond,
// then the exponent and the five bits behind the leading one.
func bucket(us uint64) int {
	if us < subBuckets {
		return int(us)
	}
	e := bits.Len64(us) - subBits // 1 for 32 to 63
	if e > maxExponent {
		return (maxExponent+1)*subBuckets - 1
	}
	return e*subBuckets + int(us>>(e-1)) - subBuckets
}

// upper is the largest value of a bucket, µs.
func upper(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	e := i / subBuckets
	return uint64(i%subBuckets+subBuckets+1)<<(e-1) - 1
}

// add counts a duration; below zero, as between two clocks, counts as zero.
func (h *histogram) add(d time.Duration) {
	us := max(0, d.Microseconds())
	h.buckets[bucket(uint64(us))].Add(1)
	h.count.Add(1)
	for {
		old := h.largest.Load()
		if us <= old || h.largest.CompareAndSwap(old, us) {
			return
		}
	}
}

// percentile returns the smallest bound that p percent of what was added do
// not exceed; 0 when nothing was added.
func (h *histogram) percentile(p float64) time.Duration {
	n := h.count.Load()
	if n == 0 {
		return 0
	}
	// The bit less keeps 99.9 % of 10,000 from becoming 9990.000000000002, and
	// that 9991.
	rank := min(uint64(max(math.Ceil(p/100*float64(n)-1e-6), 1)), n)
	var seen uint64
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); seen >= rank {
			return min(time.Duration(upper(i))*time.Microsecond, h.max())
		}
	}
	return h.max()
}

func (h *histogram) max() time.Duration { return time.Duration(h.largest.Load()) * time.Microsecond }

// merge adds what another one counted.
func (h *histogram) merge(other *histogram) {
	for i := range other.buckets {
		if n := other.buckets[i].Load(); n > 0 {
			h.buckets[i].Add(n)
		}
	}
	h.count.Add(other.count.Load())
	h.largest.Store(max(h.largest.Load(), other.largest.Load()))
}

// reset forgets what was counted; what is added meanwhile may be forgotten, too.
func (h *histogram) reset() {
	for i := range h.buckets {
		h.buckets[i].Store(0)
	}
	h.count.Store(0)
	h.largest.Store(0)
}

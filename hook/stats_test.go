package hook

import (
	"testing"
	"time"
)

// No share of the calls is said to have taken longer than the longest.
func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		took     []time.Duration
		p50, p99 time.Duration
	}{
		{nil, 0, 0},
		{[]time.Duration{5720 * time.Microsecond}, 5720 * time.Microsecond, 5720 * time.Microsecond},
		{[]time.Duration{time.Millisecond, 3 * time.Millisecond, 5720 * time.Microsecond}, 4 * time.Millisecond, 5720 * time.Microsecond},
		{[]time.Duration{time.Hour, time.Minute, time.Second}, time.Hour, time.Hour},
	} {
		var sum tally
		ev := EventStats{}
		for _, d := range c.took {
			sum.timed(Delivered, d)
		}
		for i := range ev.Latency {
			ev.Latency[i] = sum.latency[i].Load()
		}
		ev.Longest = time.Duration(sum.longest.Load())
		if p50, p99 := ev.Quantile(0.5), ev.Quantile(0.99); p50 != c.p50 || p99 != c.p99 {
			t.Errorf("%v: p50 %v, p99 %v", c.took, p50, p99)
		}
	}
}

package hook

import (
	"math/bits"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// An Outcome is what became of a call, or of an event.
type Outcome uint8

// The outcomes. Of a gate each call has one of the first three; of a notice
// the last has one of the others, and each before it is a Retried.
const (
	Accepted  Outcome = iota // yes
	Denied                   // no
	Undecided                // no answer that decides, or not asked
	Delivered                // the endpoint took the notice
	Objected                 // it took it, with an answer that would refuse a gate
	Retried                  // it did not take it; there is another try
	Failed                   // it did not take it; there is none
	Dropped                  // given up without a call: a bound, or the stop
	outcomes
)

func (o Outcome) String() string {
	return [...]string{"accepted", "denied", "undecided", "delivered", "objected", "retried", "failed", "dropped"}[o]
}

// actions numbers the events, for arrays.
var actions = [...]Action{OnConnect, OnClose, OnPublish, OnUnpublish, OnPlay, OnStop, OnDVR}

func (a Action) index() int {
	for i, b := range actions {
		if a == b {
			return i
		}
	}
	panic("hook: no such action: " + string(a))
}

// Buckets of a latency histogram: bucket i holds calls of up to 250 µs << i, the
// last one all others.
const (
	buckets     = 18
	firstBucket = 250 * time.Microsecond
)

func bucketOf(d time.Duration) int {
	return min(bits.Len64(uint64(max(d-1, 0)/firstBucket)), buckets-1)
}

// BucketLimit is the longest latency that bucket i holds.
func BucketLimit(i int) time.Duration { return firstBucket << i }

// tally counts one kind of event at one endpoint.
type tally struct {
	outcomes [outcomes]atomic.Uint64
	latency  [buckets]atomic.Uint64
	longest  atomic.Int64 // ns
}

// count counts what was decided without a call.
func (t *tally) count(o Outcome) { t.outcomes[o].Add(1) }

// timed counts a call. Whoever sees it in a bucket sees a longest that is as long.
func (t *tally) timed(o Outcome, took time.Duration) {
	t.count(o)
	for {
		was := t.longest.Load()
		if int64(took) <= was || t.longest.CompareAndSwap(was, int64(took)) {
			break
		}
	}
	t.latency[bucketOf(took)].Add(1)
}

// EndpointStats is one endpoint, as it is now.
type EndpointStats struct {
	Endpoint    string        // scheme, host and port
	BreakerOpen bool          // gates are decided without it
	Unanswered  bool          // it does not answer notices: they wait
	Throttled   bool          // it answers notices with "later": they wait
	GateVhosts  int           // whose own rules fail at it: their gates are decided without it
	Vhosts      int           // whose own rules fail at it: their notices wait
	Running     int           // calls under way
	WaitingGate int           // gates that wait for a worker
	Pending     int           // notices not delivered
	Bytes       int           // of them
	Oldest      time.Duration // age of the oldest of them
	Events      []EventStats  // of those that happened
}

// EventStats is one kind of event at one endpoint.
type EventStats struct {
	Action   Action
	Outcomes [outcomes]uint64
	Latency  [buckets]uint64 // of calls, a gate's with the wait before it; see BucketLimit
	Longest  time.Duration
}

// Args are the numbers as a log line shows them.
func (s *EndpointStats) Args() []any {
	breaker, notices := "closed", "sent"
	switch {
	case s.BreakerOpen:
		breaker = "open"
	case s.GateVhosts > 0:
		breaker = "vhost_fails"
	}
	switch {
	case s.Unanswered:
		notices = "unanswered"
	case s.Throttled:
		notices = "later"
	case s.Vhosts > 0:
		notices = "vhost_fails"
	}
	return []any{
		"endpoint", s.Endpoint, "breaker", breaker, "notices", notices, "running", s.Running, "gates_waiting", s.WaitingGate,
		"pending", s.Pending, "bytes", s.Bytes, "oldest", s.Oldest.Round(time.Millisecond).String(),
	}
}

// Args are the numbers as a log line shows them: what happened, and how long
// the calls took.
func (s *EventStats) Args() []any {
	args := []any{"action", string(s.Action)}
	for o, n := range s.Outcomes {
		if n > 0 {
			args = append(args, Outcome(o).String(), n)
		}
	}
	if p50 := s.Quantile(0.5); p50 > 0 {
		args = append(args, "p50", shown(p50), "p90", shown(s.Quantile(0.9)), "p99", shown(s.Quantile(0.99)), "max", shown(s.Longest))
	}
	return args
}

func shown(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// Count returns how often an outcome happened.
func (s *EventStats) Count(o Outcome) uint64 { return s.Outcomes[o] }

// Quantile returns a latency that a share q of the calls did not exceed, as
// exactly as the buckets are, and none that is above the longest.
func (s *EventStats) Quantile(q float64) time.Duration {
	var all, seen uint64
	for _, n := range s.Latency {
		all += n
	}
	for i, n := range s.Latency {
		seen += n
		if n > 0 && float64(seen) >= q*float64(all) {
			if i == buckets-1 {
				return s.Longest
			}
			return min(BucketLimit(i), s.Longest)
		}
	}
	return 0
}

// Endpoints returns what is known of each endpoint, by name.
func (e *Engine) Endpoints() []EndpointStats {
	vhosts := e.failingVhosts()
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []EndpointStats
	now := time.Now()
	for _, ep := range e.endpoints {
		s := EndpointStats{
			Endpoint: ep.key, BreakerOpen: ep.gateBreaker.open, Unanswered: ep.breaker.open, Throttled: ep.throttle.open,
			GateVhosts: vhosts[ep.key], Pending: ep.pending, Bytes: ep.bytes,
		}
		if ep.oldest != nil {
			s.Oldest = now.Sub(time.UnixMilli(ep.oldest.told))
		}
		for _, l := range ep.lanes {
			s.Running += l.running
			if l.breaker.open {
				s.Vhosts++
			}
		}
		for _, g := range ep.gates {
			s.Running += g.running
			s.WaitingGate += g.waiting.Len()
		}
		for i := range ep.tallies {
			t := &ep.tallies[i]
			ev := EventStats{Action: actions[i]}
			any := uint64(0)
			for o := range ev.Outcomes {
				ev.Outcomes[o] = t.outcomes[o].Load()
				any += ev.Outcomes[o]
			}
			for b := range ev.Latency {
				ev.Latency[b] = t.latency[b].Load()
			}
			ev.Longest = time.Duration(t.longest.Load()) // behind them: see timed
			if any > 0 {
				s.Events = append(s.Events, ev)
			}
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b EndpointStats) int { return strings.Compare(a.Endpoint, b.Endpoint) })
	return all
}

package hook

import (
	"math/rand/v2"
	"time"
)

// Our own choices for endpoints that fail. The longest wait, jitter included,
// is under 5 s: so soon does an endpoint that is back hear of it.
const (
	breakerFails = 8 // in a row open a breaker
	minProbe     = 500 * time.Millisecond
	maxProbe     = 4 * time.Second
	minBackoff   = 250 * time.Millisecond
	maxBackoff   = 60 * time.Second // of a notice that the endpoint does not take, while it takes others
	jitter       = 0.2              // of every wait, up and down
)

// A breaker keeps calls from an endpoint that has failed again and again.
//
//	closed --breakerFails in a row--> open --a success--> closed
//
// While it is open one call passes now and then, to see.
type breaker struct {
	// Guarded by Engine.mu.
	fails int
	open  bool
	wait  time.Duration
	until time.Time   // the next call may pass
	timer *time.Timer // fires then
}

// admit reports whether a call may pass. While the breaker is open that takes
// the one chance there is until the next.
func (b *breaker) admit(now time.Time) bool {
	switch {
	case !b.open:
		return true
	case now.Before(b.until):
		return false
	}
	b.postpone(now)
	return true
}

// shut reports whether a call would not pass.
func (b *breaker) shut(now time.Time) bool { return b.open && now.Before(b.until) }

func (b *breaker) postpone(now time.Time) {
	b.until = now.Add(spread(b.wait))
	b.wait = min(2*b.wait, maxProbe)
}

// failed counts a failure and reports whether it opened the breaker.
func (b *breaker) failed(now time.Time) bool {
	b.fails++
	if b.open || b.fails < breakerFails {
		return false
	}
	b.open, b.wait = true, minProbe
	b.postpone(now)
	return true
}

// worked counts a success and reports whether it closed the breaker.
func (b *breaker) worked() bool {
	was := b.open
	b.fails, b.open = 0, false
	b.stop()
	return was
}

// stop ends the wait for the next chance.
func (b *breaker) stop() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}

// backoff is how long the n-th repeat waits, counted from 1.
func backoff(n int, most time.Duration) time.Duration {
	d := minBackoff << min(n-1, 16)
	return spread(min(d, most))
}

// spread adds jitter.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + jitter*(2*rand.Float64()-1)))
}

package main

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A turnstile keeps so many clients of a crowd coming and going: when one has
// ended, the next one comes.
type turnstile struct {
	// Static after construction.
	crowd *crowd
	rate  float64                                   // of those that come, per second, at most; 0: any
	one   func(turn int, ended func(error)) *client // makes the next

	// Owned by the crowd.
	next int64 // when the next one may come, ns since 1970; rate 0: no matter
	turn int
	over bool

	came   atomic.Int64 // and went, as they should
	failed atomic.Int64
	texts  []string // of the first failures; read when the crowd has left
}

const (
	failurePause = 100 * time.Millisecond // before another one is tried
	maxTexts     = 10                     // failures that are told of
)

// open lets the first ones in, so many.
func (t *turnstile) open(n int) {
	t.crowd.do(func() {
		t.next = time.Now().UnixNano()
		for range n {
			t.admit(0)
		}
	})
}

// shut lets nobody in any more.
func (t *turnstile) shut() { t.crowd.do(func() { t.over = true }) }

// admit has the next one come, after a pause and when the rate allows it.
func (t *turnstile) admit(pause time.Duration) {
	if t.over || t.crowd.closing {
		return
	}
	at := time.Now().Add(pause).UnixNano()
	if t.rate > 0 {
		t.next = max(t.next, at-int64(time.Second)) // a second's arrears are made good
		at = max(at, t.next)
		t.next += int64(float64(time.Second) / t.rate)
	}
	c := t.one(t.turn, t.ended)
	t.turn++
	t.crowd.joinAt(c, at)
}

// ended goes on behind one that went, or did not get in.
func (t *turnstile) ended(err error) {
	if err == nil {
		t.admit(0)
		return
	}
	if t.failed.Add(1) <= maxTexts {
		t.texts = append(t.texts, err.Error())
	}
	t.admit(failurePause)
}

// line says how visitors fare so far.
func (t *turnstile) line(p *party) string {
	return fmt.Sprintf("%d came and went, %d failed, join p50 %.1f ms, p99 %.1f ms", t.came.Load(), t.failed.Load(),
		milliseconds(p.join.percentile(50)), milliseconds(p.join.percentile(99)))
}

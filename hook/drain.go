package hook

import (
	"log/slog"
	"time"
)

// A drain is what waits for an endpoint when it takes notices again, or when the
// server starts: it is told once when all of that is gone. Guarded by Engine.mu.
type drain struct {
	last    *item     // the newest of what waited that is left; nil: there is no drain
	before  int64     // what was told up to then waited, ms since 1970
	begun   time.Time // the drain
	since   time.Time // the oldest of it was told
	count   int       // delivered
	dropped int       // given up

	over *drain // not logged yet
}

// drainLocked begins with all that waits now. A drain that is under way goes on
// with what has come since.
func (ep *endpoint) drainLocked() {
	if ep.newest == nil {
		return
	}
	d, now := &ep.drain, time.Now()
	if d.last == nil {
		*d = drain{begun: now, since: time.UnixMilli(ep.oldest.told), over: d.over}
	}
	d.last, d.before = ep.newest, now.UnixMilli()
}

// drainedLocked notes that an item is finished, before it leaves the endpoint's
// order of age.
func (ep *endpoint) drainedLocked(it *item, o Outcome) {
	d := &ep.drain
	if d.last == nil || it.told > d.before {
		return
	}
	if o == Dropped {
		d.dropped++
	} else {
		d.count++
	}
	if it == d.last {
		d.last = it.older
	}
	if d.last == nil {
		whole := *d
		d.over = &whole
	}
}

// takeDrainLocked returns the drain that is over and not logged yet.
func (ep *endpoint) takeDrainLocked() *drain {
	d := ep.drain.over
	ep.drain.over = nil
	return d
}

// log writes the one line about a drain.
func (d *drain) log(log *slog.Logger, endpoint string) {
	if d == nil {
		return
	}
	args := []any{
		"endpoint", endpoint, "count", d.count, "waited", time.Since(d.since).Round(time.Second).String(),
		"took", time.Since(d.begun).Round(time.Millisecond).String(),
	}
	if d.dropped > 0 {
		args = append(args, "dropped", d.dropped)
	}
	log.Info("http hook events that waited are delivered", args...)
}

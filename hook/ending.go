package hook

import (
	"context"
	"time"
)

// An endKey names a stream as one endpoint knows it. Two streams with one hash
// wait for each other's ends, which is harmless.
type endKey struct {
	stream  uint64
	restart bool // of the time before this start: begins of any kind wait
}

// An ending is what one endpoint still has to hear of a stream, linked by
// item.peer in the order told.
type ending struct{ first, last *item }

// A wait is that gates wait for an ending.
type wait struct {
	heard chan struct{} // closed when there is nothing left of it
	gates int
}

// awaitLocked has the gates of a stream wait for an item.
func (ep *endpoint) awaitLocked(it *item, key endKey) {
	it.end, it.restart, it.awaited = key.stream, key.restart, true
	d := ep.ends[key]
	if d.last != nil {
		d.last.peer = it
	} else {
		d.first = it
	}
	d.last = it
	ep.ends[key] = d
}

// endHeardLocked notes that an item was handed over, or given up. It is among
// the first: they are heard about in the order told.
func (ep *endpoint) endHeardLocked(it *item) {
	key := endKey{it.end, it.restart}
	d := ep.ends[key]
	var before *item
	for at := d.first; at != it; at = at.peer {
		before = at
	}
	if before != nil {
		before.peer = it.peer
	} else {
		d.first = it.peer
	}
	if d.last == it {
		d.last = before
	}
	it.peer, it.awaited = nil, false
	ep.ends[key] = d
	if d.first == nil {
		delete(ep.ends, key)
		if w := ep.waits[key]; w != nil {
			delete(ep.waits, key)
			close(w.heard)
		}
	}
}

// awaitEnds waits until an endpoint heard of the ends that come before a gate of
// a stream: before on_publish that of its last publish, before both those of
// what a killed server left. They are moved ahead of other notices, and past the
// breakers of those.
func (e *Engine) awaitEnds(ctx context.Context, ep *endpoint, ev *Event, rules *Rules) *Refusal {
	if ev.Action == OnConnect {
		return nil
	}
	stream := e.hash(ev.streamKey())
	for _, restart := range []bool{true, false} {
		if !restart && ev.Action != OnPublish {
			continue
		}
		key := endKey{stream, restart}
		e.mu.Lock()
		if ep.ends[key].first == nil {
			e.mu.Unlock()
			continue
		}
		if ep.gateBreaker.shut(time.Now()) || ep.ownLocked(ev.Vhost, rules).open {
			e.mu.Unlock()
			return &Refusal{Reason: ReasonBreaker}
		}
		w := ep.waits[key]
		if w == nil {
			w = &wait{heard: make(chan struct{})}
			ep.waits[key] = w
		}
		w.gates++
		for it := ep.ends[key].first; it != nil; it = it.peer {
			e.hurryLocked(it)
		}
		failing := ep.gateFailing
		e.mu.Unlock()
		r := e.await(ctx, hope{ep, ev.Vhost, rules, failing}, w.heard, "the end of the stream's last publish is not delivered yet (on_unpublish)")
		e.mu.Lock()
		if r != nil {
			first := ep.ends[key].first
			r.pending(ep.breaker.open && first != nil && first.line.silent)
		}
		if w.gates--; w.gates == 0 && ep.waits[key] == w {
			delete(ep.waits, key)
			for it := ep.ends[key].first; it != nil; it = it.peer {
				e.calmLocked(it)
			}
		}
		e.mu.Unlock()
		if r != nil {
			return r
		}
	}
	return nil
}

// AwaitEnds waits until the endpoints of an on_publish have heard of the end of
// the stream's last publish, as Ask does; others hear of it in their own time. It
// is for a publish whose on_publish was accepted before that end: a takeover.
// Rules.Timeout bounds it, and an endpoint that fails; then it is a *Refusal,
// unless Rules.AllowOnFail passes that over.
func (c *Client) AwaitEnds(ctx context.Context, ev Event) error {
	e := c.engine
	rules, urls := c.rules(&ev)
	if !rules.on() {
		return nil
	}
	ctx, cancel := e.within(ctx, rules)
	defer cancel()
	for _, raw := range urls {
		e.mu.Lock()
		t := e.targetLocked(raw)
		ep := e.endpointLocked(t.key)
		e.mu.Unlock()
		r := e.awaitEnds(ctx, ep, &ev, rules)
		if r != nil && !(r.Undecided() && rules.AllowOnFail) {
			r.Action, r.URL = ev.Action, t.masked
			return r
		}
	}
	return nil
}

// A hope is what a gate waits with: that its endpoint does not fail it.
type hope struct {
	ep      *endpoint
	vhost   string
	rules   *Rules
	failing <-chan struct{} // the endpoint's gateFailing when there was hope
}

// await waits for c, as long as there is hope.
func (e *Engine) await(ctx context.Context, h hope, c <-chan struct{}, why string) *Refusal {
	for {
		select {
		case <-c:
			return nil
		case <-h.failing:
			e.mu.Lock()
			fails := h.ep.failsLocked(h.vhost, h.rules)
			h.failing = h.ep.gateFailing
			e.mu.Unlock()
			if fails {
				return &Refusal{Reason: ReasonBreaker, Detail: why}
			}
		case <-ctx.Done():
			r := ended(ctx)
			r.Detail = why
			return r
		}
	}
}

package hook

import (
	"context"
	"slices"
)

// An endKey names a stream as one endpoint knows it. Two streams with one hash
// wait for each other's ends, which is harmless.
type endKey struct {
	stream  uint64
	restart bool // of the time before this start: begins of any kind wait
}

// An ending is what one endpoint still has to hear of a stream before something
// new of it. Guarded by Engine.mu.
type ending struct {
	key   endKey
	items []*item
	heard chan struct{} // closed when items is empty
}

// awaitLocked has the gates of a stream wait for an item.
func (e *Engine) awaitLocked(ep *endpoint, it *item, key endKey) {
	d := ep.ends[key]
	if d == nil {
		d = &ending{key: key, heard: make(chan struct{})}
		ep.ends[key] = d
	}
	d.items = append(d.items, it)
	it.ending = d
}

// heardLocked notes that an item was handed over, or given up.
func (d *ending) heardLocked(ep *endpoint, it *item) {
	i := slices.Index(d.items, it)
	d.items = slices.Delete(d.items, i, i+1)
	if len(d.items) == 0 {
		delete(ep.ends, d.key)
		close(d.heard)
	}
}

// awaitEnds waits until an endpoint heard of the ends that come before a gate of
// a stream: before on_publish that of its last publish, before both those of
// what a killed server left. They are moved ahead of other notices.
func (e *Engine) awaitEnds(ctx context.Context, ep *endpoint, ev *Event) *Refusal {
	if ev.Action == OnConnect {
		return nil
	}
	stream := e.hash(ev.streamKey())
	for _, restart := range []bool{true, false} {
		if !restart && ev.Action != OnPublish {
			continue
		}
		e.mu.Lock()
		d := ep.ends[endKey{stream, restart}]
		if d == nil {
			e.mu.Unlock()
			continue
		}
		for _, it := range slices.Clone(d.items) {
			e.hurryLocked(it.line)
		}
		opened := ep.opened
		e.mu.Unlock()
		if r := await(ctx, d.heard, opened, "the last end of the stream is not delivered yet"); r != nil {
			return r
		}
	}
	return nil
}

// await waits for c. A nil opened says that the breaker is open, a closed one
// that it has opened.
func await(ctx context.Context, c, opened <-chan struct{}, why string) *Refusal {
	if opened == nil {
		// Somebody's turn to see whether the endpoint is back: it may be this one.
		select {
		case <-c:
			return nil
		case <-ctx.Done():
		}
	} else {
		select {
		case <-c:
			return nil
		case <-opened:
			return &Refusal{Reason: ReasonBreaker, Detail: why}
		case <-ctx.Done():
		}
	}
	r := ended(ctx)
	r.Detail = why
	return r
}

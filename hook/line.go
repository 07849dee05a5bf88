package hook

import (
	"math"
	"slices"
)

// A line keeps the order of what belongs together: one client, or the files of
// one stream. Its first item is in work, the others wait. Guarded by Engine.mu.
//
//	gate:   waiting -> turn closed -> finished by Ask
//	notice: waiting -> in a lane -> under way -> (next URL: in a lane) -> finished
type line struct {
	items  []*item
	ticket *ticket   // of the first item, if that is a notice
	urgent bool      // a gate waits for an end in here: go first in every lane
	file   streamKey // set if Engine.files holds the line
}

// An item is a notice, or the place of a gate.
type item struct {
	notice *notice
	turn   chan struct{} // gate: closed by advanceLocked when it is first
}

// A streamKey names a stream.
type streamKey struct{ vhost, app, stream string }

func (ev *Event) streamKey() streamKey { return streamKey{ev.Vhost, ev.App, ev.Stream} }

func (e *Engine) joinLocked(l *line, it *item) {
	l.items = append(l.items, it)
	if len(l.items) == 1 {
		e.advanceLocked(l)
	}
}

// removeLocked takes an item out, wherever it stands.
func (e *Engine) removeLocked(l *line, it *item) {
	i := slices.Index(l.items, it)
	if i < 0 {
		return
	}
	if i > 0 {
		l.items = slices.Delete(l.items, i, i+1)
		return
	}
	if l.ticket != nil {
		t := l.ticket
		l.ticket = nil
		e.leaveLocked(t)
	}
	l.items[0] = nil
	l.items = l.items[1:]
	e.advanceLocked(l)
}

// advanceLocked puts the first item to work.
func (e *Engine) advanceLocked(l *line) {
	switch {
	case len(l.items) == 0:
		l.items, l.urgent = nil, false
		if l.file != (streamKey{}) {
			delete(e.files, l.file)
		}
	case l.items[0].notice == nil:
		close(l.items[0].turn)
	default:
		e.offerLocked(l)
	}
}

// offerLocked puts the first item, a notice, into the lane of its next URL.
func (e *Engine) offerLocked(l *line) {
	if e.aborted {
		return
	}
	n := l.items[0].notice
	key := laneKey{vhost: n.vhost, endpoint: n.endpoints[n.next].key}
	l.ticket = e.enterLocked(key, n.rules.workers(), math.MaxInt, l.urgent, func() {
		e.unageLocked(n)
		e.calls.Add(1)
		go e.deliver(n)
	})
}

// hurryLocked moves a line ahead of the others, for the gate that waits for it.
func (e *Engine) hurryLocked(l *line) {
	l.urgent = true
	if t := l.ticket; t != nil && t.elem != nil {
		t.lane.waiting.MoveToFront(t.elem)
	}
}

package hook

import "container/list"

// A laneKey says who shares a lane: gates never wait for notices, one vhost or
// endpoint never for another.
type laneKey struct {
	vhost    string
	endpoint string
	gate     bool
}

// A lane bounds the calls under way. It exists only while somebody uses it.
// Guarded by Engine.mu.
type lane struct {
	key     laneKey
	workers int // of the rules that came last
	running int
	waiting list.List // of *ticket, next first
}

// A ticket is one place in a lane: first waiting, then running, until
// leaveLocked gives it back.
type ticket struct {
	lane  *lane
	elem  *list.Element // in lane.waiting; nil once running
	grant func()        // called with Engine.mu held: must not block
}

// enterLocked asks for a place. grant is called when it is given, perhaps before
// enterLocked returns. It returns nil when limit tickets wait already.
func (e *Engine) enterLocked(key laneKey, workers, limit int, first bool, grant func()) *ticket {
	l := e.lanes[key]
	if l == nil {
		l = &lane{key: key}
		e.lanes[key] = l
	}
	l.workers = workers
	if l.running >= l.workers && l.waiting.Len() >= limit {
		return nil
	}
	t := &ticket{lane: l, grant: grant}
	if first {
		t.elem = l.waiting.PushFront(t)
	} else {
		t.elem = l.waiting.PushBack(t)
	}
	e.grantLocked(l)
	return t
}

// leaveLocked gives a ticket back, in whichever state it is.
func (e *Engine) leaveLocked(t *ticket) {
	l := t.lane
	if t.elem != nil {
		l.waiting.Remove(t.elem)
		t.elem = nil
	} else {
		l.running--
	}
	e.grantLocked(l)
	if l.running == 0 && l.waiting.Len() == 0 {
		delete(e.lanes, l.key)
	}
}

func (e *Engine) grantLocked(l *lane) {
	for l.running < l.workers && l.waiting.Len() > 0 && !e.aborted {
		t := l.waiting.Front().Value.(*ticket)
		l.waiting.Remove(t.elem)
		t.elem = nil
		l.running++
		t.grant()
	}
}

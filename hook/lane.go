package hook

import (
	"container/list"
	"time"
)

// A lane bounds the calls of notices under way: those of one vhost to one
// endpoint. It exists while it has items. Guarded by Engine.mu.
type lane struct {
	vhost    string
	ep       *endpoint
	items    int       // whose lane it is
	rules    *Rules    // that came last
	workers  int       // of them; urgent lines have more
	breaker  breaker   // of what fails because of the vhost's rules
	answered time.Time // the last time that none did
	running  int
	ready    lines // urgent ones first
	resting  lines // in the order they failed
}

// lines are some in the same state.
type lines struct{ first, last *line }

func (s *lines) pushFront(ln *line) {
	if ln.next = s.first; ln.next != nil {
		ln.next.prev = ln
	} else {
		s.last = ln
	}
	s.first = ln
}

func (s *lines) pushBack(ln *line) {
	if ln.prev = s.last; ln.prev != nil {
		ln.prev.next = ln
	} else {
		s.first = ln
	}
	s.last = ln
}

func (s *lines) remove(ln *line) {
	if ln.prev != nil {
		ln.prev.next = ln.next
	} else {
		s.first = ln.next
	}
	if ln.next != nil {
		ln.next.prev = ln.prev
	} else {
		s.last = ln.prev
	}
	ln.prev, ln.next = nil, nil
}

// laneLocked finds the lane of a vhost's notices to an endpoint.
func (e *Engine) laneLocked(ep *endpoint, vhost string, rules *Rules) *lane {
	l := ep.lanes[vhost]
	if l == nil {
		l = &lane{vhost: vhost, ep: ep}
		ep.lanes[vhost] = l
	}
	l.rules, l.workers = rules, rules.workers()
	return l
}

// urgentWorkers are kept for lines that a gate waits for, when notices that hang
// have all the others; as many as the others, if those are fewer.
const urgentWorkers = 16

// pumpLocked starts workers as long as there is work, room and hope.
func (e *Engine) pumpLocked(l *lane) {
	for {
		ln := e.takeLocked(l, l.running)
		if ln == nil {
			return
		}
		l.running++
		e.calls.Add(1)
		go e.work(l, ln)
	}
}

// takeLocked gives a worker its next line. So many others are running.
func (e *Engine) takeLocked(l *lane, others int) *line {
	ln := l.ready.first // urgent, if any is
	if ln == nil || e.aborted {
		return nil
	}
	if most := l.workers; others >= most && (!ln.urgent() || others >= most+min(most, urgentWorkers)) {
		return nil
	}
	if e.closed && (l.ep.underway > 0 && l.ep.ails() || others > 0 && l.breaker.open) {
		return nil // how that call goes decides, see returnedLocked
	}
	// What a gate waits for is a trial of its own, while the endpoint answers gates.
	ln.ahead = ln.urgent() && !e.closed && !l.ep.gateBreaker.open
	if !ln.ahead && !e.passLocked(l) {
		switch {
		case !e.closed:
		case l.ep.ails():
			e.giveUpLocked(l.ep, nil)
		default:
			e.giveUpLocked(l.ep, l)
		}
		return nil
	}
	l.ready.remove(ln)
	ln.state = lineRunning
	l.ep.underway++
	return ln
}

// returnedLocked notes that a call is over. While the engine closes, the last
// one of an endpoint decides what becomes of the others that wait for it.
func (e *Engine) returnedLocked(ep *endpoint) {
	ep.underway--
	switch {
	case !e.closed || ep.underway > 0:
	case ep.ails():
		e.giveUpLocked(ep, nil)
	default:
		e.pumpAllLocked(ep)
	}
}

// ails reports whether notices are held back from an endpoint.
func (ep *endpoint) ails() bool { return ep.breaker.open || ep.throttle.open }

// returnLocked goes on with a lane, or with all, whose endpoint takes notices
// again: what rests because it did not is brought forward.
func (e *Engine) returnLocked(ep *endpoint, only *lane) {
	ep.drainLocked()
	for _, l := range ep.lanes {
		if only != nil && l != only {
			continue
		}
		for l.resting.first != nil {
			e.wakeLocked(l.resting.first)
		}
		e.pumpLocked(l)
	}
}

func (e *Engine) pumpAllLocked(ep *endpoint) {
	for _, l := range ep.lanes {
		e.pumpLocked(l)
	}
}

// giveUpLocked parks all that waits for an endpoint that does not answer, or in
// one lane.
func (e *Engine) giveUpLocked(ep *endpoint, only *lane) {
	for _, ln := range ep.lines {
		if (ln.state == lineReady || ln.state == lineResting) && (only == nil || ln.lane == only) {
			e.parkLocked(ln)
		}
	}
}

// gates bounds the gates of one vhost at one endpoint: so many are asked, so
// many wait. It exists while there are any. Guarded by Engine.mu.
type gates struct {
	vhost    string
	ep       *endpoint
	workers  int // of the rules that came last
	running  int
	waiting  list.List // of *ticket, next first
	answered time.Time // to one, the last time
}

// A ticket is one place among the gates: first waiting, then running, until
// leaveLocked gives it back.
type ticket struct {
	gates   *gates
	elem    *list.Element // in gates.waiting; nil once running
	granted chan struct{} // closed then
}

// enterLocked asks for a place. It returns nil when too many wait already.
func (e *Engine) enterLocked(ep *endpoint, vhost string, r *Rules) *ticket {
	g := ep.gates[vhost]
	if g == nil {
		g = &gates{vhost: vhost, ep: ep}
		ep.gates[vhost] = g
	}
	g.workers = r.workers()
	if g.running >= g.workers && g.waiting.Len() >= r.queue() {
		return nil
	}
	t := &ticket{gates: g, granted: make(chan struct{})}
	t.elem = g.waiting.PushBack(t)
	g.grant()
	return t
}

// leaveLocked gives a ticket back, in whichever state it is.
func (e *Engine) leaveLocked(t *ticket) {
	g := t.gates
	if t.elem != nil {
		g.waiting.Remove(t.elem)
		t.elem = nil
	} else {
		g.running--
	}
	g.grant()
	if g.running == 0 && g.waiting.Len() == 0 {
		delete(g.ep.gates, g.vhost)
	}
}

func (g *gates) grant() {
	for g.running < g.workers && g.waiting.Len() > 0 {
		t := g.waiting.Front().Value.(*ticket)
		g.waiting.Remove(t.elem)
		t.elem = nil
		g.running++
		close(t.granted)
	}
}

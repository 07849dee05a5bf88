package hook

import (
	"container/list"
	"time"

	"srs/hook/journal"
)

// A line keeps the order of what belongs together at one endpoint: one client,
// or the recordings of one stream. Its first item is in work, the others wait.
// It exists while it has items. Guarded by Engine.mu.
//
//	gate:   waiting -> turn closed -> removed by ask
//	notice: waiting -> stored (or told that the disk fails) -> ready -> running -> removed
//	                                                             ^-- resting <--|
type line struct {
	id          uint64
	ep          *endpoint
	first, last *item
	state       lineState
	hurried     int  // of the items; any: urgent, gates wait for them
	ahead       bool // of a running line: it was let past the breakers of notices
	tries       int  // of the first item
	silent      bool // the last of them got no answer
	rest        *time.Timer
	lane        *lane // of the first item; while it is ready, running or resting
	prev, next  *line // in lane, while it is ready or resting
}

type lineState uint8

const (
	lineIdle    lineState = iota // nothing can be done: a gate's turn, or the journal's
	lineReady                    // in its lane
	lineRunning                  // a call is under way
	lineResting                  // until the next try
	lineParked                   // the engine closes; the journal has it
)

// fileLine marks the ids of lines of recordings; a client's has 53 bits.
const fileLine = 1 << 63

// An item is an event on its way to one URL, or the place of a gate. There may
// be a million of them: 128 bytes each, and what they say is on disk.
type item struct {
	line         *line
	prev, next   *item         // in line
	turn         chan struct{} // a gate's: closed when it is first
	older, newer *item         // in endpoint.oldest … newest

	// Of notices only.
	fresh  *fresh // what the memory has of it; nil: the journal has it all
	lane   *lane
	told   int64 // ms since 1970
	seq    uint64
	end    uint64 // the stream whose gates may wait for it, if awaited
	peer   *item  // the next one that such gates wait for
	place  journal.Place
	size   int32 // of the payload
	action int8
	flags
}

type flags struct {
	stored  bool // at place
	ready   bool // may be delivered
	gone    bool // finished before it was stored
	awaited bool // in endpoint.ends
	hurried bool // a gate waits for it; of a gate: it waits for what is before it
	restart bool // of the time before this start: gates of any kind wait
}

// A fresh is what the memory has of an item: until it is stored all there is,
// then its payload, as long as there is room.
type fresh struct {
	payload []byte
	entry   *journal.Entry // on its way to the disk; nil: not, or there
	closes  *begin         // ended once this is stored
	keeping *keeping       // told once this is stored, or delivered
	loose   *list.Element  // in Engine.loose; nil once stored
	owed    *owed          // what it is made of, while it has no payload
}

func (it *item) name() Action { return actions[it.action] }

// joinLocked puts an item at the end of a line, made if need be.
func (e *Engine) joinLocked(ep *endpoint, id uint64, it *item) {
	ln := ep.lines[id]
	if ln == nil {
		ln = &line{id: id, ep: ep}
		ep.lines[id] = ln
	}
	it.line = ln
	if it.prev = ln.last; it.prev != nil {
		it.prev.next = it
	} else {
		ln.first = it
	}
	ln.last = it
	if ln.first == it {
		e.advanceLocked(ln)
	}
}

// removeLocked takes an item out, wherever it stands. Of a line that is running
// only the worker removes the first.
func (e *Engine) removeLocked(it *item) {
	e.calmLocked(it)
	ln := it.line
	first := ln.first == it
	if it.prev != nil {
		it.prev.next = it.next
	} else {
		ln.first = it.next
	}
	if it.next != nil {
		it.next.prev = it.prev
	} else {
		ln.last = it.prev
	}
	it.prev, it.next = nil, nil
	if !first {
		return
	}
	if ln.state == lineParked {
		return
	}
	ln.leaveLane()
	ln.state, ln.tries, ln.silent = lineIdle, 0, false
	e.advanceLocked(ln)
}

// advanceLocked puts the first item of an idle line to work, if it can be.
func (e *Engine) advanceLocked(ln *line) {
	switch it := ln.first; {
	case ln.state != lineIdle:
	case it == nil:
		delete(ln.ep.lines, ln.id)
	case it.turn != nil:
		close(it.turn)
	case it.ready:
		e.offerLocked(ln)
	}
}

// offerLocked puts a line into the lane of its first item, a notice.
func (e *Engine) offerLocked(ln *line) {
	ln.state, ln.lane = lineReady, ln.first.lane
	if ln.urgent() {
		ln.lane.ready.pushFront(ln)
	} else {
		ln.lane.ready.pushBack(ln)
	}
	e.pumpLocked(ln.lane)
}

// leaveLane takes a line out of what it waits in.
func (ln *line) leaveLane() {
	switch ln.state {
	case lineReady:
		ln.lane.ready.remove(ln)
	case lineResting:
		ln.lane.resting.remove(ln)
		ln.rest.Stop()
	}
}

// restLocked has a line wait before the next try.
func (e *Engine) restLocked(ln *line, d time.Duration) {
	ln.state = lineResting
	ln.lane.resting.pushBack(ln)
	ln.rest = time.AfterFunc(d, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if ln.state == lineResting {
			e.wakeLocked(ln)
		}
	})
}

// wakeLocked has a line that waits take its place anew.
func (e *Engine) wakeLocked(ln *line) {
	ln.leaveLane()
	ln.state = lineIdle
	e.advanceLocked(ln)
}

// urgent reports whether a gate waits for something in a line: it goes first.
func (ln *line) urgent() bool { return ln.hurried > 0 }

// hurryLocked moves the line of an item ahead of the others, for the gate that
// waits for it.
func (e *Engine) hurryLocked(it *item) {
	ln := it.line
	if !it.hurried {
		it.hurried = true
		ln.hurried++
		e.owedFirstLocked(it)
	}
	if ln.state == lineReady || ln.state == lineResting {
		e.wakeLocked(ln)
	}
}

// calmLocked notes that no gate waits for an item any more.
func (e *Engine) calmLocked(it *item) {
	ln := it.line
	if !it.hurried {
		return
	}
	it.hurried = false
	ln.hurried--
	if !ln.urgent() && ln.state == lineReady { // the urgent ones come first
		ln.lane.ready.remove(ln)
		ln.lane.ready.pushBack(ln)
	}
}

// parkLocked leaves a line to the next start.
func (e *Engine) parkLocked(ln *line) {
	ln.leaveLane()
	ln.state = lineParked
	for it := ln.first; it != nil; it = it.next {
		if it.turn == nil {
			e.parked++
		}
	}
	e.checkDrainedLocked()
}

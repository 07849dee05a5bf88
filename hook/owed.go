package hook

import (
	"slices"
	"time"
)

// What a killed server owes is on disk already, as begins. Its ends have their
// places in the lines from the start on, so that order and gates are as ever, but
// what they say is read and given to the journal little by little: more is not made
// while the memory has this much that the disk has not.
const (
	owedLoose      = 8 << 10 // notices
	owedLooseBytes = 8 << 20
)

// An owed is the end of a begin that an earlier run has left, before it is made.
type owed struct {
	// Static.
	begin      *begin
	at         time.Time // it is told then
	idAsString bool
	how        made // where the vhost is gone as its begin was
	told       int  // URLs that an earlier run has told of it
	urls       []string
	items      []*item // for each URL

	// Guarded by Engine.mu.
	before *owed // of the same client
	fed    bool  // feed is done with it
	first  bool  // it is among Engine.owedFirst
}

// oweLocked queues the end of a begin, told to each URL. Nothing of it is made yet.
func (e *Engine) oweLocked(o *owed, b *foundBegin, rules *Rules, await endKey) {
	a, stream := endOf(b.Event.Action), b.Event.streamKey()
	o.begin.parts = len(o.urls)
	e.owed = append(e.owed, o)
	for _, url := range o.urls {
		e.countLocked(a).Told++
		ep := e.endpointLocked(e.targetLocked(url).key)
		it := &item{fresh: &fresh{closes: o.begin, owed: o}, told: o.at.UnixMilli(), action: int8(a.index())}
		it.ready = e.untrusted
		it.lane = e.laneLocked(ep, b.Event.Vhost, rules)
		o.items = append(o.items, it)
		e.addLocked(ep, it, e.lineOf(a, b.Event.ClientID, stream), await)
	}
}

// readOwed reads the begin again: its record may be moved meanwhile.
func (e *Engine) readOwed(o *owed) (*begun, error) {
	for {
		e.mu.Lock()
		j, place := e.journal, o.begin.place // not given back before all is fed
		e.mu.Unlock()
		payload, err := j.Read(place)
		if err == nil {
			return parseBegun(payload)
		}
		e.mu.Lock()
		moved := o.begin.place != place
		e.mu.Unlock()
		if !moved {
			return nil, err
		}
	}
}

// payload is what is told to one URL.
func (o *owed) payload(b *begun, url, serverID string) []byte {
	ev := b.Event
	ev.Action, ev.Reason = endOf(ev.Action), "server_restart"
	rec := told{
		At: o.at, ID: endID(b.ID), Action: ev.Action, Client: ev.ClientID, Stream: ev.streamKey(), URL: url,
		Closes: o.begin.seq, Made: o.how, Parts: uint64(len(o.urls) + o.told), Body: ev.AppendJSON(nil, serverID, o.idAsString),
	}
	return rec.append(nil)
}

// feed makes what is owed and gives it to the journal, as that takes it. It is one
// goroutine, and ends when all is given, or the engine has no use for it; until then
// the journal is not given back.
func (e *Engine) feed() {
	defer e.calls.Done()
	for {
		e.mu.Lock()
		o := e.nextOwedLocked()
		if o == nil || e.isDrained {
			e.owed, e.owedFirst, e.feeding = nil, nil, false
			e.giveBackLocked()
			e.mu.Unlock()
			return
		}
		full := !o.first && (e.loose.Len() >= owedLoose || e.looseBytes >= owedLooseBytes)
		e.mu.Unlock()
		if full {
			select {
			case <-e.room:
			case <-e.drained:
			}
			continue
		}
		b, err := e.readOwed(o)
		e.mu.Lock()
		o.fed, o.before = true, nil
		for i, it := range o.items {
			switch {
			case it.gone:
			case err != nil:
				e.readyLocked(it) // who delivers it sees to that
			default:
				e.giveLocked(it, o.payload(b, o.urls[i], e.serverID))
			}
		}
		e.mu.Unlock()
	}
}

// nextOwedLocked is what feed makes next: what was told or dropped meanwhile, while the
// disk took nothing, it need not.
func (e *Engine) nextOwedLocked() *owed {
	for _, all := range []*[]*owed{&e.owedFirst, &e.owed} {
		for len(*all) > 0 {
			if o := (*all)[0]; !o.fed && slices.ContainsFunc(o.items, func(it *item) bool { return !it.gone }) {
				return o
			}
			(*all)[0] = nil
			*all = (*all)[1:]
		}
	}
	return nil
}

// owedFirstLocked has what a gate waits for, or waits before that in its line, made next,
// also while the memory has much: no more than gates wait. What the client owes before
// comes before it.
func (e *Engine) owedFirstLocked(it *item) {
	if len(e.owed) == 0 {
		return
	}
	for ; it != nil; it = it.prev {
		if it.fresh == nil || it.fresh.owed == nil {
			continue
		}
		at := len(e.owedFirst)
		for o := it.fresh.owed; o != nil && !o.fed && !o.first; o = o.before {
			o.first = true
			e.owedFirst = slices.Insert(e.owedFirst, at, o)
		}
		e.roomLocked()
		return
	}
}

// giveLocked has an item that was owed wait for the disk like any other.
func (e *Engine) giveLocked(it *item, payload []byte) {
	f, ep := it.fresh, it.line.ep
	f.owed, f.payload, it.size = nil, payload, int32(len(payload))
	ep.bytes += len(payload)
	f.loose = e.loose.PushBack(it)
	e.looseBytes += len(payload) + itemOverhead
	e.storeLocked(it)
	if it.ready && it.line.first == it {
		e.advanceLocked(it.line)
	}
	e.boundLocked(ep)
}

// owedReadyLocked has what is owed delivered though the disk does not take it.
func (e *Engine) owedReadyLocked() {
	for _, o := range e.owed {
		if o.fed {
			continue
		}
		for _, it := range o.items {
			if !it.gone {
				e.readyLocked(it)
			}
		}
	}
}

// urlOf is where an item of it goes.
func (o *owed) urlOf(it *item) string { return o.urls[slices.Index(o.items, it)] }

// roomLocked has feed look whether there is room.
func (e *Engine) roomLocked() {
	if e.feeding {
		select {
		case e.room <- struct{}{}:
		default:
		}
	}
}

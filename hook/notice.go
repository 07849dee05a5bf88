package hook

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"srs/hook/journal"
)

// A notice is one event, before it is split by URLs.
type notice struct {
	ev    *Event
	id    string // webhook-id
	body  []byte
	urls  []string
	rules *Rules
	begin *begin // that it ends; nil: none

	keeping *keeping // nil: nobody asks
}

// A keeping waits until the parts of a notice, one for each URL, are kept: in the
// journal, or delivered. Guarded by Engine.mu.
type keeping struct {
	parts int
	over  func() // called then
}

// keptLocked notes that a part is.
func (e *Engine) keptLocked(f *fresh) {
	if f == nil || f.keeping == nil {
		return
	}
	k := f.keeping
	f.keeping = nil
	if k.parts--; k.parts == 0 {
		k.over()
	}
}

// tell queues a notice. It never blocks.
func (e *Engine) tell(n notice) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queueLocked(n)
}

func (e *Engine) queueLocked(n notice) {
	count := e.countLocked(n.ev.Action)
	if e.closed {
		count.Told += uint64(len(n.urls))
		count.Dropped += uint64(len(n.urls))
		e.droppedLocked(len(n.urls))
		return
	}
	stream := n.ev.streamKey()
	ends := n.begin != nil && n.begin.seq != 0
	if ends {
		n.begin.parts = len(n.urls)
	}
	for _, url := range n.urls {
		count.Told++
		t := e.targetLocked(url)
		ep := e.endpointLocked(t.key)
		rec := told{
			At: time.Now(), ID: n.id, Action: n.ev.Action, Client: n.ev.ClientID, Stream: stream, URL: url, Body: n.body,
			Made: madeBy(n.rules), Parts: uint64(len(n.urls)),
		}
		f := &fresh{keeping: n.keeping}
		if ends {
			f.closes, rec.Closes = n.begin, n.begin.seq
		}
		f.payload = rec.append(make([]byte, 0, len(n.body)+len(n.id)+len(url)+len(stream.vhost)+len(stream.app)+len(stream.stream)+32))
		it := &item{fresh: f, told: rec.At.UnixMilli(), size: int32(len(f.payload)), action: int8(n.ev.Action.index())}
		f.loose = e.loose.PushBack(it)
		e.looseBytes += int(it.size) + itemOverhead
		e.storeLocked(it)
		var await endKey
		if n.ev.Action == OnUnpublish {
			await = endKey{stream: e.hash(stream)}
		}
		it.lane = e.laneLocked(ep, stream.vhost, n.rules)
		e.addLocked(ep, it, e.lineOf(n.ev.Action, n.ev.ClientID, stream), await)
	}
	for e.loose.Len() > maxLoose || e.looseBytes > maxLooseBytes {
		if !e.dropOldestLooseLocked() {
			break
		}
	}
}

// storeLocked sends an item to the journal. Without one, or while the disk
// fails, it may be delivered at once.
func (e *Engine) storeLocked(it *item) {
	f := it.fresh
	if e.journal == nil || len(f.payload) > journal.MaxPayload {
		it.ready = true
		e.partLocked(f, false)
		return
	}
	it.ready = it.ready || e.untrusted
	f.entry = &journal.Entry{Kind: recordNotice, Payload: f.payload, Hold: true, Owner: it}
	e.journal.Append(f.entry)
	it.seq = f.entry.Seq
}

// addLocked gives an item its places: in the endpoint's order of age, in its
// line, and before the gates that have to wait for it.
func (e *Engine) addLocked(ep *endpoint, it *item, line uint64, await endKey) {
	it.lane.items++
	e.pending++
	ep.pending++
	ep.bytes += int(it.size)
	if it.older = ep.newest; it.older != nil {
		it.older.newer = it
	} else {
		ep.oldest = it
	}
	ep.newest = it
	if await != (endKey{}) {
		ep.awaitLocked(it, await)
	}
	e.joinLocked(ep, line, it)
	if ep.waits[await] != nil { // a gate waits already: it waits for this too
		e.hurryLocked(it)
	}
	e.boundLocked(ep)
}

// work makes the calls of one worker's place in a lane, line after line.
func (e *Engine) work(l *lane, ln *line) {
	defer e.calls.Done()
	for ln != nil {
		e.deliver(ln)
		e.mu.Lock()
		if ln = e.takeLocked(l, l.running-1); ln == nil {
			l.running--
			e.dropLaneLocked(l)
		}
		e.mu.Unlock()
	}
}

// deliver makes one call: of the first item of a line that is running.
func (e *Engine) deliver(ln *line) {
	it := ln.first
	rec, t, err := e.read(it)
	if err != nil {
		e.unreadable(ln, err)
		return
	}
	e.mu.Lock()
	last := it.lane.rules
	e.mu.Unlock()
	rules := e.rulesOf(rec.Stream.vhost, last)
	ctx, cancel := context.WithTimeout(e.notices, rules.timeout())
	defer cancel()
	started := time.Now()
	a, refusal := e.call(ctx, t, rules, rec.ID, rec.Body)
	took := time.Since(started)
	done := a.taken(refusal)
	unsigned := done && rules.unsigned(a.status, rec.At, rec.Made)
	done = done && !unsigned
	if refusal == nil {
		refusal = a.verdict()
	}

	e.mu.Lock()
	ep, counts := ln.ep, &ln.ep.tallies[it.action]
	tries := ln.tries + 1
	var change, throttled, own string
	if ctx.Err() == nil || e.notices.Err() == nil {
		answered := a.status != 0 || t.err != nil
		ofVhost := !answered && refusal.ofVhost(rules)
		if !ofVhost {
			change = e.heardLocked(ep, false, ln.ahead, answered, refusal, started)
		}
		late := ofVhost && it.lane.answered.After(started) // see heardLocked
		if ofVhost && !late || unsigned || answered && !(ln.ahead && it.lane.breaker.open) {
			own = e.ownLocked(it.lane, ofVhost || unsigned)
		}
		if a.status != 0 && !unsigned && !(done && ln.ahead && ep.throttle.open) {
			throttled = e.laterLocked(ep, done, a.retryAfter, started)
		}
	}
	switch {
	case done && refusal == nil:
		counts.timed(Delivered, took)
		e.finishLocked(it, Delivered)
	case done:
		counts.timed(Objected, took)
		e.finishLocked(it, Objected)
	case t.err != nil:
		counts.count(Failed)
		e.finishLocked(it, Failed)
	case rules.NoRetry && !e.aborted:
		counts.timed(Failed, took)
		e.finishLocked(it, Failed)
	default:
		counts.timed(Retried, took)
		ln.tries, ln.silent = tries, a.status == 0
		switch {
		case e.closed:
			e.parkLocked(ln)
		case a.status != 0 && !ep.throttle.open: // nothing else slows it down
			e.restLocked(ln, max(backoff(tries, maxBackoff), a.retryAfter))
		case a.status != 0:
			e.restLocked(ln, max(backoff(tries, maxProbe), a.retryAfter))
		default:
			e.restLocked(ln, backoff(tries, maxProbe))
		}
	}
	e.returnedLocked(ep)
	drained := ep.takeDrainLocked()
	e.mu.Unlock()
	e.logNotice(rec, t, done, t.err != nil || rules.NoRetry, tries, refusal, took)
	e.logEndpoint(ep, change, notNil(refusal, a.status == 0))
	e.logEndpoint(ep, throttled, notNil(refusal, !done))
	e.logEndpoint(ep, own, notNil(refusal, a.status == 0 || unsigned), "vhost", clip(rec.Stream.vhost))
	drained.log(e.log, ep.key)
}

// unreadable is what becomes of an item that the journal does not give back: it
// is lost when its record is, else read again later.
func (e *Engine) unreadable(ln *line, err error) {
	lost := errors.Is(err, journal.ErrDamaged) || errors.Is(err, errRecord)
	text := "http hook notice cannot be read from the journal, to be repeated"
	if lost {
		text = "http hook notice lost: its record in the journal is damaged"
	}
	e.log.Error(text, "action", string(ln.first.name()), "endpoint", ln.ep.key, "error", err.Error())
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.returnedLocked(ln.ep)
	switch {
	case lost:
		e.finishLocked(ln.first, Dropped)
	case e.closed:
		e.parkLocked(ln)
	default:
		ln.tries++
		e.restLocked(ln, backoff(ln.tries, maxBackoff))
	}
}

func notNil(r *Refusal, bad bool) *Refusal {
	if bad {
		return r
	}
	return nil
}

// read finds out what an item says.
func (e *Engine) read(it *item) (*told, *target, error) {
	var payload []byte
	var o *owed
	e.mu.Lock()
	j, place := e.journal, it.place
	if it.fresh != nil {
		payload, o = it.fresh.payload, it.fresh.owed
	}
	id := e.serverID
	e.mu.Unlock()
	switch {
	case o != nil:
		b, err := e.readOwed(o)
		if err != nil {
			return nil, nil, err
		}
		payload = o.payload(b, o.urlOf(it), id)
	case payload == nil:
		var err error
		if payload, err = j.Read(place); err != nil {
			return nil, nil, err
		}
	}
	rec, err := parseTold(payload)
	if err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return rec, e.targetLocked(rec.URL), nil
}

// finishLocked takes a notice out of everything. A running line's first item is
// finished by its worker only.
func (e *Engine) finishLocked(it *item, o Outcome) {
	count, ep := e.countLocked(it.name()), it.line.ep
	switch o {
	case Delivered, Objected:
		count.Delivered++
	case Failed:
		count.Failed++
	default:
		count.Dropped++
		ep.tallies[it.action].count(Dropped)
	}
	if o != Dropped {
		e.keptLocked(it.fresh)
	}
	ep.drainedLocked(it, o)
	if it.older != nil {
		it.older.newer = it.newer
	} else {
		ep.oldest = it.newer
	}
	if it.newer != nil {
		it.newer.older = it.older
	} else {
		ep.newest = it.older
	}
	it.older, it.newer = nil, nil
	ep.pending--
	ep.bytes -= int(it.size)
	e.tightenLocked(it)
	e.forgetLocked(it, o)
	if it.awaited {
		ep.endHeardLocked(it)
	}
	if it.line.state == lineParked {
		e.parked--
	}
	e.removeLocked(it)
	it.lane.items--
	e.dropLaneLocked(it.lane)
	e.pending--
	e.checkDrainedLocked()
	e.giveBackLocked()
}

func (e *Engine) dropLaneLocked(l *lane) {
	if l.items == 0 && l.running == 0 && l.ep.lanes[l.vhost] == l {
		delete(l.ep.lanes, l.vhost)
		l.breaker.stop()
	}
}

func (e *Engine) checkDrainedLocked() {
	if e.closed && !e.isDrained && e.pending == e.parked {
		e.isDrained = true
		close(e.drained)
	}
}

func (e *Engine) logNotice(n *told, t *target, done, last bool, tries int, r *Refusal, took time.Duration) {
	level, text, reason, detail := slog.LevelDebug, " delivered", "", ""
	if r != nil {
		level, reason, detail = slog.LevelWarn, r.Reason, r.Detail
		text = " delivered, answered with a refusal"
	}
	if !done {
		text = " failed, to be repeated"
		if last {
			text = " failed"
		} else if tries > 1 {
			level = slog.LevelDebug // the first failure is told, and the breaker's
		}
	}
	if !e.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []any{
		"client", n.Client, "action", string(n.Action), "url", t.masked, "vhost", clip(n.Stream.vhost),
		"app", clip(n.Stream.app), "stream", clip(n.Stream.stream), "took", took.Round(10 * time.Microsecond),
	}
	if tries > 1 {
		attrs = append(attrs, "tries", tries)
	}
	if reason != "" {
		attrs = append(attrs, "reason", reason)
	}
	if r != nil && r.Status != 0 {
		attrs = append(attrs, "status", r.Status)
	}
	if detail != "" {
		attrs = append(attrs, "detail", detail)
	}
	e.log.Log(context.Background(), level, "http hook "+string(n.Action)+text, attrs...)
}

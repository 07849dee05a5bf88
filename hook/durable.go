package hook

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"time"

	"srs/hook/journal"
)

// Our own choices for the journal.
const (
	intentPatience = 500 * time.Millisecond // a gate waits no longer for the disk
	idStep         = 1 << 20                // client ids kept free beyond the highest one
	closeJournal   = time.Second            // the disk has this long at the end
)

// A begin is something accepted, or asked for, whose end is owed. Its record is
// the intent of contract §5: written before the first request of a gate.
type begin struct {
	rules *Rules // that it was accepted under
	id    string // webhook-id of the gate

	// Guarded by Engine.mu.
	seq   uint64         // of its record; 0: it has none
	entry *journal.Entry // on its way to the disk; nil: not, or there
	place journal.Place
	held  bool // at place
	over  bool // its end is stored, or it owes none
}

// endID is the webhook-id of the end, the same whoever tells it: this process,
// or the next one from the journal.
func (b *begin) endID() string {
	if b == nil || b.id == "" {
		return rand.Text()
	}
	return endID(b.id)
}

func endID(begin string) string { return begin + "-end" }

// intend notes that an end may be owed from now on. It waits until that would
// survive the process, but not for a disk that does not answer.
func (e *Engine) intend(ctx context.Context, b *begin, ev *Event, wait bool) {
	end := b.rules.urls(endOf(ev.Action))
	if !b.rules.on() || len(end) == 0 && len(b.rules.urls(ev.Action)) == 0 {
		return
	}
	rec := begun{At: time.Now(), ID: b.id, Event: *ev, IDAsString: b.rules.ClientIDString, URLs: end}
	entry := &journal.Entry{Kind: recordBegin, Payload: rec.append(nil), Hold: true, Owner: b, Written: make(chan struct{})}
	written := entry.Written
	e.mu.Lock()
	if e.journal == nil || b.seq != 0 || len(entry.Payload) > journal.MaxPayload {
		e.mu.Unlock()
		return
	}
	e.journal.Append(entry)
	b.entry, b.seq = entry, entry.Seq
	e.begins[b] = struct{}{}
	wait = wait && !e.untrusted
	e.mu.Unlock()
	if !wait {
		return
	}
	timer := time.NewTimer(intentPatience)
	defer timer.Stop()
	select {
	case <-written:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// settleLocked notes that a begin owes no end any more.
func (e *Engine) settleLocked(b *begin) {
	if b == nil || b.seq == 0 || b.over {
		return
	}
	if b.entry != nil && e.journal.Cancel(b.entry) {
		b.over = true
		delete(e.begins, b)
		return
	}
	e.journal.Append(&journal.Entry{Kind: recordSettle, Payload: done{Seq: b.seq}.append(nil), Owner: settlement{b}})
}

// A settlement owns the record that a begin owes no end.
type settlement struct{ begin *begin }

// A move owns the copy of a record that stands in a file that shall go.
type move struct {
	item  *item
	begin *begin
}

// overLocked forgets a begin: that it ended is on disk.
func (e *Engine) overLocked(b *begin) {
	b.over = true
	delete(e.begins, b)
	if b.held {
		b.held = false
		e.journal.Release(b.place)
	}
}

// forgetLocked tells the journal that a notice is finished.
func (e *Engine) forgetLocked(it *item, o Outcome) {
	f := it.fresh
	switch {
	case it.stored:
		e.journal.Release(it.place)
	case f.entry == nil:
		return
	case e.journal.Cancel(f.entry):
		e.settleLocked(f.closes)
		return
	}
	it.gone = true // if it is on its way, stored tells the rest
	e.journal.Append(&journal.Entry{Kind: recordDone, Payload: done{it.seq, o}.append(nil)})
}

// stored is what the journal calls when records are safe.
func (e *Engine) stored(entries []*journal.Entry) {
	e.mu.Lock()
	for _, entry := range entries {
		switch owner := entry.Owner.(type) {
		case *item:
			e.itemStoredLocked(owner, entry.Place())
		case *begin:
			owner.entry = nil
			if owner.over {
				e.journal.Release(entry.Place())
			} else {
				owner.place, owner.held = entry.Place(), true
			}
		case settlement:
			e.overLocked(owner.begin)
		case move:
			e.movedLocked(owner, entry.Place())
		}
	}
	e.mu.Unlock()
	e.clean()
}

func (e *Engine) itemStoredLocked(it *item, p journal.Place) {
	f := it.fresh
	f.entry = nil
	if f.closes != nil {
		e.overLocked(f.closes)
		f.closes = nil
	}
	if it.gone {
		e.journal.Release(p)
		return
	}
	e.tightenLocked(it)
	it.place, it.stored = p, true
	if e.kept+int(it.size) > maxKept {
		it.fresh = nil
	} else {
		e.kept += int(it.size)
	}
	e.readyLocked(it)
}

func (e *Engine) readyLocked(it *item) {
	if !it.ready {
		it.ready = true
		if it.line.first == it {
			e.advanceLocked(it.line)
		}
	}
}

func (e *Engine) movedLocked(m move, p journal.Place) {
	switch {
	case m.item != nil && m.item.gone, m.begin != nil && m.begin.over:
		e.journal.Release(p)
	case m.item != nil:
		e.journal.Release(m.item.place)
		m.item.place = p
	default:
		e.journal.Release(m.begin.place)
		m.begin.place = p
	}
}

// clean has what is still needed of the oldest file written once more when most
// of the disk's space is waste. It runs on the journal's goroutine.
func (e *Engine) clean() {
	number, yes := e.journal.Wasteful()
	if !yes || number == e.cleaned {
		return
	}
	e.cleaned = number
	type old struct {
		move
		place journal.Place
		kind  byte
		seq   uint64
	}
	var all []old
	e.mu.Lock()
	for _, ep := range e.endpoints {
		for it := ep.oldest; it != nil; it = it.newer {
			if it.stored && it.place.Segment == number {
				all = append(all, old{move{item: it}, it.place, recordNotice, it.seq})
			}
		}
	}
	for b := range e.begins {
		if b.held && b.place.Segment == number {
			all = append(all, old{move{begin: b}, b.place, recordBegin, b.seq})
		}
	}
	e.mu.Unlock()
	for _, o := range all {
		payload, err := e.journal.Read(o.place)
		if err != nil {
			continue // finished meanwhile, or damaged: reading it for delivery will tell
		}
		e.mu.Lock()
		if o.item != nil && !o.item.gone || o.begin != nil && !o.begin.over { // a record that it is done comes behind the copy
			e.journal.Append(&journal.Entry{Kind: o.kind, Seq: o.seq, Payload: payload, Hold: true, Owner: o.move})
		}
		e.mu.Unlock()
	}
}

// trouble is what the journal calls when the disk fails, and when that is over.
func (e *Engine) trouble(err error) {
	e.mu.Lock()
	e.untrusted = err != nil
	waiting := e.loose.Len()
	if e.untrusted {
		for el := e.loose.Front(); el != nil; {
			it := el.Value.(*item)
			el = el.Next()
			e.readyLocked(it)
		}
	}
	e.mu.Unlock()
	if err != nil {
		e.log.Error("the journal of http hooks cannot be written: events are kept in memory and do not survive a restart until it can",
			"dir", e.dir, "error", err.Error(), "waiting", waiting)
		return
	}
	e.log.Info("the journal of http hooks is written again", "dir", e.dir, "waiting", waiting)
}

// keepIDsLocked keeps the number of the highest client id ahead of what is given out.
func (e *Engine) keepIDsLocked(id uint64) {
	if e.journal != nil && id+idStep/2 > e.idsBelow {
		e.idsBelow = id + idStep
		e.journal.KeepBelow(e.idsBelow)
	}
}

// FirstID returns the first client id to give out: the one proposed, or a
// higher one where an earlier run was as far. Ids below are never used again.
func (e *Engine) FirstID(proposed uint64) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.journal == nil {
		return proposed, nil
	}
	s := e.journal.State()
	first := max(proposed, s.Below)
	e.idsBelow = first + idStep
	s.Below = e.idsBelow
	return first, e.journal.SetState(s)
}

// OpenJournal makes notices and ends durable in a directory, and takes up what
// an earlier run has left in it: what was not delivered, and the ends of what
// had begun. It is called before anything else, or when a reload switches hooks
// on; a second call does nothing.
func (e *Engine) OpenJournal(dir string) error {
	e.mu.Lock()
	open := e.journal != nil
	e.mu.Unlock()
	if open {
		return nil
	}
	found := recovery{begins: map[uint64]*foundBegin{}, notices: map[uint64]*foundNotice{}, done: map[uint64]bool{}}
	j, err := journal.Open(journal.Options{Dir: dir, Log: e.log, Replay: found.replay, Stored: e.stored, Trouble: e.trouble})
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.serverID == "" {
			e.serverID = rand.Text()
		}
		return fmt.Errorf("journal_dir: %w", err)
	}
	s := j.State()
	if s.ServerID == "" {
		s.ServerID = rand.Text()
		if err := j.SetState(s); err != nil {
			e.log.Warn("the journal's state cannot be written; the server has another id after a restart", "error", err.Error())
		}
	}
	e.mu.Lock()
	e.journal, e.dir = j, dir
	if e.serverID == "" {
		e.serverID = s.ServerID
	}
	waiting, missing := e.recoverLocked(&found)
	e.mu.Unlock()
	j.Start()
	if waiting+missing+found.damaged > 0 {
		e.log.Info("http hook events of the last run are taken up", "dir", dir, "not_delivered", waiting, "missing_ends", missing, "unreadable", found.damaged)
	}
	return nil
}

// A recovery is what a journal holds at the start.
type recovery struct {
	begins  map[uint64]*foundBegin
	notices map[uint64]*foundNotice
	done    map[uint64]bool // of notices not seen yet: the file before was lost
	damaged int
}

type foundBegin struct {
	*begun
	seq   uint64
	place journal.Place
}

type foundNotice struct {
	told  // without its body
	seq   uint64
	place journal.Place
	size  int
}

func (f *recovery) replay(r journal.Record) {
	var err error
	switch r.Kind {
	case recordBegin:
		var b *begun
		if b, err = parseBegun(r.Payload); err == nil && !f.done[r.Seq] {
			f.begins[r.Seq] = &foundBegin{b, r.Seq, r.Place}
		}
	case recordNotice:
		var n *told
		if n, err = parseTold(r.Payload); err != nil {
			break
		}
		n.Body = nil
		if n.Closes != 0 {
			f.settle(n.Closes)
		}
		if !f.done[r.Seq] {
			f.notices[r.Seq] = &foundNotice{*n, r.Seq, r.Place, len(r.Payload)}
		}
	case recordSettle, recordDone:
		var d done
		if d, err = parseDone(r.Payload); err != nil {
			break
		}
		f.settle(d.Seq)
		delete(f.notices, d.Seq)
	default:
		err = errRecord
	}
	if err != nil {
		f.damaged++
	}
}

func (f *recovery) settle(seq uint64) {
	f.done[seq] = true
	delete(f.begins, seq)
}

// recoverLocked queues what was found, in its order: notices, then the ends that
// nobody has told, of each client the last begin first. Gates of the streams
// concerned wait for them, on_close included.
func (e *Engine) recoverLocked(f *recovery) (waiting, missing int) {
	streams := make(map[uint64]streamKey) // by client: what it published or played
	for _, b := range f.begins {
		if b.Event.Action != OnConnect {
			streams[b.Event.ClientID] = b.Event.streamKey()
		}
	}
	for _, n := range f.notices {
		if n.Action == OnUnpublish || n.Action == OnStop {
			streams[n.Client] = n.Stream
		}
	}
	await := func(a Action, client uint64) (k endKey) {
		if s, ok := streams[client]; ok && a != OnDVR {
			k = endKey{e.hash(s), true}
		}
		return k
	}
	for _, seq := range slices.Sorted(maps.Keys(f.notices)) {
		n := f.notices[seq]
		e.countLocked(n.Action).Told++
		it := &item{
			told: n.At.UnixMilli(), seq: seq, place: n.place, size: int32(n.size),
			action: int8(n.Action.index()), flags: flags{stored: true, ready: true},
		}
		e.journal.Hold(n.place)
		ep := e.endpointLocked(e.targetLocked(n.URL).key)
		it.lane = e.laneLocked(ep, n.Stream.vhost, e.rulesOf(n.Stream.vhost).workers())
		e.addLocked(ep, it, e.lineOf(n.Action, n.Client, n.Stream), await(n.Action, n.Client))
		waiting++
	}
	begins := slices.SortedFunc(maps.Values(f.begins), func(a, b *foundBegin) int {
		return cmp.Or(cmp.Compare(a.Event.ClientID, b.Event.ClientID), cmp.Compare(b.seq, a.seq))
	})
	for _, fb := range begins {
		ev := fb.Event
		ev.Action, ev.Reason = endOf(ev.Action), "server_restart"
		b := &begin{id: fb.ID, seq: fb.seq, place: fb.place, held: true}
		e.journal.Hold(fb.place)
		e.begins[b] = struct{}{}
		rules, exists := e.rules(ev.Vhost)
		if !exists {
			rules = &Rules{Enabled: true, ClientIDString: fb.IDAsString}
			rules.setURLs(ev.Action, fb.URLs)
		}
		urls := rules.urls(ev.Action)
		if len(urls) == 0 {
			e.settleLocked(b)
			continue
		}
		missing++
		e.queueLocked(notice{
			ev: &ev, id: endID(fb.ID), body: ev.AppendJSON(nil, e.serverID, rules.ClientIDString),
			urls: urls, rules: rules, begin: b, await: await(ev.Action, ev.ClientID),
		})
	}
	return waiting, missing
}

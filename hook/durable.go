package hook

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"srs/hook/journal"
)

// Our own choices for the journal.
const (
	intentPatience = 500 * time.Millisecond // a gate waits no longer for the disk
	idStep         = 1 << 20                // client ids kept free beyond the highest one
	closeJournal   = time.Second            // the disk has this long at the end
	closeReads     = 500 * time.Millisecond // and before that for what is being read
	cleanAtOnce    = 256                    // records moved between two commits
)

// A begin is something accepted, or asked for, whose end is owed. Its record is
// the intent of contract §5: written before the first request of a gate.
type begin struct {
	rules *Rules // that it was accepted under
	id    string // webhook-id of the gate

	// Set before the end is told; the journal does not know it: killed in between,
	// the server tells all of them at its next start.
	unasked []string // keys of endpoints that do not hear the end of what was given up

	// Guarded by Engine.mu.
	seq   uint64         // of its record; 0: it has none
	entry *journal.Entry // on its way to the disk; nil: not, or there
	place journal.Place
	held  bool // at place
	over  bool // its end is stored or delivered, or it owes none
	parts int  // notices of its end that are neither
	mute  bool // some were delivered before they were stored: no record says so
}

// isHeld reports whether the next start tells the end of a begin, also where the notice
// of that is not on disk: the begin is.
func (b *begin) isHeld() bool { return b != nil && b.held }

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
	end := b.rules.URLs(endOf(ev.Action))
	if !b.rules.on() || len(end) == 0 && len(b.rules.URLs(ev.Action)) == 0 {
		return
	}
	rec := begun{At: time.Now(), ID: b.id, Event: *ev, IDAsString: b.rules.ClientIDString, Made: madeBy(b.rules), URLs: end}
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
	if b.entry == nil || !e.journal.Cancel(b.entry) {
		e.journal.Append(&journal.Entry{Kind: recordSettle, Payload: done{Seq: b.seq}.append(nil)})
	}
	e.overLocked(b)
}

// A move owns the copy of a record that stands in a file that shall go.
type move struct {
	item  *item
	begin *begin
}

// partLocked notes that one of the notices that end a begin is on disk, or will be,
// or needs not be: it is delivered.
func (e *Engine) partLocked(f *fresh, onDisk bool) {
	b := f.closes
	if b == nil {
		return
	}
	f.closes = nil
	b.mute = b.mute || !onDisk
	switch b.parts--; {
	case b.parts > 0:
	case b.mute:
		e.settleLocked(b)
	default:
		e.overLocked(b)
	}
}

// overLocked forgets a begin: that it ended is on disk, or its end is delivered.
// Its record is not needed any more, whether or not the disk takes another that
// says so: on a full one this is what makes room.
func (e *Engine) overLocked(b *begin) {
	b.over = true
	delete(e.begins, b)
	if b.entry != nil {
		e.journal.Cancel(b.entry)
	}
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
	case f.owed != nil:
		it.gone = true
		e.partLocked(f, false)
		return
	case f.entry == nil:
		return
	case e.journal.Cancel(f.entry):
		e.partLocked(f, false)
		return
	default:
		e.partLocked(f, true)
	}
	it.gone = true // if it is on its way, stored tells the rest
	e.journal.Append(&journal.Entry{Kind: recordDone, Payload: done{it.seq, o}.append(nil)})
}

// stored is what a journal calls when records are safe.
func (e *Engine) stored(j *journal.Journal, entries []*journal.Entry) {
	e.mu.Lock()
	if e.journal != j { // given back: nothing of it is needed
		e.mu.Unlock()
		return
	}
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
		case move:
			e.movedLocked(owner, entry.Place())
		}
	}
	e.mu.Unlock()
	e.clean(j)
}

func (e *Engine) itemStoredLocked(it *item, p journal.Place) {
	f := it.fresh
	f.entry = nil
	e.partLocked(f, true)
	if it.gone {
		e.journal.Release(p)
		return
	}
	e.keptLocked(f)
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
	case m.item != nil && m.item.gone:
		e.journal.Release(p)
	case m.begin != nil && m.begin.over:
		e.journal.Release(p)
		e.journal.Append(&journal.Entry{Kind: recordSettle, Payload: done{Seq: m.begin.seq}.append(nil)}) // what said so may stand before the copy
	case m.item != nil:
		e.journal.Release(m.item.place)
		m.item.place = p
	default:
		e.journal.Release(m.begin.place)
		m.begin.place = p
	}
}

// An old is a record in the file that is cleaned.
type old struct {
	move
	place journal.Place
	kind  byte
	seq   uint64
}

// clean has what is still needed of the oldest file written once more when most
// of the disk's space is waste, some records after each commit. It runs on the
// journal's goroutine.
func (e *Engine) clean(j *journal.Journal) {
	if len(e.cleaning) == 0 {
		number, yes := j.Wasteful()
		if !yes || number == e.cleaned {
			return
		}
		e.cleaned, e.cleaning = number, e.neededOf(number)
	}
	n := min(len(e.cleaning), cleanAtOnce)
	for _, o := range e.cleaning[:n] {
		payload, err := j.Read(o.place)
		if err != nil {
			continue // finished meanwhile, or damaged: reading it for delivery will tell
		}
		e.mu.Lock()
		if o.item != nil && !o.item.gone || o.begin != nil && !o.begin.over && o.begin.parts == 0 { // what says that it is done comes behind the copy
			j.Append(&journal.Entry{Kind: o.kind, Seq: o.seq, Payload: payload, Hold: true, Owner: o.move})
		}
		e.mu.Unlock()
	}
	if e.cleaning = e.cleaning[n:]; len(e.cleaning) == 0 {
		e.cleaning = nil
	}
}

// needed has once more what is needed of some files, on a full disk. Of an end that is
// told to one of several URLs the begin is among it: after a crash that URL may hear a repeat.
func (e *Engine) needed(j *journal.Journal, segments []uint32) (all []*journal.Entry) {
	for _, number := range segments {
		for _, o := range e.neededOf(number) {
			if payload, err := j.Read(o.place); err == nil {
				all = append(all, &journal.Entry{Kind: o.kind, Seq: o.seq, Payload: payload, Hold: true, Owner: o.move})
			}
		}
	}
	return all
}

// neededOf lists what a file holds that is not finished.
func (e *Engine) neededOf(segment uint32) (all []old) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ep := range e.endpoints {
		for it := ep.oldest; it != nil; it = it.newer {
			if it.stored && it.place.Segment == segment {
				all = append(all, old{move{item: it}, it.place, recordNotice, it.seq})
			}
		}
	}
	for b := range e.begins {
		if b.held && b.place.Segment == segment {
			all = append(all, old{move{begin: b}, b.place, recordBegin, b.seq})
		}
	}
	return all
}

// trouble is what the journal calls when the disk fails, and when that is over.
func (e *Engine) trouble(j *journal.Journal, err error) {
	e.mu.Lock()
	if e.journal != j { // given back: Close tells what is lost
		e.mu.Unlock()
		return
	}
	e.untrusted = err != nil
	waiting := e.loose.Len()
	if e.untrusted {
		for el := e.loose.Front(); el != nil; {
			it := el.Value.(*item)
			el = el.Next()
			e.readyLocked(it)
		}
		e.owedReadyLocked()
	}
	e.mu.Unlock()
	if err != nil {
		args := []any{"dir", e.dir, "uid", os.Getuid(), "error", err.Error(), "waiting", waiting}
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
			args = append(args, "hint", "under systemd see ReadWritePaths=")
		}
		e.log.Error("the journal of http hooks cannot be written: events are kept in memory and do not survive a restart until it can", args...)
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
	e.numbered = true
	defer e.giveBackLocked()
	s := e.journal.State()
	first := max(proposed, s.Below)
	e.idsBelow = first + idStep
	if e.untrusted { // as much as can be done
		e.journal.KeepBelow(e.idsBelow)
		return first, nil
	}
	s.Below = e.idsBelow
	return first, e.journal.SetState(s)
}

package hook

import (
	"cmp"
	"maps"
	"slices"

	"srs/hook/journal"
)

// A recovery is what a journal holds at the start.
type recovery struct {
	begins  map[uint64]*foundBegin
	notices map[uint64]*foundNotice
	done    map[uint64]bool // of notices not seen yet: the file before was lost
	damaged int
	gone    map[goneAt]int // events, of vhosts that are not there any more
}

// A goneAt is a vhost that is gone and an endpoint that hears of it.
type goneAt struct{ vhost, endpoint string }

// orphan counts an event of a vhost that is gone.
func (f *recovery) orphan(vhost, endpoint string) {
	if f.gone == nil {
		f.gone = make(map[goneAt]int)
	}
	f.gone[goneAt{vhost, endpoint}]++
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

// hold keeps all of it.
func (f *recovery) hold(j *journal.Journal) {
	for _, n := range f.notices {
		j.Hold(n.place)
	}
	for _, b := range f.begins {
		j.Hold(b.place)
	}
}

func (f *recovery) settle(seq uint64) {
	f.done[seq] = true
	delete(f.begins, seq)
}

// recoverLocked queues what was found, in its order: notices, then the ends that
// nobody has told, of each client the last begin first. Gates of a stream wait
// for its own, and those of a client's last stream for its on_close, which is
// behind its other ends.
func (e *Engine) recoverLocked(f *recovery, rulesIn func(string) (*Rules, bool)) (waiting, missing int) {
	type last struct {
		seq    uint64
		stream streamKey
	}
	latest := make(map[uint64]last) // by client: what it published or played last
	note := func(seq, client uint64, a Action, s streamKey) {
		if a.ofStream() && a != OnDVR && seq >= latest[client].seq {
			latest[client] = last{seq, s}
		}
	}
	for seq, b := range f.begins {
		note(seq, b.Event.ClientID, b.Event.Action, b.Event.streamKey())
	}
	for seq, n := range f.notices {
		note(seq, n.Client, n.Action, n.Stream)
	}
	await := func(a Action, client uint64, s streamKey) endKey {
		switch l, ok := latest[client]; {
		case a == OnDVR:
			return endKey{}
		case a.ofStream():
			return endKey{e.hash(s), true}
		case ok:
			return endKey{e.hash(l.stream), true}
		}
		return endKey{}
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
		rules := rulesFrom(rulesIn, n.Stream.vhost, nil)
		if rules.gone {
			f.orphan(n.Stream.vhost, ep.key)
		}
		it.lane = e.laneLocked(ep, n.Stream.vhost, rules)
		e.addLocked(ep, it, e.lineOf(n.Action, n.Client, n.Stream), await(n.Action, n.Client, n.Stream))
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
		rules, exists := rulesIn(ev.Vhost)
		if !exists {
			rules = &Rules{Enabled: true, ClientIDString: fb.IDAsString, gone: true}
			rules.setURLs(ev.Action, fb.URLs)
			for _, url := range fb.URLs {
				f.orphan(ev.Vhost, e.targetLocked(url).key)
			}
		}
		urls := rules.URLs(ev.Action)
		if len(urls) == 0 {
			e.unsentEndLocked(&ev, fb.URLs, rules)
			e.settleLocked(b)
			continue
		}
		missing++
		e.queueLocked(notice{
			ev: &ev, id: endID(fb.ID), body: ev.AppendJSON(nil, e.serverID, rules.ClientIDString),
			urls: urls, rules: rules, begin: b, await: await(ev.Action, ev.ClientID, ev.streamKey()),
		})
	}
	for _, ep := range e.endpoints {
		ep.drainLocked()
	}
	return waiting, missing
}

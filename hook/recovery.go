package hook

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"srs/hook/journal"
)

// A recovery is what a journal holds at the start.
type recovery struct {
	begins  map[uint64]*foundBegin
	notices map[uint64]*foundNotice
	done    map[uint64]bool              // of notices not seen yet: the file before was lost
	parts   map[uint64]map[uint64]string // of ends told to some URLs only: by begin and notice, the URL
	damaged int
	orphans map[orphanKey]*orphans
}

func newRecovery() *recovery {
	return &recovery{
		begins: make(map[uint64]*foundBegin), notices: make(map[uint64]*foundNotice), done: make(map[uint64]bool),
		parts: make(map[uint64]map[uint64]string), orphans: make(map[orphanKey]*orphans),
	}
}

// Orphans are events for an endpoint whose vhost is gone, or its hooks are off and
// have not what the events were made with.
type (
	orphanKey struct{ vhost, endpoint string }
	orphans   struct {
		count int
		how   made // of them, all that any was made with
		gone  bool
		old   bool // some do not say
	}
)

// orphan counts an event, if it is one.
func (f *recovery) orphan(vhost, endpoint string, r *Rules, how made) {
	if !r.gone && !r.lacks(how) {
		return
	}
	key := orphanKey{vhost, endpoint}
	o := f.orphans[key]
	if o == nil {
		o = &orphans{gone: r.gone}
		f.orphans[key] = o
	}
	o.count++
	o.how |= how &^ madeBy(r)
	o.old = o.old || how&madeKnown == 0
}

// text is the line about them.
func (o *orphans) text() string {
	text, back := "http hook events wait of a vhost whose http_hooks are off: ", "them"
	if o.gone {
		text, back = "http hook events wait of a vhost that is not in the configuration any more: ", "the vhost"
	}
	switch signed, tls := o.how&madeSigned != 0, o.how&madeTLS != 0; {
	case o.old || signed && tls:
		text += "its secret and its certificates are not known"
	case signed:
		text += "its secret is not known"
	case tls:
		text += "its certificates are not known"
	default:
		return text + "they are sent all the same"
	}
	return text + ", they are sent without; what the endpoint answers with 401 or 403 waits a day for " + back + " to be back"
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
			b.Event.IP, b.Event.TcURL, b.Event.Param = "", "", "" // read again when its end is made
			f.begins[r.Seq] = &foundBegin{b, r.Seq, r.Place}
		}
	case recordNotice:
		var n *told
		if n, err = parseTold(r.Payload); err != nil {
			break
		}
		n.Body = nil
		if n.Closes != 0 {
			f.ended(n, r.Seq)
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
	delete(f.parts, seq)
}

// ended notes that an end is told to one URL. It is over when it is so to all: the
// record of another may be damaged.
func (f *recovery) ended(n *told, seq uint64) {
	if n.Parts <= 1 {
		f.settle(n.Closes)
	}
	if f.done[n.Closes] {
		return
	}
	told := f.parts[n.Closes]
	if told == nil {
		told = make(map[uint64]string)
		f.parts[n.Closes] = told
	}
	if told[seq] = n.URL; uint64(len(told)) >= n.Parts {
		f.settle(n.Closes)
	}
}

// untold are the URLs that have not been told of the end of a begin.
func (f *recovery) untold(seq uint64, urls []string) []string {
	told := f.parts[seq]
	if len(told) == 0 {
		return urls
	}
	heard := slices.Collect(maps.Values(told))
	return slices.DeleteFunc(slices.Clone(urls), func(url string) bool { return slices.Contains(heard, url) })
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
		f.orphan(n.Stream.vhost, ep.key, rules, n.Made)
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
		}
		urls := rules.URLs(ev.Action)
		if len(urls) == 0 {
			e.unsentEndLocked(&ev, f.untold(fb.seq, fb.URLs), rules)
		}
		if urls = f.untold(fb.seq, urls); len(urls) == 0 {
			e.settleLocked(b)
			continue
		}
		for _, url := range urls {
			f.orphan(ev.Vhost, e.targetLocked(url).key, rules, fb.Made)
		}
		missing++
		o := &owed{begin: b, at: time.Now(), idAsString: rules.ClientIDString, how: fb.Made, told: len(f.parts[fb.seq]), urls: urls}
		if !rules.gone {
			o.how = madeBy(rules)
		}
		e.oweLocked(o, fb, rules, await(ev.Action, ev.ClientID, ev.streamKey()))
	}
	if len(e.owed) > 0 {
		e.feeding = true
		e.calls.Add(1)
		go e.feed()
	}
	for _, ep := range e.endpoints {
		ep.drainLocked()
	}
	return waiting, missing
}

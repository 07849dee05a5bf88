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

// A resumption queues what was found.
type resumption struct {
	*recovery
	engine           *Engine
	rules            func(vhost string) (r *Rules, exists bool)
	latest           map[uint64]latest
	owed             map[uint64]*owed // by client: the last
	waiting, missing int
}

// A latest is what a client has published or played last.
type latest struct {
	seq    uint64
	stream streamKey
}

// recoverLocked queues what was found, in its order: notices, and the ends that
// nobody has told. These come last, but for the end of a publish or play after which
// its client is known to have gone on: the record that told it is damaged. Gates of a
// stream wait for its own, and those of a client's last stream for its on_close, which
// is behind its other ends.
func (e *Engine) recoverLocked(f *recovery, rules func(string) (*Rules, bool)) (waiting, missing int) {
	r := &resumption{recovery: f, engine: e, rules: rules, latest: make(map[uint64]latest), owed: make(map[uint64]*owed)}
	for seq, b := range f.begins {
		r.note(seq, b.Event.ClientID, b.Event.Action, b.Event.streamKey())
	}
	for seq, n := range f.notices {
		r.note(seq, n.Client, n.Action, n.Stream)
	}
	owing := make(map[uint64][]*foundBegin) // by client: the connection last, of the others the oldest first
	for _, b := range f.begins {
		owing[b.Event.ClientID] = append(owing[b.Event.ClientID], b)
	}
	for _, all := range owing {
		slices.SortFunc(all, func(a, b *foundBegin) int {
			return cmp.Or(cmp.Compare(a.Event.Action.rank(), b.Event.Action.rank()), cmp.Compare(a.seq, b.seq))
		})
	}
	for _, seq := range slices.Sorted(maps.Keys(f.notices)) {
		n := f.notices[seq]
		before := n.Closes // what has begun earlier has ended earlier; 0: an on_dvr, or not known
		if n.Action == OnClose {
			before = seq
		}
		all := owing[n.Client]
		for len(all) > 0 && all[0].Event.Action.ofStream() && all[0].seq < before {
			r.endLocked(all[0], n.At)
			all = all[1:]
		}
		owing[n.Client] = all
		r.noticeLocked(n)
	}
	for _, client := range slices.Sorted(maps.Keys(owing)) {
		for _, b := range owing[client] {
			r.endLocked(b, time.Now())
		}
	}
	if len(e.owed) > 0 {
		e.feeding = true
		e.calls.Add(1)
		go e.feed()
	}
	for _, ep := range e.endpoints {
		ep.drainLocked()
	}
	return r.waiting, r.missing
}

// rank puts what belongs to a connection before the connection.
func (a Action) rank() int {
	if a.ofStream() {
		return 0
	}
	return 1
}

func (r *resumption) note(seq, client uint64, a Action, s streamKey) {
	if a.ofStream() && a != OnDVR && seq >= r.latest[client].seq {
		r.latest[client] = latest{seq, s}
	}
}

// await names the gates that wait for an event.
func (r *resumption) await(a Action, client uint64, s streamKey) endKey {
	switch l, ok := r.latest[client]; {
	case a == OnDVR:
		return endKey{}
	case a.ofStream():
		return endKey{r.engine.hash(s), true}
	case ok:
		return endKey{r.engine.hash(l.stream), true}
	}
	return endKey{}
}

// noticeLocked queues a notice that is on disk.
func (r *resumption) noticeLocked(n *foundNotice) {
	e := r.engine
	e.countLocked(n.Action).Told++
	it := &item{
		told: n.At.UnixMilli(), seq: n.seq, place: n.place, size: int32(n.size),
		action: int8(n.Action.index()), flags: flags{stored: true, ready: true},
	}
	e.journal.Hold(n.place)
	ep := e.endpointLocked(e.targetLocked(n.URL).key)
	rules := rulesFrom(r.rules, n.Stream.vhost, nil)
	r.orphan(n.Stream.vhost, ep.key, rules, n.Made)
	it.lane = e.laneLocked(ep, n.Stream.vhost, rules)
	e.addLocked(ep, it, e.lineOf(n.Action, n.Client, n.Stream), r.await(n.Action, n.Client, n.Stream))
	r.waiting++
}

// endLocked queues the end that a begin owes, as told at some time.
func (r *resumption) endLocked(fb *foundBegin, at time.Time) {
	e, ev := r.engine, fb.Event
	ev.Action = endOf(ev.Action)
	b := &begin{id: fb.ID, seq: fb.seq, place: fb.place, held: true}
	e.journal.Hold(fb.place)
	e.begins[b] = struct{}{}
	rules, exists := r.rules(ev.Vhost)
	if !exists {
		rules = &Rules{Enabled: true, ClientIDString: fb.IDAsString, gone: true}
		rules.setURLs(ev.Action, fb.URLs)
	}
	urls := rules.URLs(ev.Action)
	if len(urls) == 0 {
		e.unsentEndLocked(&ev, r.untold(fb.seq, fb.URLs), rules)
	}
	if urls = r.untold(fb.seq, urls); len(urls) == 0 {
		e.settleLocked(b)
		return
	}
	for _, url := range urls {
		r.orphan(ev.Vhost, e.targetLocked(url).key, rules, fb.Made)
	}
	r.missing++
	o := &owed{begin: b, at: at, idAsString: rules.ClientIDString, how: fb.Made, told: len(r.parts[fb.seq]), urls: urls}
	if !rules.gone {
		o.how = madeBy(rules)
	}
	o.before, r.owed[ev.ClientID] = r.owed[ev.ClientID], o
	e.oweLocked(o, fb, rules, r.await(ev.Action, ev.ClientID, ev.streamKey()))
}

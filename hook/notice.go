package hook

import (
	"container/list"
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"time"
)

// Our own choices: what notices may hold of the memory while they wait. Beyond,
// the oldest goes: it is the most likely to belong to an endpoint that is down,
// so that the notices of the others stay.
const (
	maxNotices     = 100_000
	maxNoticeBytes = 64 << 20
	noticeOverhead = 512 // bytes a notice costs besides its body, about

	dropLogEvery = time.Second
)

// A notice is one event on its way to its endpoints.
type notice struct {
	// Static once queued.
	line      *line
	item      *item
	action    Action
	client    uint64
	vhost     string
	stream    streamKey
	id        string // webhook-id
	body      []byte
	rules     *Rules
	endpoints []*endpoint

	// Guarded by Engine.mu.
	next   int           // which endpoint
	failed bool          // at one of them
	age    *list.Element // in Engine.age while no call is under way
}

func (n *notice) size() int { return len(n.body) + noticeOverhead }

// tell puts an event into a line. It copies what it needs and never blocks.
func (e *Engine) tell(l *line, ev *Event, rules *Rules, urls []string) {
	n := &notice{
		action: ev.Action, client: ev.ClientID, vhost: ev.Vhost, stream: ev.streamKey(),
		id: rand.Text(), body: ev.AppendJSON(nil, e.serverID, rules.ClientIDString), rules: rules,
	}
	n.item = &item{notice: n}
	e.mu.Lock()
	e.queueLocked(l, n, urls)
	drops := e.dropsToLogLocked()
	waiting, bytes := e.age.Len(), e.ageBytes
	e.mu.Unlock()
	if drops > 0 {
		e.log.Warn("http hook notices dropped", "count", drops, "waiting", waiting, "bytes", bytes)
	}
}

func (e *Engine) queueLocked(l *line, n *notice, urls []string) {
	count := e.countLocked(n.action)
	count.Told++
	if e.closed {
		count.Dropped++
		e.dropsUnlogged++
		return
	}
	if l == nil {
		l = e.fileLineLocked(n.stream)
	}
	n.line = l
	n.endpoints = e.endpointsLocked(urls)
	e.pending++
	e.ageLocked(n, true)
	e.awaitEndLocked(n)
	e.joinLocked(l, n.item)
	for e.age.Len() > maxNotices || e.ageBytes > maxNoticeBytes {
		e.dropLocked(e.age.Front().Value.(*notice))
		e.dropsUnlogged++
	}
}

// fileLineLocked finds the line of a stream's recordings. It lives while it has items.
func (e *Engine) fileLineLocked(key streamKey) *line {
	l := e.files[key]
	if l == nil {
		l = &line{file: key}
		e.files[key] = l
	}
	return l
}

// deliver makes one call of a notice, the one its lane granted.
func (e *Engine) deliver(n *notice) {
	defer e.calls.Done()
	ep := n.endpoints[n.next]
	ctx, cancel := context.WithTimeout(e.notices, n.rules.timeout())
	defer cancel()
	started := time.Now()
	a, refusal := e.call(ctx, ep, n.id, n.body)
	done := refusal == nil && a.took()
	if refusal == nil {
		refusal = a.verdict()
	}
	e.logNotice(n, ep, done, refusal, time.Since(started))

	e.mu.Lock()
	defer e.mu.Unlock()
	t := n.line.ticket
	n.line.ticket = nil
	// Last, so that an urgent line is back in the lane before the next is granted.
	defer e.leaveLocked(t)
	if !done && e.aborted {
		e.countLocked(n.action).Dropped++
		e.undelivered++
		e.finishLocked(n)
		return
	}
	n.failed = n.failed || !done
	e.endArrivedLocked(n, ep)
	n.next++
	switch {
	case n.next < len(n.endpoints) && e.aborted:
		e.countLocked(n.action).Dropped++
		e.undelivered++
		e.finishLocked(n)
	case n.next < len(n.endpoints):
		e.ageLocked(n, false)
		e.offerLocked(n.line)
	case n.failed:
		e.countLocked(n.action).Failed++
		e.finishLocked(n)
	default:
		e.countLocked(n.action).Delivered++
		e.finishLocked(n)
	}
}

// dropLocked gives a notice up that no call is under way for.
func (e *Engine) dropLocked(n *notice) {
	e.unageLocked(n)
	e.countLocked(n.action).Dropped++
	e.finishLocked(n)
}

// finishLocked takes a notice out of everything.
func (e *Engine) finishLocked(n *notice) {
	for ; n.next < len(n.endpoints); n.next++ {
		e.endArrivedLocked(n, n.endpoints[n.next])
	}
	e.removeLocked(n.line, n.item)
	e.pending--
	if e.closed && e.pending == 0 {
		close(e.drained)
	}
}

func (e *Engine) ageLocked(n *notice, newest bool) {
	if newest {
		n.age = e.age.PushBack(n)
	} else {
		n.age = e.age.PushFront(n)
	}
	e.ageBytes += n.size()
}

func (e *Engine) unageLocked(n *notice) {
	e.age.Remove(n.age)
	n.age = nil
	e.ageBytes -= n.size()
}

// An endKey names a stream as one endpoint knows it.
type endKey struct {
	stream   streamKey
	endpoint string
}

// An unpublish is the on_unpublish notices of one stream that one endpoint
// still has to hear.
type unpublish struct {
	notices []*notice     // one entry for each URL
	heard   chan struct{} // closed when notices is empty
}

func (e *Engine) awaitEndLocked(n *notice) {
	if n.action != OnUnpublish {
		return
	}
	for _, ep := range n.endpoints {
		key := endKey{n.stream, ep.key}
		u := e.ends[key]
		if u == nil {
			u = &unpublish{heard: make(chan struct{})}
			e.ends[key] = u
		}
		u.notices = append(u.notices, n)
	}
}

// endArrivedLocked notes that an on_unpublish was handed over, or given up.
func (e *Engine) endArrivedLocked(n *notice, ep *endpoint) {
	if n.action != OnUnpublish {
		return
	}
	key := endKey{n.stream, ep.key}
	u := e.ends[key]
	i := slices.Index(u.notices, n)
	u.notices = slices.Delete(u.notices, i, i+1)
	if len(u.notices) == 0 {
		delete(e.ends, key)
		close(u.heard)
	}
}

func (e *Engine) logNotice(n *notice, ep *endpoint, done bool, r *Refusal, took time.Duration) {
	level, text, reason, detail := slog.LevelDebug, " delivered", "", ""
	if r != nil {
		level, reason, detail = slog.LevelWarn, r.Reason, r.Detail
		text = " delivered, answered with a refusal"
	}
	if !done {
		level, text = slog.LevelWarn, " failed"
	}
	if !e.log.Enabled(context.Background(), level) {
		return
	}
	attrs := []any{
		"client", n.client, "action", string(n.action), "url", ep.masked, "vhost", clip(n.stream.vhost),
		"app", clip(n.stream.app), "stream", clip(n.stream.stream), "took", took.Round(10 * time.Microsecond),
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
	e.log.Log(context.Background(), level, "http hook "+string(n.action)+text, attrs...)
}

// dropsToLogLocked returns how many drops a log line is due for: at most one a
// second, none in between.
func (e *Engine) dropsToLogLocked() int {
	n := e.dropsUnlogged
	if n == 0 || time.Since(e.dropLogged) < dropLogEvery {
		return 0
	}
	e.dropLogged, e.dropsUnlogged = time.Now(), 0
	return n
}

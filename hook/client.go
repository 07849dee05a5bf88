package hook

import (
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"time"
)

// A Client is one RTMP connection's line to the endpoints. It holds no
// goroutine and needs no close. Safe for concurrent use.
type Client struct {
	engine *Engine

	// Guarded by engine.mu.
	begun map[Action]*begin // what was accepted, by the action of its end
	left  time.Time         // zero: not
}

// Leave notes that the client is gone, also while a gate is pending.
func (c *Client) Leave() {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	if c.left.IsZero() {
		c.left = time.Now()
	}
}

// endOf names the end of a begin.
func endOf(a Action) Action {
	switch a {
	case OnConnect:
		return OnClose
	case OnPublish:
		return OnUnpublish
	case OnPlay:
		return OnStop
	}
	return ""
}

// Ask asks the endpoints of an event one after another and returns nil when all
// say yes, when none is configured, or when hooks are off. Everything else is a
// *Refusal: the first no stops the list. Rules.Timeout bounds it as a whole, and
// ctx ends it at once. With Rules.AllowOnFail an endpoint that fails to decide is
// passed over.
//
// It first waits until what this client told earlier was handed over, and
// before on_publish also until the endpoint heard of the end of the stream's
// last publish; those ends are moved ahead of other notices.
//
// After nil the caller owes the Tell of the end: on_close, on_unpublish or
// on_stop. After a refusal it owes none, except where Owed says so: a request
// went out (Sent) and may have been granted, but the gate was given up
// (ReasonCanceled, ReasonClosed), or found no answer for a client that had left.
// That end is not told to endpoints of the list that were not asked.
// Endpoints that said yes before a later URL refused hear the end from here.
func (c *Client) Ask(ctx context.Context, ev Event) error {
	e := c.engine
	rules, urls := c.rules(&ev)
	if !rules.on() {
		return nil // nor will its end be told, unless hooks are on by then
	}
	b := &begin{rules: rules, id: rand.Text()}
	if len(urls) == 0 {
		e.intend(ctx, b, &ev, false)
		e.mu.Lock()
		e.keepIDsLocked(ev.ClientID)
		c.rememberLocked(ev.Action, b)
		e.mu.Unlock()
		return nil
	}
	started := time.Now()
	ctx, cancel := e.within(ctx, rules)
	defer cancel()
	url, refusal := c.gate(ctx, &ev, b, urls)
	e.logGate(&ev, url, refusal, time.Since(started))
	if refusal != nil {
		return refusal
	}
	return nil
}

// within bounds what a client waits for: by its rules, and by Close.
func (e *Engine) within(ctx context.Context, rules *Rules) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(e.gates, func() { end(errClosed) })
	ctx, cancel := context.WithTimeout(ctx, rules.timeout())
	return ctx, func() {
		cancel()
		stop()
		end(nil)
	}
}

// gate asks one URL after the other. It returns the one that decided.
func (c *Client) gate(ctx context.Context, ev *Event, b *begin, urls []string) (url string, refusal *Refusal) {
	e := c.engine
	e.mu.Lock()
	count := e.countLocked(ev.Action)
	count.Asked++
	if e.closed {
		count.Refused++
		e.mu.Unlock()
		return "", &Refusal{Action: ev.Action, Reason: ReasonClosed}
	}
	targets := make([]*target, len(urls))
	for i, raw := range urls {
		targets[i] = e.targetLocked(raw)
	}
	e.asks.Add(1)
	e.keepIDsLocked(ev.ClientID)
	id := e.serverID
	e.mu.Unlock()
	defer e.asks.Done()

	body := ev.AppendJSON(nil, id, b.rules.ClientIDString)
	var yes, asked []string // keys of endpoints
	for _, t := range targets {
		url = t.masked
		r := c.ask(ctx, t, ev, b, body)
		if r == nil || r.Sent {
			asked = append(asked, t.key)
		}
		switch {
		case r == nil:
			yes = append(yes, t.key)
			continue
		case r.Undecided() && b.rules.AllowOnFail:
			e.log.Warn("http hook "+string(ev.Action)+" not decided, accepted as on_fail says", "client", ev.ClientID,
				"url", url, "reason", r.Reason, "detail", r.Detail)
			continue
		}
		refusal = r
		refusal.Action, refusal.URL = ev.Action, url
		refusal.Sent = refusal.Sent || len(yes) > 0
		break
	}
	if refusal == nil {
		e.intend(ctx, b, ev, true) // that nobody was asked changes nothing
	}

	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case refusal == nil:
		count.Accepted++
		c.rememberLocked(ev.Action, b)
	case refusal.owed(!c.left.IsZero()):
		refusal.Owed = true
		count.Refused++
		for _, t := range targets {
			if !slices.Contains(asked, t.key) {
				b.unasked = append(b.unasked, t.key)
			}
		}
		c.rememberLocked(ev.Action, b)
	default:
		count.Refused++
		e.takeBackLocked(ev, b, yes, refusal.Reason)
	}
	return url, refusal
}

// takeBackLocked tells the end of what was refused to those who had said yes.
func (e *Engine) takeBackLocked(ev *Event, b *begin, yes []string, reason string) {
	end := *ev
	end.Action, end.Reason = endOf(ev.Action), reason
	var urls []string
	for _, raw := range b.rules.URLs(end.Action) {
		if slices.Contains(yes, e.targetLocked(raw).key) {
			urls = append(urls, raw)
		}
	}
	if len(urls) == 0 {
		e.settleLocked(b)
		return
	}
	e.queueLocked(notice{
		ev: &end, id: b.endID(), body: end.AppendJSON(nil, e.serverID, b.rules.ClientIDString), urls: urls, rules: b.rules, begin: b,
	})
}

// ask puts one gate to one endpoint: the client's turn, the stream's turn, a
// place among the gates, the call.
func (c *Client) ask(ctx context.Context, t *target, ev *Event, b *begin, body []byte) (r *Refusal) {
	e, started := c.engine, time.Now()
	place := &item{turn: make(chan struct{})}
	e.mu.Lock()
	ep := e.endpointLocked(t.key)
	waits := ep.lines[ev.ClientID] != nil // for what cannot be told either
	if ep.shutLocked(ev.Vhost, b.rules, started) || waits && ep.ownLocked(ev.Vhost, b.rules).open {
		ep.tallies[ev.Action.index()].count(Undecided)
		e.mu.Unlock()
		return &Refusal{Reason: ReasonBreaker}
	}
	e.joinLocked(ep, ev.ClientID, place)
	if place.line.first != place {
		e.hurryLocked(place)
	}
	failing := ep.gateFailing
	e.mu.Unlock()

	called := false
	defer func() {
		o := Accepted
		switch {
		case r == nil:
		case r.Undecided():
			o = Undecided
		case r.Reason == ReasonCanceled, r.Reason == ReasonClosed, r.Reason == ReasonPending:
			o = Undecided
		default:
			o = Denied
		}
		e.mu.Lock()
		e.removeLocked(place)
		e.mu.Unlock()
		if counts := &ep.tallies[ev.Action.index()]; called {
			counts.timed(o, time.Since(started))
		} else {
			counts.count(o)
		}
	}()
	if r := e.await(ctx, hope{ep, ev.Vhost, b.rules, failing}, place.turn, "earlier events of this client are not delivered yet"); r != nil {
		e.mu.Lock()
		r.pending(ep.breaker.open && place.line.silent)
		e.mu.Unlock()
		return r
	}
	if r := e.awaitEnds(ctx, ep, ev, b.rules); r != nil {
		return r
	}
	e.mu.Lock()
	ticket := e.enterLocked(ep, ev.Vhost, b.rules)
	failing = ep.gateFailing
	e.mu.Unlock()
	if ticket == nil {
		return &Refusal{Reason: ReasonOverload}
	}
	defer func() {
		e.mu.Lock()
		e.leaveLocked(ticket)
		e.mu.Unlock()
	}()
	if r := e.await(ctx, hope{ep, ev.Vhost, b.rules, failing}, ticket.granted, "no worker was free"); r != nil {
		return r
	}
	e.intend(ctx, b, ev, true)
	e.mu.Lock()
	admitted := ep.admitLocked(ev.Vhost, b.rules, time.Now())
	e.mu.Unlock()
	if !admitted {
		return &Refusal{Reason: ReasonBreaker}
	}
	called = t.err == nil
	return c.askNow(ctx, ep, t, ev, b, body)
}

// askNow makes the call of a gate and finds the verdict.
func (c *Client) askNow(ctx context.Context, ep *endpoint, t *target, ev *Event, b *begin, body []byte) *Refusal {
	e, started := c.engine, time.Now()
	a, r := e.call(ctx, t, b.rules, b.id, body)
	failed := r != nil && a.status == 0
	switch {
	case r == nil:
		r = a.verdict()
	case a.status != 0:
		if s := a.statusVerdict(); s != nil {
			r = s // the status alone decides
		}
	}
	switch {
	case !failed:
		e.heard(ep, ev.Vhost, b.rules, true, nil, started)
	case t.err != nil, r.Reason == ReasonClosed, rushed(r, b.rules, time.Since(started)):
	case r.Reason == ReasonCanceled:
		e.gaveUp(ep, c, r, started)
	default:
		e.heard(ep, ev.Vhost, b.rules, false, r, started)
	}
	if r != nil {
		r.Sent = a.sent && r.Reason != ReasonRefused && r.Reason != ReasonTLS
	}
	return r
}

// rushed reports whether a call had too little of the gate's time to blame the
// endpoint for it.
func rushed(r *Refusal, rules *Rules, took time.Duration) bool {
	return r.Reason == ReasonTimeout && took < min(rules.timeout()/2, time.Second)
}

// Tell puts an event into the client's line and returns. If the vhost is gone
// since the begin, the event goes where it would have gone then.
func (c *Client) Tell(ev Event) {
	e := c.engine
	rules, urls := c.rules(&ev)
	e.mu.Lock()
	b := c.begun[ev.Action]
	delete(c.begun, ev.Action)
	if len(urls) == 0 && b != nil {
		e.unsentEndLocked(&ev, e.concernedLocked(b, b.rules.URLs(ev.Action)), rules)
	}
	if urls = e.concernedLocked(b, urls); len(urls) == 0 {
		e.settleLocked(b)
	}
	id := e.serverID
	e.mu.Unlock()
	if len(urls) > 0 {
		e.tell(notice{
			ev: &ev, id: b.endID(), body: ev.AppendJSON(nil, id, rules.ClientIDString), urls: urls, rules: rules, begin: b,
		})
	}
}

// concernedLocked leaves out who does not hear the end of a begin.
func (e *Engine) concernedLocked(b *begin, urls []string) []string {
	if b == nil || len(b.unasked) == 0 {
		return urls
	}
	var those []string
	for _, raw := range urls {
		if !slices.Contains(b.unasked, e.targetLocked(raw).key) {
			those = append(those, raw)
		}
	}
	return those
}

// rules finds the rules for an event: those in force; if there is no such vhost
// any more, its last ones, with the URLs of the begin. A new publish or play of a
// client whose vhost went away goes to the URLs that it connected under.
func (c *Client) rules(ev *Event) (*Rules, []string) {
	rules, exists := c.engine.rules(ev.Vhost)
	if !exists {
		rules = nil
		begun := ev.Action
		if endOf(begun) != "" {
			begun = OnClose
		}
		c.engine.mu.Lock()
		if b := c.begun[begun]; b != nil {
			rules = b.rules.under(c.engine.removed[ev.Vhost], ev.Action)
		}
		c.engine.mu.Unlock()
	}
	return rules, rules.URLs(ev.Action)
}

func (c *Client) rememberLocked(a Action, b *begin) {
	if c.begun == nil {
		c.begun = make(map[Action]*begin, 2)
	}
	c.begun[endOf(a)] = b
}

func (e *Engine) logGate(ev *Event, url string, r *Refusal, took time.Duration) {
	if !e.log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	text := " accepted"
	attrs := []any{
		"client", ev.ClientID, "action", string(ev.Action), "url", url, "vhost", clip(ev.Vhost),
		"app", clip(ev.App), "stream", clip(ev.Stream), "took", took.Round(10 * time.Microsecond),
	}
	if r != nil {
		text = " refused"
		attrs = append(attrs, "reason", r.Reason)
		if r.Status != 0 {
			attrs = append(attrs, "status", r.Status)
		}
		if r.Detail != "" {
			attrs = append(attrs, "detail", r.Detail)
		}
	}
	e.log.Info("http hook "+string(ev.Action)+text, attrs...)
}

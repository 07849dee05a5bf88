package hook

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"
)

// A Client is one RTMP connection's line to the endpoints. It holds no
// goroutine and needs no close. Safe for concurrent use.
type Client struct {
	engine *Engine

	// Guarded by engine.mu.
	line  line
	begun map[Action]*Rules // by the action of the end: the rules its begin was accepted under
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
// ctx ends it at once.
//
// It first waits until what this client told earlier was handed over, and
// before on_publish also until the endpoint heard of the end of the stream's
// last publish; those ends are moved ahead of other notices.
//
// After nil the caller owes the Tell of the end: on_close, on_unpublish or
// on_stop. After a refusal it owes none, with one exception: a gate that was
// given up (ReasonCanceled, ReasonClosed) after a request went out (Sent) may
// have been granted, and the caller tells the end to be safe. An endpoint that
// said yes when a later URL refused is not told yet.
func (c *Client) Ask(ctx context.Context, ev Event) error {
	e := c.engine
	rules, urls := c.rules(&ev)
	if len(urls) == 0 {
		e.mu.Lock()
		c.rememberLocked(ev.Action, rules)
		e.mu.Unlock()
		return nil
	}
	started := time.Now()
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(e.gates, func() { end(errClosed) })()
	ctx, cancel := context.WithTimeout(ctx, rules.timeout())
	defer cancel()

	url, refusal := c.gate(ctx, &ev, rules, urls)
	e.logGate(&ev, url, refusal, time.Since(started))
	if refusal != nil {
		return refusal
	}
	return nil
}

// gate takes the place in the line and calls. It returns the URL that decided.
func (c *Client) gate(ctx context.Context, ev *Event, rules *Rules, urls []string) (url string, refusal *Refusal) {
	e := c.engine
	place := &item{turn: make(chan struct{})}
	e.mu.Lock()
	count := e.countLocked(ev.Action)
	count.Asked++
	if e.closed {
		count.Refused++
		e.mu.Unlock()
		return "", &Refusal{Action: ev.Action, Reason: ReasonClosed}
	}
	endpoints := e.endpointsLocked(urls)
	e.asks.Add(1)
	e.joinLocked(&c.line, place)
	if c.line.items[0] != place {
		e.hurryLocked(&c.line)
	}
	e.mu.Unlock()

	defer e.asks.Done()
	defer func() {
		if refusal != nil {
			refusal.Action, refusal.URL = ev.Action, url
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if refusal == nil {
			count.Accepted++
			c.rememberLocked(ev.Action, rules)
		} else {
			count.Refused++
		}
		e.removeLocked(&c.line, place)
	}()

	select {
	case <-place.turn:
	case <-ctx.Done():
		refusal = ended(ctx)
		refusal.Detail = "earlier events of this client are not delivered yet"
		return "", refusal
	}
	id := rand.Text()
	body := ev.AppendJSON(nil, e.serverID, rules.ClientIDString)
	for i, ep := range endpoints {
		url = ep.masked
		if refusal = e.ask(ctx, ep, ev, rules, id, body); refusal != nil {
			refusal.Sent = refusal.Sent || i > 0
			return url, refusal
		}
	}
	return url, nil
}

// ask puts one gate to one endpoint.
func (e *Engine) ask(ctx context.Context, ep *endpoint, ev *Event, rules *Rules, id string, body []byte) *Refusal {
	if ev.Action == OnPublish {
		if r := e.awaitUnpublish(ctx, endKey{ev.streamKey(), ep.key}); r != nil {
			return r
		}
	}
	granted := make(chan struct{})
	e.mu.Lock()
	key := laneKey{vhost: ev.Vhost, endpoint: ep.key, gate: true}
	t := e.enterLocked(key, rules.workers(), rules.queue(), false, func() { close(granted) })
	e.mu.Unlock()
	if t == nil {
		return &Refusal{Reason: ReasonOverload}
	}
	defer func() {
		e.mu.Lock()
		e.leaveLocked(t)
		e.mu.Unlock()
	}()
	select {
	case <-granted:
	case <-ctx.Done():
		r := ended(ctx)
		r.Detail = "no worker was free"
		return r
	}
	a, r := e.call(ctx, ep, id, body)
	switch {
	case r == nil:
		r = a.verdict()
	case a.status != 0:
		if s := a.statusVerdict(); s != nil {
			r = s // the status alone decides
		}
	}
	if r != nil {
		r.Sent = r.Reason != ReasonRefused
	}
	return r
}

// awaitUnpublish waits until an endpoint heard of a stream's end.
func (e *Engine) awaitUnpublish(ctx context.Context, key endKey) *Refusal {
	e.mu.Lock()
	u := e.ends[key]
	if u == nil {
		e.mu.Unlock()
		return nil
	}
	for _, n := range u.notices {
		e.hurryLocked(n.line)
	}
	e.mu.Unlock()
	select {
	case <-u.heard:
		return nil
	case <-ctx.Done():
		r := ended(ctx)
		r.Detail = "the last on_unpublish of the stream is not delivered yet"
		return r
	}
}

// Tell puts an event into the client's line and returns. If the vhost is gone
// since the begin, the event goes where it would have gone then.
func (c *Client) Tell(ev Event) {
	rules, urls := c.rules(&ev)
	if endOf(ev.Action) == "" {
		c.engine.mu.Lock()
		delete(c.begun, ev.Action)
		c.engine.mu.Unlock()
	}
	if len(urls) > 0 {
		c.engine.tell(&c.line, &ev, rules, urls)
	}
}

// rules finds the rules for an event: those in force; if there is no such vhost
// any more, those of the begin. A new publish or play of a client whose vhost
// went away is held to the rules it connected under.
func (c *Client) rules(ev *Event) (*Rules, []string) {
	rules, exists := c.engine.rules(ev.Vhost)
	if !exists {
		c.engine.mu.Lock()
		begun := ev.Action
		if endOf(begun) != "" {
			begun = OnClose
		}
		rules = c.begun[begun]
		c.engine.mu.Unlock()
	}
	return rules, rules.urls(ev.Action)
}

func (c *Client) rememberLocked(a Action, r *Rules) {
	end := endOf(a)
	if end == "" {
		return
	}
	if c.begun == nil {
		c.begun = make(map[Action]*Rules, 2)
	}
	c.begun[end] = r
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

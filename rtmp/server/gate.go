package server

import (
	"context"
	"errors"
	"time"

	"srs/amf0"
	"srs/hook"
)

// Shorthands for answers.
var (
	amf0Null      = amf0.Null{}
	amf0Undefined = amf0.Undefined{}
)

// event fills in what all events of this connection share.
func (c *session) event(a hook.Action) hook.Event {
	return hook.Event{Action: a, ClientID: c.id, IP: c.ip, TcURL: c.tcURL, PageURL: c.pageURL}
}

// gate is a question to the endpoints that is pending.
type gate struct {
	then      func(accepted bool, err error) error
	answer    chan error // capacity 1
	cancel    context.CancelFunc
	remaining time.Duration // of the session's time: the gate's is not the client's fault
	left      error         // the client is gone, because of this
	grace     *time.Timer   // then: calls cancel
}

// ask puts an event to the endpoints and goes on with the decision: at once
// where nobody is asked, else when it has come; meanwhile what the client
// sends is kept, within a bound, and a client that leaves is noticed.
// accepted tells whether the end of what was asked for is owed, also when the
// client is gone; err is nil only when the session can go on.
func (c *session) ask(ev hook.Event, then func(accepted bool, err error) error) error {
	if !c.asksSomebody(&ev) {
		if refusal := c.hooks.Ask(atOnce, ev); refusal == nil {
			return then(true, c.asked(nil))
		} // else the configuration has changed this moment
	}
	c.await(func(ctx context.Context) error { return c.hooks.Ask(ctx, ev) }, then)
	return nil
}

// await has a question answered that takes time, and goes on with the answer.
func (c *session) await(question func(context.Context) error, then func(accepted bool, err error) error) {
	ctx, cancel := context.WithCancel(c.server.gates)
	g := &gate{then: then, answer: make(chan error, 1), cancel: cancel, remaining: time.Until(c.deadline)}
	c.gate = g
	c.setDeadline(time.Time{})
	go func() {
		g.answer <- question(ctx)
		c.nudge()
	}()
}

// atOnce does not wait.
var atOnce = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// decided goes on when the answer to a gate has come.
func (x *loop) decided(c *session, g *gate, refusal error) {
	c.gate = nil
	g.cancel()
	if g.left != nil {
		g.grace.Stop()
		x.end(c, g.then(owed(refusal), g.left))
		return
	}
	c.setDeadline(x.now.Add(g.remaining))
	if err := g.then(owed(refusal), c.asked(refusal)); err != nil {
		x.end(c, err)
		return
	}
	if c.player != nil {
		x.seat(c)
	}
	x.resume(c)
}

// leftGrace is how long an endpoint may take to answer for a client that has
// left meanwhile. A stream's name is held as long, unless somebody takes it over.
const leftGrace = 2 * time.Second

// owed reports whether the end of what was asked for must be told: it was
// granted, or nobody knows and the endpoint had heard the question.
func owed(refusal error) bool {
	var r *hook.Refusal
	return refusal == nil || errors.As(refusal, &r) && r.Owed
}

// asked tells the session's own end from the endpoint's no.
func (c *session) asked(refusal error) error {
	if e := c.kicked.Load(); e != nil {
		return e
	}
	if c.isOusted() {
		return errOusted
	}
	return refusal
}

// asksSomebody reports whether an endpoint will be called for an event.
func (c *session) asksSomebody(ev *hook.Event) bool {
	for _, v := range c.server.Conf().Vhosts {
		if v.Name != ev.Vhost {
			continue
		}
		switch ev.Action {
		case hook.OnConnect:
			return v.Hooks.Enabled && len(v.Hooks.OnConnect) > 0
		case hook.OnPublish:
			return v.Hooks.Enabled && len(v.Hooks.OnPublish) > 0
		case hook.OnPlay:
			return v.Hooks.Enabled && len(v.Hooks.OnPlay) > 0
		}
	}
	return false
}

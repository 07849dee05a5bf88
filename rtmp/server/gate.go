package server

import (
	"context"
	"errors"
	"os"
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

// ask puts an event to the endpoints and waits for the decision. Meanwhile
// the socket is read, within a bound, so that a client that leaves is noticed.
// accepted tells whether the end of what was asked for is owed, also when the
// client is gone; err is nil only when the session can go on.
func (c *session) ask(ev hook.Event) (accepted bool, err error) {
	if err := c.flush(); err != nil {
		return false, err
	}
	if !c.asksSomebody(&ev) {
		refusal := c.hooks.Ask(c.server.gates, ev)
		return owed(refusal), c.asked(refusal)
	}
	left := time.Until(c.deadline) // the gate's time is not the client's fault
	defer func() { c.setDeadline(time.Now().Add(left)) }()
	c.setDeadline(time.Time{})

	ctx, cancel := context.WithCancel(c.server.gates)
	defer cancel()
	answer := make(chan error, 1)
	conn := c.conn
	go func() {
		answer <- c.hooks.Ask(ctx, ev)
		conn.SetReadDeadline(longAgo) // ends the read below
	}()
	in := newInput(conn) // what c.input read last may not be parsed yet
	defer in.release()
	for len(c.pending) < maxPendingInput {
		b, err := in.read()
		if err == nil {
			c.received.Add(uint64(len(b)))
			c.pending = append(c.pending, b...)
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			// The client is gone. The endpoint has a moment to answer, so that
			// what it knows and what we tell it go together.
			timer := time.AfterFunc(leftGrace, cancel)
			refusal := <-answer
			timer.Stop()
			return owed(refusal), readEnding(err)
		}
		if c.kicked.Load() != nil {
			cancel()
		}
		break
	}
	refusal := <-answer
	return owed(refusal), c.asked(refusal)
}

// leftGrace is how long an endpoint may take to answer for a client that has
// left meanwhile. A stream's name is held as long.
const leftGrace = 2 * time.Second

// owed reports whether the end of what was asked for must be told: it was
// granted, or the question was given up when the endpoint had heard it.
func owed(refusal error) bool {
	var r *hook.Refusal
	if !errors.As(refusal, &r) {
		return refusal == nil
	}
	return r.Sent && (r.Reason == hook.ReasonCanceled || r.Reason == hook.ReasonClosed)
}

// asked tells the session's own end from the endpoint's no.
func (c *session) asked(refusal error) error {
	if e := c.kicked.Load(); e != nil {
		return e
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

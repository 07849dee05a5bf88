package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"srs/conf"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/live"
)

// takeoverTime is how long a publisher whose stream is taken over may need to
// end; beyond, the newcomer is refused.
const takeoverTime = 5 * time.Second

// claim is a session's hold on a stream's name: from before its on_publish is
// asked until it is refused, or its publish has ended and that was told.
type claim struct {
	// Static after construction.
	server   *Server
	key      live.Key
	holder   *session
	reserved *live.Reservation

	ousted atomic.Bool   // the name is taken over: the holder is to end
	over   chan struct{} // closed when the name is free
}

// claims are the names that are held.
type claims struct {
	mu  sync.Mutex
	all map[live.Key]*claim
}

// claim takes a stream's name for a session. It returns nil when another has it.
func (s *Server) claim(c *session, key live.Key) *claim {
	s.claims.mu.Lock()
	defer s.claims.mu.Unlock()
	reserved, err := s.Registry.Reserve(key)
	if err != nil {
		return nil
	}
	h := &claim{server: s, key: key, holder: c, reserved: reserved, over: make(chan struct{})}
	if s.claims.all == nil {
		s.claims.all = make(map[live.Key]*claim)
	}
	s.claims.all[key] = h
	c.claim.Store(h)
	return h
}

// drop frees the name; free does so in the registry.
func (h *claim) drop(free func()) {
	h.holder.claim.Store(nil)
	free()
	all := &h.server.claims
	all.mu.Lock()
	if all.all[h.key] == h { // else the next one was quick
		delete(all.all, h.key)
	}
	all.mu.Unlock()
	close(h.over)
}

// release is the end of a claim without a publish.
func (h *claim) release() { h.drop(h.reserved.Release) }

// oust ends the session that has a stream's name. It returns nil when nobody has.
func (s *Server) oust(key live.Key) *claim {
	s.claims.mu.Lock()
	h := s.claims.all[key]
	s.claims.mu.Unlock()
	if h != nil && h.ousted.CompareAndSwap(false, true) {
		h.holder.nudge()
	}
	return h
}

// errOusted is why the session ends whose stream is taken over.
var errOusted = &ending{reason: reasonTakeover, text: "another publisher has taken the stream over", expected: true}

// isOusted says that it is to end for this.
func (c *session) isOusted() bool {
	h := c.claim.Load()
	return h != nil && h.ousted.Load()
}

// takeOver is the way of an accepted publish to a name that another has
// (on_conflict takeover).
//
//  1. the other one ends; its on_unpublish is told
//  2. the name is claimed; who comes too late for it is refused
//  3. the endpoints have heard of that end
//  4. the publication starts
func (c *session) takeOver(ev hook.Event, vhost *conf.Vhost, key live.Key) error {
	var mine *claim
	asked := ev
	asked.Action = hook.OnPublish
	c.await(func(ctx context.Context) (err error) {
		mine, err = c.inherit(ctx, key)
		if err == nil {
			err = c.hooks.AwaitEnds(ctx, asked)
		}
		return err
	}, func(_ bool, err error) error {
		if err == nil {
			c.begin(ev, vhost, mine)
			return nil
		}
		ev.Reason = c.tellReason(err) // it was accepted: its end is owed
		c.hooks.Tell(ev)
		if mine != nil {
			mine.release()
		}
		return c.refusePublish(err)
	})
	return nil
}

// inherit ends who has the name and claims it.
func (c *session) inherit(ctx context.Context, key live.Key) (*claim, error) {
	if other := c.server.oust(key); other != nil {
		c.info("publish takes the stream over", "ip", c.ip, "vhost", key.Vhost, "app", key.App, "stream", key.Stream, "from", other.holder.id)
		timer := time.NewTimer(takeoverTime)
		defer timer.Stop()
		select {
		case <-other.over:
		case <-timer.C:
			return nil, end(reasonBusy, "the stream's publisher did not end within "+takeoverTime.String())
		case <-ctx.Done():
			return nil, &ending{reason: reasonClosed, text: "gone while the stream was taken over", expected: true}
		}
	}
	if mine := c.server.claim(c, key); mine != nil {
		return mine, nil
	}
	return nil, errBusy
}

var errBusy = end(reasonBusy, "the stream is being published already")

// refusePublish tells the client why it may not publish.
func (c *session) refusePublish(err error) error {
	code, text := rtmp.CodePublishDenied, "Publish denied."
	switch {
	case reasonOf(err) == reasonBusy:
		code, text = rtmp.CodePublishBadName, "Stream already publishing."
	case errors.Is(err, errOusted):
		code, text = rtmp.CodePublishBadName, "Another publisher has taken the stream over."
	}
	c.out = rtmp.AppendStatus(c.out, c.size(), "error", code, text)
	return err
}

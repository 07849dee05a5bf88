package server

import (
	"time"

	"srs/hook"
	"srs/rtmp/live"
)

// player is what a session is that plays.
type player struct {
	// Static after construction.
	session *session
	sub     *live.Subscriber
	nagle   bool       // tcp_nodelay off
	event   hook.Event // on_stop, ready to be told
	begun   time.Time

	// Owned by the loop.
	group  *group // of its stream's players
	index  int    // there
	joined bool   // everything there was has been sent once
	orders []func()

	audio, video bool
	skips        int
	skipped      uint64
}

func newPlayer(c *session, ev hook.Event) *player {
	return &player{session: c, event: ev, begun: time.Now(), audio: true, video: true}
}

// order has something done between two messages.
func (p *player) order(do func()) { p.orders = append(p.orders, do) }

// skip moves the player to the newest keyframe: what it has not been sent is
// given up, but for the rest of the message under way.
func (p *player) skip() {
	c := p.session
	own, skipped := p.sub.Skip(c.own)
	if skipped == 0 {
		return
	}
	c.own = own
	p.skips++
	p.skipped += skipped
	c.server.counts.skips.Add(1)
	c.server.counts.skipped.Add(skipped)
	if p.skips == 1 {
		c.log.Warn("slow player skipped to the newest keyframe; further skips are counted",
			"ip", c.ip, "app", p.event.App, "stream", p.event.Stream, "skipped", skipped)
	}
}

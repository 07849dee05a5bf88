package server

import (
	"time"

	"srs/rtmp/live"
)

// player is what a session is that plays.
type player struct {
	// Static after construction.
	session *session
	sub     *live.Subscriber
	nagle   bool   // tcp_nodelay off
	vhost   string // the stream's; the rest of its name is session.wanted
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

func newPlayer(c *session, vhost string) *player {
	return &player{session: c, vhost: vhost, begun: time.Now(), audio: true, video: true}
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
		c.warn("slow player skipped to the newest keyframe; further skips are counted",
			"ip", c.ip, "app", c.wanted.App, "stream", c.wanted.Stream, "skipped", skipped)
	}
}

package server

import (
	"bytes"
	"time"

	"srs/hook"
	"srs/rtmp/live"
)

// Bounds of a player.
const (
	stallTime = 10 * time.Second // without a byte taken by the socket
	maxInject = 16 << 10         // bytes of answers that wait to be written
	maxOrders = 64               // orders that wait to be carried out
)

// player is a session that plays. From join to leave it belongs to its
// sender, with the session and the subscriber.
type player struct {
	// Static after construction.
	session *session
	sender  *sender
	sub     *live.Subscriber
	nagle   bool       // tcp_nodelay off
	event   hook.Event // on_stop, ready to be told
	begun   time.Time

	// Owned by the sender.
	fd       int
	slot     int32  // -1: with no sender
	group    *group // of its stream's players
	index    int    // there
	gone     bool
	blocked  bool // waits for EPOLLOUT
	queued   bool // is in sender.again
	joined   bool // everything there was has been sent once
	leaving  bool // hand the session back at the next message end
	flood    bool
	own      []byte // must be written before anything else
	answers  []byte // behind that, at a message end
	orders   []func()
	progress time.Time // when the client took a byte last
	unsent   int       // bytes the kernel had left to send then, while blocked

	audio, video bool
	skips        int
	skipped      uint64
}

func newPlayer(c *session, ev hook.Event) *player {
	return &player{session: c, event: ev, begun: time.Now(), audio: true, video: true, slot: -1}
}

// inject adds an answer to the client's commands.
func (p *player) inject(f func(dst []byte) []byte) { p.order(nil, f) }

// order has something done between two messages, and an answer written
// behind it.
func (p *player) order(do func(), answer func(dst []byte) []byte) {
	if do != nil {
		p.orders = append(p.orders, do)
	}
	if answer != nil {
		p.answers = answer(p.answers)
	}
	if len(p.answers) > maxInject || len(p.orders) > maxOrders {
		p.flood, p.leaving = true, true
	}
}

// gather finds what to write next: bytes of the player's own, made in scratch,
// then runs of the ring. It is not whole when there is more to come behind it
// at once.
func (p *player) gather(r *live.Runs, scratch []byte) (own []byte, whole bool) {
	if p.sub.Midway() && (len(p.answers) > 0 || len(p.orders) > 0 || p.leaving) {
		return p.sub.Gather(r, nil, 0), false
	}
	for _, do := range p.orders {
		do()
	}
	p.orders = nil
	own, limit := append(scratch, p.own...), roundBytes
	if len(own) == 0 {
		own, p.answers = append(own, p.answers...), nil
	}
	if whole = len(p.answers) == 0; !whole || p.leaving {
		limit = 0
	}
	return p.sub.Gather(r, own, limit), whole
}

// took notes that n bytes of what gather found are out.
func (p *player) took(r *live.Runs, own []byte, n int) {
	if n < len(own) {
		p.own = bytes.Clone(own[n:])
		return
	}
	p.own = nil
	p.sub.Took(r, n-len(own))
}

// skip moves the player to the newest keyframe: what it has not been sent is
// given up, but for the rest of the message under way.
func (p *player) skip() {
	own, skipped := p.sub.Skip(p.own)
	if skipped == 0 {
		return
	}
	p.own = own
	p.skips++
	p.skipped += skipped
	c := p.session
	c.server.counts.skips.Add(1)
	c.server.counts.skipped.Add(skipped)
	if p.skips == 1 {
		c.log.Warn("slow player skipped to the newest keyframe; further skips are counted",
			"ip", c.ip, "app", p.event.App, "stream", p.event.Stream, "skipped", skipped)
	}
}

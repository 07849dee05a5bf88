package server

import (
	"time"

	"srs/hook"
	"srs/rtmp"
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
	fd        int
	slot      int32 // -1: with no sender
	gone      bool
	blocked   bool // waits for EPOLLOUT
	queued    bool // is in sender.again
	joined    bool // everything there was has been sent once
	leaving   bool // hand the session back at the next message end
	flood     bool
	rest      []byte // to be written next
	isRun     bool   // rest is of the ring
	sent      int    // bytes of that run that are out
	chunkSize int    // what the client was told
	answers   []byte // behind the message under way
	orders    []func()
	progress  time.Time // when the client took a byte last
	unsent    int       // bytes the kernel had left to send then, while blocked

	audio, video bool
	skips        int
	skipped      uint64
}

func newPlayer(c *session, ev hook.Event) *player {
	return &player{session: c, event: ev, begun: time.Now(), audio: true, video: true, slot: -1, chunkSize: c.chunkSize}
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

// fill finds what to write next, at a message end. It reports false when
// there is nothing; the stream then wakes the sender.
func (p *player) fill() bool {
	for {
		p.isRun, p.sent = false, 0
		for _, do := range p.orders {
			do()
		}
		p.orders = nil
		if len(p.answers) > 0 {
			p.rest, p.answers = p.answers, nil
			return true
		}
		if p.leaving {
			return false
		}
		run, size := p.sub.Next()
		switch {
		case size > 0:
			p.answers = rtmp.AppendSetChunkSize(p.answers, size)
			p.chunkSize = size
		case run != nil:
			p.rest, p.isRun = run, true
			if p.sub.Lagging() {
				p.skip()
			}
			if len(p.rest) > 0 {
				return true
			}
		case p.sub.Wait() != nil:
			if !p.joined && p.nagle {
				// Not before: the end of the first picture would wait for the
				// client's delayed acknowledgement.
				setNagle(p.fd)
			}
			p.joined = true
			return false
		}
	}
}

// skip moves the player to the newest keyframe: what it has not been sent of
// the run is given up, but for the rest of the message under way.
func (p *player) skip() {
	rest, skipped := p.sub.Skip(p.sent)
	if skipped == 0 {
		return
	}
	p.rest, p.isRun = rest, false
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

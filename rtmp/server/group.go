package server

import (
	"time"

	"srs/rtmp/live"
)

// How the merged writes of a group are spread over their time: the players in
// as many parts as are worth it, one part after the other.
const (
	spreadParts   = 16
	spreadPlayers = 256 // of a part, at least
)

// group is the players of one stream that one loop serves. They are told of
// something new together: the publisher rings one bell for all of them.
type group struct {
	stream  *live.Stream
	bell    *live.Bell
	players []*player
	gone    bool // has no players any more

	// What is being sent: players before next, down to low.
	working   bool
	next, low int
	more      bool // all of them once more, behind that

	// Merging (mw_latency): every part gets what there is once in a while.
	every time.Duration // 0: nothing is being merged
	part  int           // whose turn it is
	turn  time.Time     // when that is
	seen  uint64        // of the stream's messages, when the first part had its last turn

	appointment appointment
}

// ring is what a bell says.
type ring struct {
	group *group
	due   live.Due
}

// enroll puts a player into the group of its stream.
func (x *loop) enroll(p *player) {
	s := p.sub.Stream()
	g := x.groups[s]
	if g == nil {
		g = &group{stream: s}
		g.appointment.group = g
		g.bell = live.NewBell(func(d live.Due) { x.ring(g, d) })
		x.groups[s] = g
		s.Hang(g.bell)
		g.bell.Arm() // the player looks for what is there later
	}
	p.group, p.index = g, len(g.players)
	g.players = append(g.players, p)
}

// dismiss takes it out again. The last of the group gets its place: while all
// of the group are being sent to, that is one that has had its turn. Where parts
// have their turns it may come to one that has been, so it gets one of its own.
func (x *loop) dismiss(p *player) {
	g := p.group
	p.group = nil
	last := len(g.players) - 1
	g.players[p.index] = g.players[last]
	g.players[p.index].index = p.index
	if g.every > 0 && p.index < last {
		x.later(g.players[p.index].session)
	}
	g.players[last] = nil
	g.players = g.players[:last]
	if last == 0 {
		g.gone = true
		g.stream.TakeDown(g.bell)
		delete(x.groups, g.stream)
		x.times.cancel(&g.appointment)
	}
}

// answer acts on a bell.
func (x *loop) answer(r ring) {
	g := r.group
	switch {
	case g.gone:
	case r.due.After == 0:
		x.times.cancel(&g.appointment)
		g.every = 0
		x.send(g)
	case r.due.Merged:
		g.every, g.part, g.seen = r.due.After, 0, 0
		g.turn = x.now.Add(g.every / time.Duration(g.parts()))
		x.times.set(&g.appointment, g.turn)
	default:
		x.times.set(&g.appointment, x.now.Add(r.due.After))
	}
}

// send has everything there is sent to all players of a group.
func (x *loop) send(g *group) {
	if g.working {
		g.more = true
		return
	}
	g.all()
	x.work.add(g)
}

// all has every player looked at.
func (g *group) all() {
	if g.every == 0 {
		g.bell.Arm() // before anybody looks for what is there
	}
	g.working, g.low, g.next = true, 0, len(g.players)
}

// flush goes on with a group that is being sent to, for so many players at
// most, and returns for how many.
func (x *loop) flush(g *group, most int) (n int) {
	g.next = min(g.next, len(g.players))
	for x.batch != nil && g.next > g.low && n < most { // it is gone when io_uring fails
		n += x.flushBatch(g, most-n)
	}
	for ; g.next > g.low && n < most; n++ {
		g.next--
		x.push(g.players[g.next].session)
		g.next = min(g.next, len(g.players)) // it may have left
	}
	if g.next > g.low {
		return n
	}
	if g.working = false; g.more && !g.gone {
		g.more = false
		g.all()
	}
	return n
}

// parts is how many parts the group is sent to in.
func (g *group) parts() int { return min(max(1, len(g.players)/spreadPlayers), spreadParts) }

// share is which players have their turn.
func (g *group) share(parts int) (low, end int) {
	n := len(g.players)
	return g.part * n / parts, (g.part + 1) * n / parts
}

// tick is for a group whose time has come: audio has waited long enough, or the
// next part of a merging group has.
func (x *loop) tick(g *group) {
	if g.every == 0 {
		x.send(g)
		return
	}
	parts := g.parts()
	if g.part >= parts {
		g.part = 0
	}
	if g.part == 0 {
		newest := g.stream.Newest()
		if newest == g.seen {
			// Nothing came in a whole turn. With the bell armed a message either
			// rings or shows here.
			if g.bell.Arm(); g.stream.Newest() == newest {
				g.every = 0
				return
			}
			g.bell.Hold()
		}
		g.seen = newest
	}
	if g.working {
		g.more = true // it is late: let it catch up as a whole
	} else {
		g.working = true
		g.low, g.next = g.share(parts)
		x.work.add(g)
	}
	g.part++
	step := g.every / time.Duration(parts)
	if g.turn = g.turn.Add(step); g.turn.Before(x.now) {
		g.turn = x.now.Add(step)
	}
	x.times.set(&g.appointment, g.turn)
}

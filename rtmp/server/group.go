package server

import (
	"container/heap"
	"time"

	"srs/rtmp/live"
)

// How the merged writes of a group are spread over their time: the players in
// as many parts as are worth it, one part after the other.
const (
	spreadParts   = 16
	spreadPlayers = 64 // of a part, at least
)

// group is the players of one stream that one sender serves. They are told of
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

	due   time.Time // in the timetable, unless zero
	place int       // there
}

// ring is what a bell says.
type ring struct {
	group *group
	due   live.Due
}

// enroll puts a player into the group of its stream.
func (x *sender) enroll(p *player) {
	s := p.sub.Stream()
	g := x.groups[s]
	if g == nil {
		g = &group{stream: s}
		g.bell = live.NewBell(func(d live.Due) { x.ring(g, d) })
		x.groups[s] = g
		s.Hang(g.bell)
		g.bell.Arm() // the player looks for what is there later
	}
	p.group, p.index = g, len(g.players)
	g.players = append(g.players, p)
}

// dismiss takes it out again. The last of the group gets its place: while the
// group is being sent to, that is one that has had its turn.
func (x *sender) dismiss(p *player) {
	g := p.group
	last := len(g.players) - 1
	g.players[p.index] = g.players[last]
	g.players[p.index].index = p.index
	g.players[last] = nil
	g.players = g.players[:last]
	if last == 0 {
		g.gone = true
		g.stream.TakeDown(g.bell)
		delete(x.groups, g.stream)
		x.times.cancel(g)
	}
}

// answer acts on a bell.
func (x *sender) answer(r ring) {
	g := r.group
	switch {
	case g.gone:
	case r.due.After == 0:
		x.times.cancel(g)
		g.every = 0
		x.send(g)
	case r.due.Merged:
		g.every, g.part, g.seen = r.due.After, 0, 0
		g.turn = x.now.Add(g.every / time.Duration(g.parts()))
		x.times.set(g, g.turn)
	default:
		x.times.set(g, x.now.Add(r.due.After))
	}
}

// send has everything there is sent to all players of a group.
func (x *sender) send(g *group) {
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
func (x *sender) flush(g *group, most int) (n int) {
	for g.next = min(g.next, len(g.players)); g.next > g.low && n < most; n++ {
		g.next--
		x.push(g.players[g.next])
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
func (x *sender) tick(g *group) {
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
	x.times.set(g, g.turn)
}

// timetable has the groups that are due at some time, the first in front.
type timetable []*group

func (t timetable) Len() int           { return len(t) }
func (t timetable) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timetable) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

func (t *timetable) Push(v any) {
	g := v.(*group)
	g.place = len(*t)
	*t = append(*t, g)
}

func (t *timetable) Pop() any {
	last := len(*t) - 1
	g := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return g
}

// set puts a group in, or moves it.
func (t *timetable) set(g *group, due time.Time) {
	was := g.due
	if g.due = due; was.IsZero() {
		heap.Push(t, g)
	} else {
		heap.Fix(t, g.place)
	}
}

// cancel takes a group out, if it is in.
func (t *timetable) cancel(g *group) {
	if !g.due.IsZero() {
		heap.Remove(t, g.place)
		g.due = time.Time{}
	}
}

// next is when the first is due; zero: none is in.
func (t timetable) next() time.Time {
	if len(t) == 0 {
		return time.Time{}
	}
	return t[0].due
}

// due takes out a group whose time has come, or returns nil.
func (t *timetable) due(now time.Time) *group {
	if len(*t) == 0 || now.Before((*t)[0].due) {
		return nil
	}
	g := (*t)[0]
	t.cancel(g)
	return g
}

// queue is first in, first out.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) add(v T) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *queue[T]) take() T {
	var none T
	v := q.items[q.head]
	q.items[q.head] = none
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v
}

package server

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestTimetable: groups come out in the order of their times, as often as they
// were set and not canceled, and never early.
func TestTimetable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var table timetable
	begun := time.Now()
	groups := make([]*appointment, 50)
	for i := range groups {
		groups[i] = &appointment{}
	}
	now := begun
	for range 20_000 {
		g := groups[rng.IntN(len(groups))]
		switch rng.IntN(4) {
		case 0:
			table.cancel(g)
			table.cancel(g)
			if !g.due.IsZero() {
				t.Fatal("canceled and still in")
			}
		case 1:
			now = now.Add(time.Duration(rng.IntN(20)) * time.Millisecond)
			last := begun
			for {
				first := table.next()
				g := table.due(now)
				if g == nil {
					if !first.IsZero() && !first.After(now) {
						t.Fatal("what is due does not come")
					}
					break
				}
				if first.After(now) || first.Before(last) || !g.due.IsZero() {
					t.Fatalf("due %v at %v, behind %v", first, now, last)
				}
				last = first
			}
		default:
			table.set(g, now.Add(time.Duration(rng.IntN(100))*time.Millisecond))
		}
		n := 0
		for i, g := range groups {
			if g.due.IsZero() {
				continue
			}
			n++
			if table[g.place] != g {
				t.Fatalf("group %d is elsewhere", i)
			}
		}
		if n != len(table) {
			t.Fatalf("%d groups in, %d have a time", len(table), n)
		}
	}
}

// TestQueue: first in, first out, without growing where it need not.
func TestQueue(t *testing.T) {
	var q queue[int]
	var want []int
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 10_000 {
		if len(want) < 20 && rng.IntN(2) == 0 {
			q.add(n)
			want = append(want, n)
		} else if len(want) > 0 {
			if got := q.take(); got != want[0] {
				t.Fatalf("%d, not %d", got, want[0])
			}
			want = want[1:]
		}
		if q.len() != len(want) {
			t.Fatalf("%d in it, not %d", q.len(), len(want))
		}
	}
	if cap(q.items) > 64 {
		t.Errorf("room for %d", cap(q.items))
	}
}

// TestSpread: in each turn of merging every player has its part, in one part.
func TestSpread(t *testing.T) {
	for _, c := range []struct{ players, parts int }{{1, 1}, {511, 1}, {512, 2}, {1000, 3}, {4096, 16}, {18_000, 16}} {
		g := &group{players: make([]*player, c.players)}
		if g.parts() != c.parts {
			t.Errorf("%d players in %d parts, not %d", c.players, g.parts(), c.parts)
		}
		next := 0
		for g.part = range c.parts {
			low, end := g.share(c.parts)
			if low != next || end <= low {
				t.Errorf("%d players: part %d is %d to %d", c.players, g.part, low, end)
			}
			next = end
		}
		if next != c.players {
			t.Errorf("%d of %d players", next, c.players)
		}
	}
}

// TestMergedWakesAll: with mw_latency everybody gets everything, also what
// came last, and a publisher that pauses and goes on wakes them anew.
func TestMergedWakesAll(t *testing.T) { eachEngine(t, mergedWakesAll) }

func mergedWakesAll(t *testing.T) {
	s := start(t, "mw_latency 40;")
	p := s.publish("x")
	send(t, p, 9, 0, videoHeader())
	const players, bursts, frames = 150, 4, 20
	var got []chan int
	for range players {
		c := s.play("x")
		last := make(chan int, bursts*frames)
		got = append(got, last)
		go func() {
			defer close(last)
			watch(c, false, func(_, n int) bool { last <- n; return n == bursts*frames-1 })
		}()
	}
	for burst := range bursts {
		for n := range frames {
			n += burst * frames
			send(t, p, 9, uint32(n)*40, numbered(n))
		}
		for i, c := range got { // nothing more comes: what was sent must arrive by itself
			for {
				n, ok := <-c
				if !ok {
					t.Fatalf("player %d has ended early", i)
				}
				if n == (burst+1)*frames-1 {
					break
				}
			}
		}
	}
}

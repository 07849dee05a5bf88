package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"
)

// slow is the scenario of players that stop reading, or read slowly, beside
// others that must not notice.
type slow struct {
	players int
	share   float64
	kbps    int
	buffer  int
}

// slowFigures are those of the players that were slow.
type slowFigures struct {
	Players int     `json:"players"`
	Kbps    int     `json:"kbps"`              // that they read; 0: nothing
	Closed  int     `json:"closed"`            // by the server
	Skipped int     `json:"skipped"`           // lost frames and went on
	Behind  int     `json:"behind"`            // still lack the last frames
	Whole   int     `json:"whole"`             // got all, late
	Lost    int64   `json:"lost"`              // frames
	Growth  float64 `json:"server_mb_per_min"` // of its memory, in the second half of the window
}

const (
	slowTick  = 100 * time.Millisecond // how often slow players read
	slowGrace = 2 * time.Second        // to read what is left for them, at most
)

func (s *slow) options(_ *rig, fs *flag.FlagSet) {
	fs.IntVar(&s.players, "players", 1000, "how many players in all, spread over the streams")
	fs.Float64Var(&s.share, "slow", 0.5, "`share` of them that is slow, once all have a picture")
	fs.IntVar(&s.kbps, "slow-kbps", 0, "what slow players read, `kbit/s`; 0: nothing")
	fs.IntVar(&s.buffer, "slow-buffer", 64<<10, "receive buffer of slow players in `bytes`; 0: as large as the system likes, some MB")
}

func (s *slow) check(g *rig) error {
	var err error
	switch {
	case s.share >= 1:
		err = fmt.Errorf("%w: -slow must be 0 or more, and less than 1", errUsage)
	case s.kbps < 0 || s.buffer < 0:
		err = fmt.Errorf("%w: -slow-kbps and -slow-buffer must not be below 0", errUsage)
	}
	return errors.Join(err, checkCount("players", s.players), mustLast(g))
}

func (s *slow) connections(*rig) int { return s.players }

func (s *slow) perform(ctx context.Context, g *rig) error {
	if err := g.open(s.players); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	lame := int(s.share * float64(s.players))
	good, bad := g.party(g.arrived), g.aside(g.arrived)
	g.play(ctx, s.players-lame, func(i int) (int, *party) { return i % g.publishers, good })
	slow := g.lame(ctx, lame, s.buffer, bad)
	if err := g.await(ctx, s.players); err != nil {
		return err
	}
	g.house.do(func() {
		for _, p := range slow {
			p.slow(s.kbps)
		}
	})
	memory := newTrend(g.pid, nil)
	defer memory.stop()
	if err := g.measure(ctx, g.house, good.line); err != nil {
		return err
	}
	memory.stop()
	g.house.do(func() {
		for _, p := range slow {
			p.slow(-1)
		}
	})
	if err := g.crew.attend(ctx, min(slowGrace, g.duration), 0, nil, nil); err != nil {
		return err
	}
	g.finish(ctx)
	g.report.Players = s.players
	g.report.blame(bad)
	g.report.Slow = s.conclude(slow, bad)
	growth, _, _ := slope(memory.samples, g.duration.Seconds()/2, rssOf)
	g.report.Slow.Growth = 60 * growth
	return nil
}

func (s *slow) conclude(players []*lamePlayer, bad *party) *slowFigures {
	f := &slowFigures{Players: len(players), Kbps: s.kbps, Lost: bad.tally.lost.Load()}
	for _, p := range players {
		switch {
		case p.closed:
			f.Closed++
		case p.check.lost > 0:
			f.Skipped++
		case p.publisher.sequence.Load() != p.check.next.Load():
			f.Behind++
		default:
			f.Whole++
		}
	}
	return f
}

func (s *slow) columns() []column { return slowColumns }

// A lamePlayer is a player that can be told to read slowly. That it loses
// frames, or its connection, is no fault.
type lamePlayer struct {
	player
	rate   int  // bytes at each tick; below 0: no limit
	closed bool // by the server
}

// lame has so many such players come; the streams have them in turn.
func (g *rig) lame(ctx context.Context, n, buffer int, bad *party) []*lamePlayer {
	var all []*lamePlayer
	stagger(ctx, n, g.join, func(i int) {
		stream := i % g.publishers
		p := new(lamePlayer)
		ended := g.crew.enlist()
		p.player = *newPlayer(g.plays[stream], g.senders[stream].stream, bad, func(err error) {
			if p.closed = err != nil; p.check.started.Load() {
				err = nil
			}
			ended(err)
		})
		p.role, p.buffer, p.rate = p, buffer, -1
		p.publisher, p.check.skipped = g.senders[stream], uint(i)
		all = append(all, p)
		g.house.join(&p.client)
	})
	return all
}

// slow has a player read so much from now on; below 0: all. The crowd's loop
// calls it.
func (p *lamePlayer) slow(kbps int) {
	if p.state != clientWorking {
		return
	}
	if p.rate = kbps * 1000 / 8 * int(slowTick/time.Millisecond) / 1000; kbps < 0 {
		p.rate = -1
	}
	if err := p.tick(time.Now().UnixNano()); err != nil {
		p.crowd.end(&p.client, err)
	}
}

// tick gives a slow player what it may read until the next one.
func (p *lamePlayer) tick(now int64) error {
	if p.rate > 0 {
		p.wakeAt(now + int64(slowTick))
	}
	return p.allow(p.rate)
}

package main

import (
	"context"
	"fmt"
	"time"

	"srs/rtmp"
)

// A player receives one stream and checks it.
type player struct {
	// Static after construction.
	url   string
	check *verifier
	party *party
}

// party is what the players of a run have in common.
type party struct {
	tally   tally
	join    histogram     // from connecting to the first keyframe
	started chan struct{} // one for each player that has a keyframe
}

func newParty(players int) *party { return &party{started: make(chan struct{}, players)} }

// newPlayer makes a player of the stream with that id in its stamps, or of any
// if it is 0.
func (g *party) newPlayer(url string, stream uint32) *player {
	return &player{url: url, check: newVerifier(&g.tally, stream), party: g}
}

// run plays until ctx ends, which is no error, or the server closes, which is.
func (p *player) run(ctx context.Context) error {
	begun := time.Now()
	conn, err := dial(ctx, p.url, (*rtmp.Conn).Play)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("player %s: %w", p.url, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	p.check.since = time.Now().UnixNano()
	for started := false; ; {
		m, err := conn.ReadMessage()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("player %s: after %d frames: %w", p.url, p.check.intact, err)
		}
		now := time.Now()
		p.check.message(m.Type, m.Timestamp, m.Body, now.UnixNano())
		if !started && p.check.started.Load() {
			started = true
			p.party.join.add(now.Sub(begun))
			p.party.started <- struct{}{}
		}
	}
}

// line says how the players fare so far.
func (g *party) line() string {
	t := &g.tally
	return fmt.Sprintf("%d players, %d frames delivered, %d faults, latency p50 %.1f ms, p99 %.1f ms", g.join.count.Load(),
		t.delivered.Load(), t.damage(), milliseconds(t.latency.percentile(50)), milliseconds(t.latency.percentile(99)))
}

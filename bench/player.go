package main

import (
	"fmt"
	"time"

	"srs/rtmp/chunk"
)

// A player receives one stream and checks it.
type player struct {
	client
	check     *verifier
	party     *party
	publisher *publisher // whose stream it is; nil: not one of ours
	started   bool       // has a keyframe
}

// party is what the players of a run, or of one kind in it, have in common.
type party struct {
	tally   tally
	join    histogram     // from connecting to the first keyframe
	started chan struct{} // one for each player that has a keyframe; nil: nobody waits for it
}

func newParty(started chan struct{}) *party { return &party{started: started} }

// together adds up parties.
func together(parties []*party) *party {
	sum := new(party)
	for _, p := range parties {
		sum.tally.merge(&p.tally)
		sum.join.merge(&p.join)
	}
	return sum
}

// line says how the players fare so far.
func (g *party) line() string {
	t := &g.tally
	return fmt.Sprintf("%d players, %d frames delivered, %d faults, latency p50 %.1f ms, p99 %.1f ms", g.join.count.Load(),
		t.delivered.Load(), t.damage(), milliseconds(t.latency.percentile(50)), milliseconds(t.latency.percentile(99)))
}

// newPlayer makes a player of a stream, of any that is published if it is 0.
// ended is called once, by the loop of the crowd that it joins.
func newPlayer(r *request, stream uint32, g *party, ended func(error)) *player {
	p := &player{check: newVerifier(&g.tally, stream), party: g}
	p.client = client{request: r, role: p, ended: ended}
	return p
}

func (p *player) begin(now int64) error {
	p.check.since = now
	return nil
}

func (p *player) media(m chunk.Message, now int64) error {
	p.check.message(m.Type, m.Timestamp, m.Body, now)
	if !p.started && p.check.started.Load() {
		p.started = true
		p.party.join.add(time.Duration(now - p.begun.UnixNano()))
		if p.party.started != nil {
			p.party.started <- struct{}{}
		}
	}
	return nil
}

// blind is the failure of a player that has waited for a keyframe in vain.
func (p *player) blind(waited, patience time.Duration) error {
	if p.started || waited < patience {
		return nil
	}
	return fmt.Errorf("%s: no keyframe in %.1f s", p.request.name, waited.Seconds())
}

func (p *player) tick(int64) error    { return nil }
func (p *player) drained(int64) error { return nil }
func (p *player) after() string       { return fmt.Sprintf("after %d frames", p.check.intact) }

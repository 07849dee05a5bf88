package main

import (
	"math/rand/v2"
	"time"

	"srs/rtmp/chunk"
)

// A visitor is a player that leaves by itself.
type visitor struct {
	player
	until string        // when it leaves; empty: when it has stayed
	stay  time.Duration // from the time it is accepted
	gate  *turnstile
}

const (
	untilKeyframe = "keyframe"
	untilPlay     = "play"
)

// visitors makes a turnstile of players that take the streams in turn.
func (g *rig) visitors(p *party, rate float64, until string, stay time.Duration) *turnstile {
	t := &turnstile{crowd: g.house, rate: rate}
	t.one = func(turn int, ended func(error)) *client {
		stream := turn % g.publishers
		v := &visitor{player: *newPlayer(g.plays[stream], g.senders[stream].stream, p, ended), until: until, stay: around(stay), gate: t}
		v.role = v
		v.check.skipped = uint(turn)
		return &v.client
	}
	return t
}

// around is a time from half of d to one and a half of it, so that those who
// came together do not go together.
func around(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

func (v *visitor) begin(now int64) error {
	switch v.until {
	case untilPlay:
		return v.leave(now)
	case "":
		v.wakeAt(now + int64(v.stay))
	}
	return v.player.begin(now)
}

func (v *visitor) media(m chunk.Message, now int64) error {
	v.check.message(m.Type, m.Timestamp, m.Body, now)
	if v.started || !v.check.started.Load() {
		return nil
	}
	v.started = true
	if v.until == untilKeyframe {
		return v.leave(now)
	}
	v.joined(now)
	return nil
}

func (v *visitor) tick(now int64) error { return v.leave(now) }

// joined counts what is measured, in the window only.
func (v *visitor) joined(now int64) {
	if v.party.tally.measures(now) {
		v.party.join.add(time.Duration(now - v.begun.UnixNano()))
	}
}

func (v *visitor) leave(now int64) error {
	if v.until != "" {
		v.joined(now)
	}
	if v.party.tally.measures(now) {
		v.gate.came.Add(1)
	}
	return errDone
}

// An idler is a visitor that stops reading when it has a picture. The server
// may close it.
type idler struct{ visitor }

// idlers makes a turnstile of them.
func (g *rig) idlers(p *party, stay time.Duration) *turnstile {
	t := &turnstile{crowd: g.house, rate: g.join}
	t.one = func(turn int, ended func(error)) *client {
		stream := turn % g.publishers
		v := new(idler)
		v.visitor = visitor{stay: around(stay), gate: t}
		v.player = *newPlayer(g.plays[stream], g.senders[stream].stream, p, func(err error) {
			if v.started && err != nil {
				t.came.Add(1)
				err = nil
			}
			ended(err)
		})
		v.role = v
		return &v.client
	}
	return t
}

func (v *idler) media(m chunk.Message, now int64) error {
	if err := v.visitor.media(m, now); err != nil || !v.started {
		return err
	}
	return v.allow(0)
}

// A restless publisher leaves when it has published for a while.
type restless struct {
	publisher
	stay  time.Duration
	until int64 // ns since 1970
}

// comersAndGoers makes a turnstile of publishers for the streams of the restless.
func (g *rig) comersAndGoers(stay time.Duration) *turnstile {
	t := &turnstile{crowd: g.stage, rate: g.join}
	l := newLoad(&g.window, nil)
	free := make([]int, g.restless) // streams; those that end make room for the next
	for i := range free {
		free[i] = g.publishers + i
	}
	t.one = func(_ int, ended func(error)) *client {
		stream := free[0]
		free = free[1:]
		r := &restless{stay: around(stay)}
		r.init(g.opens[stream], g.workload, l)
		r.role, r.ended = r, func(err error) {
			if err == nil {
				t.came.Add(1)
			}
			free = append(free, stream)
			ended(err)
		}
		return &r.client
	}
	return t
}

func (r *restless) begin(now int64) error {
	r.until = now + int64(r.stay)
	return r.publisher.begin(now)
}

func (r *restless) tick(now int64) error {
	if now >= r.until {
		return r.leave(now)
	}
	return r.publisher.tick(now)
}

package main

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"srs/rtmp/chunk"
)

// A visitor is a player that leaves by itself, with a picture, and with all that
// was sent until it was to leave. One that waits for that beyond its patience
// has failed.
type visitor struct {
	player
	until    string        // when it leaves; empty: when it has stayed
	stay     time.Duration // from the time it is accepted
	patience time.Duration
	gate     *turnstile
	leaving  bool   // it was to leave, and waits for
	due      uint32 // this sequence number
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
		v := &visitor{player: *newPlayer(g.plays[stream], g.senders[stream].stream, p, ended), until: until, stay: around(stay), patience: g.patience, gate: t}
		v.role, v.publisher = v, g.senders[stream]
		v.check.skipped = uint(turn)
		return &v.client
	}
	return t
}

// around is a time from half of d to one and a half of it, so that those who
// came together do not go together.
func around(d time.Duration) time.Duration { return d/2 + rand.N(d+1) }

func (v *visitor) begin(now int64) error {
	if v.until == untilPlay {
		return v.leave(now)
	}
	v.wakeAt(now + int64(v.patience))
	return v.player.begin(now)
}

func (v *visitor) media(m chunk.Message, now int64) error {
	v.check.message(m.Type, m.Timestamp, m.Body, now)
	if v.started || !v.check.started.Load() {
		return v.depart(now)
	}
	v.started = true
	if v.until == untilKeyframe {
		return v.leave(now)
	}
	v.joined(now)
	v.wakeAt(v.check.since + int64(v.stay))
	return nil
}

// tick: it has stayed, or has waited too long.
func (v *visitor) tick(now int64) error {
	switch {
	case !v.started:
		return fmt.Errorf("no keyframe within %v", v.patience)
	case v.leaving:
		return fmt.Errorf("%d frames are missing %v after they were sent", v.due-v.check.next.Load(), v.patience)
	}
	return v.dismiss(now)
}

// dismiss has a visitor leave as soon as it has what it came for.
func (v *visitor) dismiss(now int64) error {
	if !v.started || v.leaving {
		return nil
	}
	v.leaving, v.due = true, v.publisher.sequence.Load()
	v.wakeAt(now + int64(v.patience))
	return v.depart(now)
}

// depart lets a visitor go that is to leave and lacks nothing.
func (v *visitor) depart(now int64) error {
	if !v.leaving || int32(v.due-v.check.next.Load()) > 0 {
		return nil
	}
	return v.leave(now)
}

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
		v.visitor = visitor{stay: around(stay), patience: g.patience, gate: t}
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

func (v *idler) tick(now int64) error {
	if !v.started {
		return v.visitor.tick(now)
	}
	return v.leave(now)
}

func (v *idler) dismiss(now int64) error {
	if !v.started {
		return nil
	}
	return v.leave(now)
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
	free := make([]int, g.restless) // streams; those that end make room for the next
	for i := range free {
		free[i] = g.publishers + i
	}
	t.one = func(_ int, ended func(error)) *client {
		stream := free[0]
		free = free[1:]
		r := &restless{stay: around(stay)}
		r.init(g.opens[stream], g.workload, g.watchers[stream-g.publishers].load)
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

func (r *restless) dismiss(now int64) error {
	switch r.state {
	case clientWorking:
		return r.leave(now)
	case clientLeaving:
		return nil
	}
	return errDone
}

// A watcher is a player of a stream whose publishers come and go. It is there
// before the first one, and is to get all that they send.
type watcher struct {
	player
	load     *load           // of its publishers
	accepted chan<- struct{} // one for each watcher
	came     atomic.Int64    // frames that came, or are known to be lost
}

// watch has a watcher come for each stream of the restless.
func (g *rig) watch(p *party, accepted chan<- struct{}) {
	for i := range g.restless {
		w := &watcher{load: newLoad(&g.window, nil), accepted: accepted}
		w.player = *newPlayer(g.plays[g.publishers+i], 0, p, g.crew.enlist())
		w.role = w
		g.watchers = append(g.watchers, w)
		g.house.join(&w.client)
	}
}

func (w *watcher) begin(now int64) error {
	w.accepted <- struct{}{}
	return w.player.begin(now)
}

func (w *watcher) media(m chunk.Message, now int64) error {
	err := w.player.media(m, now)
	w.came.Store(w.check.intact + w.check.lost)
	return err
}

// lacks is how many frames are still to come.
func (w *watcher) lacks() int64 { return max(0, w.load.sent.Load()-w.came.Load()) }

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync/atomic"
	"time"

	"srs/rtmp/chunk"
)

// storm is the scenario of players that come, see a picture and go, over and
// over: connect, play, first keyframe, close.
type storm struct {
	concurrency int
	rate        float64
	until       string
	rig         *rig
	party       *party

	// Owned by the crowd of players.
	next int64 // when the next cycle may begin, ns since 1970; rate 0: no matter
	turn int   // whose stream is played next
	over bool

	cycles atomic.Int64 // that ended well in the window
	failed atomic.Int64
	texts  []string // of the first failures; read when the crowd has left
}

// stormFigures are those of a storm's window.
type stormFigures struct {
	Cycles    int64   `json:"cycles"`
	PerSecond float64 `json:"cycles_per_s"`
	Micros    float64 `json:"server_us_per_cycle,omitempty"`
	Failed    int64   `json:"failed"`
}

const (
	untilKeyframe = "keyframe"
	untilPlay     = "play"
	failurePause  = 100 * time.Millisecond // before a slot tries again
	maxTexts      = 10                     // failures that are told of
)

func (s *storm) options(g *rig, fs *flag.FlagSet) {
	g.duration = 10 * time.Second
	fs.IntVar(&s.concurrency, "concurrency", 50, "how many `cycles` are under way at once, at most")
	fs.Float64Var(&s.rate, "rate", 0, "how many `cycles` begin per second, at most; 0: as fast as it goes")
	fs.StringVar(&s.until, "until", untilKeyframe, "a cycle ends with the first `keyframe`, or with the answer to \"play\"")
}

func (s *storm) check(g *rig) error {
	var err error
	switch {
	case s.rate < 0:
		err = fmt.Errorf("%w: -rate must not be below 0", errUsage)
	case s.until != untilKeyframe && s.until != untilPlay:
		err = fmt.Errorf("%w: -until must be %s or %s", errUsage, untilKeyframe, untilPlay)
	}
	return errors.Join(err, checkCount("concurrency", s.concurrency), mustLast(g))
}

func (s *storm) connections() int { return s.concurrency }

func (s *storm) perform(ctx context.Context, g *rig) error {
	if err := g.open(0); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	s.rig, s.party = g, g.party(0)
	s.next = time.Now().UnixNano()
	g.house.do(func() {
		for range s.concurrency {
			s.begin(0)
		}
	})
	if err := g.measure(ctx, g.house, s.line); err != nil {
		return err
	}
	g.house.do(func() { s.over = true })
	g.finish(ctx)
	s.conclude(g.report)
	return nil
}

// begin has the next player come, after a pause or when the rate allows it.
func (s *storm) begin(pause time.Duration) {
	if s.over || s.rig.house.closing {
		return
	}
	at := time.Now().Add(pause).UnixNano()
	if s.rate > 0 {
		at = max(at, s.next)
		s.next = max(s.next, at-int64(time.Second)) + int64(float64(time.Second)/s.rate) // a second's arrears are made good
	}
	stream := s.turn % s.rig.publishers
	s.turn++
	v := &visitor{player: *newPlayer(s.rig.plays[stream], s.rig.senders[stream].stream, s.party, s.ended), storm: s}
	v.role = v
	v.check.skipped = uint(s.turn)
	s.rig.house.joinAt(&v.client, at)
}

// ended goes on behind a cycle, or an attempt at one.
func (s *storm) ended(err error) {
	if err == nil {
		s.begin(0)
		return
	}
	if s.failed.Add(1) <= maxTexts {
		s.texts = append(s.texts, err.Error())
	}
	s.begin(failurePause)
}

func (s *storm) line() string {
	return fmt.Sprintf("%d cycles, %d failed, ready p50 %.1f ms, p99 %.1f ms", s.cycles.Load(), s.failed.Load(),
		milliseconds(s.party.join.percentile(50)), milliseconds(s.party.join.percentile(99)))
}

func (s *storm) conclude(r *report) {
	f := &stormFigures{Cycles: s.cycles.Load(), PerSecond: float64(s.cycles.Load()) / r.Seconds, Failed: s.failed.Load()}
	if r.Server != nil && f.Cycles > 0 {
		f.Micros = 1e6 * r.Server.CPU / float64(f.Cycles)
	}
	r.Players, r.Storm = s.concurrency, f
	r.Bytes, r.Delivered, r.Latency = 0, 0, nil // what came before the first keyframe's end is none
	if r.Failures = append(r.Failures, s.texts...); f.Cycles == 0 {
		r.Failures = append(r.Failures, "no cycle came to its end in the window")
	}
}

// A visitor is a player that leaves when it has seen a keyframe.
type visitor struct {
	player
	storm *storm
}

func (v *visitor) begin(now int64) error {
	if v.storm.until == untilPlay {
		return v.leave(now)
	}
	return v.player.begin(now)
}

func (v *visitor) media(m chunk.Message, now int64) error {
	v.check.message(m.Type, m.Timestamp, m.Body, now)
	if v.check.started.Load() {
		return v.leave(now)
	}
	return nil
}

func (v *visitor) leave(now int64) error {
	if v.party.tally.measures(now) {
		v.party.join.add(time.Duration(now - v.begun.UnixNano()))
		v.storm.cycles.Add(1)
	}
	return errDone
}

func (s *storm) columns() []column { return stormColumns }

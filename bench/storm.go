package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"
)

// storm is the scenario of players that come, see a picture and go, over and
// over: connect, play, first keyframe, close.
type storm struct {
	concurrency int
	rate        float64
	until       string
}

// stormFigures are those of a storm's window.
type stormFigures struct {
	Cycles    int64   `json:"cycles"` // that came to their end
	PerSecond float64 `json:"cycles_per_s"`
	Micros    float64 `json:"server_us_per_cycle,omitempty"`
	Failed    int64   `json:"failed"`
}

func (s *storm) options(g *rig, fs *flag.FlagSet) {
	g.duration = 10 * time.Second
	fs.IntVar(&s.concurrency, "concurrency", 50, "how many `cycles` are under way at once, at most")
	fs.Float64Var(&s.rate, "rate", 0, "how many `cycles` begin per second, at most; 0: as fast as it goes")
	fs.StringVar(&s.until, "until", untilKeyframe, "a cycle ends with the first \"keyframe\", or with the answer to \"play\"")
}

func (s *storm) check(g *rig) error {
	var err error
	if s.until != untilKeyframe && s.until != untilPlay {
		err = fmt.Errorf("%w: -until must be %s or %s", errUsage, untilKeyframe, untilPlay)
	}
	return errors.Join(err, checkCount("concurrency", s.concurrency), mustLast(g))
}

func (s *storm) connections(*rig) int { return s.concurrency }

func (s *storm) perform(ctx context.Context, g *rig) error {
	if err := g.open(0); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	all := g.party(nil)
	gate := g.visitors(all, s.rate, s.until, 0)
	gate.open(s.concurrency)
	if err := g.measure(ctx, g.house, func() string { return gate.line(all) }); err != nil {
		return err
	}
	gate.shut()
	g.house.dismiss(ctx)
	g.finish(ctx)
	s.conclude(g.report, gate)
	return nil
}

func (s *storm) conclude(r *report, gate *turnstile) {
	f := &stormFigures{Cycles: gate.came.Load(), PerSecond: float64(gate.came.Load()) / r.Seconds, Failed: gate.failed.Load()}
	if r.Server != nil && f.Cycles > 0 {
		f.Micros = 1e6 * r.Server.CPU / float64(f.Cycles)
	}
	r.Players, r.Storm = s.concurrency, f
	r.Bytes, r.Delivered, r.Latency = 0, 0, nil // a keyframe at most: nothing to be measured by
	if r.Failures = append(r.Failures, gate.texts...); f.Cycles == 0 {
		r.Failures = append(r.Failures, "no cycle came to its end in the window")
	}
}

func (s *storm) columns() []column { return stormColumns }

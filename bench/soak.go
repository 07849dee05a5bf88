package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"
)

// soak is the scenario of everything at once for a long time: players that
// stay, come and go, or do not read, publishers that come and go. What the
// server holds must not grow.
type soak struct {
	churn    churn
	slow     int
	restless int
	warmUp   time.Duration
	growth   float64
}

// soakFigures say what became of a server in the time behind the warm-up.
type soakFigures struct {
	Hours      float64         `json:"hours"`
	Memory     growth          `json:"rss_mb"`
	Threads    growth          `json:"threads"`
	Files      growth          `json:"files"`
	Goroutines *growth         `json:"goroutines,omitempty"` // nil: not known
	Slow       *visitorFigures `json:"slow"`
	Publishers *visitorFigures `json:"publishers"` // that come and go
	Samples    []sample        `json:"samples"`
}

// growth is a straight line through the samples of a value.
type growth struct {
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	PerHour float64 `json:"per_hour"`
}

// Growth of so much is none, whatever the percentage.
const (
	littleMemory     = 8 // MB
	littleThreads    = 8
	littleFiles      = 16
	littleGoroutines = 16
)

func (s *soak) options(g *rig, fs *flag.FlagSet) {
	g.duration, g.endless, g.publishers = 5*time.Minute, true, 4
	s.churn.flags(fs, 100, 50)
	fs.IntVar(&s.slow, "slow", 20, "how many players are there at once that do not read; each goes after ten times -stay, or when it is closed")
	fs.IntVar(&s.restless, "restless", 5, "how many publishers come and go, each with a stream of its own and a player that stays")
	fs.DurationVar(&s.warmUp, "warm-up", 0, "how long the server may grow; 0: a third of -duration")
	fs.Float64Var(&s.growth, "max-growth", 10, "`percent` by which memory, threads, descriptors and goroutines may grow behind that")
}

func (s *soak) check(g *rig) error {
	var err error
	switch {
	case s.slow < 0 || s.restless < 0:
		err = fmt.Errorf("%w: -slow and -restless must not be below 0", errUsage)
	case s.warmUp < 0 || g.duration > 0 && s.warmUp >= g.duration:
		err = fmt.Errorf("%w: -warm-up must be shorter than -duration", errUsage)
	case s.growth == 0:
		err = fmt.Errorf("%w: -max-growth must be more than 0", errUsage)
	}
	return errors.Join(err, s.churn.checkCounts())
}

func (s *soak) connections(*rig) int {
	return s.churn.players + s.churn.visitors + s.slow + 2*s.restless
}

func (s *soak) perform(ctx context.Context, g *rig) error {
	g.restless = s.restless
	if err := g.open(s.churn.players + s.restless); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	stayers, guests, idlers, watchers := g.party(g.arrived), g.aside(nil), g.aside(nil), g.aside(g.arrived)
	g.play(ctx, s.churn.players, func(i int) (int, *party) { return i % g.publishers, stayers })
	accepted := make(chan struct{}, s.restless)
	g.watch(watchers, accepted)
	if err := g.crew.await(ctx, "players of restless publishers are accepted", s.restless, accepted, g.within(s.connections(g))); err != nil {
		return err
	}
	senders := g.comersAndGoers(s.churn.stay)
	senders.open(s.restless)
	if err := g.await(ctx, s.churn.players+s.restless); err != nil {
		return err
	}
	visitors := g.visitors(guests, g.join, "", s.churn.stay)
	visitors.open(s.churn.visitors)
	slow := g.idlers(idlers, 10*s.churn.stay)
	slow.open(s.slow)

	trend := newTrend(g.pid, g.host.counters())
	defer trend.stop()
	line := func() string { return stayers.line() + "; " + visitors.line(guests) }
	if err := g.measure(ctx, g.house, line); err != nil {
		return err
	}
	trend.stop()
	for _, gate := range []*turnstile{visitors, slow, senders} {
		gate.shut()
	}
	ctx = context.WithoutCancel(ctx) // an interrupt ends it as the duration does
	g.house.dismiss(ctx)
	g.stage.dismiss(ctx)
	g.finish(ctx)

	r := g.report
	r.Players = s.churn.players + s.restless
	r.visited(visitors, guests, s.churn.visitors)
	back := r.TimeBack
	r.blame(watchers)
	if g.host.srs == "" {
		r.TimeBack = back // that time goes on from a publisher to the next is what srs promises
	}
	r.Lost += watchers.tally.lost.Load()
	r.blame(idlers)
	r.Failures = append(r.Failures, append(slow.texts, senders.texts...)...)
	r.Soak = s.conclude(trend, r)
	r.Soak.Slow = &visitorFigures{AtOnce: s.slow, Gone: slow.came.Load(), Failed: slow.failed.Load(), Join: idlers.join.quantiles()}
	r.Soak.Publishers = &visitorFigures{AtOnce: s.restless, Gone: senders.came.Load(), Failed: senders.failed.Load()}
	return nil
}

// conclude finds what grew, which is a failure.
func (s *soak) conclude(t *trend, r *report) *soakFigures {
	since := s.warmUp.Seconds()
	if since == 0 {
		since = r.Seconds / 3
	}
	f := &soakFigures{Hours: (r.Seconds - since) / 3600, Samples: t.samples}
	type held struct {
		to      *growth
		samples []sample
		what    string
		unit    string
		little  float64
		of      func(sample) float64
	}
	all := []held{
		{&f.Memory, t.samples, "memory", " MB", littleMemory, rssOf},
		{&f.Threads, t.samples, "number of threads", "", littleThreads, func(s sample) float64 { return s.Threads }},
		{&f.Files, t.samples, "number of descriptors", "", littleFiles, filesOf},
	}
	if told := t.told(); len(told) > 0 {
		f.Goroutines = new(growth)
		all = append(all, held{f.Goroutines, told, "number of goroutines", "", littleGoroutines, func(s sample) float64 { return s.Goroutines }})
	} else if t.untold != nil {
		r.Failures = append(r.Failures, t.untold.Error())
	}
	for _, v := range all {
		perSecond, from, to := slope(v.samples, since, v.of)
		*v.to = growth{From: from, To: to, PerHour: 3600 * perSecond}
		if grown := to - from; grown > max(v.little, from*s.growth/100) {
			r.Failures = append(r.Failures, fmt.Sprintf("the server's %s grew from %.1f%s to %.1f%s in %.0f s", v.what, from, v.unit, to, v.unit, 3600*f.Hours))
		}
	}
	return f
}

func (g growth) String() string {
	return fmt.Sprintf("%.1f to %.1f (%+.1f/h)", g.From, g.To, g.PerHour)
}

func (f *soakFigures) String() string {
	var b strings.Builder
	if len(f.Samples) > 0 {
		goroutines := "not known (an srs that -srs starts tells of them)"
		if f.Goroutines != nil {
			goroutines = f.Goroutines.String()
		}
		fmt.Fprintf(&b, "held       memory %s MB, threads %s, descriptors %s, goroutines %s\n", f.Memory, f.Threads, f.Files, goroutines)
	}
	fmt.Fprintf(&b, "restless   %d publishers, %d times gone, %d failed\n", f.Publishers.AtOnce, f.Publishers.Gone, f.Publishers.Failed)
	fmt.Fprintf(&b, "slow       %d players at once, %d gone, %d failed\n", f.Slow.AtOnce, f.Slow.Gone, f.Slow.Failed)
	return b.String()
}

func (s *soak) columns() []column { return soakColumns }

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// capacity is the scenario that finds how many players a server bears: it adds
// some until latency or loss crosses a mark.
type capacity struct {
	from, most int
	factor     float64
	maxP99     time.Duration
	steps      []capacityStep
}

// A capacityStep is a window with so many players.
type capacityStep struct {
	Players int     `json:"players"`
	P50     float64 `json:"latency_p50_ms"`
	P99     float64 `json:"latency_p99_ms"`
	Join    float64 `json:"join_p99_ms"` // of those that came for it
	Percent float64 `json:"delivered_percent"`
	CPU     float64 `json:"server_cpu_percent"`
	PerGB   float64 `json:"cpu_s_per_gb"`
	Limit   string  `json:"limit,omitempty"` // why it did not hold
}

// capacityFigures are all windows, and the most players that held.
type capacityFigures struct {
	Players int            `json:"players"`
	Steps   []capacityStep `json:"steps"`
}

const settleTime = time.Second // behind the last one's join, before a window, at most

func (c *capacity) options(g *rig, fs *flag.FlagSet) {
	g.duration = 5 * time.Second
	fs.IntVar(&c.from, "from", 250, "how many players to begin with")
	fs.IntVar(&c.most, "most", 18_000, "how many players to end with")
	fs.Float64Var(&c.factor, "factor", 1.5, "by how much each step multiplies them")
	fs.DurationVar(&c.maxP99, "max-p99", 100*time.Millisecond, "latency that a step must not exceed")
}

func (c *capacity) check(g *rig) error {
	var err error
	switch {
	case c.factor <= 1 || c.factor > 10:
		err = fmt.Errorf("%w: -factor must be more than 1 and at most 10", errUsage)
	case c.maxP99 <= 0:
		err = fmt.Errorf("%w: -max-p99 must be more than 0", errUsage)
	case c.most < c.from:
		err = fmt.Errorf("%w: -most must not be below -from", errUsage)
	}
	return errors.Join(err, checkCount("from", c.from), checkCount("most", c.most), mustLast(g))
}

func (c *capacity) connections(*rig) int { return c.most }

func (c *capacity) perform(ctx context.Context, g *rig) error {
	if err := g.open(c.most); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	held := g.report
	held.Players = 0
	for n := c.from; ; n = min(c.most, max(n+1, int(float64(n)*c.factor))) {
		step, err := c.step(ctx, g, n)
		if err != nil {
			return err
		}
		c.steps = append(c.steps, step)
		fmt.Fprintln(g.stdout, step)
		if step.Limit != "" {
			break
		}
		if held = g.report; n == c.most {
			break
		}
	}
	g.close()
	g.report = held
	g.report.Capacity = &capacityFigures{Players: held.Players, Steps: c.steps}
	if g.report.Failures = g.crew.wait(); held.Players == 0 {
		g.report.Failures = append(g.report.Failures, fmt.Sprintf("not even %d players held: %s", c.from, c.steps[0].Limit))
	}
	return nil
}

// step brings the players up to n and measures a window. That a step does not
// hold is no error.
func (c *capacity) step(ctx context.Context, g *rig, n int) (capacityStep, error) {
	step := capacityStep{Players: n}
	g.window.Store(nil)
	come := n - len(g.players)
	newcomers := g.aside(g.arrived)
	g.play(ctx, come, func(i int) (int, *party) { return (len(g.players)) % g.publishers, newcomers })
	if err := g.await(ctx, come); err != nil {
		if ctx.Err() != nil {
			return step, err
		}
		step.Limit = err.Error()
		return step, nil
	}
	step.Join = milliseconds(newcomers.join.percentile(99))
	if err := g.crew.attend(ctx, min(settleTime, g.duration), 0, nil, nil); err != nil {
		return step, err
	}
	// A party of its own for each window: what is still under way of the one
	// before is counted there.
	all := g.aside(nil)
	g.parties = []*party{all}
	players := slices.Clone(g.players)
	g.house.do(func() {
		for _, p := range players {
			p.check.tally = &all.tally
		}
	})
	g.load.late.reset()
	sent := make([]int64, len(g.senders))
	for i, p := range g.senders {
		sent[i] = p.measured.Load()
	}
	g.report = &report{Command: g.name, Workload: g.workload, Publishers: g.publishers, Players: n}
	line := func() string {
		return fmt.Sprintf("%d players, latency p99 %.1f ms", n, milliseconds(all.tally.latency.percentile(99)))
	}
	if err := g.measure(ctx, g.house, line); err != nil {
		return step, err
	}
	r := g.report
	for i := range n {
		r.Expected += g.senders[i%g.publishers].measured.Load() - sent[i%g.publishers]
	}
	c.settle(ctx, r, all)
	r.count(all)
	r.Late = g.load.late.quantiles()
	r.conclude()
	step.judge(r, c.maxP99)
	return step, nil
}

// settle waits until all that was sent in the window has come, for as long as
// latency may be, and a moment.
func (c *capacity) settle(ctx context.Context, r *report, all *party) {
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	for over := time.Now().Add(c.maxP99 + settleTime); all.tally.delivered.Load() < r.Expected && time.Now().Before(over); {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// judge finds out whether a step held.
func (s *capacityStep) judge(r *report, maxP99 time.Duration) {
	s.Percent = r.Percent
	if r.Latency != nil {
		s.P50, s.P99 = r.Latency.P50, r.Latency.P99
	}
	if r.Server != nil {
		s.CPU, s.PerGB = r.Server.Percent, r.Server.PerGB
	}
	switch {
	case r.damage() > 0:
		s.Limit = r.faults()
	case r.Delivered < r.Expected:
		s.Limit = fmt.Sprintf("%d of %d frames did not come in time", r.Expected-r.Delivered, r.Expected)
	case s.P99 > milliseconds(maxP99):
		s.Limit = fmt.Sprintf("p99 above %v", maxP99)
	case r.Saturated:
		s.Limit = "bench is at its own limit, the server's is not known"
	default:
		return
	}
	if r.Saturated {
		s.Limit += "; " + strings.Join(r.Warnings, "; ")
	}
}

func (s capacityStep) String() string {
	text := fmt.Sprintf("%6d players: p50 %.1f ms, p99 %.1f ms, join p99 %.1f ms, %.3f %% delivered, server %.0f %% of one CPU, %.2f CPU s/GB",
		s.Players, s.P50, s.P99, s.Join, s.Percent, s.CPU, s.PerGB)
	if s.Limit != "" {
		text += "; did not hold: " + s.Limit
	}
	return text
}

func (c *capacity) columns() []column { return capacityColumns }

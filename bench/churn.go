package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"
)

// churn is the scenario of players that come and go beside others that stay
// and must not notice.
type churn struct {
	players  int
	visitors int
	stay     time.Duration
}

// visitorFigures are those of clients that come and go by themselves.
type visitorFigures struct {
	AtOnce int        `json:"at_once"`
	Gone   int64      `json:"gone"` // after their time, in the window
	Failed int64      `json:"failed"`
	Join   *quantiles `json:"join_ms,omitempty"`
}

func (c *churn) flags(fs *flag.FlagSet, players, visitors int) {
	fs.IntVar(&c.players, "players", players, "how many players stay, spread over the streams")
	fs.IntVar(&c.visitors, "visitors", visitors, "how many players are there at once beside them that come and go")
	fs.DurationVar(&c.stay, "stay", 2*time.Second, "how long each of these plays; half as long to half as long again")
}

func (c *churn) options(_ *rig, fs *flag.FlagSet) { c.flags(fs, 500, 500) }

func (c *churn) check(g *rig) error { return errors.Join(c.checkCounts(), mustLast(g)) }

func (c *churn) checkCounts() error {
	var err error
	if c.stay <= 0 {
		err = fmt.Errorf("%w: -stay must be more than 0", errUsage)
	}
	return errors.Join(err, checkCount("players", c.players), checkCount("visitors", c.visitors))
}

func (c *churn) connections(*rig) int { return c.players + c.visitors }

func (c *churn) perform(ctx context.Context, g *rig) error {
	if err := g.open(c.players); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	stayers, guests := g.party(g.arrived), g.aside(nil)
	g.play(ctx, c.players, func(i int) (int, *party) { return i % g.publishers, stayers })
	if err := g.await(ctx, c.players); err != nil {
		return err
	}
	gate := g.visitors(guests, g.join, "", c.stay)
	gate.open(c.visitors)
	if err := g.measure(ctx, g.house, func() string { return stayers.line() + "; " + gate.line(guests) }); err != nil {
		return err
	}
	gate.shut()
	g.house.dismiss(ctx)
	g.finish(ctx)
	g.report.visited(gate, guests, c.visitors)
	return nil
}

// visited fills in what is known of visitors. They are not there to the end of
// a stream, but what they got must be whole.
func (r *report) visited(gate *turnstile, guests *party, atOnce int) {
	r.Visitors = &visitorFigures{AtOnce: atOnce, Gone: gate.came.Load(), Failed: gate.failed.Load(), Join: guests.join.quantiles()}
	r.blame(guests)
	r.Lost += guests.tally.lost.Load()
	r.Gaps += guests.tally.gaps.Load()
	r.Failures = append(r.Failures, gate.texts...)
}

func (c *churn) columns() []column { return churnColumns }

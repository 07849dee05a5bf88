package main

import (
	"context"
	"flag"
)

// publish is the scenario of streams that nobody plays.
type publish struct{}

func (publish) options(g *rig, _ *flag.FlagSet) { g.duration, g.endless = 0, true }
func (publish) check(*rig) error                { return nil }
func (publish) connections(*rig) int            { return 0 }

func (publish) perform(ctx context.Context, g *rig) error {
	if err := g.open(0); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	if err := g.measure(ctx, g.stage, g.load.line); err != nil {
		return err
	}
	g.finish(context.WithoutCancel(ctx))
	g.report.Bytes = g.load.measured.Load()
	return nil
}

func (publish) columns() []column { return publishColumns }

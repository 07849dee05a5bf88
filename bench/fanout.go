package main

import (
	"context"
	"errors"
	"flag"
)

// fanout is the scenario of few publishers and many players.
type fanout struct{ players int }

func (f *fanout) options(g *rig, fs *flag.FlagSet) {
	fs.IntVar(&f.players, "players", 100, "how many players in all, spread over the streams")
}

func (f *fanout) check(g *rig) error {
	return errors.Join(checkCount("players", f.players), mustLast(g))
}

func (f *fanout) connections(*rig) int { return f.players }

func (f *fanout) perform(ctx context.Context, g *rig) error {
	if err := g.open(f.players); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	all := g.party(g.arrived)
	g.play(ctx, f.players, func(i int) (int, *party) { return i % g.publishers, all })
	if err := g.await(ctx, f.players); err != nil {
		return err
	}
	if err := g.measure(ctx, g.house, all.line); err != nil {
		return err
	}
	g.finish(ctx)
	return nil
}

func (f *fanout) columns() []column { return deliveryColumns }

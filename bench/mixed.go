package main

import (
	"context"
	"errors"
	"flag"
	"slices"
)

// mixed is the scenario of many streams with few players each.
type mixed struct{ perStream int }

// streamFigures say how evenly a server treats its streams.
type streamFigures struct {
	Delivered float64 `json:"worst_delivered_percent"`
	P99       float64 `json:"median_p99_ms"`
	WorstP99  float64 `json:"worst_p99_ms"`
	WorstJoin float64 `json:"worst_join_p50_ms"`
}

func (m *mixed) options(g *rig, fs *flag.FlagSet) {
	g.publishers = 100
	fs.IntVar(&m.perStream, "per-stream", 10, "how many `players` each stream has")
}

func (m *mixed) check(g *rig) error {
	return errors.Join(checkCount("per-stream", m.perStream), checkCount("publishers", g.publishers*max(1, m.perStream)), mustLast(g))
}

func (m *mixed) connections(g *rig) int { return g.publishers * m.perStream }

func (m *mixed) perform(ctx context.Context, g *rig) error {
	players := m.connections(g)
	if err := g.open(players); err != nil {
		return err
	}
	defer g.close()
	if err := g.publish(ctx); err != nil {
		return err
	}
	for range g.publishers {
		g.party(g.arrived)
	}
	g.play(ctx, players, func(i int) (int, *party) { return i % g.publishers, g.parties[i%g.publishers] })
	if err := g.await(ctx, players); err != nil {
		return err
	}
	if err := g.measure(ctx, g.house, func() string { return together(g.parties).line() }); err != nil {
		return err
	}
	g.finish(ctx)
	g.report.Streams = m.conclude(g)
	return nil
}

func (m *mixed) conclude(g *rig) *streamFigures {
	f := &streamFigures{Delivered: 100}
	var p99s []float64
	for i, p := range g.parties {
		if due := g.senders[i].measured.Load() * int64(m.perStream); due > 0 {
			f.Delivered = min(f.Delivered, 100*float64(p.tally.delivered.Load())/float64(due))
		}
		p99s = append(p99s, milliseconds(p.tally.latency.percentile(99)))
		f.WorstJoin = max(f.WorstJoin, milliseconds(p.join.percentile(50)))
	}
	f.P99, f.WorstP99 = median(p99s), slices.Max(p99s)
	return f
}

func (m *mixed) columns() []column { return mixedColumns }

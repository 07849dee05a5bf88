package main

import (
	"math"
	"runtime/metrics"
	"time"

	"srs/hook"
)

// printCounters writes what has been counted since the start to the log.
func (p *process) printCounters() {
	c := p.server.Counters()
	p.log.Info("counters", "connections", c.Connections, "publishers", c.Publishers, "players", c.Players, "streams", c.Streams,
		"accepted", c.Accepted, "refused", c.Refused, "published", c.Published, "played", c.Played,
		"skips", c.Skips, "skipped", c.Skipped, "received", c.Received, "sent", c.Sent)
	p.log.Info("counters", append([]any{"ring", c.Ring}, memory()...)...)
	counts := p.hooks.Counters()
	for _, a := range []hook.Action{hook.OnConnect, hook.OnClose, hook.OnPublish, hook.OnUnpublish, hook.OnPlay, hook.OnStop, hook.OnDVR} {
		if n, ok := counts[a]; ok && n != (hook.Counts{}) {
			p.log.Info("counters", "action", string(a), "asked", n.Asked, "accepted", n.Accepted, "refused", n.Refused,
				"told", n.Told, "delivered", n.Delivered, "failed", n.Failed, "dropped", n.Dropped)
		}
	}
	for _, ep := range p.hooks.Endpoints() {
		p.log.Info("counters", ep.Args()...)
		for _, ev := range ep.Events {
			p.log.Info("counters", append([]any{"endpoint", ep.Endpoint}, ev.Args()...)...)
		}
	}
}

// memory is what the runtime says of its heap, and for how long the collector
// has stopped everything.
func memory() []any {
	m := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/sched/pauses/total/gc:seconds"},
	}
	metrics.Read(m)
	pauses := m[4].Value.Float64Histogram()
	return []any{
		"heap", m[0].Value.Uint64(), "allocated", m[1].Value.Uint64(), "collections", m[2].Value.Uint64(),
		"pause_p99", atMost(pauses, 0.99).String(), "pause_max", atMost(pauses, 1).String(), "goroutines", m[3].Value.Uint64(),
	}
}

// atMost is what a share of a histogram's values do not exceed.
func atMost(h *metrics.Float64Histogram, share float64) time.Duration {
	var all, n uint64
	for _, c := range h.Counts {
		all += c
	}
	for i, c := range h.Counts {
		if n += c; c > 0 && float64(n) >= share*float64(all) {
			upper := h.Buckets[i+1]
			if math.IsInf(upper, 1) {
				upper = h.Buckets[i]
			}
			return time.Duration(upper * float64(time.Second)).Round(time.Microsecond)
		}
	}
	return 0
}

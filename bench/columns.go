package main

import "slices"

// A column is one figure in the table of a comparison.
type column struct {
	key    string // in JSON
	title  string
	digits int
	sum    bool // of all runs, instead of their median
	of     func(*report) float64
}

// server is a column of what the server used; 0 where that is not known.
func server(key, title string, digits int, of func(*report, *serverFigures) float64) column {
	return column{key: key, title: title, digits: digits, of: func(r *report) float64 {
		if r.Server == nil {
			return 0
		}
		return of(r, r.Server)
	}}
}

// spread is a column of a distribution; 0 where nothing was counted.
func spread(key, title string, of func(*report) *quantiles, one func(*quantiles) float64) column {
	return column{key: key, title: title, digits: 1, of: func(r *report) float64 {
		if q := of(r); q != nil {
			return one(q)
		}
		return 0
	}}
}

func latencyOf(r *report) *quantiles { return r.Latency }
func joinOf(r *report) *quantiles    { return r.Join }
func lateOf(r *report) *quantiles    { return r.Late }
func p50(q *quantiles) float64       { return q.P50 }
func p99(q *quantiles) float64       { return q.P99 }

// Columns of more than one scenario.
var (
	perGBColumn    = server("cpu_s_per_gb", "CPU s/GB", 2, func(_ *report, s *serverFigures) float64 { return s.PerGB })
	percentColumn  = server("cpu_percent", "CPU %", 0, func(_ *report, s *serverFigures) float64 { return s.Percent })
	rssColumn      = server("rss_mb", "RSS MB", 1, func(_ *report, s *serverFigures) float64 { return float64(s.RSS) / 1e6 })
	peakColumn     = server("peak_rss_mb", "RSS peak MB", 1, func(_ *report, s *serverFigures) float64 { return float64(s.Peak) / 1e6 })
	switchesColumn = server("context_switches_per_s", "switches/s", 0, func(r *report, s *serverFigures) float64 { return float64(s.Switches) / r.Seconds })
	callsColumn    = server("system_calls_per_gb", "calls/GB", 0, func(_ *report, s *serverFigures) float64 { return s.CallsGB })

	p50Column       = spread("latency_p50_ms", "p50 ms", latencyOf, p50)
	p99Column       = spread("latency_p99_ms", "p99 ms", latencyOf, p99)
	joinColumn      = spread("join_p50_ms", "join p50 ms", joinOf, p50)
	lateColumn      = spread("late_p99_ms", "sent late p99 ms", lateOf, p99)
	deliveredColumn = column{key: "delivered_percent", title: "delivered %", digits: 3, of: func(r *report) float64 { return r.Percent }}
	faultsColumn    = column{key: "faults", title: "faults", sum: true, of: func(r *report) float64 { return float64(r.damage() + int64(len(r.Failures))) }}
)

var (
	deliveryColumns = []column{perGBColumn, percentColumn, p50Column, p99Column, joinColumn, deliveredColumn, faultsColumn, peakColumn, switchesColumn}
	stormColumns    = []column{
		{key: "server_us_per_cycle", title: "CPU µs/cycle", digits: 1, of: stormFigure(func(f *stormFigures) float64 { return f.Micros })},
		{key: "cycles_per_s", title: "cycles/s", of: stormFigure(func(f *stormFigures) float64 { return f.PerSecond })},
		percentColumn,
		spread("ready_p50_ms", "ready p50 ms", joinOf, p50),
		spread("ready_p99_ms", "ready p99 ms", joinOf, p99),
		faultsColumn, peakColumn, switchesColumn,
	}
	mixedColumns = append(slices.Clip(deliveryColumns),
		column{key: "worst_stream_p99_ms", title: "worst stream's p99 ms", digits: 1, of: func(r *report) float64 {
			if r.Streams == nil {
				return 0
			}
			return r.Streams.WorstP99
		}})
	churnColumns = append(slices.Clip(deliveryColumns),
		column{key: "visitors_per_s", title: "visitors/s", of: visitorFigure(func(r *report, f *visitorFigures) float64 { return float64(f.Gone) / r.Seconds })},
		column{key: "visitors_join_p99_ms", title: "their join p99 ms", digits: 1, of: visitorFigure(func(_ *report, f *visitorFigures) float64 {
			if f.Join == nil {
				return 0
			}
			return f.Join.P99
		})})
	soakColumns = append(slices.Clip(churnColumns),
		column{key: "rss_mb_per_hour", title: "RSS MB/h", digits: 1, of: func(r *report) float64 {
			if r.Soak == nil {
				return 0
			}
			return r.Soak.Memory.PerHour
		}})
	capacityColumns = []column{
		{key: "players", title: "players", of: func(r *report) float64 {
			if r.Capacity == nil {
				return 0
			}
			return float64(r.Capacity.Players)
		}},
		perGBColumn, percentColumn, p50Column, p99Column, peakColumn, switchesColumn,
	}
	slowColumns = append(slices.Clip(deliveryColumns),
		column{key: "slow_closed", title: "slow: closed", of: slowFigure(func(f *slowFigures) float64 { return float64(f.Closed) })},
		column{key: "slow_skipped", title: "skipped", of: slowFigure(func(f *slowFigures) float64 { return float64(f.Skipped) })},
		column{key: "server_mb_per_min", title: "RSS MB/min", digits: 1, of: slowFigure(func(f *slowFigures) float64 { return f.Growth })},
	)
	publishColumns = []column{perGBColumn, percentColumn, lateColumn, faultsColumn, rssColumn, peakColumn, switchesColumn}
)

func stormFigure(of func(*stormFigures) float64) func(*report) float64 {
	return func(r *report) float64 {
		if r.Storm == nil {
			return 0
		}
		return of(r.Storm)
	}
}

func slowFigure(of func(*slowFigures) float64) func(*report) float64 {
	return func(r *report) float64 {
		if r.Slow == nil {
			return 0
		}
		return of(r.Slow)
	}
}

func visitorFigure(of func(*report, *visitorFigures) float64) func(*report) float64 {
	return func(r *report) float64 {
		if r.Visitors == nil {
			return 0
		}
		return of(r, r.Visitors)
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// A comparison is a run of the subcommand compare: the same workload for
// several servers, in turns, so that a machine whose speed changes changes it
// for all of them.
type comparison struct {
	Workload   workload   `json:"workload"`
	Publishers int        `json:"publishers"`
	Players    int        `json:"players"`
	Seconds    float64    `json:"seconds"` // of each run
	Rounds     int        `json:"rounds"`
	Pinned     bool       `json:"pinned"` // server and generator on a CPU each
	Servers    contenders `json:"servers"`
}

// figures are those of one run, or medians of several.
type figures struct {
	PerGB     float64 `json:"cpu_s_per_gb"`
	Ratio     float64 `json:"cpu_ratio"`   // to the first server
	Percent   float64 `json:"cpu_percent"` // of one CPU
	Delivered float64 `json:"delivered_percent"`
	Faults    int64   `json:"faults"` // a sum, not a median
	P50       float64 `json:"latency_p50_ms"`
	P99       float64 `json:"latency_p99_ms"`
	Join      float64 `json:"join_p50_ms"`
	Peak      float64 `json:"peak_rss_bytes"`
	Switches  float64 `json:"context_switches_per_s"`
}

// compare is the subcommand. Its flags are fanout's, and those that say whom to
// compare how.
func compare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	var c comparison
	fs.Var(&c.Servers, "server", "a `NAME=COMMAND` to compare, again for each server; {addr}, {conf} and others are replaced")
	fs.IntVar(&c.Rounds, "rounds", 3, "how often each server is measured")
	fs.BoolVar(&c.Pinned, "pin", false, "server on CPU "+serverCPU+", generator on CPU "+generatorCPU+" (taskset)")
	file := fs.String("o", "", "write all figures as JSON to `file`")
	passed := flag.NewFlagSet("", flag.ContinueOnError)
	c.Workload.flags(passed)
	passed.IntVar(&c.Publishers, "publishers", 1, "how many streams")
	passed.IntVar(&c.Players, "players", 1000, "how many players in all, spread over the streams")
	duration := passed.Duration("duration", 10*time.Second, "how long to measure")
	passed.Float64("join", 500, "connections opened per second, at most")
	passed.Uint("checksums", 1, checksumsText)
	passed.VisitAll(func(f *flag.Flag) { fs.Var(f.Value, f.Name, f.Usage) })
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	switch {
	case len(c.Servers) == 0:
		return fmt.Errorf("%w: -server is required", errUsage)
	case c.Rounds < 1:
		return fmt.Errorf("%w: -rounds must be 1 or more", errUsage)
	}
	c.Seconds = duration.Seconds()
	var flags []string
	passed.VisitAll(func(f *flag.Flag) { flags = append(flags, "-"+f.Name+"="+f.Value.String()) })
	if err := c.run(ctx, flags, stderr); err != nil {
		return err
	}
	for _, s := range c.Servers {
		s.conclude(c.Servers[0])
	}
	c.print(stdout)
	if *file != "" {
		b, err := json.MarshalIndent(c, "", "  ")
		if err == nil {
			err = os.WriteFile(*file, append(b, '\n'), 0o664)
		}
		if err != nil {
			return err
		}
	}
	return c.err()
}

// run measures all servers in turns; each round begins with another one.
func (c *comparison) run(ctx context.Context, flags []string, stderr io.Writer) error {
	for round := range c.Rounds {
		for i := range c.Servers {
			s := c.Servers[(round+i)%len(c.Servers)]
			r, err := s.run(ctx, c.Pinned, c.Publishers+c.Players, flags)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if errors.Is(err, errUsage) {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			if err != nil {
				s.Errors = append(s.Errors, err.Error())
				fmt.Fprintf(stderr, "%d/%d %s: %v\n", round+1, c.Rounds, s.Name, err)
			}
			if r == nil {
				continue
			}
			s.Runs = append(s.Runs, r)
			f := figuresOf(r)
			fmt.Fprintf(stderr, "%d/%d %s: %.2f CPU s/GB, p99 %.1f ms, %.3f %% delivered\n", round+1, c.Rounds, s.Name, f.PerGB, f.P99, f.Delivered)
		}
	}
	return nil
}

func figuresOf(r *report) figures {
	f := figures{Delivered: r.Percent, Faults: r.damage() + int64(len(r.Failures))}
	if s := r.Server; s != nil {
		f.PerGB, f.Percent, f.Peak, f.Switches = s.PerGB, s.Percent, float64(s.Peak), float64(s.Switches)/r.Seconds
	}
	if r.Latency != nil {
		f.P50, f.P99 = r.Latency.P50, r.Latency.P99
	}
	if r.Join != nil {
		f.Join = r.Join.P50
	}
	return f
}

// conclude makes medians of a server's runs, and relates them to the first's.
func (s *contender) conclude(first *contender) {
	var runs []figures
	for _, r := range s.Runs {
		runs = append(runs, figuresOf(r))
		s.Median.Faults += runs[len(runs)-1].Faults
	}
	for _, of := range []func(*figures) *float64{
		func(f *figures) *float64 { return &f.PerGB },
		func(f *figures) *float64 { return &f.Percent },
		func(f *figures) *float64 { return &f.Delivered },
		func(f *figures) *float64 { return &f.P50 },
		func(f *figures) *float64 { return &f.P99 },
		func(f *figures) *float64 { return &f.Join },
		func(f *figures) *float64 { return &f.Peak },
		func(f *figures) *float64 { return &f.Switches },
	} {
		var values []float64
		for i := range runs {
			values = append(values, *of(&runs[i]))
		}
		*of(&s.Median) = median(values)
	}
	if first.Median.PerGB > 0 {
		s.Median.Ratio = s.Median.PerGB / first.Median.PerGB
	}
}

// median is the middle of the values, of two middles their mean; 0 of none.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// print writes a table in Markdown.
func (c *comparison) print(w io.Writer) {
	fmt.Fprintf(w, "%d streams of %d kb/s, %d players, medians of %d rounds of %g s", c.Publishers, c.Workload.Kbps, c.Players, c.Rounds, c.Seconds)
	if c.Pinned {
		fmt.Fprintf(w, ", server on CPU %s, generator on CPU %s", serverCPU, generatorCPU)
	}
	fmt.Fprint(w, "\n\n| server | CPU s/GB | ratio | CPU % | p50 ms | p99 ms | join p50 ms | delivered % | faults | RSS peak MB | switches/s |\n"+
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range c.Servers {
		m := s.Median
		if len(s.Runs) == 0 {
			fmt.Fprintf(w, "| %s | failed |\n", s.Name)
			continue
		}
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %.0f | %.1f | %.1f | %.1f | %.3f | %d | %.1f | %.0f |\n",
			s.Name, m.PerGB, m.Ratio, m.Percent, m.P50, m.P99, m.Join, m.Delivered, m.Faults, m.Peak/1e6, m.Switches)
	}
	fmt.Fprintln(w)
	for _, s := range c.Servers {
		fmt.Fprintf(w, "* %s: `%s`\n", s.Name, s.Command)
		for _, text := range s.Errors {
			fmt.Fprintf(w, "  * failed: %s\n", text)
		}
		for _, r := range s.Runs {
			for _, text := range slices.Concat(r.Warnings, r.Failures) {
				fmt.Fprintf(w, "  * %s\n", text)
			}
		}
	}
}

// err says what makes the comparison a failure.
func (c *comparison) err() error {
	for _, s := range c.Servers {
		if len(s.Errors) > 0 {
			return fmt.Errorf("%s failed in %d of %d rounds", s.Name, len(s.Errors), c.Rounds)
		}
		for i, r := range s.Runs {
			if err := r.err(); err != nil {
				return fmt.Errorf("%s, run %d: %w", s.Name, i+1, err)
			}
		}
	}
	return nil
}

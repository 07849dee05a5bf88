package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// A comparison is a run of the subcommand compare: the same scenario for
// several servers, in turns, so that a machine whose speed changes changes it
// for all of them.
type comparison struct {
	Scenario string     `json:"scenario"`
	Flags    []string   `json:"flags"` // of the scenario, those given
	Rounds   int        `json:"rounds"`
	Pinned   bool       `json:"pinned"` // server and generator on a CPU each
	Servers  contenders `json:"servers"`

	columns     []column
	connections int
}

// ours are flags of a scenario that compare sets itself.
var ours = []string{"url", "pid", "o", "progress", "srs", "start", "conf", "cpu", "profile"}

// compare is the subcommand. Its flags are the scenario's, and those that say
// whom to compare how.
func compare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("compare", flag.ContinueOnError)
	c := comparison{Scenario: scenarioOf(args)}
	one, ok := scenarios[c.Scenario]
	if !ok {
		return fmt.Errorf("%w: -workload must be one of %s", errUsage, scenarioNames())
	}
	fs.String("workload", c.Scenario, "`what` to measure with, one of "+scenarioNames()+"; the other flags are this one's")
	fs.Var(&c.Servers, "server", "a `NAME=COMMAND` to compare, again for each server; {addr}, {conf} and others are replaced")
	fs.IntVar(&c.Rounds, "rounds", 3, "how often each server is measured")
	fs.BoolVar(&c.Pinned, "pin", false, "server on CPU "+serverCPU+", generator on CPU "+generatorCPU+" (taskset)")
	var file jsonFile
	file.flag(fs, "write all figures as JSON to `file`")
	passed, s := flag.NewFlagSet("", flag.ContinueOnError), one()
	g := newRig(c.Scenario, s, passed)
	passed.VisitAll(func(f *flag.Flag) {
		if !slices.Contains(ours, f.Name) {
			fs.Var(f.Value, f.Name, f.Usage)
		}
	})
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	switch {
	case len(c.Servers) == 0:
		return fmt.Errorf("%w: -server is required", errUsage)
	case c.Rounds < 1:
		return fmt.Errorf("%w: -rounds must be 1 or more", errUsage)
	}
	if err := errors.Join(g.check(), s.check(g), mustLast(g)); err != nil {
		return err
	}
	fs.Visit(func(f *flag.Flag) {
		if passed.Lookup(f.Name) != nil && f.Name != "o" {
			c.Flags = append(c.Flags, "-"+f.Name+"="+f.Value.String())
		}
	})
	c.columns, c.connections = s.columns(), g.publishers+s.connections(g)
	if g.calls {
		c.columns = append(slices.Clip(c.columns), callsColumn)
	}
	if err := c.run(ctx, stderr); err != nil {
		return err
	}
	for _, s := range c.Servers {
		s.conclude(c.Servers[0], c.columns)
	}
	c.print(stdout)
	return errors.Join(file.write(c), c.err())
}

// scenarioOf finds -workload, on which depends what other flags there are.
func scenarioOf(args []string) string {
	for i, arg := range args {
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case name != "workload" || !strings.HasPrefix(arg, "-"):
		case given:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return "fanout"
}

func scenarioNames() string { return strings.Join(slices.Sorted(maps.Keys(scenarios)), ", ") }

// run measures all servers in turns; each round begins with another one.
func (c *comparison) run(ctx context.Context, stderr io.Writer) error {
	for round := range c.Rounds {
		for i := range c.Servers {
			s := c.Servers[(round+i)%len(c.Servers)]
			r, err := s.run(ctx, c)
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
			fmt.Fprintf(stderr, "%d/%d %s:", round+1, c.Rounds, s.Name)
			for i, column := range c.columns {
				if i > 0 {
					io.WriteString(stderr, ",")
				}
				fmt.Fprintf(stderr, " %s %.*f", column.title, column.digits, column.of(r))
			}
			fmt.Fprintln(stderr)
		}
	}
	return nil
}

// conclude makes medians of a server's runs, and relates them to the first's.
func (s *contender) conclude(first *contender, columns []column) {
	s.Median = make(map[string]float64, len(columns))
	for _, column := range columns {
		var values []float64
		sum := 0.0
		for _, r := range s.Runs {
			values = append(values, column.of(r))
			sum += column.of(r)
		}
		if s.Median[column.key] = median(values); column.sum {
			s.Median[column.key] = sum
		}
	}
	if key := columns[0].key; first.Median[key] > 0 {
		s.Ratio = s.Median[key] / first.Median[key]
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

// print writes a table in Markdown. The ratio stands behind its column.
func (c *comparison) print(w io.Writer) {
	fmt.Fprintf(w, "`bench %s`, medians of %d rounds", strings.Join(append([]string{c.Scenario}, c.Flags...), " "), c.Rounds)
	if c.Pinned {
		fmt.Fprintf(w, ", server on CPU %s, generator on CPU %s", serverCPU, generatorCPU)
	}
	titles := []string{"server"}
	for _, column := range c.columns {
		titles = append(titles, column.title)
	}
	row := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	fmt.Fprint(w, "\n\n")
	row(slices.Insert(titles, 2, "ratio"))
	row(slices.Repeat([]string{"---"}, len(titles)+1))
	for _, s := range c.Servers {
		cells := []string{s.Name}
		if len(s.Runs) == 0 {
			row(append(cells, "failed"))
			continue
		}
		for _, column := range c.columns {
			cells = append(cells, fmt.Sprintf("%.*f", column.digits, s.Median[column.key]))
		}
		row(slices.Insert(cells, 2, fmt.Sprintf("%.2f", s.Ratio)))
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

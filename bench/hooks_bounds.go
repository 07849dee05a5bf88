package main

import (
	"fmt"
	"io"
	"time"
)

// Bounds that a run is held to: beyond them it fails.
const (
	p99Rule = "1.2 x of alone or 2 ms more"
	gapRule = "20 ms more than alone"

	leastReuse = 95.0 // % of the calls

	// So many calls of a vhost a server makes at once, with the workers it has by default:
	// gates, notices, and ends that gates wait for. It needs as many connections.
	mostAtOnce  = 64 + 64 + 16
	judgedCalls = 40 * mostAtOnce // with fewer as many new connections would be much of 5 %
	keptRate    = 1.0             // connects a second; with less a connection may lie idle for longer than a server keeps it
)

// A reuse is how many calls went over how many new connections.
type reuse struct{ calls, connections int64 }

func (u reuse) percent() float64 {
	if u.calls == 0 {
		return 0
	}
	return 100 * (1 - float64(u.connections)/float64(u.calls))
}

// judge says whether connections were kept as they could be.
func (u reuse) judge(w io.Writer, name string, rate float64) error {
	text := fmt.Sprintf("connections reused: %.2f %% of %d calls (%s)", u.percent(), u.calls, name)
	switch {
	case rate < keptRate || u.calls < judgedCalls:
		fmt.Fprintf(w, "%s; not held to the bound of %.0f %%, for which %.0f connects a second and %d calls are needed\n", text, leastReuse, keptRate, judgedCalls)
	case u.percent() < leastReuse:
		fmt.Fprintf(w, "%s; UNDER the bound of %.0f %%\n", text, leastReuse)
		return fmt.Errorf("%s: %.2f %% of the calls reused a connection, the bound is %.0f %%", name, u.percent(), leastReuse)
	default:
		fmt.Fprintf(w, "%s; within the bound of %.0f %%\n", text, leastReuse)
	}
	return nil
}

// neighbour says whether what was measured beside an endpoint that hangs is
// within the bound.
func neighbour(w io.Writer, what string, measured []time.Duration, bound time.Duration, rule string) error {
	over := measured[1] > bound
	verdict := "within"
	if over {
		verdict = "OVER"
	}
	fmt.Fprintf(w, "%s: %.2f ms alone, %.2f ms beside an endpoint that hangs; %s the bound of %.2f ms (%s)\n",
		what, milliseconds(measured[0]), milliseconds(measured[1]), verdict, milliseconds(bound), rule)
	if over {
		return fmt.Errorf("%s: %.2f ms beside an endpoint that hangs, the bound is %.2f ms", what, milliseconds(measured[1]), milliseconds(bound))
	}
	return nil
}

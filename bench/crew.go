package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// A crew gathers how the publishers and players of a run ended. One goroutine uses it.
type crew struct {
	ends     chan error // room for all: no member waits to be gathered
	begun    int
	gathered int
	failed   []error
}

func newCrew(size int) *crew { return &crew{ends: make(chan error, size)} }

// add runs one member in a goroutine; at most as many as newCrew was told,
// with those enlisted.
func (c *crew) add(run func() error) {
	ended := c.enlist()
	go func() { ended(run()) }()
}

// enlist adds one member that others run; what it returns is to be called once,
// at its end.
func (c *crew) enlist() (ended func(error)) {
	c.begun++
	return func(err error) { c.ends <- err }
}

// ended notes an end that was taken from ends.
func (c *crew) ended(err error) {
	c.gathered++
	if err != nil {
		c.failed = append(c.failed, err)
	}
}

// wait returns when all members have ended, with the texts of their errors.
func (c *crew) wait() []string {
	for c.gathered < c.begun {
		c.ended(<-c.ends)
	}
	var texts []string
	for _, err := range c.failed {
		texts = append(texts, err.Error())
	}
	return texts
}

// errEarly is a member's end that nobody asked for.
var errEarly = errors.New("one ended early")

// await takes n signals. It fails when a member ends or the time is over.
func (c *crew) await(ctx context.Context, what string, n int, signals <-chan struct{}, within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for i := range n {
		select {
		case <-signals:
		case err := <-c.ends:
			if c.ended(err); err == nil {
				err = errEarly
			}
			return fmt.Errorf("%d of %d %s: %w", i, n, what, err)
		case <-timer.C:
			return fmt.Errorf("%d of %d %s after %v", i, n, what, within)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// attend lets the crew work for a duration (0: without end), or until all
// members have ended, and prints a line now and then.
func (c *crew) attend(ctx context.Context, duration, progress time.Duration, line func() string, w io.Writer) error {
	var over, tick <-chan time.Time
	if duration > 0 {
		timer := time.NewTimer(duration)
		defer timer.Stop()
		over = timer.C
	}
	if progress > 0 {
		ticker := time.NewTicker(progress)
		defer ticker.Stop()
		tick = ticker.C
	}
	begun := time.Now()
	for {
		select {
		case <-over:
			return nil
		case <-tick:
			fmt.Fprintf(w, "%5.0fs  %s\n", time.Since(begun).Seconds(), line())
		case err := <-c.ends:
			if c.ended(err); c.gathered == c.begun {
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

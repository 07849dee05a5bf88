package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"
)

// events are the seven callbacks, in the order of a connection's life.
var events = []string{"on_connect", "on_publish", "on_play", "on_stop", "on_unpublish", "on_dvr", "on_close"}

// A callback is a line that the sample receiver printed.
type callback struct {
	at     time.Duration // since the start
	action string
	text   string
}

// callbacks gathers what the receiver prints.
type callbacks struct {
	begun time.Time

	mu      sync.Mutex
	all     []callback
	counts  map[string]int
	changed chan struct{} // closed and made anew with each callback
}

func newCallbacks() *callbacks {
	return &callbacks{begun: time.Now(), counts: make(map[string]int), changed: make(chan struct{})}
}

// callbackLine is a receiver's line such as "[...][trace] srs on_play: client id=1, ...".
var callbackLine = regexp.MustCompile(`srs (on_[a-z]+): (.*)`)

// line takes a line of the receiver's output.
func (c *callbacks) line(text string) {
	m := callbackLine.FindStringSubmatch(text)
	if m == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, callback{at: time.Since(c.begun), action: m[1], text: m[2]})
	c.counts[m[1]]++
	close(c.changed)
	c.changed = make(chan struct{})
}

// wait returns when each action has come as often as wanted. The error names
// what is missing.
func (c *callbacks) wait(ctx context.Context, want map[string]int, within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		missing, changed := c.missing(want)
		if len(missing) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return fmt.Errorf("callbacks are missing: %s", strings.Join(missing, ", "))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *callbacks) missing(want map[string]int) ([]string, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var missing []string
	for _, action := range events {
		if got := c.counts[action]; got < want[action] {
			missing = append(missing, fmt.Sprintf("%s (%d of %d came)", action, got, want[action]))
		}
	}
	return missing, c.changed
}

func (c *callbacks) list() []callback {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]callback(nil), c.all...)
}

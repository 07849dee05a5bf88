package main

import (
	"context"
	"flag"
	"fmt"
	"time"
)

const defaultURL = "rtmp://127.0.0.1:1935/live/bench"

// common are the flags that publish, play and fanout share.
type common struct {
	url      string
	duration time.Duration
	join     float64
	patience time.Duration
	pid      int
	file     jsonFile
	progress time.Duration
}

func (c *common) flags(fs *flag.FlagSet, duration time.Duration, durationText string) {
	fs.StringVar(&c.url, "url", defaultURL, "the stream; with several, -0, -1 and so on are put behind its name")
	fs.DurationVar(&c.duration, "duration", duration, durationText)
	fs.Float64Var(&c.join, "join", 500, "connections opened per second, at most")
	fs.DurationVar(&c.patience, "patience", 10*time.Second, "a player that has waited so long for its first keyframe, or for the last frame due to it, has failed")
	fs.IntVar(&c.pid, "pid", 0, "process `id` of the server, to measure its CPU time and memory")
	c.file.flag(fs, "write the report as JSON to `file`")
	fs.DurationVar(&c.progress, "progress", 5*time.Second, "print a line this often; 0: never")
}

func (c *common) check() error {
	switch {
	case c.duration < 0 || c.progress < 0:
		return fmt.Errorf("%w: -duration and -progress must not be below 0", errUsage)
	case c.patience <= 0:
		return fmt.Errorf("%w: -patience must be more than 0", errUsage)
	case c.join == 0:
		return fmt.Errorf("%w: -join must be more than 0", errUsage)
	case c.pid < 0:
		return fmt.Errorf("%w: -pid must be a process id", errUsage)
	}
	return nil
}

const checksumsText = "compare the checksum of one in so many `messages` of a player; the order of all is checked"

// checkCount checks how many of something a flag asks for.
func checkCount(name string, n int) error {
	if n < 1 || n > 1_000_000 {
		return fmt.Errorf("%w: -%s must be 1 to 1000000", errUsage, name)
	}
	return nil
}

// stagger calls add for 0 to n-1, at most join times a second.
func stagger(ctx context.Context, n int, join float64, add func(int)) {
	ticker := time.NewTicker(max(time.Duration(float64(time.Second)/join), time.Microsecond))
	defer ticker.Stop()
	for i := range n {
		add(i)
		if i == n-1 {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

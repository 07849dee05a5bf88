package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"
)

// play is the subcommand: players of streams that bench publishes elsewhere.
// How many frames were sent is not known here: loss shows in the numbering. The
// window opens when all players have come.
func play(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("play", flag.ContinueOnError)
	var c common
	c.flags(fs, 0, "how long to play; 0: until interrupted")
	sample := fs.Uint("checksums", 1, checksumsText)
	players := fs.Int("players", 1, "how many players in all, spread over the streams")
	streams := fs.Int("publishers", 1, "how many streams there are, named as bench publish does")
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	if err := errors.Join(c.check(), checkCount("players", *players), checkCount("publishers", *streams)); err != nil {
		return err
	}
	urls, err := streamURLs(c.url, *streams)
	if err != nil {
		return err
	}
	if err := raiseFiles(*players); err != nil {
		return err
	}
	requests, err := newRequests(urls, newPlayRequest)
	if err != nil {
		return err
	}
	group, crew := newParty(nil), newCrew(*players)
	group.tally.sample = *sample
	group.tally.window = new(atomic.Pointer[window])
	crowd, err := newCrowd()
	if err != nil {
		return err
	}
	defer crowd.leave()
	var stayed []*player   // to the end
	patience := c.patience // of those that are there to the end; set before the crowd leaves
	stagger(ctx, *players, c.join, func(i int) {
		ended, since := crew.enlist(), time.Now()
		p := newPlayer(requests[i%*streams], 0, group, nil)
		p.ended = func(err error) {
			if err == nil {
				stayed = append(stayed, p)
				err = p.blind(time.Since(since), patience)
			}
			ended(err)
		}
		p.check.skipped = uint(i)
		crowd.join(&p.client)
	})
	meter, err := newMeter(c.pid, crowd, false)
	if err != nil {
		return err
	}
	defer meter.close()
	came := time.Now()
	group.tally.window.Store(&window{from: came.UnixNano(), to: math.MaxInt64})
	if ctx.Err() != nil { // not all
		came = came.Add(-patience)
	}
	crew.attend(ctx, c.duration, c.progress, group.line, stdout) // an interrupt ends it as the duration does
	r := &report{Command: "play", Publishers: *streams, Players: *players}
	err = meter.read(r)
	group.tally.window.Store(&window{from: group.tally.window.Load().from, to: time.Now().UnixNano()})
	if crew.gathered < crew.begun { // what is under way is still to come
		crew.attend(context.WithoutCancel(ctx), settleTime, 0, nil, nil)
	}
	patience = min(patience, time.Since(came)) // or the run was shorter
	crowd.leave()
	r.Failures = append(crew.wait(), stalled(stayed)...)
	r.count(group)
	r.Expected = r.Delivered + r.Lost
	if group.join.count.Load() == 0 { // there is nothing to report of
		return errors.Join(errors.New("no player got a keyframe"), r.err())
	}
	if r.conclude(); r.Delivered == 0 {
		r.Warnings = append(r.Warnings, "no frame was sent in the measured time: there is no publisher any more, or its machine has another time")
	}
	return errors.Join(r.finish(stdout, &c.file), err)
}

// stallTime is how far behind the others a player may be at the end.
const stallTime = 2 * time.Second

// stalled tells of players that had a picture, and then not what others of their
// stream had.
func stalled(players []*player) []string {
	newest := make(map[*request]int64)
	for _, p := range players {
		newest[p.request] = max(newest[p.request], p.check.newest)
	}
	var texts []string
	for _, p := range players {
		if behind := time.Duration(newest[p.request] - p.check.newest); p.started && behind > stallTime {
			texts = append(texts, fmt.Sprintf("%s: %s: %.1f s behind others of its stream", p.request.name, p.after(), behind.Seconds()))
		}
	}
	return texts
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds of a run beside its duration.
const (
	startTimeout = 30 * time.Second // for all publishers, and for all players, beyond their staggering
	drainTimeout = 20 * time.Second // for the last frames to arrive
	drainQuiet   = 5 * time.Second  // nothing more comes: what is missing is lost
	windowAhead  = 100 * time.Millisecond
)

// A fanoutRun is one run of the subcommand fanout:
//
//  1. start the server, unless one is running
//  2. publishers, until all are accepted
//  3. players, until each has its first keyframe
//  4. the window: what is sent in it is measured
//  5. publishers stop; players receive up to the last frame sent
//  6. players leave, the server is stopped, figures are put together
type fanoutRun struct {
	common
	workload            workload
	publishers, players int
	sample              uint
	host                host
	stdout              io.Writer

	crew     *crew
	load     *load
	party    *party
	crowd    *crowd
	senders  []*publisher
	receiver []*player
	sending  sync.WaitGroup // the publishers
	report   *report
}

// fanout is the subcommand: publishers and players in one process.
func fanout(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("fanout", flag.ContinueOnError)
	f := &fanoutRun{stdout: stdout}
	f.common.flags(fs, 20*time.Second, "how long to measure, from the time all players have a picture")
	f.workload.flags(fs)
	f.host.flags(fs)
	fs.IntVar(&f.publishers, "publishers", 1, "how many streams")
	fs.IntVar(&f.players, "players", 100, "how many players in all, spread over the streams")
	fs.UintVar(&f.sample, "checksums", 1, checksumsText)
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	err := errors.Join(f.common.check(), f.workload.check(), f.host.check(),
		checkCount("publishers", f.publishers), checkCount("players", f.players))
	if err == nil && f.duration == 0 {
		err = fmt.Errorf("%w: -duration must be more than 0", errUsage)
	}
	if err != nil {
		return err
	}
	if err := raiseFiles(f.publishers + f.players); err != nil {
		return err
	}
	if err := f.host.start(ctx, &f.common, f.publishers+f.players); err != nil {
		return err
	}
	err = f.run(ctx)
	if err := errors.Join(err, f.host.stop()); err != nil {
		return err
	}
	return f.report.finish(stdout, f.file)
}

func (f *fanoutRun) run(ctx context.Context) error {
	urls, err := streamURLs(f.url, f.publishers)
	if err != nil {
		return err
	}
	f.crew = newCrew(f.publishers + f.players)
	requests, err := newPlayRequests(urls)
	if err != nil {
		return err
	}
	f.party = newParty(f.players)
	f.party.tally.sample = f.sample
	if f.crowd, err = newCrowd(f.party); err != nil {
		return err
	}
	f.load = newLoad(&f.party.tally.window, f.publishers)
	working, leave := context.WithCancel(ctx)
	stop := make(chan struct{})
	endSending := sync.OnceFunc(func() { close(stop); f.sending.Wait() })
	defer func() { endSending(); leave(); f.crowd.leave(); f.crew.wait() }()

	within := startTimeout + time.Duration(float64(max(f.publishers, f.players))/f.join*float64(time.Second))
	stagger(ctx, f.publishers, f.join, func(i int) {
		p := newPublisher(urls[i], f.workload, f.load)
		f.senders = append(f.senders, p)
		f.sending.Add(1)
		f.crew.add(func() error { defer f.sending.Done(); return p.run(working, stop) })
	})
	if err := f.crew.await(ctx, "publishers are accepted", f.publishers, f.load.started, within); err != nil {
		return err
	}
	stagger(ctx, f.players, f.join, func(i int) {
		f.receiver = append(f.receiver, f.crowd.join(requests[i%f.publishers], f.senders[i%f.publishers].stream, f.crew.enlist()))
	})
	if err := f.crew.await(ctx, "players have a keyframe", f.players, f.party.started, within); err != nil {
		return err
	}
	if err := f.measure(ctx); err != nil {
		return err
	}
	endSending()
	missing := f.drain(ctx)
	leave()
	f.crowd.leave()
	f.report.Failures = f.crew.wait()
	f.conclude(missing)
	return nil
}

// measure opens the window, a moment ahead so that every publisher sees it in
// time, and waits for its end.
func (f *fanoutRun) measure(ctx context.Context) error {
	from := time.Now().Add(windowAhead)
	f.party.tally.window.Store(&window{from: from.UnixNano(), to: from.Add(f.duration).UnixNano()})
	if err := f.crew.attend(ctx, max(1, time.Until(from)), 0, nil, nil); err != nil {
		return err
	}
	meter, err := newMeter(f.pid, f.crowd)
	if err != nil {
		return err
	}
	if err := f.crew.attend(ctx, max(1, time.Until(from.Add(f.duration))), f.progress, f.party.line, f.stdout); err != nil {
		return err
	}
	f.report = &report{Command: "fanout", Workload: f.workload, Publishers: f.publishers, Players: f.players}
	return meter.read(f.report)
}

// drain waits until every player has what its publisher sent, and returns how
// many frames never came.
func (f *fanoutRun) drain(ctx context.Context) int64 {
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	begun := time.Now()
	last, changed := int64(-1), begun
	for {
		missing := f.missing()
		now := time.Now()
		if missing != last {
			last, changed = missing, now
		}
		if missing == 0 || now.Sub(changed) > drainQuiet || now.Sub(begun) > drainTimeout {
			return missing
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return missing
		}
	}
}

func (f *fanoutRun) missing() int64 {
	var n int64
	for i, p := range f.receiver {
		n += int64(max(0, int32(f.senders[i%f.publishers].sequence.Load()-p.check.next.Load())))
	}
	return n
}

func (f *fanoutRun) conclude(missing int64) {
	r := f.report
	r.count(&f.party.tally)
	r.Lost += missing
	for i := range f.receiver {
		r.Expected += f.senders[i%f.publishers].measured.Load()
	}
	r.Sent, r.SentBytes = f.load.sent.Load(), f.load.bytes.Load()
	r.Join, r.Late = f.party.join.quantiles(), f.load.late.quantiles()
	r.conclude()
}

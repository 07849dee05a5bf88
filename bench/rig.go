package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a run beside its duration.
const (
	startTimeout = 30 * time.Second // for all publishers, and for all players, beyond their staggering
	drainTimeout = 20 * time.Second // for the last frames to arrive
	drainQuiet   = 5 * time.Second  // nothing more comes: what is missing is lost
	windowAhead  = 100 * time.Millisecond
)

// A rig is what all subcommands that measure a server have in common: flags,
// the server, publishers and players, figures. A scenario puts it to use:
//
//  1. start: the server, unless one is running
//  2. publish: publishers, until all are accepted
//  3. play: players; await: until each has its first keyframe
//  4. measure: the window; what is sent in it is measured
//  5. drain: publishers stop, players receive up to the last frame sent
//  6. close: players leave, the server is stopped
type rig struct {
	// Flags.
	common
	host       host
	workload   workload
	publishers int
	sample     uint
	calls      bool
	profile    string

	// Static after open.
	name     string // of the subcommand
	endless  bool   // an interrupt ends it as its duration does
	stdout   io.Writer
	restless int        // streams beside those of the publishers
	plays    []*request // one for each stream
	opens    []*request
	window   atomic.Pointer[window]
	load     *load
	crew     *crew         // publishers, and those players that are to stay
	arrived  chan struct{} // one for each of those players that has a keyframe
	profiler *profiler     // nil: no profiles are taken
	stage    *crowd        // of publishers
	house    *crowd        // of players

	// Owned by the scenario.
	senders  []*publisher
	sending  sync.WaitGroup
	parties  []*party      // all that are reported of as one
	players  []*player     // that are to stay and to get everything, and
	watchers []*watcher    // of streams of the restless
	joining  time.Time     // when they began to come, and
	idle     time.Duration // how long their crowd had been idle then
	report   *report
}

func (g *rig) flags(fs *flag.FlagSet) {
	text := "how long to measure, from the time all are there"
	if g.endless {
		text += "; 0: until interrupted"
	}
	g.common.flags(fs, g.duration, text)
	g.workload.flags(fs)
	g.host.flags(fs)
	fs.IntVar(&g.publishers, "publishers", g.publishers, "how many streams")
	fs.UintVar(&g.sample, "checksums", 1, checksumsText)
	fs.BoolVar(&g.calls, "calls", false, "count the server's system calls, too (perf_event_open, for root)")
	fs.StringVar(&g.profile, "profile", "", "take profiles of the server while it is measured, into this `directory`; see make profile")
}

func (g *rig) check() error {
	var err error
	if g.profile != "" && (g.host.srs == "" && g.host.command == "" || g.duration < minProfile) {
		err = fmt.Errorf("%w: -profile needs a server to start (-srs, -start) and a -duration of %v or more", errUsage, minProfile)
	}
	return errors.Join(err, g.common.check(), g.workload.check(), g.host.check(), checkCount("publishers", g.publishers))
}

// open makes all that needs no server; players is how many are to stay.
func (g *rig) open(players int) error {
	urls, err := streamURLs(g.url, g.publishers+g.restless)
	if err != nil {
		return err
	}
	if g.plays, err = newRequests(urls, newPlayRequest); err != nil {
		return err
	}
	if g.opens, err = newRequests(urls, newPublishRequest); err != nil {
		return err
	}
	g.crew, g.arrived = newCrew(g.publishers+players), make(chan struct{}, players)
	g.load = newLoad(&g.window, make(chan struct{}, g.publishers))
	g.report = &report{Command: g.name, Workload: g.workload, Publishers: g.publishers, Players: players}
	if g.stage, err = newCrowd(); err != nil {
		return err
	}
	if g.house, err = newCrowd(); err != nil {
		g.stage.leave()
	}
	return err
}

// close ends whoever is left. It may be called again.
func (g *rig) close() {
	g.stage.leave()
	g.house.leave()
	g.crew.wait()
}

// within is how long so many connections may take to be opened and accepted.
func (g *rig) within(n int) time.Duration {
	return startTimeout + time.Duration(float64(n)/g.join*float64(time.Second))
}

// publish has all publishers come, and waits until they are accepted.
func (g *rig) publish(ctx context.Context) error {
	stagger(ctx, g.publishers, g.join, func(i int) { g.enter(g.sender(g.opens[i])) })
	return g.crew.await(ctx, "publishers are accepted", g.publishers, g.load.started, g.within(g.publishers))
}

// sender makes a publisher.
func (g *rig) sender(r *request) *publisher {
	p := newPublisher(r, g.workload, g.load)
	g.senders = append(g.senders, p)
	return p
}

// enter has a publisher come.
func (g *rig) enter(p *publisher) {
	g.sending.Add(1)
	ended := g.crew.enlist()
	p.ended = func(err error) { ended(err); g.sending.Done() }
	g.stage.join(&p.client)
}

// party makes one that is reported of; started may be nil, or g.arrived.
func (g *rig) party(started chan struct{}) *party {
	p := g.aside(started)
	g.parties = append(g.parties, p)
	return p
}

// aside makes a party that is not reported of with the others.
func (g *rig) aside(started chan struct{}) *party {
	p := newParty(started)
	p.tally.window, p.tally.sample = &g.window, g.sample
	return p
}

// play has players come that are to stay; of says who plays which stream in
// which party.
func (g *rig) play(ctx context.Context, n int, of func(i int) (stream int, p *party)) {
	g.joining, g.idle = time.Now(), g.house.idle()
	stagger(ctx, n, g.join, func(i int) {
		stream, party := of(i)
		p := newPlayer(g.plays[stream], g.senders[stream].stream, party, g.crew.enlist())
		p.publisher, p.check.skipped = g.senders[stream], uint(len(g.players))
		g.players = append(g.players, p)
		g.house.join(&p.client)
	})
}

// await waits until so many more players have their first keyframe.
func (g *rig) await(ctx context.Context, n int) error {
	err := g.crew.await(ctx, "players have a keyframe", n, g.arrived, g.within(n))
	took := time.Since(g.joining)
	g.report.JoinUse = max(0, 100*(1-(g.house.idle()-g.idle).Seconds()/took.Seconds()))
	return err
}

// measure opens the window, a moment ahead so that every publisher sees it in
// time, and waits for its end. busy is the crowd whose use of time is told.
func (g *rig) measure(ctx context.Context, busy *crowd, line func() string) error {
	from := time.Now().Add(windowAhead)
	over, left := int64(math.MaxInt64), func() time.Duration { return 0 }
	if g.duration > 0 {
		to := from.Add(g.duration)
		over, left = to.UnixNano(), func() time.Duration { return max(1, time.Until(to)) }
	}
	g.window.Store(&window{from: from.UnixNano(), to: over})
	if err := g.crew.attend(ctx, max(1, time.Until(from)), 0, nil, nil); err != nil {
		return err
	}
	meter, err := newMeter(g.pid, busy, g.calls)
	if err != nil {
		return err
	}
	defer meter.close()
	profiled := make(chan error, 1)
	go func() { profiled <- g.profiler.run(ctx, g.pid, g.duration) }()
	err = g.crew.attend(ctx, left(), g.progress, line, g.stdout)
	if err != nil && !(g.endless && ctx.Err() != nil) {
		return errors.Join(err, <-profiled)
	}
	return errors.Join(meter.read(g.report), <-profiled)
}

// endSending has the publishers leave, and waits until they have.
func (g *rig) endSending() {
	g.stage.do(func() {
		for _, p := range g.senders {
			p.quit()
		}
	})
	g.sending.Wait()
}

// drain ends the sending and waits until every player has what its publisher
// sent. It returns how many frames never came.
func (g *rig) drain(ctx context.Context) int64 {
	g.endSending()
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	begun := time.Now()
	last, changed := int64(-1), begun
	for {
		missing := g.missing()
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

func (g *rig) missing() int64 {
	var n int64
	for _, p := range g.players {
		n += int64(max(0, int32(p.publisher.sequence.Load()-p.check.next.Load())))
	}
	for _, w := range g.watchers {
		n += w.lacks()
	}
	return n
}

// finish drains, ends all and puts together what is known of players and publishers.
func (g *rig) finish(ctx context.Context) {
	missing := g.drain(ctx)
	g.stage.leave()
	g.house.leave()
	r := g.report
	r.Failures = g.crew.wait()
	r.count(g.parties...)
	r.Lost += missing
	for _, p := range g.players {
		r.Expected += p.publisher.measured.Load()
	}
	r.Sent, r.SentBytes = g.load.sent.Load(), g.load.bytes.Load()
	r.Late = g.load.late.quantiles()
}

// A scenario is a subcommand that measures a server in its own way.
type scenario interface {
	// options sets defaults of the rig's flags and adds flags.
	options(g *rig, fs *flag.FlagSet)
	check(g *rig) error
	// connections is how many there are at most, beside the publishers'.
	connections(g *rig) int
	// perform fills in g.report. The server runs, nothing is open yet.
	perform(ctx context.Context, g *rig) error
	// columns are those of a comparison; the first is what servers are
	// compared by.
	columns() []column
}

// scenarios are all of them, by the subcommand's name.
var scenarios = map[string]func() scenario{
	"fanout":   func() scenario { return new(fanout) },
	"capacity": func() scenario { return new(capacity) },
	"churn":    func() scenario { return new(churn) },
	"mixed":    func() scenario { return new(mixed) },
	"soak":     func() scenario { return new(soak) },
	"slow":     func() scenario { return new(slow) },
	"publish":  func() scenario { return new(publish) },
	"storm":    func() scenario { return new(storm) },
}

func newRig(name string, s scenario, fs *flag.FlagSet) *rig {
	g := &rig{name: name, publishers: 1, common: common{duration: 20 * time.Second}}
	s.options(g, fs)
	g.flags(fs)
	return g
}

// measure is the subcommand that runs a scenario.
func measure(name string) func(context.Context, []string, io.Writer, io.Writer) error {
	return func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		fs := flag.NewFlagSet(name, flag.ContinueOnError)
		s := scenarios[name]()
		g := newRig(name, s, fs)
		g.stdout = stdout
		if err := parse(fs, args, stderr); err != nil {
			return err
		}
		if err := errors.Join(g.check(), s.check(g)); err != nil {
			return err
		}
		connections := g.publishers + s.connections(g)
		if err := raiseFiles(connections); err != nil {
			return err
		}
		if g.profile != "" {
			var err error
			if g.profiler, err = newProfiler(g.profile); err != nil {
				return err
			}
		}
		if err := g.host.start(ctx, &g.common, connections); err != nil {
			return err
		}
		err := s.perform(ctx, g)
		if err := errors.Join(err, g.host.stop()); err != nil {
			return err
		}
		g.report.conclude()
		return g.report.finish(stdout, &g.file)
	}
}

// mustLast is for scenarios that have no use for an endless run.
func mustLast(g *rig) error {
	if g.duration == 0 {
		return fmt.Errorf("%w: -duration must be more than 0", errUsage)
	}
	return nil
}

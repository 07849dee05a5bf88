package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The demonstration's course.
const (
	demoTime    = 5 * time.Second // of publishing
	demoLate    = 3 * time.Second // when the last player comes
	demoPlayers = 3
	eventTime   = 10 * time.Second // for a callback to come
)

// demoWants is how often each callback comes at least.
var demoWants = map[string]int{
	"on_connect": demoPlayers + 1, "on_close": demoPlayers + 1, "on_publish": 1, "on_unpublish": 1,
	"on_play": demoPlayers, "on_stop": demoPlayers, "on_dvr": 1,
}

const demoConf = `# Written by bench demo.
listen              %[1]s;
max_connections     100;
srs_log_tank        console;
pid                 ./srs.pid;
vhost __defaultVhost__ {
    gop_cache       on;
    http_hooks {
        enabled         on;
        on_connect      http://%[2]s/api/v1/clients;
        on_close        http://%[2]s/api/v1/clients;
        on_publish      http://%[2]s/api/v1/streams;
        on_unpublish    http://%[2]s/api/v1/streams;
        on_play         http://%[2]s/api/v1/sessions;
        on_stop         http://%[2]s/api/v1/sessions;
        on_dvr          http://%[2]s/api/v1/dvrs;
    }
    dvr {
        enabled         on;
        dvr_path        ./recordings/[app]/[stream].[timestamp].flv;
    }
}
`

// A demoRun is one demonstration:
//
//  1. the sample receiver of callbacks and the server start, in a directory
//     of their own
//  2. a player waits for the stream, a publisher comes, a second player
//     with it and a third one later
//  3. the publisher ends, players leave when they have its last frame
//  4. every callback has come; server and receiver are stopped
//  5. what was seen is checked and printed
type demoRun struct {
	stdout    *printer
	dir       string
	program   string
	callbacks *callbacks
	receiver  *child
	server    *child
	url       string

	rig   rig // its players stand in the order they came
	party *party
}

// demo is the subcommand that shows a server at work, with nothing else needed.
func demo(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	program := fs.String("srs", "", "the srs `program`; required")
	keep := fs.Bool("keep", false, "keep the directory with the recording")
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	if *program == "" {
		return fmt.Errorf("%w: -srs is required", errUsage)
	}
	d := &demoRun{stdout: &printer{w: stdout, begun: time.Now()}, callbacks: newCallbacks()}
	var err error
	if d.program, err = filepath.Abs(*program); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "srs-demo-"); err != nil {
		return err
	}
	if *keep {
		defer fmt.Fprintf(stdout, "kept: %s\n", d.dir)
	} else {
		defer os.RemoveAll(d.dir)
	}
	err = d.start(ctx)
	if err == nil {
		err = d.stream(ctx)
	}
	err = errors.Join(err, d.server.stop(), d.receiver.stop())
	d.printCallbacks()
	if err != nil {
		return err
	}
	if err := d.printResults(); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "\nThe demonstration is over: everything came, whole and in order.")
	return nil
}

// start starts the receiver and the server.
func (d *demoRun) start(ctx context.Context) error {
	hooks, err := freeAddress()
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	d.url = (&url.URL{Scheme: "rtmp", Host: address, Path: "/live/demo"}).String()
	conf := filepath.Join(d.dir, "srs.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, demoConf, address, hooks), 0o664); err != nil {
		return err
	}
	d.receiver, err = startChild("receiver", d.dir, func(line string) {
		d.stdout.line("receiver", line)
		d.callbacks.line(line)
	}, d.program, "api-server", "-listen", hooks)
	if err != nil {
		return err
	}
	if err := d.receiver.ready(ctx, hooks); err != nil {
		return err
	}
	d.server, err = startChild("server", d.dir, func(line string) { d.stdout.line("server", line) }, d.program, "-c", conf)
	if err != nil {
		return err
	}
	return d.server.ready(ctx, address)
}

// stream is the part with the publisher and the players.
func (d *demoRun) stream(ctx context.Context) error {
	g := &d.rig
	g.name, g.url, g.publishers, g.sample = "demo", d.url, 1, 1
	g.workload = workload{Kbps: 500, AudioKbps: 128, FPS: 25, GOP: 2 * time.Second}
	g.join = demoPlayers // nobody waits
	if err := g.open(demoPlayers); err != nil {
		return err
	}
	defer g.close()
	publisher := g.sender(g.opens[0])
	d.party = g.party(g.arrived)
	join := func(text string) {
		d.stdout.line("bench", text)
		g.play(ctx, 1, func(int) (int, *party) { return 0, d.party })
	}

	join("the first player comes; it waits for the stream")
	if err := d.callbacks.wait(ctx, map[string]int{"on_play": 1}, eventTime); err != nil {
		return err
	}
	g.window.Store(&window{from: math.MinInt64, to: math.MaxInt64})
	d.stdout.line("bench", "the publisher comes: "+d.url)
	g.enter(publisher)
	if err := g.crew.await(ctx, "publishers are accepted", 1, g.load.started, eventTime); err != nil {
		return err
	}
	join("a second player comes")
	if err := g.crew.attend(ctx, demoLate, 0, nil, nil); err != nil {
		return err
	}
	join("a third player comes late; it gets what was sent since the last keyframe")
	if err := g.crew.await(ctx, "players have a keyframe", demoPlayers, g.arrived, eventTime); err != nil {
		return err
	}
	if err := g.crew.attend(ctx, demoTime-demoLate, 0, nil, nil); err != nil {
		return err
	}
	d.stdout.line("bench", "the publisher ends, the players leave")
	g.finish(ctx)
	return d.callbacks.wait(ctx, demoWants, eventTime)
}

func (d *demoRun) printCallbacks() {
	fmt.Fprintln(d.stdout.w, "\nCallbacks, as they came:")
	for _, c := range d.callbacks.list() {
		fmt.Fprintf(d.stdout.w, "%7.3fs  %-12s %s\n", c.at.Seconds(), c.action, c.text)
	}
}

// printResults says what was delivered and recorded. Its error is what makes
// the demonstration a failure.
func (d *demoRun) printResults() error {
	out, g := d.stdout.w, &d.rig
	sent := g.senders[0].sequence.Load()
	fmt.Fprintf(out, "\nDelivered, of %d frames published:\n", sent)
	expected := int64(0)
	for i, p := range g.players {
		due := int64(sent - p.check.first)
		expected += due
		fmt.Fprintf(out, "  player %d: %d of %d frames, from number %d on\n", i+1, p.check.intact, due, p.check.first)
	}
	t := &d.party.tally
	fmt.Fprintf(out, "  %s\n  latency p50 %.1f ms, p99 %.1f ms\n", g.report.faults(),
		milliseconds(t.latency.percentile(50)), milliseconds(t.latency.percentile(99)))

	path, err := findRecording(d.dir)
	if err != nil {
		return err
	}
	r, err := readRecording(path, g.senders[0].stream)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nRecorded:\n  %s\n  %d bytes, %.3f s, %d video and %d audio tags, %d of script data; %d of %d frames\n",
		r.path, r.size, r.duration.Seconds(), r.video, r.audio, r.script, r.frames, sent)

	// The window was open all the time, so what each player got since its
	// first keyframe counts as delivered.
	g.report.Expected = expected
	switch {
	case g.report.err() != nil:
		return g.report.err()
	case g.players[0].check.first != 0:
		return errors.New("the player that waited did not get the stream from its beginning")
	case r.tally.damage() > 0 || r.frames != int64(sent):
		return fmt.Errorf("the recording is not complete: %d of %d frames, %d faults", r.frames, sent, r.tally.damage())
	}
	return nil
}

// A printer writes lines of several programs into one output.
type printer struct {
	mu    sync.Mutex
	w     io.Writer
	begun time.Time
}

func (p *printer) line(from, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%7.3fs  %-9s| %s\n", time.Since(p.begun).Seconds(), from, text)
}

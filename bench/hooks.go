package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// hooksOptions are the flags of bench hooks.
type hooksOptions struct {
	srs      string
	rate     float64
	duration time.Duration
	hold     time.Duration
	delay    time.Duration
	fail     float64
	hang     bool
	players  int
	receive  string
	silent   bool
}

func (o *hooksOptions) check() error {
	switch {
	case o.receive == "" && o.srs == "":
		return fmt.Errorf("%w: -srs is required", errUsage)
	case o.rate <= 0 || o.rate > 100_000:
		return fmt.Errorf("%w: -rate must be more than 0, and 100000 at most", errUsage)
	case o.duration <= 0 || o.hold < 0 || o.delay < 0:
		return fmt.Errorf("%w: -duration must be more than 0, -hold and -delay not below", errUsage)
	case o.fail < 0 || o.fail >= 1:
		return fmt.Errorf("%w: -fail must be from 0 to less than 1", errUsage)
	case o.players < 0 || o.players > 10_000:
		return fmt.Errorf("%w: -players must be 0 to 10000", errUsage)
	}
	return nil
}

// hooks measures the callbacks of a server: clients connect, publish or play and
// leave, and a receiver of a process of its own decides, and checks what it is
// told.
func hooks(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("hooks", flag.ContinueOnError)
	var o hooksOptions
	fs.StringVar(&o.srs, "srs", "", "the srs `program` to measure")
	fs.Float64Var(&o.rate, "rate", 2000, fmt.Sprintf("connects per second; each publishes or plays, and leaves. From %.0f a second and %d calls (four for each) on\n"+
		"the exit status is 1 when less than %.0f %% of the calls reuse a connection", keptRate, judgedCalls, leastReuse))
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "how long")
	fs.DurationVar(&o.hold, "hold", 10*time.Millisecond, "how long a client stays")
	fs.DurationVar(&o.delay, "delay", time.Millisecond, "the receiver answers after this time")
	fs.Float64Var(&o.fail, "fail", 0, "the receiver answers so many `of one` calls with 503")
	fs.BoolVar(&o.hang, "hang", false, "measure twice: alone, and beside an endpoint of another vhost that never answers; the exit status is 1 when the\n"+
		"p99 is then over "+p99Rule+", or the largest gap of -players over "+gapRule)
	fs.IntVar(&o.players, "players", 0, "players of a stream whose largest gap between frames is measured meanwhile")
	fs.StringVar(&o.receive, "receive", "", "be the receiver on this `address`, until interrupted")
	fs.BoolVar(&o.silent, "silent", false, "with -receive: never answer")
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if o.receive != "" {
		return receive(ctx, &o)
	}
	b := &hooksBench{hooksOptions: o, stdout: stdout}
	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	return b.run(ctx)
}

// A hooksBench is one run: the server, its receivers, the load.
type hooksBench struct {
	hooksOptions
	stdout   io.Writer
	dir      string
	children []*child
	address  string // of the server
	good     string // of the receiver
}

const hooksConf = `# Written by bench hooks.
listen              %s;
max_connections     %d;
srs_log_tank        file;
srs_log_file        ./srs.log;
srs_log_level       warn;
pid                 ./srs.pid;
vhost __defaultVhost__ { }
vhost good {
    http_hooks { enabled on; on_connect http://%[3]s/; on_publish http://%[3]s/; on_play http://%[3]s/;
        on_unpublish http://%[3]s/; on_stop http://%[3]s/; on_close http://%[3]s/; }
}
vhost bad {
    http_hooks { enabled on; on_connect http://%[4]s/; on_close http://%[4]s/; }
}
`

func (b *hooksBench) start(ctx context.Context) error {
	program, err := filepath.Abs(b.srs)
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "bench-hooks-"); err != nil {
		return err
	}
	var bad string
	for _, r := range []struct {
		address *string
		args    []string
	}{
		{&b.good, []string{"-delay", b.delay.String(), "-fail", fmt.Sprint(b.fail)}},
		{&bad, []string{"-silent"}},
	} {
		if *r.address, err = freeAddress(); err != nil {
			return err
		}
		if err := b.child(ctx, "receiver", *r.address, append([]string{self, "hooks", "-receive", *r.address}, r.args...)...); err != nil {
			return err
		}
	}
	if b.address, err = freeAddress(); err != nil {
		return err
	}
	file := filepath.Join(b.dir, "srs.conf")
	text := fmt.Appendf(nil, hooksConf, b.address, maxVisits+b.players+spareFiles, b.good, bad)
	if err := os.WriteFile(file, text, 0o664); err != nil {
		return err
	}
	err = b.child(ctx, "server", b.address, program, "-c", file)
	slices.Reverse(b.children[1:]) // the receiver that hangs is stopped first: the server would wait for it
	return err
}

func (b *hooksBench) child(ctx context.Context, name, address string, args ...string) error {
	c, err := startChild(name, b.dir, nil, args...)
	if err != nil {
		return err
	}
	b.children = append(b.children, c)
	return c.ready(ctx, address)
}

func (b *hooksBench) stop() {
	for i := len(b.children) - 1; i >= 0; i-- { // the server before the receiver: it still has ends to tell
		b.children[i].stop()
	}
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}

func (b *hooksBench) run(ctx context.Context) error {
	fmt.Fprintf(b.stdout, "%.0f connects/s for %v, each stays %v; the endpoint answers after %v", b.rate, b.duration, b.hold, b.delay)
	if b.fail > 0 {
		fmt.Fprintf(b.stdout, ", %.1f %% of the calls with 503", 100*b.fail)
	}
	fmt.Fprint(b.stdout, "\n\n")
	table := tabwriter.NewWriter(b.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\tcalls/s\tp50 ms\tp90 ms\tp99 ms\tmax ms\tconnections\treuse %")
	audience, err := newAudience(ctx, "rtmp://"+b.address+"/live/watched", b.players)
	if err != nil {
		return err
	}
	defer audience.close()
	var gaps, p99s []time.Duration
	var reuses []reuse
	phases := []string{"srs, as a client sees its decisions"}
	if b.hang {
		phases = []string{"srs, alone", "srs, beside an endpoint that hangs"}
	}
	var faults []error
	for i, name := range phases {
		trouble := func() {}
		if i == 1 {
			trouble = b.trouble(ctx)
		}
		audience.gap()
		l, used, err := b.stretch(ctx, table, name)
		gaps = append(gaps, audience.gap())
		trouble()
		if l == nil {
			return err
		}
		p99s, reuses = append(p99s, l.decisions.percentile(99)), append(reuses, used)
		faults = append(faults, err)
	}
	if !b.hang {
		for _, keep := range []bool{true, false} {
			if err := b.direct(ctx, table, keep); err != nil {
				faults = append(faults, err)
			}
		}
	}
	table.Flush()
	r, err := b.report(ctx, 0)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.stdout, "\nthe receiver: %d clients, %d begins accepted, %d ends, %d out of order, %d repeats\n", r.Clients, r.Begins, r.Ends, r.Disorder, r.Repeats)
	for i, u := range reuses {
		faults = append(faults, u.judge(b.stdout, phases[i], b.rate))
	}
	for i, g := range gaps {
		if b.players > 0 {
			fmt.Fprintf(b.stdout, "largest gap between two frames (40 ms apart) of %d players: %.1f ms (%s)\n", b.players, milliseconds(g), phases[i])
		}
	}
	if b.hang {
		fmt.Fprintln(b.stdout)
		faults = append(faults, neighbour(b.stdout, "p99 of the decisions", p99s, max(p99s[0]*12/10, p99s[0]+2*time.Millisecond), p99Rule))
		if b.players > 0 {
			faults = append(faults, neighbour(b.stdout, "largest gap between frames", gaps, gaps[0]+20*time.Millisecond, gapRule))
		}
	}
	return errors.Join(faults...)
}

// stretch measures one load and writes its row. Without a load the error is why
// there was none, else what was wrong with it.
func (b *hooksBench) stretch(ctx context.Context, table io.Writer, name string) (*hooksLoad, reuse, error) {
	before, err := b.report(ctx, 0)
	if err != nil {
		return nil, reuse{}, err
	}
	l := newHooksLoad(b)
	took := l.run(ctx)
	after, err := b.report(ctx, before.Closed+l.connected.Load())
	if err != nil {
		return nil, reuse{}, err
	}
	used := reuse{after.Calls - before.Calls, after.Connections - before.Connections}
	row(table, name, took, &l.decisions, used)
	if err := l.verdict(b, before, after); err != nil {
		return l, used, fmt.Errorf("%s: %w", name, err)
	}
	return l, used, nil
}

func row(w io.Writer, name string, took time.Duration, h *histogram, used reuse) {
	q := h.quantiles()
	if q == nil {
		q = new(quantiles)
	}
	fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%.2f\n", name, float64(used.calls)/took.Seconds(), q.P50, q.P90, q.P99, q.Max, used.connections, used.percent())
}

// report asks the receiver what it has seen, once so many clients are over.
func (b *hooksBench) report(ctx context.Context, closed int64) (*receiverReport, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.good+"/", nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, fmt.Errorf("the receiver: %w", err)
		}
		var r receiverReport
		err = json.NewDecoder(resp.Body).Decode(&r)
		resp.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("the receiver: %w", err)
		}
		if r.Closed >= closed || time.Now().Add(2*pollTime).After(deadline(ctx)) {
			return &r, nil
		}
		<-tick.C
	}
}

func deadline(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}

// direct posts a body as often as the server would, as a client that keeps its
// connections or opens one for each call.
func (b *hooksBench) direct(ctx context.Context, w io.Writer, keep bool) error {
	before, err := b.report(ctx, 0)
	if err != nil {
		return err
	}
	client := &http.Client{Timeout: stopTimeout, Transport: &http.Transport{
		DisableKeepAlives: !keep, MaxIdleConnsPerHost: 256, DialContext: (&net.Dialer{}).DialContext,
	}}
	defer client.CloseIdleConnections()
	var h histogram
	took, late, failed := b.post(ctx, client, &h)
	after, err := b.report(ctx, 0)
	if err != nil {
		return err
	}
	name := "a client that keeps its connections"
	if !keep {
		name = "a client that opens one for each call, as SRS does"
	}
	row(w, name, took, &h, reuse{after.Calls - before.Calls, after.Connections - before.Connections})
	var faults []error
	if failed > 0 {
		faults = append(faults, fmt.Errorf("%s: %d calls had no answer", name, failed))
	}
	if late > 0 {
		faults = append(faults, fmt.Errorf("%s: %d calls were left out: %d were under way already", name, late, maxVisits))
	}
	return errors.Join(faults...)
}

package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// When figures say more about the generator than about the server.
const (
	saturatedPercent = 90                    // of the CPUs we may use
	busyPercent      = 95                    // of the whole machine
	lateLimit        = 20 * time.Millisecond // at the 99th percentile: half a video frame
)

// A report is what a run found. Latencies are in milliseconds.
type report struct {
	Command    string   `json:"command"`
	Workload   workload `json:"workload,omitzero"`
	Publishers int      `json:"publishers"`
	Players    int      `json:"players"`
	Seconds    float64  `json:"seconds"` // length of the measured window

	Sent      int64 `json:"sent,omitempty"` // frames, in the window and around it
	SentBytes int64 `json:"sent_bytes,omitempty"`

	Expected  int64   `json:"expected"`  // frames sent in the window, for each player
	Delivered int64   `json:"delivered"` // of them, intact and once
	Percent   float64 `json:"delivered_percent"`
	Bytes     int64   `json:"bytes"`                  // of the bodies delivered
	Beside    int64   `json:"bytes_beside,omitempty"` // delivered to players that are not reported of

	Lost       int64 `json:"lost"` // from each player's first keyframe to the last frame sent
	Gaps       int64 `json:"gaps"`
	OutOfOrder int64 `json:"out_of_order"`
	Duplicates int64 `json:"duplicates"`
	Corrupt    int64 `json:"corrupt"`
	TimeBack   int64 `json:"time_back"`
	BadStart   int64 `json:"bad_start"`
	Restarts   int64 `json:"restarts"`

	Latency *quantiles `json:"latency_ms,omitempty"` // sent to received
	Join    *quantiles `json:"join_ms,omitempty"`    // connecting to first keyframe
	Late    *quantiles `json:"late_ms,omitempty"`    // our own sending, behind schedule

	Storm    *stormFigures    `json:"storm,omitempty"`
	Streams  *streamFigures   `json:"streams,omitempty"`
	Slow     *slowFigures     `json:"slow,omitempty"`
	Visitors *visitorFigures  `json:"visitors,omitempty"`
	Soak     *soakFigures     `json:"soak,omitempty"`
	Capacity *capacityFigures `json:"capacity,omitempty"`

	Server    *serverFigures `json:"server,omitempty"`
	OwnCPU    float64        `json:"own_cpu_s"`
	OwnUse    float64        `json:"own_cpu_percent"`                // of the CPUs we may use
	LoopUse   float64        `json:"players_loop_percent,omitempty"` // of the time the loop that drives all of them had work
	JoinUse   float64        `json:"joining_loop_percent,omitempty"` // the same, while players came
	Machine   float64        `json:"machine_cpu_percent"`            // of all CPUs, by everybody
	Saturated bool           `json:"saturated"`

	Warnings []string `json:"warnings,omitempty"`
	Failures []string `json:"failures,omitempty"` // of publishers and players
}

// serverFigures are those of the server's process in the window.
type serverFigures struct {
	PID      int     `json:"pid"`
	CPU      float64 `json:"cpu_s"`
	Percent  float64 `json:"cpu_percent"` // of one CPU
	PerGB    float64 `json:"cpu_s_per_gb,omitempty"`
	RSS      int64   `json:"rss_bytes"`
	Peak     int64   `json:"peak_rss_bytes"`
	Switches int64   `json:"context_switches"`
	Calls    int64   `json:"system_calls,omitempty"` // if they were counted
	CallsGB  float64 `json:"system_calls_per_gb,omitempty"`
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func (h *histogram) quantiles() *quantiles {
	if h.count.Load() == 0 {
		return nil
	}
	return &quantiles{
		P50: milliseconds(h.percentile(50)), P90: milliseconds(h.percentile(90)),
		P99: milliseconds(h.percentile(99)), Max: milliseconds(h.max()),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// meter measures processes over the window.
type meter struct {
	crowd   *crowd       // whose use of time is told
	calls   *callCounter // nil: they are not counted
	idle    time.Duration
	pid     int // of the server; 0: not known
	server  procUsage
	own     time.Duration
	machine machine
	begun   time.Time
}

func newMeter(pid int, c *crowd, calls bool) (*meter, error) {
	m := &meter{pid: pid, crowd: c}
	if calls && pid != 0 {
		var err error
		if m.calls, err = countCalls(pid); err != nil {
			return nil, err
		}
	}
	m.begun, m.own, m.machine, m.idle = time.Now(), ownCPU(), readMachine(), c.idle()
	var err error
	if pid != 0 {
		if m.server, err = readProc(pid); err != nil {
			m.close()
		}
	}
	return m, err
}

func (m *meter) close() { m.calls.close() }

// read fills in what was used since newMeter.
func (m *meter) read(r *report) error {
	took := time.Since(m.begun).Seconds()
	r.Seconds = took
	r.OwnCPU = (ownCPU() - m.own).Seconds()
	r.OwnUse = 100 * r.OwnCPU / took / float64(ownCPUs())
	r.Machine = readMachine().busyPercent(m.machine)
	r.LoopUse = max(0, 100*(1-(m.crowd.idle()-m.idle).Seconds()/took))
	if m.pid == 0 {
		return nil
	}
	now, err := readProc(m.pid)
	if err != nil {
		return err
	}
	cpu := (now.cpu - m.server.cpu).Seconds()
	r.Server = &serverFigures{PID: m.pid, CPU: cpu, Percent: 100 * cpu / took, RSS: now.rss, Peak: now.peak, Switches: now.switches - m.server.switches}
	r.Server.Calls, err = m.calls.read()
	return err
}

// count fills in what parties found.
func (r *report) count(parties ...*party) {
	all := together(parties)
	t := &all.tally
	r.Delivered, r.Bytes = t.delivered.Load(), t.bytes.Load()
	r.Lost, r.Gaps, r.OutOfOrder = t.lost.Load(), t.gaps.Load(), t.outOfOrder.Load()
	r.Duplicates, r.Corrupt, r.TimeBack = t.duplicates.Load(), t.corrupt.Load(), t.timeBack.Load()
	r.BadStart, r.Restarts = t.badStart.Load(), t.restarts.Load()
	r.Latency, r.Join = t.latency.quantiles(), all.join.quantiles()
}

// blame adds the faults of a party that is not reported of, and what it cost;
// that it lost frames is no fault.
func (r *report) blame(p *party) {
	t := &p.tally
	r.Beside += t.bytes.Load()
	r.OutOfOrder += t.outOfOrder.Load()
	r.Duplicates += t.duplicates.Load()
	r.Corrupt += t.corrupt.Load()
	r.TimeBack += t.timeBack.Load()
	r.BadStart += t.badStart.Load()
}

// conclude derives what follows from the other figures.
func (r *report) conclude() {
	if r.Expected > 0 {
		r.Percent = 100 * float64(r.Delivered) / float64(r.Expected)
	}
	if gb := float64(r.Bytes+r.Beside) / 1e9; r.Server != nil && gb > 0 {
		r.Server.PerGB = r.Server.CPU / gb
		r.Server.CallsGB = float64(r.Server.Calls) / gb
	}
	warn := func(format string, args ...any) {
		r.Saturated = true
		r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
	}
	if r.OwnUse >= saturatedPercent {
		warn("bench itself used %.0f %% of its CPUs: latency and loss may be its own", r.OwnUse)
	}
	if r.LoopUse >= saturatedPercent {
		warn("the loop that drives bench's clients had work %.0f %% of the time: latency and loss may be its own", r.LoopUse)
	}
	if r.JoinUse >= saturatedPercent {
		warn("that loop had work %.0f %% of the time while players came: join may be its own (try a lower -join)", r.JoinUse)
	}
	if r.Machine >= busyPercent {
		warn("the machine was %.0f %% busy: latency includes waiting for a CPU", r.Machine)
	}
	if r.Late != nil && r.Late.P99 >= milliseconds(lateLimit) {
		warn("bench sent late (p99 %.1f ms): it was short of CPU, or the server did not read", r.Late.P99)
	}
}

// err says what makes the run a failure.
func (r *report) err() error {
	switch {
	case len(r.Failures) > 0:
		return fmt.Errorf("%d failed, the first: %s", len(r.Failures), r.Failures[0])
	case r.damage() > 0:
		return fmt.Errorf("not intact: %s", r.faults())
	case r.Delivered != r.Expected:
		return fmt.Errorf("delivered %d of %d frames", r.Delivered, r.Expected)
	}
	return nil
}

func (r *report) damage() int64 {
	return r.Lost + r.OutOfOrder + r.Duplicates + r.Corrupt + r.TimeBack + r.BadStart
}

func (r *report) faults() string {
	return fmt.Sprintf("%d lost in %d gaps, %d out of order, %d duplicates, %d corrupt, %d times back, %d bad starts",
		r.Lost, r.Gaps, r.OutOfOrder, r.Duplicates, r.Corrupt, r.TimeBack, r.BadStart)
}

// print writes the report for people.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d streams", r.Command, r.Publishers)
	if r.Workload.Kbps > 0 {
		fmt.Fprintf(w, " of %d kb/s", r.Workload.Kbps)
	}
	fmt.Fprintf(w, ", %d players, %.1f s measured\n", r.Players, r.Seconds)
	if r.Players == 0 {
		fmt.Fprintf(w, "sent       %d frames, %.1f MB\n", r.Sent, float64(r.SentBytes)/1e6)
	}
	if s := r.Storm; s != nil {
		fmt.Fprintf(w, "cycles     %d (%.0f/s), %d failed", s.Cycles, s.PerSecond, s.Failed)
		if s.Micros > 0 {
			fmt.Fprintf(w, ", %.1f µs of the server's CPU time each", s.Micros)
		}
		fmt.Fprintln(w)
	} else if r.Players > 0 {
		fmt.Fprintf(w, "delivered  %.3f %%  (%d of %d frames, %.0f/s, %.1f Mb/s)\n", r.Percent, r.Delivered, r.Expected,
			float64(r.Delivered)/r.Seconds, float64(r.Bytes)*8/1e6/r.Seconds)
		fmt.Fprintf(w, "faults     %s\n", r.faults())
		if r.Restarts > 0 {
			fmt.Fprintf(w, "restarts   %d\n", r.Restarts)
		}
	}
	if s := r.Streams; s != nil {
		fmt.Fprintf(w, "streams    worst: %.3f %% delivered, p99 %.1f ms (median %.1f ms), join p50 %.1f ms\n", s.Delivered, s.WorstP99, s.P99, s.WorstJoin)
	}
	if s := r.Slow; s != nil {
		fmt.Fprintf(w, "slow       %d players at %d kb/s: %d closed, %d skipped (%d frames), %d behind, %d got all; the server grew by %.1f MB/min\n",
			s.Players, s.Kbps, s.Closed, s.Skipped, s.Lost, s.Behind, s.Whole, s.Growth)
	}
	if v := r.Visitors; v != nil {
		fmt.Fprintf(w, "visitors   %d at once, %d came and went (%.0f/s), %d failed\n", v.AtOnce, v.Gone, float64(v.Gone)/r.Seconds, v.Failed)
		v.Join.print(w, "  join")
	}
	if c := r.Capacity; c != nil {
		fmt.Fprintf(w, "capacity   %d players; the figures are theirs\n", c.Players)
	}
	if r.Soak != nil {
		fmt.Fprint(w, r.Soak)
	}
	r.Latency.print(w, "latency")
	r.Join.print(w, "join")
	r.Late.print(w, "sent late")
	if s := r.Server; s != nil {
		fmt.Fprintf(w, "server     %.2f CPU s (%.0f %% of one CPU)", s.CPU, s.Percent)
		if s.PerGB > 0 {
			fmt.Fprintf(w, ", %.2f CPU s/GB", s.PerGB)
		}
		fmt.Fprintf(w, ", RSS %.1f MB, peak %.1f MB, %d context switches", float64(s.RSS)/1e6, float64(s.Peak)/1e6, s.Switches)
		if s.Calls > 0 {
			fmt.Fprintf(w, ", %d system calls (%.0f per GB)", s.Calls, s.CallsGB)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "bench      %.2f CPU s (%.0f %% of its %d CPUs)", r.OwnCPU, r.OwnUse, ownCPUs())
	if r.LoopUse > 0 {
		fmt.Fprintf(w, ", its loop %.0f %% busy", r.LoopUse)
	}
	fmt.Fprintf(w, ", machine %.0f %% busy\n", r.Machine)
	for _, text := range r.Warnings {
		fmt.Fprintf(w, "warning    %s\n", text)
	}
}

func (q *quantiles) print(w io.Writer, name string) {
	if q != nil {
		fmt.Fprintf(w, "%-10s p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms\n", name, q.P50, q.P90, q.P99, q.Max)
	}
}

// finish prints the report, writes it as JSON if a file is named, and returns
// what makes the run a failure.
func (r *report) finish(stdout io.Writer, file *jsonFile) error {
	r.print(stdout)
	return errors.Join(file.write(r), r.err())
}

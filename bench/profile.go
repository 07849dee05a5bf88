package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A profiler looks into the server while it is measured, one thing after the
// other, so that no look is of another one's cost:
//
//  1. Go's own: CPU time, allocations, waits for locks; of a server built with
//     the tag profile
//  2. perf stat: CPU time, context switches, page faults, and what counters the
//     CPU has
//  3. perf record: where the kernel spends the CPU time, too
//  4. perf trace -s: system calls, how many and how long
type profiler struct {
	dir     string
	address string // of the server's profiles
}

// minProfile is the shortest time worth a look.
const minProfile = 5 * time.Second

// profileVariable tells a server built with the tag profile where to listen.
const profileVariable = "SRS_PROFILE"

// perfRate is how often perf looks, per second and CPU; no divisor of the
// clock's rate.
const perfRate = "997"

// newProfiler prepares the start of a server that tells of itself.
func newProfiler(dir string) (*profiler, error) {
	if err := os.MkdirAll(dir, 0o775); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return &profiler{dir: dir, address: address}, os.Setenv(profileVariable, address)
}

// run takes all profiles of a process within a time.
func (p *profiler) run(ctx context.Context, pid int, within time.Duration) error {
	if p == nil {
		return nil
	}
	quarter := (within - time.Second) / 4
	return errors.Join(p.own(ctx, quarter), p.stat(ctx, pid, quarter), p.record(ctx, pid, quarter), p.trace(ctx, pid, quarter))
}

// own fetches the server's profiles, all of the same time. Those of memory are
// totals, told with a delay of two collections: a first one is taken off the
// second.
func (p *profiler) own(ctx context.Context, d time.Duration) error {
	if err := p.allocations(ctx, "allocs-base.pprof"); err != nil {
		return err
	}
	seconds := max(1, int(d.Seconds()))
	ends := make(chan error, 2)
	for name, file := range map[string]string{"profile": "cpu.pprof", "mutex": "mutex.pprof"} {
		go func() { ends <- p.fetch(ctx, fmt.Sprintf("%s?seconds=%d", name, seconds), file) }()
	}
	err := errors.Join(<-ends, <-ends)
	return errors.Join(err, p.allocations(ctx, "allocs.pprof"))
}

func (p *profiler) allocations(ctx context.Context, file string) error {
	var err error
	for range 2 {
		err = errors.Join(err, p.fetch(ctx, "heap?gc=1", "heap.pprof"))
	}
	return errors.Join(err, p.fetch(ctx, "allocs", file))
}

// maxProfile bounds what is taken of a profile.
const maxProfile = 64 << 20

func (p *profiler) fetch(ctx context.Context, path, file string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/debug/pprof/"+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("-profile: the server does not tell of itself (is it built with -tags profile?): %w", err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxProfile))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("-profile: %s: %s: %.200s", path, answer.Status, b)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.dir, file), b, 0o664)
}

// softwareEvents are those that the kernel counts by itself.
const softwareEvents = "task-clock,context-switches,cpu-migrations,page-faults"

// stat has perf count. Where the CPU has no counters for us, as in most virtual
// machines, perf says so line by line, or refuses: then those of the kernel do.
func (p *profiler) stat(ctx context.Context, pid int, d time.Duration) error {
	file := filepath.Join(p.dir, "stat.txt")
	err := p.perf(ctx, pid, d, "stat", "-o", file)
	if err == nil || errors.Is(err, exec.ErrNotFound) {
		return err
	}
	return p.perf(ctx, pid, d, "stat", "-e", softwareEvents, "-o", file)
}

// record has perf look at server and kernel. Virtual machines have no hardware
// counters: the clock says where time goes.
func (p *profiler) record(ctx context.Context, pid int, d time.Duration) error {
	data := filepath.Join(p.dir, "perf.data")
	if err := p.perf(ctx, pid, d, "record", "-q", "-e", "cpu-clock", "-F", perfRate, "-g", "-o", data); err != nil {
		return err
	}
	report := exec.CommandContext(ctx, "perf", "report", "--stdio", "--no-children", "-g", "none", "-i", data)
	text, err := report.Output()
	return errors.Join(err, os.WriteFile(filepath.Join(p.dir, "perf.txt"), text, 0o664))
}

func (p *profiler) trace(ctx context.Context, pid int, d time.Duration) error {
	return p.perf(ctx, pid, d, "trace", "-s", "-o", filepath.Join(p.dir, "syscalls.txt"))
}

// perf runs a perf command on the server for a while.
func (p *profiler) perf(ctx context.Context, pid int, d time.Duration, args ...string) error {
	args = append(args, "-p", strconv.Itoa(pid), "--", "sleep", strconv.FormatFloat(d.Seconds(), 'f', 1, 64))
	out, err := exec.CommandContext(ctx, "perf", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("-profile: no perf (Debian: apt-get install linux-perf): %w", err)
	}
	if err != nil {
		return fmt.Errorf("-profile: perf %s: %w\n%s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

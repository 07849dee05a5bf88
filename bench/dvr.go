package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The yardstick: what it writes at a time, bytes, and how often it runs in a
// round. Its median counts, as of all the others.
const (
	ddBlock = 64 << 10
	ddRuns  = 3
)

// A dvrBench is a run of the subcommand dvr: what recording costs a server. In
// each round the same streams are relayed without recording, and relayed and
// recorded by another server, and then dd writes as many bytes: the least that a
// recorder must do. What is beyond the bounds (dvr_bounds.go) makes the run fail.
type dvrBench struct {
	srs, dir, directives     string
	streams, players, rounds int
	workload                 workload
	pinned, apart            bool
	bytes                    int64 // of media in the window, by all streams

	// Of each round.
	plain, recorded, recording, yardstick []float64 // CPU s
	plainP99, recordedP99                 []float64 // ms

	fastest float64 // run of the yardstick
	cuts    int     // streams that began another file within a second, at most
}

func dvrCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	b := &dvrBench{fastest: math.Inf(1)}
	fs := flag.NewFlagSet("dvr", flag.ContinueOnError)
	fs.StringVar(&b.srs, "srs", "./srs", "the server's `program`")
	fs.StringVar(&b.dir, "dir", os.TempDir(), "`directory` on the disk to record to")
	fs.StringVar(&b.directives, "dvr", "", "more `directives` for the dvr block, as \"dvr_plan segment; dvr_duration 5;\"")
	fs.IntVar(&b.streams, "streams", 200, "how many streams are recorded")
	fs.IntVar(&b.players, "players", 20, "how many players are beside them")
	fs.IntVar(&b.rounds, "rounds", 3, "how often all is measured; the figures are medians")
	fs.BoolVar(&b.pinned, "pin", false, "server and dd on CPU "+serverCPU+", generator on CPU "+generatorCPU+" (taskset)")
	fs.BoolVar(&b.apart, "apart", false, "the two servers one after the other, not at the same time: their CPU times are less alike, but the players of one have nothing of the other's disk")
	duration := fs.Duration("duration", 20*time.Second, "how long to measure")
	b.workload.flags(fs)
	if f := fs.Lookup("kbps"); f != nil {
		f.DefValue = "1000"
		f.Value.Set("1000")
	}
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	if err := errors.Join(b.workload.check(), checkCount("streams", b.streams), checkCount("rounds", b.rounds)); err != nil {
		return err
	}
	b.bytes = int64(float64(b.streams) * float64(b.workload.Kbps) * 1000 / 8 * duration.Seconds())
	of := &comparison{Scenario: "fanout", Pinned: b.pinned, connections: b.streams + b.players, Flags: []string{
		"-publishers=" + strconv.Itoa(b.streams), "-players=" + strconv.Itoa(b.players), "-duration=" + duration.String(),
	}}
	for _, name := range []string{"kbps", "audio-kbps", "fps", "gop"} {
		of.Flags = append(of.Flags, "-"+name+"="+fs.Lookup(name).Value.String())
	}
	for round := range b.rounds {
		if err := b.round(ctx, of); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "round %d of %d: plain %.2f CPU s, recorded %.2f, difference %.2f, dd %.2f\n", round+1, b.rounds,
			b.plain[round], b.recorded[round], b.recording[round], b.yardstick[round])
	}
	return b.print(stdout, duration.Seconds())
}

// dvrConf is the configuration of the server that records.
const dvrConf = `# Written by bench dvr.
listen              {addr};
max_connections     %d;
srs_log_tank        file;
srs_log_file        {dir}/srs.log;
pid                 {dir}/srs.pid;
vhost __defaultVhost__ {
    gop_cache       on;
    dvr {
        enabled     on;
        dvr_path    %s/[stream].[timestamp].flv;
        %s
    }
}
`

// round measures all three once.
func (b *dvrBench) round(ctx context.Context, of *comparison) error {
	dir, err := os.MkdirTemp(b.dir, "bench-dvr-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "dvr.conf")
	text := fmt.Appendf(nil, dvrConf, of.connections+spareFiles, dir, b.directives)
	if err := os.WriteFile(file, text, 0o664); err != nil {
		return err
	}
	plain := &contender{Name: "plain", Command: b.srs + " -c {conf}"}
	recorded := &contender{Name: "recorded", Command: b.srs + " -c {file:" + file + "}"}
	if err := b.serve(ctx, of, dir, plain, recorded); err != nil {
		return err
	}
	if err := b.gather(dir); err != nil {
		return err
	}
	var runs []float64
	for range ddRuns {
		cpu, err := b.dd(ctx, dir)
		if err != nil {
			return err
		}
		runs = append(runs, cpu)
	}
	b.yardstick = append(b.yardstick, median(runs))
	b.fastest = min(b.fastest, slices.Min(runs))
	return nil
}

// serve has both servers serve: at the same time, so that whatever else the machine
// does at that time costs both alike and is not in their difference, or apart.
func (b *dvrBench) serve(ctx context.Context, of *comparison, dir string, plain, recorded *contender) error {
	var reports [2]*report
	var errs [2]error
	var wg sync.WaitGroup
	for i, c := range []*contender{plain, recorded} {
		if b.apart || i == 0 {
			if err := b.warm(dir); err != nil {
				return err
			}
		}
		wg.Go(func() {
			r, err := c.run(ctx, of)
			if err == nil {
				err = r.err()
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", c.Name, err)
			}
			reports[i], errs[i] = r, err
		})
		if b.apart {
			wg.Wait()
		}
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	without, with := reports[0], reports[1]
	b.plain = append(b.plain, without.Server.CPU)
	b.recorded = append(b.recorded, with.Server.CPU)
	b.recording = append(b.recording, with.Server.CPU-without.Server.CPU)
	if without.Latency != nil && with.Latency != nil {
		b.plainP99, b.recordedP99 = append(b.plainP99, without.Latency.P99), append(b.recordedP99, with.Latency.P99)
	}
	return nil
}

// warm has the kernel use as much memory for files as a recording will take, and
// more. In a virtual machine memory that was not used for a while costs several
// times as much as all the rest, and whoever comes first would pay for it.
func (b *dvrBench) warm(dir string) error {
	f, err := os.Create(filepath.Join(dir, "warm"))
	if err != nil {
		return err
	}
	block := make([]byte, ddBlock)
	for left := 3 * b.bytes / 2; left > 0 && err == nil; left -= ddBlock {
		_, err = f.Write(block)
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// gather puts the recordings into one file. What was measured must be among them.
func (b *dvrBench) gather(dir string) error {
	files, err := filepath.Glob(dir + "/*.flv")
	if err != nil {
		return err
	}
	var size int64
	all, err := os.Create(dir + "/all")
	if err != nil {
		return err
	}
	defer all.Close()
	var ends []ended
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if info, err := f.Stat(); err == nil {
			ends = append(ends, ended{filepath.Base(path), info.ModTime()})
		}
		n, err := io.Copy(all, f)
		if err = errors.Join(err, f.Close(), os.Remove(path)); err != nil {
			return err
		}
		size += n
	}
	if len(files) < b.streams || size < b.bytes {
		return fmt.Errorf("%d files with %d bytes were recorded, expected are %d with %d", len(files), size, b.streams, b.bytes)
	}
	b.cuts = max(b.cuts, cutTogether(ends))
	return all.Sync()
}

// dd gives the CPU time, in seconds, that dd takes to copy as much as was
// recorded in the window.
func (b *dvrBench) dd(ctx context.Context, dir string) (float64, error) {
	words := pinned(b.pinned, serverCPU, []string{"dd", "if=" + dir + "/all", "of=" + dir + "/copy", "bs=" + strconv.Itoa(ddBlock),
		"count=" + strconv.FormatInt(b.bytes/ddBlock, 10), "conv=fdatasync"})
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("dd: %w\n%s", err, out)
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), nil
}

// print writes the report. An error says which bound was missed.
func (b *dvrBench) print(w io.Writer, seconds float64) error {
	recording, yardstick := median(b.recording), median(b.yardstick)
	fmt.Fprintf(w, "dvr: %d streams of %d kb/s recorded for %.0f s, %.1f MB/s; medians of %d rounds\n",
		b.streams, b.workload.Kbps, seconds, float64(b.bytes)/1e6/seconds, b.rounds)
	fmt.Fprintf(w, "relayed              %6.2f CPU s\n", median(b.plain))
	fmt.Fprintf(w, "relayed and recorded %6.2f CPU s\n", median(b.recorded))
	fmt.Fprintf(w, "recording            %6.2f CPU s (%.2f to %.2f)\n", recording, slices.Min(b.recording), slices.Max(b.recording))
	fmt.Fprintf(w, "dd of the same bytes %6.2f CPU s (fastest run %.2f)\n", yardstick, b.fastest)
	if b.cuts > 0 {
		fmt.Fprintf(w, "new files            %6d streams begin one within a second, at most\n", b.cuts)
	}
	return b.judge(w)
}

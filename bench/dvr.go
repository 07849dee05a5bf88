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
	"strconv"
	"time"
)

// The yardstick: what it writes at a time, bytes, and how often it runs in a
// round; the fastest run counts.
const (
	ddBlock = 64 << 10
	ddRuns  = 3
)

// A dvrBench is a run of the subcommand dvr: what recording costs a server. In
// each round the same streams are relayed without recording, relayed and
// recorded, and then dd writes as many bytes: the least that a recorder must do.
type dvrBench struct {
	srs, dir, directives       string
	streams, players, rounds   int
	workload                   workload
	pinned                     bool
	bytes                      int64 // of media in the window, by all streams
	plain, recorded, yardstick []float64
	plainP99, recordedP99      []float64
}

func dvrCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	b := &dvrBench{}
	fs := flag.NewFlagSet("dvr", flag.ContinueOnError)
	fs.StringVar(&b.srs, "srs", "./srs", "the server's `program`")
	fs.StringVar(&b.dir, "dir", os.TempDir(), "`directory` on the disk to record to")
	fs.StringVar(&b.directives, "dvr", "", "more `directives` for the dvr block, as \"dvr_plan segment; dvr_duration 5;\"")
	fs.IntVar(&b.streams, "streams", 200, "how many streams are recorded")
	fs.IntVar(&b.players, "players", 20, "how many players are beside them")
	fs.IntVar(&b.rounds, "rounds", 3, "how often all is measured; the figures are medians")
	fs.BoolVar(&b.pinned, "pin", false, "server and dd on CPU "+serverCPU+", generator on CPU "+generatorCPU+" (taskset)")
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
		fmt.Fprintf(stderr, "round %d of %d: plain %.2f CPU s, recorded %.2f, dd %.2f\n", round+1, b.rounds,
			b.plain[round], b.recorded[round], b.yardstick[round])
	}
	b.print(stdout, duration.Seconds())
	return nil
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
	for _, c := range []struct {
		server   *contender
		cpu, p99 *[]float64
	}{{plain, &b.plain, &b.plainP99}, {recorded, &b.recorded, &b.recordedP99}} {
		if err := b.warm(dir); err != nil {
			return err
		}
		r, err := c.server.run(ctx, of)
		if err == nil {
			err = r.err()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.server.Name, err)
		}
		*c.cpu = append(*c.cpu, r.Server.CPU)
		if r.Latency != nil {
			*c.p99 = append(*c.p99, r.Latency.P99)
		}
	}
	if err := b.gather(dir); err != nil {
		return err
	}
	least := math.Inf(1)
	for range ddRuns {
		cpu, err := b.dd(ctx, dir)
		if err != nil {
			return err
		}
		least = min(least, cpu)
	}
	b.yardstick = append(b.yardstick, least)
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
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
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

func (b *dvrBench) print(w io.Writer, seconds float64) {
	plain, recorded, yardstick := median(b.plain), median(b.recorded), median(b.yardstick)
	fmt.Fprintf(w, "dvr: %d streams of %d kb/s recorded for %.0f s, %.1f MB/s; medians of %d rounds\n",
		b.streams, b.workload.Kbps, seconds, float64(b.bytes)/1e6/seconds, b.rounds)
	fmt.Fprintf(w, "relayed              %6.2f CPU s\n", plain)
	fmt.Fprintf(w, "relayed and recorded %6.2f CPU s\n", recorded)
	fmt.Fprintf(w, "recording            %6.2f CPU s\n", recorded-plain)
	fmt.Fprintf(w, "dd of the same bytes %6.2f CPU s\n", yardstick)
	if yardstick > 0 {
		fmt.Fprintf(w, "ratio                %6.2f\n", (recorded-plain)/yardstick)
	}
	if len(b.plainP99) > 0 {
		fmt.Fprintf(w, "players' p99         %6.1f ms beside recordings, %.1f ms without\n", median(b.recordedP99), median(b.plainP99))
	}
}

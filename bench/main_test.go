package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCommandLines: exit status and what is said of it.
func TestCommandLines(t *testing.T) {
	closed, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	url := "rtmp://" + closed + "/live/x"
	for _, c := range []struct {
		args string
		code int
		say  string
	}{
		{"", exitUsage, "Usage"},
		{"-h", exitOK, "Usage"},
		{"dance", exitUsage, "no such command"},
		{"fanout -h", exitOK, "-players"},
		{"fanout -dance", exitUsage, "not defined"},
		{"fanout here", exitUsage, "unexpected argument"},
		{"fanout -players 0", exitUsage, "-players"},
		{"fanout -publishers -1", exitUsage, "-publishers"},
		{"fanout -duration 0", exitUsage, "-duration"},
		{"fanout -duration 20", exitUsage, "with its unit"},
		{"fanout -o /does/not/exist", exitUsage, "no such file"},
		{"fanout -kbps 100", exitUsage, "-audio-kbps"},
		{"fanout -patience 0", exitUsage, "-patience"},
		{"fanout -join 0", exitUsage, "-join"},
		{"fanout -pid -1", exitUsage, "-pid"},
		{"fanout -srs a -start b", exitUsage, "either"},
		{"fanout -url http://a/b/c", exitUsage, "rtmp://host"},
		{"fanout -start true -url x", exitUsage, "rtmp://host"},
		{"fanout -srs /does/not/exist", exitFailed, "no such file"},
		{"fanout -start false -url " + url, exitFailed, "exit status 1"},
		{"fanout -url " + url, exitFailed, "refused"},
		{"publish -url " + url, exitFailed, "refused"},
		{"storm -rate -1", exitUsage, "-rate"},
		{"storm -rate NaN", exitUsage, "-rate NaN: must be 0, or a number"},
		{"storm -rate 1e-9", exitUsage, "-rate 1e-09"},
		{"fanout -join nan", exitUsage, "-join NaN"},
		{"fanout -join 1e7", exitUsage, "-join 1e+07"},
		{"play -join -Inf", exitUsage, "-join -Inf"},
		{"slow -slow NaN", exitUsage, "-slow NaN"},
		{"soak -max-growth Inf", exitUsage, "-max-growth +Inf"},
		{"capacity -factor NaN", exitUsage, "-factor NaN"},
		{"hooks -rate NaN", exitUsage, "-rate NaN"},
		{"compare -server a=b -join -1", exitUsage, "-join -1"},
		{"storm -until late", exitUsage, "-until"},
		{"storm -concurrency 0", exitUsage, "-concurrency"},
		{"storm -url " + url, exitFailed, "refused"},
		{"slow -slow 1", exitUsage, "-slow"},
		{"slow -slow-kbps -1", exitUsage, "-slow-kbps"},
		{"churn -stay 0", exitUsage, "-stay"},
		{"churn -visitors 0", exitUsage, "-visitors"},
		{"mixed -per-stream 0", exitUsage, "-per-stream"},
		{"mixed -h", exitOK, "(default 100)"},
		{"soak -slow -1", exitUsage, "-slow"},
		{"soak -warm-up 10m", exitUsage, "-warm-up"},
		{"soak -max-growth 0", exitUsage, "-max-growth"},
		{"capacity -factor 1", exitUsage, "-factor"},
		{"capacity -max-p99 0", exitUsage, "-max-p99"},
		{"capacity -most 1", exitUsage, "-most"},
		{"fanout -profile x", exitUsage, "-profile"},
		{"fanout -profile x -srs x -duration 1s", exitUsage, "-profile"},
		{"publish -publishers 0", exitUsage, "-publishers"},
		{"publish -fps 0", exitUsage, "-fps"},
		{"play -url " + url, exitFailed, "refused"},
		{"play -players x", exitUsage, "invalid value"},
		{"play -pid 999999999", exitFailed, "process 999999999"},
		{"demo", exitUsage, "-srs is required"},
		{"floor -coalesce -1s", exitUsage, "-coalesce"},
		{"floor -listen nowhere", exitFailed, "missing port"},
		{"compare", exitUsage, "-server is required"},
		{"compare -h", exitOK, "-players"},
		{"compare -workload=publish -h", exitOK, "one of capacity, churn,"},
		{"compare -workload dance", exitUsage, "one of capacity, churn,"},
		{"compare -workload publish -players 5", exitUsage, "not defined: -players"},
		{"compare -workload publish -server a=b", exitUsage, "-duration"},
		{"compare -server a=b -players 0", exitUsage, "-players"},
		{"compare -server x", exitUsage, "NAME=COMMAND"},
		{"compare -server a=b -server a=c", exitUsage, "two named"},
		{"compare -server a=b -rounds 0", exitUsage, "-rounds"},
		{"compare -server a={b}", exitUsage, "unknown placeholder"},
		{"demo -srs /does/not/exist", exitFailed, "no such file"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.say) {
			t.Errorf("bench %s: exit status %d, want %d and %q:\n%s", c.args, code, c.code, c.say, out.String())
		}
	}
}

func TestParse(t *testing.T) {
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	var c common
	var w workload
	c.flags(fs, time.Second, "")
	w.flags(fs)
	err := parse(fs, strings.Fields("-kbps 5000 -gop 1s -join 2.5 -progress 0 -pid 7 -patience 3s -url u -duration 1m"), io.Discard)
	want := common{url: "u", duration: time.Minute, join: 2.5, patience: 3 * time.Second, pid: 7}
	if err != nil || c != want || w != (workload{Kbps: 5000, AudioKbps: 128, FPS: 25, GOP: time.Second}) {
		t.Errorf("%v: %+v, %+v", err, c, w)
	}
}

func TestStreamURLs(t *testing.T) {
	for _, c := range []struct {
		url  string
		n    int
		want string
	}{
		{"rtmp://h/a/s", 1, "rtmp://h/a/s"},
		{"rtmp://h/a/s", 2, "rtmp://h/a/s-0 rtmp://h/a/s-1"},
		{"rtmp://h/a/s?k=v", 2, "rtmp://h/a/s-0?k=v rtmp://h/a/s-1?k=v"},
	} {
		if got, err := streamURLs(c.url, c.n); err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s x %d: %q, %v", c.url, c.n, got, err)
		}
	}
	if _, err := streamURLs("rtmp://h/a", 1); !errors.Is(err, errUsage) {
		t.Errorf("without a stream: %v", err)
	}
}

// TestReport: every kind of damage, and every shortfall, is a failure.
func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		r    report
		want string // "" is success
	}{
		"good":       {report{Expected: 5, Delivered: 5}, ""},
		"short":      {report{Expected: 5, Delivered: 4}, "4 of 5"},
		"lost":       {report{Lost: 3, Gaps: 2}, "3 lost in 2 gaps"},
		"order":      {report{OutOfOrder: 1}, "1 out of order"},
		"duplicate":  {report{Duplicates: 1}, "1 duplicates"},
		"corrupt":    {report{Corrupt: 1}, "1 corrupt"},
		"time":       {report{TimeBack: 1}, "1 times back"},
		"start":      {report{BadStart: 1}, "1 bad starts"},
		"failed":     {report{Failures: []string{"player 1: reset"}}, "player 1: reset"},
		"republish":  {report{Restarts: 1}, ""},
		"saturated":  {report{OwnUse: 99, LoopUse: 99, JoinUse: 99, Machine: 99, Late: &quantiles{P99: 50}, Expected: 1, Delivered: 1}, ""},
		"with a GB":  {report{Bytes: 2e9, Server: &serverFigures{CPU: 4}}, ""},
		"no players": {report{Sent: 5}, ""},
	} {
		c.r.conclude()
		file := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(file, bytes.Repeat([]byte("older and longer "), 1000), 0o664); err != nil {
			t.Fatal(err)
		}
		var o jsonFile
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		o.flag(fs, "")
		if err := fs.Parse([]string{"-o", file}); err != nil {
			t.Fatal(err)
		}
		err := c.r.finish(io.Discard, &o)
		if text := fmt.Sprint(err); (err == nil) != (c.want == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		var read report
		if b, err := os.ReadFile(file); err != nil || json.Unmarshal(b, &read) != nil || read.Lost != c.r.Lost {
			t.Errorf("%s: the JSON cannot be read: %v %s", name, err, b)
		}
		if c.r.Saturated != (name == "saturated") || name == "saturated" && len(c.r.Warnings) != 5 {
			t.Errorf("%s: warnings %q", name, c.r.Warnings)
		}
		if name == "with a GB" && c.r.Server.PerGB != 2 {
			t.Errorf("%v CPU s/GB", c.r.Server.PerGB)
		}
	}
}

func TestCrew(t *testing.T) {
	ctx := t.Context()
	stop := make(chan struct{})
	signals := make(chan struct{}, 2)
	signals <- struct{}{}
	signals <- struct{}{}
	c := newCrew(2)
	c.add(func() error { <-stop; return nil })
	if err := c.await(ctx, "are there", 2, signals, time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.await(ctx, "are there", 1, signals, 1); err == nil || !strings.Contains(err.Error(), "0 of 1 are there after") {
		t.Error(err)
	}
	c.add(func() error { return io.ErrUnexpectedEOF })
	if err := c.await(ctx, "are there", 1, signals, time.Minute); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	cause := errors.New("interrupted")
	over, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	if err := c.attend(over, 0, 0, nil, nil); err != cause {
		t.Error(err)
	}
	close(stop)
	if err := c.attend(ctx, 0, 0, nil, nil); err != nil {
		t.Error(err)
	}
	if texts := c.wait(); !slices.Equal(texts, []string{"unexpected EOF"}) {
		t.Errorf("%q", texts)
	}
}

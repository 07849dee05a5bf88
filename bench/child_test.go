package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestProc(t *testing.T) {
	u, err := readProc(os.Getpid())
	if err != nil || u.rss < 1<<20 || u.peak < u.rss/2 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := readProc(1 << 30); err == nil {
		t.Error("a process that does not exist was read")
	}
	// The two accounts of this process are in different units and taken at
	// different times, and still of one size.
	if own := ownCPU(); own < u.cpu-50*time.Millisecond {
		t.Errorf("own CPU time %v, by /proc %v", own, u.cpu)
	}
	if m := readMachine(); m.busy == 0 || m.idle == 0 {
		t.Errorf("machine: %+v", m)
	}
	if got := (machine{busy: 30, idle: 20}).busyPercent(machine{busy: 10, idle: 15}); got != 80 {
		t.Errorf("%v %% busy", got)
	}
	if err := raiseFiles(1); err != nil {
		t.Error(err)
	}
	if err := raiseFiles(1 << 40); err == nil || !strings.Contains(err.Error(), "ulimit") {
		t.Errorf("2^40 connections: %v", err)
	}
}

func TestLineWriter(t *testing.T) {
	var lines []string
	w := &lineWriter{onLine: func(s string) { lines = append(lines, s) }}
	for _, piece := range []string{"a", "b\nc\r\n", "\nd", strings.Repeat("x", maxLine), "e"} {
		w.Write([]byte(piece))
	}
	want := []string{"ab", "c", "", "d" + strings.Repeat("x", maxLine)}
	if !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
	if last := w.last(); !strings.HasSuffix(last, "| e") {
		t.Errorf("last lines: %.40q...", last)
	}
}

// TestChild: how programs end, and what is said of it.
func TestChild(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		want   string // "" is success
	}{
		"polite":  {`trap "exit 0" TERM; echo up; while :; do sleep 0.05; done`, ""},
		"default": {`echo up; exec sleep 60`, ""}, // SIGTERM ends it, as we wished
		"fails":   {`trap "echo sorry; exit 3" TERM; echo up; while :; do sleep 0.05; done`, "sorry"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := make(chan struct{}, 1)
			child, err := startChild(name, t.TempDir(), func(line string) {
				if line == "up" {
					up <- struct{}{}
				}
			}, "/bin/sh", "-c", c.script)
			if err != nil {
				t.Fatal(err)
			}
			<-up
			err = child.stop()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if again := child.stop(); (again == nil) != (err == nil) {
				t.Errorf("stopped again: %v", again)
			}
		})
	}
	if (*child)(nil).stop() != nil {
		t.Error("a child that never started cannot be stopped")
	}
}

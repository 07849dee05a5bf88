package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDVRGather(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.flv", "b.flv"} {
		if err := os.WriteFile(dir+"/"+name, []byte(strings.Repeat("x", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &dvrBench{streams: 2, bytes: 2000}
	if err := b.gather(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir + "/all"); err != nil || info.Size() != 2000 {
		t.Errorf("%v, %v", info, err)
	}
	if err := b.gather(dir); err == nil {
		t.Error("without recordings it must fail")
	}
	if cpu, err := b.dd(t.Context(), t.TempDir()); err == nil {
		t.Errorf("dd of nothing: %v", cpu)
	}
}

func TestDVRFlags(t *testing.T) {
	for _, args := range [][]string{{"dvr", "-streams", "0"}, {"dvr", "-rounds", "0"}, {"dvr", "-kbps", "1"}, {"dvr", "x"}} {
		var out, diag bytes.Buffer
		if code := run(t.Context(), args, &out, &diag); code != exitUsage {
			t.Errorf("%q: %d, %s", args, code, diag.String())
		}
	}
}

// TestDVRBounds: what is beyond a bound is said and makes the run fail.
func TestDVRBounds(t *testing.T) {
	for _, c := range []struct {
		bench dvrBench
		want  string
		fails string
	}{
		{dvrBench{recording: []float64{0.2}, yardstick: []float64{0.1}, recordedP99: []float64{40}, plainP99: []float64{20}},
			"ratio                  2.00; within the bound of 2 x of dd\n" +
				"players' p99           40.0 ms beside recordings, 20.0 ms without, on the same processors and disk; within the bound of 20 ms more than without\n", ""},
		{dvrBench{recording: []float64{0.21, 0.1, 0.3}, yardstick: []float64{0.1, 0.1, 0.1}},
			"ratio                  2.10; OVER the bound of 2 x of dd\n", "2.10 x the CPU time of dd, the bound is 2.00"},
		{dvrBench{recording: []float64{1}, yardstick: []float64{0.1}, directives: "dvr_plan segment;"},
			"ratio                 10.00; with -dvr not held to the bound of 2 x of dd\n", ""},
		{dvrBench{recording: []float64{1}, yardstick: []float64{0.04}},
			"ratio                 25.00; not held to the bound of 2 x of dd, for which dd must take 0.05 CPU s\n", ""},
		{dvrBench{recordedP99: []float64{41}, plainP99: []float64{20.5}, yardstick: []float64{0}, apart: true},
			"players' p99           41.0 ms beside recordings, 20.5 ms without; OVER the bound of 20 ms more than without\n", "41.0 ms beside recordings"},
	} {
		var out bytes.Buffer
		err := c.bench.judge(&out)
		if out.String() != c.want || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%q, %v", out.String(), err)
		}
	}
}

// TestDVRTogether: how many streams cut at once, without the ends of the streams.
func TestDVRTogether(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	files := []ended{
		{"a.1.flv", at(1000)}, {"b.1.flv", at(1400)}, {"c.1.flv", at(2300)},
		{"a.2.flv", at(6000)}, {"b.2.flv", at(7400)}, {"c.2.flv", at(8500)},
		{"a.3.flv", at(9000)}, {"b.3.flv", at(9000)}, {"c.3.flv", at(9000)},
	}
	for n, want := range map[int]int{0: 0, 1: 0, 4: 1, 9: 2} {
		if got := cutTogether(slices.Clone(files[:n])); got != want {
			t.Errorf("of %d files %d, want %d", n, got, want)
		}
	}
}

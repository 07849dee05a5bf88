package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// measureFloor runs a scenario against a yardstick of its own and returns its
// report. args are more of its flags.
func measureFloor(t *testing.T, code int, args string) report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	words := strings.Fields(args + " -progress 100ms -o " + file + " -url rtmp://" + startFloor(t, 0) + "/live/x")
	if got := run(t.Context(), words, &out, &out); got != code {
		t.Fatalf("%s: exit status %d, want %d\n%s", args, got, code, out.String())
	}
	b, err := os.ReadFile(file)
	var r report
	if err != nil || json.Unmarshal(b, &r) != nil {
		t.Fatalf("%s: %v\n%s\n%s", args, err, b, out.String())
	}
	t.Log(out.String())
	return r
}

// TestStorm: players come and go, as fast as they can or at a rate.
func TestStorm(t *testing.T) {
	for args, most := range map[string]int64{
		"-concurrency 3": 1 << 40, "-concurrency 20 -rate 50": 100, "-until play -publishers 2 -rate 60": 120,
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			r := measureFloor(t, exitOK, "storm -duration 1s -gop 200ms "+args)
			if s := r.Storm; s == nil || s.Cycles < 20 || s.Cycles > most || s.Failed != 0 || s.PerSecond < 15 || r.Join == nil || r.damage() != 0 {
				t.Errorf("%+v, %+v", s, r)
			}
		})
	}
	t.Run("failures", func(t *testing.T) {
		s, r := storm{over: true}, report{Seconds: 1}
		for range 20 {
			s.ended(errSlow)
		}
		if s.conclude(&r); len(r.Failures) != maxTexts+1 || r.Storm.Failed != 20 || r.err() == nil {
			t.Errorf("%q", r.Failures)
		}
	})
}

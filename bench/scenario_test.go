package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// exitEither: the scenario judges, and the machine has its say.
const exitEither = -1

// measureFloor runs a scenario against a yardstick of its own and returns its
// report. args are more of its flags.
func measureFloor(t *testing.T, code int, args string) report {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	words := strings.Fields(args + " -progress 100ms -o " + file + " -url rtmp://" + startFloor(t, 0) + "/live/x")
	if got := run(t.Context(), words, &out, &out); got != code && (code != exitEither || got == exitUsage) {
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
	t.Parallel()
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
		gate, r := &turnstile{over: true}, &report{Seconds: 1}
		for range 20 {
			gate.ended(errSlow)
		}
		if new(storm).conclude(r, gate); len(r.Failures) != maxTexts+1 || r.Storm.Failed != 20 || r.err() == nil {
			t.Errorf("%q", r.Failures)
		}
	})
}

// TestMixed: every stream is told of.
func TestMixed(t *testing.T) {
	t.Parallel()
	r := measureFloor(t, exitOK, "mixed -duration 700ms -gop 200ms -publishers 5 -per-stream 3")
	if s := r.Streams; s == nil || s.Delivered != 100 || s.WorstP99 < s.P99 || s.P99 == 0 || s.WorstJoin == 0 || r.Players != 15 || r.Expected < 15*30 {
		t.Errorf("%+v, %+v", s, r)
	}
	g := &rig{senders: []*publisher{new(publisher), new(publisher)}, parties: []*party{newParty(nil), newParty(nil)}}
	for i := range g.senders { // the second one's players lack a quarter
		g.senders[i].measured.Store(100)
		g.parties[i].tally.delivered.Store(int64(200 - 50*i))
	}
	if f := (&mixed{perStream: 2}).conclude(g); f.Delivered != 75 {
		t.Errorf("%+v", f)
	}
}

// TestSlow: each slow player is accounted for, and others get everything.
func TestSlow(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]func(f *slowFigures) bool{
		"-kbps 40000":               func(f *slowFigures) bool { return f.Closed+f.Skipped+f.Behind+f.Whole == 2 },
		"-kbps 1000 -slow-kbps 600": func(f *slowFigures) bool { return f.Whole == 2 },
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			r := measureFloor(t, exitOK, "slow -duration 1s -gop 200ms -players 4 "+args)
			if r.Slow == nil || r.Slow.Players != 2 || !want(r.Slow) || r.Delivered != r.Expected || r.Expected < 2*30 {
				t.Errorf("%+v, %+v", r.Slow, r)
			}
		})
	}
	due := new(publisher)
	due.sequence.Store(10)
	lame := func(closed bool, lost int64, next uint32) *lamePlayer {
		p := &lamePlayer{closed: closed}
		p.check, p.publisher = &verifier{lost: lost}, due
		p.check.next.Store(next)
		return p
	}
	all := []*lamePlayer{lame(true, 5, 7), lame(true, 0, 10), lame(false, 5, 10), lame(false, 0, 9), lame(false, 0, 10)}
	if f := new(slow).conclude(all, newParty(nil)); f.Closed != 2 || f.Skipped != 1 || f.Behind != 1 || f.Whole != 1 {
		t.Errorf("%+v", f)
	}
}

// TestChurn: visitors come and go, and what they get is whole.
func TestChurn(t *testing.T) {
	t.Parallel()
	r := measureFloor(t, exitOK, "churn -duration 1s -gop 200ms -publishers 2 -players 4 -visitors 6 -stay 100ms")
	if v := r.Visitors; v == nil || v.Gone < 20 || v.Failed != 0 || v.Join == nil || r.Delivered != r.Expected || r.Beside == 0 {
		t.Errorf("%+v, %+v", v, r)
	}
}

// TestCapacity: steps hold until something crosses its mark, here the machine
// at most: when it is busy with other tests, that may be the first one.
func TestCapacity(t *testing.T) {
	t.Parallel()
	r := measureFloor(t, exitEither, "capacity -duration 300ms -gop 200ms -publishers 2 -from 2 -most 5 -factor 2 -max-p99 5s")
	for i, s := range r.Capacity.Steps {
		if s.Players != []int{2, 4, 5}[i] || s.Percent != 100 || s.Limit != "" && !strings.Contains(s.Limit, "its own limit") {
			t.Errorf("step %d: %+v", i, s)
		}
	}
	if steps := r.Capacity.Steps; (steps[0].Limit == "") != (len(r.Failures) == 0) || steps[len(steps)-1].Limit == "" && (r.Capacity.Players != 5 || r.Expected < 5*10) {
		t.Errorf("%+v, %+v", r.Capacity, r)
	}
	if r := measureFloor(t, exitFailed, "capacity -duration 300ms -gop 200ms -from 2 -most 4 -max-p99 1ns"); len(r.Failures) != 1 || r.Capacity.Players != 0 {
		t.Errorf("%+v, %q", r.Capacity, r.Failures)
	}
	for want, r := range map[string]report{
		"":                {Expected: 5, Delivered: 5, Latency: &quantiles{P99: 7}},
		"p99 above 10ms":  {Expected: 5, Delivered: 5, Latency: &quantiles{P99: 11}},
		"3 of 5 frames":   {Expected: 5, Delivered: 2, Saturated: true, Warnings: []string{"hot"}},
		"1 lost":          {Lost: 1},
		"bench is at its": {Saturated: true, Warnings: []string{"hot"}},
	} {
		var s capacityStep
		s.judge(&r, 10*time.Millisecond)
		if !strings.HasPrefix(s.Limit, want) || (want == "") != (s.Limit == "") || r.Saturated != strings.Contains(s.Limit, "; hot") {
			t.Errorf("%+v: %q, want %q", r, s.Limit, want)
		}
	}
}

// TestSoak: all at once, and what grows is told.
func TestSoak(t *testing.T) {
	t.Parallel()
	args := "soak -duration 1500ms -gop 200ms -publishers 2 -players 4 -visitors 4 -stay 200ms -slow 2 -restless 2 -pid " + strconv.Itoa(os.Getpid())
	args += " -max-growth 100000" // of the memory of this test
	r := measureFloor(t, exitOK, args)
	if s := r.Soak; s == nil || r.Visitors == nil || r.Visitors.Gone < 5 || len(s.Samples) < 3 || s.Memory.From == 0 || s.Threads.From < 1 || s.Files.From < 4 || s.Hours == 0 {
		t.Errorf("%+v, %+v", r.Soak, r)
	}
	var growing trend
	for i := range 30 {
		growing.samples = append(growing.samples, sample{Seconds: float64(i), RSS: 20 + float64(i), Threads: 5, Files: 30 + 10*float64(i)})
	}
	if r.Soak.Goroutines != nil || !strings.Contains(r.Soak.String(), "goroutines not known") {
		t.Errorf("goroutines that nobody told: %v", r.Soak)
	}
	told := trend{untold: errNotTold}
	r = report{Seconds: 30}
	if f := (&soak{growth: 10}).conclude(&told, &r); len(r.Failures) != 1 || r.Failures[0] != errNotTold.Error() || f.Goroutines != nil {
		t.Errorf("%q, %+v", r.Failures, f)
	}
	for i := range 30 {
		told.add(sample{Seconds: float64(i), Goroutines: float64(i % 2 * (20 + i))}) // asked for now and then
	}
	r = report{Seconds: 30}
	if f := (&soak{growth: 10}).conclude(&told, &r); len(r.Failures) != 1 || !strings.Contains(r.Failures[0], "number of goroutines grew from 31.0 to 49.0 in 20 s") {
		t.Errorf("%q, %+v", r.Failures, f)
	}
	r = report{Seconds: 30}
	f := (&soak{growth: 10}).conclude(&growing, &r)
	if len(r.Failures) != 2 || !strings.Contains(r.Failures[0], "memory grew from 30.0 MB to 49.0 MB in 20 s") || f.Memory.PerHour < 3599 || r.err() == nil {
		t.Errorf("%q, %+v", r.Failures, f)
	}
}

func TestSlope(t *testing.T) {
	var all []sample
	for i := range 100 {
		rss := 50.0
		if i >= 50 { // before that it does not count
			rss = 10 + 2*float64(i)
		}
		all = append(all, sample{Seconds: float64(i), RSS: rss, Files: 7})
	}
	if a, from, to := slope(all, 50, rssOf); math.Abs(a-2) > 1e-6 || math.Abs(from-110) > 1e-6 || math.Abs(to-208) > 1e-6 {
		t.Errorf("%v, %v to %v", a, from, to)
	}
	if a, from, to := slope(all, 0, filesOf); a != 0 || from != 7 || to != 7 {
		t.Errorf("%v, %v to %v", a, from, to)
	}
	if a, from, to := slope(nil, 0, rssOf); a != 0 || from != 0 || to != 0 {
		t.Errorf("of nothing: %v, %v to %v", a, from, to)
	}
	s := trend{every: 1}
	for i := range maxSamples + 1 {
		s.add(sample{Seconds: float64(i)})
	}
	if n := len(s.samples); n != maxSamples/2+1 || s.every != 2 || s.samples[0].Seconds != 1 || s.samples[n-1].Seconds != maxSamples {
		t.Errorf("%d samples, every %v", n, s.every)
	}
}

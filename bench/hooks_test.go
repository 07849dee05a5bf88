package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestHooksCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"":                        "-srs is required",
		"-srs a -rate 0":          "-rate",
		"-srs a -duration 0":      "-duration",
		"-srs a -fail 1":          "-fail",
		"-srs a -players -1":      "-players",
		"-srs /does/not/exist":    "no such file",
		"-receive nowhere":        "missing port",
		"-receive 127.0.0.1:1 -x": "not defined",
	} {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"hooks"}, strings.Fields(args)...), &out, &out); code == exitOK || !strings.Contains(out.String(), want) {
			t.Errorf("bench hooks %s: exit status %d:\n%s", args, code, out.String())
		}
	}
}

// TestReceiverChecks: what the receiver calls out of order, and repeats.
func TestReceiverChecks(t *testing.T) {
	for _, c := range []struct {
		calls                           string
		begins, ends, disorder, repeats int64
	}{
		{"on_connect/1 on_publish/2 on_unpublish/3 on_close/4", 2, 2, 0, 0},
		{"on_connect/1 on_play/2 on_stop/3 on_play/4 on_stop/5 on_close/6", 3, 3, 0, 0},
		{"on_connect/1 on_publish/2 on_publish/2 on_unpublish/3 on_unpublish/3 on_close/4", 2, 2, 0, 2},
		{"on_connect/1 on_unpublish/3 on_publish/2", 2, 1, 1, 0},
		{"on_publish/1", 1, 0, 1, 0},
		{"on_connect/1 on_close/2 on_close/3", 1, 2, 1, 0},
	} {
		r := &hookReceiver{clients: make(map[uint64]*hookClient), ids: make(map[string]bool)}
		for call := range strings.FieldsSeq(c.calls) {
			action, id, _ := strings.Cut(call, "/")
			r.note(action, 7, id)
		}
		if got := r.report; got.Begins != c.begins || got.Ends != c.ends || got.Disorder != c.disorder || got.Repeats != c.repeats {
			t.Errorf("%s: %+v", c.calls, got)
		}
	}
}

// TestNeighbour: what is said of a run beside an endpoint that hangs; over the
// bound it fails.
func TestNeighbour(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		beside time.Duration
		want   string
		fails  bool
	}{
		{12 * ms, "p99: 10.00 ms alone, 12.00 ms beside an endpoint that hangs; within the bound of 12.00 ms (rule)\n", false},
		{13 * ms, "p99: 10.00 ms alone, 13.00 ms beside an endpoint that hangs; OVER the bound of 12.00 ms (rule)\n", true},
	} {
		var out bytes.Buffer
		err := neighbour(&out, "p99", []time.Duration{10 * ms, c.beside}, 12*ms, "rule")
		if out.String() != c.want || (err != nil) != c.fails {
			t.Error(out.String(), err)
		}
	}
}

// TestReuse: what is said of connections that are not kept, where they could be.
func TestReuse(t *testing.T) {
	for _, c := range []struct {
		used  reuse
		rate  float64
		want  string
		fails bool
	}{
		{reuse{40000, 154}, 2000, "99.61 % of 40000 calls (srs); within the bound of 95 %", false},
		{reuse{10000, 500}, 2000, "95.00 % of 10000 calls (srs); within the bound of 95 %", false},
		{reuse{10000, 501}, 2000, "94.99 % of 10000 calls (srs); UNDER the bound of 95 %", true},
		{reuse{10000, 10000}, 1, "0.00 % of 10000 calls (srs); UNDER", true},
		{reuse{5000, 5000}, 2000, "not held to the bound of 95 %, for which 1 connects a second and 5760 calls are needed", false},
		{reuse{10000, 10000}, 0.1, "not held to the bound", false},
		{reuse{}, 2000, "0.00 % of 0 calls (srs); not held", false},
	} {
		var out bytes.Buffer
		if err := c.used.judge(&out, "srs", c.rate); !strings.Contains(out.String(), c.want) || (err != nil) != c.fails {
			t.Error(out.String(), err)
		}
	}
}

// TestHooks: a server keeps its connections to an endpoint; beside one that hangs
// the exit status is what was printed.
func TestHooks(t *testing.T) {
	t.Setenv("BENCH_TEST_AS_BENCH", "1")
	var out bytes.Buffer
	b := &hooksBench{stdout: &out, hooksOptions: hooksOptions{
		srs: buildServer(t), rate: 500, duration: 3 * time.Second, hold: 10 * time.Millisecond, delay: time.Millisecond,
	}}
	defer b.stop()
	if err := b.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, used, err := b.stretch(t.Context(), &out, "srs")
	if err != nil {
		t.Error(err)
	}
	if err := used.judge(&out, "srs", b.rate); err != nil || used.calls < judgedCalls {
		t.Errorf("%v\n%s", err, out.String())
	}
	t.Log(out.String())

	out.Reset()
	args := []string{"hooks", "-srs", b.srs, "-rate", "50", "-duration", "500ms", "-hang", "-players", "2"}
	code := run(t.Context(), args, &out, &out)
	for _, want := range []string{"not held to the bound of 95 %", "p99 of the decisions: ", "largest gap between frames: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if (code == exitFailed) != strings.Contains(out.String(), "OVER the bound") {
		t.Errorf("exit status %d\n%s", code, out.String())
	}
}

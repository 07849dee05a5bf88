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

// TestNeighbour: what is said of a run beside an endpoint that hangs.
func TestNeighbour(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		beside time.Duration
		want   string
	}{
		{12 * ms, "p99: 10.00 ms alone, 12.00 ms beside an endpoint that hangs; within the bound of 12.00 ms (rule)\n"},
		{13 * ms, "p99: 10.00 ms alone, 13.00 ms beside an endpoint that hangs; OVER the bound of 12.00 ms (rule)\n"},
	} {
		var out bytes.Buffer
		if neighbour(&out, "p99", []time.Duration{10 * ms, c.beside}, 12*ms, "rule"); out.String() != c.want {
			t.Error(out.String())
		}
	}
}

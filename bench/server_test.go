package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildServer builds the server beside us, as a user does.
func buildServer(t *testing.T) string {
	program := filepath.Join(t.TempDir(), "srs")
	if out, err := exec.Command("go", "build", "-o", program, "srs").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// TestServer runs the subcommands against the real server, each in its way.
func TestServer(t *testing.T) {
	t.Parallel()
	program := buildServer(t)
	t.Run("fanout", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		file := filepath.Join(t.TempDir(), "report.json")
		args := []string{"fanout", "-srs", program, "-publishers", "2", "-players", "7", "-duration", "1s", "-gop", "400ms", "-o", file}
		if code := run(t.Context(), args, &out, &out); code != exitOK {
			t.Fatalf("exit status %d\n%s", code, out.String())
		}
		b, err := os.ReadFile(file)
		var r report
		if err != nil || json.Unmarshal(b, &r) != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		// 68 messages per second and player.
		if r.Expected < 7*60 || r.Delivered != r.Expected || r.Server == nil || r.Server.RSS == 0 || r.Latency == nil || r.Join == nil {
			t.Errorf("%s", b)
		}
	})
	t.Run("soak", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		args := strings.Fields("soak -duration 2s -gop 200ms -players 5 -visitors 5 -stay 200ms -slow 2 -restless 2 -progress 0 -max-growth 1000 -srs " + program)
		code := run(t.Context(), args, &out, &out)
		if code != exitOK || !strings.Contains(out.String(), "restless   2 publishers") || strings.Contains(out.String(), "2 publishers, 0 times") ||
			!strings.Contains(out.String(), ", goroutines ") || strings.Contains(out.String(), "goroutines not") || strings.Contains(out.String(), "goroutines 0") {
			t.Errorf("exit status %d\n%s", code, out.String())
		}
	})
	t.Run("soak, a watcher starves", func(t *testing.T) {
		t.Parallel()
		h := host{srs: program}
		var c common
		if err := h.start(t.Context(), &c, 50); err != nil {
			t.Fatal(err)
		}
		defer h.stop()
		_, server, _ := strings.Cut(strings.TrimSuffix(c.url, "/live/bench"), "://")
		// Behind 2 publishers and 3 players come those of the restless.
		proxy := startSwallower(t, server, 40_000, func(n int) bool { return n == 2+3 })
		var out bytes.Buffer
		args := strings.Fields("soak -duration 1s -gop 200ms -publishers 2 -players 3 -visitors 1 -stay 200ms -slow 1 -restless 2 -progress 0 -url rtmp://" + proxy + "/live/x")
		code := run(t.Context(), args, &out, &out)
		if code != exitFailed || !strings.Contains(out.String(), "bench soak: not intact: ") || strings.Contains(out.String(), " 0 lost in ") {
			t.Errorf("exit status %d\n%s", code, out.String())
		}
	})
	t.Run("demo", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		code := run(t.Context(), []string{"demo", "-srs", program}, &out, &out)
		if code != exitOK {
			t.Fatalf("exit status %d\n%s", code, out.String())
		}
		for _, want := range append(events, "from number 0 on", "0 lost in 0 gaps", "recordings/live/demo.") {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing in\n%s", want, out.String())
			}
		}
	})
	t.Run("publish busy", func(t *testing.T) {
		t.Parallel()
		h := host{srs: program}
		var c common
		if err := h.start(t.Context(), &c, 10); err != nil {
			t.Fatal(err)
		}
		defer h.stop()
		// The second of two publishers of one name is told so.
		codes := make(chan int, 2)
		outs := [2]bytes.Buffer{}
		for i := range outs {
			go func() {
				codes <- run(t.Context(), []string{"publish", "-url", c.url, "-duration", "1s"}, &outs[i], &outs[i])
			}()
		}
		if sum := <-codes + <-codes; sum != exitOK+exitFailed || !strings.Contains(outs[0].String()+outs[1].String(), "NetStream.Publish.BadName") {
			t.Errorf("exit status %d together\n%s\n%s", sum, outs[0].String(), outs[1].String())
		}
	})
}

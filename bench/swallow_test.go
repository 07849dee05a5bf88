package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// startSwallower stands before a server. Of what the server sends on the chosen
// connections, which are counted from 0, nothing goes on beyond so many bytes.
func startSwallower(t *testing.T, server string, limit int64, chosen func(n int) bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for n := 0; ; n++ {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			behind, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				return
			}
			all.Go(func() {
				io.Copy(behind, client)
				behind.Close()
			})
			all.Go(func() {
				if chosen(n) {
					io.CopyN(client, behind, limit)
					io.Copy(io.Discard, behind)
				} else {
					io.Copy(client, behind)
				}
				client.Close()
			})
		}
	})
	t.Cleanup(func() { // all clients have gone
		ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

// Bytes that a client gets before media comes, and somewhat more than the first
// keyframe of a stream of 500 kb/s in GOPs of 200 ms makes of it.
const (
	untilMedia   = 4500
	keyframeMore = 14_000
)

// TestSwallowed: clients that get no media, or no more of it, are failures,
// whatever they were waiting for.
func TestSwallowed(t *testing.T) {
	t.Parallel()
	third := func(n int) bool { return n > 6 && n%3 == 0 } // behind publishers and players that stay
	for args, c := range map[string]struct {
		limit int64
		say   string
	}{
		"storm -duration 1s -concurrency 6 -patience 300ms":                         {untilMedia, "no keyframe within 300ms"},
		"storm -duration 300ms -concurrency 20 -patience 1s":                        {untilMedia, "no keyframe within 1s"}, // behind the window
		"churn -duration 1s -players 4 -visitors 6 -stay 100ms -patience 500ms":     {untilMedia, "no keyframe within 500ms"},
		"churn -duration 1s -players 4 -visitors 6 -stay 800ms -patience 500ms":     {keyframeMore, "frames are missing 500ms after"},
		"churn -duration 400ms -players 4 -visitors 9 -stay 1m -patience 500ms":     {keyframeMore, "frames are missing 500ms after"},
		"soak -duration 1s -players 4 -visitors 1 -slow 9 -restless 0 -patience 1s": {untilMedia, "no keyframe within 1s"},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			url := "rtmp://" + startSwallower(t, startFloor(t, 0), c.limit, third) + "/live/x"
			file := filepath.Join(t.TempDir(), "report.json")
			var out bytes.Buffer
			code := run(t.Context(), strings.Fields(args+" -publishers 2 -gop 200ms -progress 0 -o "+file+" -url "+url), &out, &out)
			b, err := os.ReadFile(file)
			var r report
			if err != nil || json.Unmarshal(b, &r) != nil || code != exitFailed || len(r.Failures) == 0 || !strings.Contains(r.Failures[0], c.say) {
				t.Errorf("exit status %d, %q, %v\n%s", code, r.Failures, err, out.String())
			}
		})
	}
}

// TestPlay: each player without a picture is a failure, not only all, and one that
// gets no more than its first; what was sent in the window is counted.
func TestPlay(t *testing.T) {
	t.Parallel()
	url := "rtmp://" + startFloor(t, 0) + "/live/y"
	ctx, cancel := context.WithCancel(t.Context())
	var said bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"publish", "-gop", "1h", "-progress", "0", "-url", url + "-0"}, &said, &said)
	}()
	play := func(want string, code int, args string) {
		var out bytes.Buffer
		got := run(t.Context(), strings.Fields("play -progress 0 "+args), &out, &out)
		if got != code || !strings.Contains(out.String(), want) {
			t.Errorf("play %s: exit status %d, want %d and %q\n%s", args, got, code, want, out.String())
		}
	}
	var together sync.WaitGroup
	together.Go(func() {
		play("5 failed, the first: player "+url+"-1: no keyframe in ", exitFailed, "-publishers 2 -players 10 -duration 700ms -url "+url)
	})
	together.Go(func() { play("no player got a keyframe", exitFailed, "-players 3 -duration 500ms -url "+url) })
	together.Wait()
	file := filepath.Join(t.TempDir(), "report.json")
	proxy := startSwallower(t, strings.Split(url, "/")[2], 20_000, func(n int) bool { return n%2 == 0 })
	together.Go(func() { play("delivered", exitOK, "-players 10 -duration 1s -url "+url+"-0 -o "+file) })
	together.Go(func() {
		play(" s behind others of its stream", exitFailed, "-players 4 -duration 1s -url rtmp://"+proxy+"/live/y-0")
	})
	together.Wait()
	// What was sent before the window is not counted, though a GOP cache has it.
	b, err := os.ReadFile(file)
	var r report
	if err != nil || json.Unmarshal(b, &r) != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if rate := float64(r.Delivered) / r.Seconds; rate < 200 || rate > 1000 {
		t.Errorf("%.0f frames/s were delivered of 680/s: %+v", rate, r)
	}
	if err := new(player).blind(time.Second, time.Minute); err != nil { // and then an interrupt
		t.Error(err)
	}
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("publish: exit status %d\n%s", code, said.String())
	}
}

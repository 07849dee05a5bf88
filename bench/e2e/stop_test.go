package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"srs/flv"
)

// stopWithin is how long a server may take to stop.
const stopWithin = 10 * time.Second

// TestStop sends SIGTERM and SIGINT to a server with publishers and players of
// both kinds: everything that began is ended, files are complete, exit 0.
func TestStop(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			files := t.TempDir()
			s := startServer(t, defaultVhost(hooks(rcv), recordTo(files+"/[stream].flv")))
			publishFFmpeg(t, s.url("live/ffmpeg"))
			rcv.wait(t, "on_publish", "ffmpeg", 1)
			play := playFFmpeg(t, s.url("live/ffmpeg"))
			play.waitLine(t, 0, "Output #0|Press")
			conn := publishWith(t, s.url("live/conn"))
			player := playWith(t, s.url("live/conn"))
			sendMedia(t, conn, 50)
			for range 50 { // the stream has the frames
				if _, err := player.ReadMessage(); err != nil {
					t.Fatal(err)
				}
			}
			playWith(t, s.url("live/nobody"))

			code, took := s.stop(t, sig)
			if code != 0 || took > stopWithin {
				t.Errorf("exit code %d after %v", code, took)
			}
			t.Logf("the stop took %v", took)
			wantPairs(t, rcv, 5)
			for _, stream := range []string{"ffmpeg", "conn"} {
				calls := rcv.of("on_dvr", stream)
				if len(calls) != 1 {
					t.Errorf("%d times on_dvr for %s", len(calls), stream)
					continue
				}
				wantComplete(t, calls[0].text("file"))
			}
			for _, c := range slices.Concat(rcv.of("on_unpublish", ""), rcv.of("on_stop", ""), rcv.of("on_close", "")) {
				if c.text("reason") != "server.shutdown" {
					t.Errorf("%s: reason %q", c.action(), c.text("reason"))
				}
			}
			wantNoLeftovers(t, files)
			if _, err := os.Stat(s.dir + "/srs.pid"); err == nil {
				t.Error("the pid file is still there")
			}
		})
	}
}

// TestStopDuringGate: a gate that nobody answers does not hold up the stop. The
// endpoint may have said yes just then, so it hears the end.
func TestStopDuringGate(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	rcv.always("on_publish", reply{until: make(chan struct{})})
	c := dial(t, s).shake(t)
	c.connect(t, s.url("live"), "live")
	c.send(t, cmdCreateStream(), cmdPublish("s"))
	rcv.wait(t, "on_publish", "s", 1)
	if code, took := s.stop(t, syscall.SIGTERM); code != 0 || took > 5*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	if got := rcv.actions(""); !slices.Equal(got, []string{"on_connect", "on_publish", "on_unpublish", "on_close"}) {
		t.Errorf("calls: %q", got)
	}
}

// TestStopWithHangingEndpoint: ends that nobody takes cost the stop no more
// than its budget.
func TestStopWithHangingEndpoint(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	rcv.always("on_unpublish", reply{until: make(chan struct{})})
	publishWith(t, s.url("live/s"))
	if code, took := s.stop(t, syscall.SIGTERM); code != 0 || took > stopWithin {
		t.Errorf("exit code %d after %v", code, took)
	}
	if lines := s.matching(0, "events wait in the journal for the next start count=2"); len(lines) != 1 {
		t.Error("the log does not say what was not delivered")
	}
}

// wantPairs checks each client's calls: begins accepted, each ended once, in order.
func wantPairs(t testing.TB, rcv *receiver, clients int) {
	t.Helper()
	seen := make(map[string]bool)
	for _, c := range rcv.all() {
		id := c.client()
		if seen[id] {
			continue
		}
		seen[id] = true
		got := slices.DeleteFunc(rcv.actions(id), func(a string) bool { return a == "on_dvr" })
		publish := []string{"on_connect", "on_publish", "on_unpublish", "on_close"}
		play := []string{"on_connect", "on_play", "on_stop", "on_close"}
		if !slices.Equal(got, publish) && !slices.Equal(got, play) {
			t.Errorf("client %s: %q", id, got)
		}
	}
	if len(seen) != clients {
		t.Errorf("calls for %d clients, want %d", len(seen), clients)
	}
}

// wantComplete reads a recording to its end and returns its tags.
func wantComplete(t testing.TB, path string) []flv.Tag {
	t.Helper()
	tags, err := readFLV(path)
	switch {
	case err != nil:
		t.Errorf("%s: %v", path, err)
	case len(tags) < 2 || tags[0].Type != flv.TypeScript:
		t.Errorf("%s: %d tags, the first of which must be the metadata", path, len(tags))
	}
	return tags
}

// wantNoLeftovers checks that only complete recordings are below a directory.
func wantNoLeftovers(t testing.TB, dir string) {
	t.Helper()
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".flv") {
			t.Errorf("%s is left over", path)
		}
		return nil
	})
}

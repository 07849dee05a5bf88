package e2e

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"srs/flv"
	"srs/rtmp"
)

// again starts a server anew that has ended, with its configuration and in its
// directory.
func (s *srs) again(t testing.TB, before ...string) *srs {
	t.Helper()
	n := s.begin(t, before...)
	n.wantUp(t)
	return n
}

// begin is again without waiting for the server to listen.
func (s *srs) begin(t testing.TB, before ...string) *srs {
	t.Helper()
	n := &srs{addr: s.addr, port: s.port, dir: s.dir, conf: s.conf}
	args := append(before, srsBinary, "-c", s.conf)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = s.dir, cleanEnv()
	n.process = startProcess(t, cmd)
	return n
}

// wantUp waits until a server that has begun listens.
func (s *srs) wantUp(t testing.TB) {
	t.Helper()
	if !s.up() {
		t.Fatalf("the server does not start again:\n%s", s.text())
	}
	t.Cleanup(func() { s.finish(t) })
}

// clipTags are the tags of the clip.
func clipTags(t testing.TB) []flv.Tag {
	t.Helper()
	path, err := clip()
	if err != nil {
		t.Fatalf("ffmpeg cannot make the clip: %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var tags []flv.Tag
	for r := flv.NewReader(bytes.NewReader(b)); ; {
		tag, err := r.Next()
		if err == io.EOF {
			return tags
		}
		if err != nil {
			t.Fatal(err)
		}
		tag.Data = bytes.Clone(tag.Data)
		tags = append(tags, tag)
	}
}

// A feeder publishes the clip in real time, over and over, until it is stopped
// or the server is gone.
type feeder struct {
	conn *rtmp.Conn
	sent atomic.Uint32 // time of the newest frame, ms
	stop context.CancelFunc
	done chan struct{}
}

func feed(t testing.TB, url string) *feeder {
	t.Helper()
	tags := clipTags(t)
	c := publishWith(t, url)
	c.SetDeadline(time.Time{})
	ctx, cancel := context.WithCancel(t.Context())
	f := &feeder{conn: c, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		defer c.Close()
		f.send(ctx, tags)
	}()
	t.Cleanup(func() { cancel(); <-f.done })
	return f
}

func (f *feeder) send(ctx context.Context, tags []flv.Tag) {
	const length = 10_000 // ms, of the clip
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for base := uint32(0); ; base += length {
		for _, tag := range tags {
			if base > 0 && tag.Timestamp == 0 && flv.Sniff(tag.Type, tag.Data)&(flv.Keyframe|flv.AudioFrame) == 0 {
				continue // metadata and headers, once
			}
			at := base + tag.Timestamp
			timer.Reset(time.Until(begun.Add(time.Duration(at) * time.Millisecond)))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			csid := map[uint8]uint32{flv.TypeAudio: 4, flv.TypeVideo: 6, flv.TypeScript: 5}[tag.Type]
			if f.conn.WriteTag(csid, tag.Type, at, tag.Data) != nil {
				return
			}
			if tag.Type != flv.TypeScript {
				f.sent.Store(at)
			}
		}
	}
}

// end stops the feeder and waits until it has left.
func (f *feeder) end() {
	f.stop()
	<-f.done
}

// feedFor feeds streams for a while, and gives how many ms of each have been sent.
func feedFor(t testing.TB, d time.Duration, urls []string) (feeders []*feeder, sent []int) {
	t.Helper()
	for _, url := range urls {
		feeders = append(feeders, feed(t, url))
	}
	running := time.NewTimer(d)
	<-running.C
	for _, f := range feeders {
		sent = append(sent, int(f.sent.Load()))
	}
	return feeders, sent
}

// wantLost checks how many ms recordings lack at most, each.
func wantLost(t testing.TB, of string, lost []int, most int) {
	t.Helper()
	slices.Sort(lost)
	t.Logf("%s, %d recordings: lost are %d ms (median), %d ms (most)", of, len(lost), lost[len(lost)/2], lost[len(lost)-1])
	if worst := lost[len(lost)-1]; worst > most {
		t.Errorf("%d ms lost", worst)
	}
}

// recordings lists the files below a directory by what stands behind their
// first dot but one: "x.flv", "x.flv.tmp".
func recordings(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// wantPlayable checks that ffprobe opens a file and reads it to its end without
// a word.
func wantPlayable(t testing.TB, path string) {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "warning", "-show_entries", "format=duration", path).CombinedOutput()
	if text := strings.ReplaceAll(string(out), "[FORMAT]", ""); err != nil || strings.Contains(text, "@") {
		t.Errorf("ffprobe %s: %v\n%s", path, err, out)
	}
}

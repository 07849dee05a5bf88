package dvr

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/flv"
	"srs/rtmp/live"
)

var settings = live.Settings{ChunkSize: 60000, GopCache: true, MaxFrames: 2500}

// publish begins a publish in a registry that the site watches.
func (s *site) publishLive(stream string) *live.Publication {
	s.t.Helper()
	v, err := live.NewRegistry(s.Recorder).Reserve(live.Key{Vhost: "v", App: "live", Stream: stream})
	if err != nil {
		s.t.Fatal(err)
	}
	return v.Start(live.Publisher{ClientID: 7, Vhost: "v", App: "live", Stream: stream}, settings)
}

// TestPublished records a real stream, from its first tag to its last.
func TestPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[app]/[stream].flv")
		p := s.publishLive("x")
		want := []flv.Tag{videoHeader, audioHeader}
		for _, tag := range want {
			p.Write(tag)
		}
		for i := range uint32(250) {
			for _, tag := range []flv.Tag{inter(i * 40), audio(i*40 + 7)} {
				if tag.Type == flv.TypeVideo && i%50 == 0 {
					tag = key(i * 40)
				}
				want = append(want, tag)
				p.Write(tag)
			}
			time.Sleep(40 * time.Millisecond) // of the bubble
		}
		p.Close()
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		ev := s.only()
		wantTags(t, s.read(ev).tags, want...)
		if ev.ClientID != 7 || ev.File != "live/x.flv" || ev.Duration != 10007*time.Millisecond {
			t.Errorf("%+v", ev)
		}
	})
}

// TestDV09: a disk that does not answer costs the publisher nothing. When it
// answers again, the file has a gap and goes on at a keyframe.
func TestDV09(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		p := s.publishLive("x")
		frame := func(i int) flv.Tag {
			tag := inter(uint32(i) * 40)
			if i%25 == 0 {
				tag = key(uint32(i) * 40)
			}
			tag.Data = append(tag.Data, make([]byte, 50_000)...)
			return tag
		}
		send := func(from, to int) {
			for i := from; i < to; i++ {
				begun := time.Now()
				p.Write(frame(i))
				if took := time.Since(begun); took != 0 {
					t.Errorf("frame %d took %v", i, took)
				}
				time.Sleep(40 * time.Millisecond) // of the bubble
			}
		}
		send(0, 100)
		answers := make(chan struct{})
		for range diskCalls {
			go s.disk(s.cwd, func() { <-answers })
		}
		send(100, 850) // 30 s, 37 MB
		close(answers)
		send(850, 1000)
		p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
		ev := s.only()
		got := s.read(ev).tags
		skipped := 0
		for i, tag := range got {
			if i > 0 && tag.Timestamp != got[i-1].Timestamp+40 {
				skipped++
				if tag.Data[0] != 0x17 {
					t.Errorf("behind the gap: % x", tag.Data[:6])
				}
			}
			if tag.Data[6] != byte(tag.Timestamp) {
				t.Fatalf("tag %d has the time %d", i, tag.Timestamp)
			}
		}
		if skipped == 0 || ev.Error == "" || got[len(got)-1].Timestamp != 999*40 {
			t.Errorf("%d gaps, %d tags, error %q", skipped, len(got), ev.Error)
		}
	})
}

// TestRecordingAgain: within 15 s after the disk is back there is a recording
// again, however rare keyframes are: it begins with the newest one that the stream
// keeps for its players. Sound alone waits for nothing.
func TestRecordingAgain(t *testing.T) {
	const (
		frames   = 2000 // 80 s
		interval = 500  // 20 s
		back     = 600  // 24 s
	)
	for name, c := range map[string]struct {
		frame func(i int) flv.Tag
		lost  int
	}{
		"video": {func(i int) flv.Tag {
			if i%interval == 0 {
				return key(uint32(i) * 40)
			}
			return inter(uint32(i) * 40)
		}, interval},
		"sound": {func(i int) flv.Tag { return audio(uint32(i) * 40) }, 751}, // the next try is at 30 s and some
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "root/[stream].flv")
				write(t, s.cwd+"/root", "a file where a directory should be")
				p := s.publishLive("x")
				again := 0
				for i := range frames {
					p.Write(c.frame(i))
					time.Sleep(40 * time.Millisecond) // of the bubble
					if i == back {
						if err := os.Remove(s.cwd + "/root"); err != nil {
							t.Fatal(err)
						}
					}
					if again == 0 && strings.Contains(s.log(), "recording again") {
						again = i
					}
				}
				p.Close()
				if err := s.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Duration(again-back) * 40 * time.Millisecond; again == 0 || took > 15*time.Second {
					t.Errorf("recording again after %v\n%s", took, s.log())
				}
				ev := s.only()
				got := s.read(ev).tags
				first := got[0]
				if n := len(got); lostIn(ev.Error) != frames-n || frames-n > c.lost+50 || frames-n < c.lost-15 || first.Data[6%len(first.Data)] != c.frame(frames - n).Data[6%len(first.Data)] {
					t.Errorf("%d frames, of %d, from %v: %s", n, frames, first, ev.Error)
				}
			})
		})
	}
}

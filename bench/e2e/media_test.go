package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestRealClients: what an encoder sends arrives at every real player frame by
// frame, the same bytes at the same times, and is recorded so.
func TestRealClients(t *testing.T) {
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			const seconds = 5
			source := encode(t, seconds, v.args...)
			want := framesOf(t, source)
			s := startServer(t, defaultVhost(recordTo("./rec/[stream].flv")))
			url := s.url("live/s")
			var early []*recorder
			for i := range recorders {
				early = append(early, record(t, i, url))
			}
			s.waitCount(t, "play started", len(recorders))
			publisher := publishFile(t, source, url)
			s.waitLog(t, "publish started")
			// Somewhere in the middle, between two keyframes.
			middle := time.NewTimer(1500 * time.Millisecond)
			defer middle.Stop()
			<-middle.C
			var late []*recorder
			for i := range recorders {
				late = append(late, record(t, i, url))
			}
			if code := publisher.exit(t, longest); code != 0 {
				t.Fatalf("the publisher ended with %d:\n%s", code, publisher.text())
			}
			s.waitLog(t, "recorded ")
			finish(t, s, append(early, late...)...)
			for i := range recorders {
				t.Run(recorders[i].name+" from the start", func(t *testing.T) { wantSame(t, early[i].frames(t), want, false) })
				t.Run(recorders[i].name+" joining late", func(t *testing.T) { wantSame(t, late[i].frames(t), want, true) })
			}
			file := filepath.Join(s.dir, "rec/s.flv")
			wantSame(t, framesOf(t, file), want, false)
			if d := probe(t, file); d < seconds-0.2 || d > seconds+0.3 {
				t.Errorf("the recording says it lasts %.3f s, the source has %d s", d, seconds)
			}
		})
	}
}

// TestGStreamerPublishes: rtmp2sink as the encoder, ffmpeg as the player.
func TestGStreamerPublishes(t *testing.T) {
	t.Parallel()
	s := startServer(t, defaultVhost())
	url := s.url("live/g")
	player := record(t, 0, url)
	s.waitLog(t, "play started")
	source := filepath.Join(t.TempDir(), "source.flv")
	publisher := startProcess(t, exec.Command("gst-launch-1.0", "-q", "-e",
		"flvmux", "streamable=true", "name=mux", "!", "tee", "name=t",
		"t.", "!", "queue", "!", "rtmp2sink", "location="+url,
		"t.", "!", "queue", "!", "filesink", "location="+source,
		"videotestsrc", "num-buffers=125", "is-live=true", "!", "video/x-raw,width=320,height=180,framerate=25/1", "!",
		"x264enc", "tune=zerolatency", "key-int-max=25", "!", "h264parse", "!", "mux.",
		"audiotestsrc", "num-buffers=215", "is-live=true", "!", "audio/x-raw,rate=44100", "!", "avenc_aac", "!", "aacparse", "!", "mux."))
	if code := publisher.exit(t, 2*longest); code != 0 {
		t.Fatalf("gst-launch-1.0 ended with %d:\n%s", code, publisher.text())
	}
	want := framesOf(t, source)
	if want.count() < 300 {
		t.Fatalf("the source has %d frames only", want.count())
	}
	finish(t, s, player)
	wantSame(t, player.frames(t), want, false)
}

// TestFiftyPlayers: fifty real players at once, all complete.
func TestFiftyPlayers(t *testing.T) {
	const players, seconds = 50, 6
	source := encode(t, seconds, "-c:v", "libx264", "-bf", "2", "-c:a", "aac")
	want := framesOf(t, source)
	s := startServer(t, defaultVhost())
	var all []*recorder
	for i := range players {
		all = append(all, record(t, i%2, s.url("live/s"))) // ffmpeg and rtmpdump in turn
	}
	s.waitCount(t, "play started", players)
	publisher := publishFile(t, source, s.url("live/s"))
	if code := publisher.exit(t, longest); code != 0 {
		t.Fatalf("the publisher ended with %d:\n%s", code, publisher.text())
	}
	finish(t, s, all...)
	for i, r := range all {
		t.Run(fmt.Sprintf("player %d", i), func(t *testing.T) { wantSame(t, r.frames(t), want, false) })
	}
}

// TestRepublish: the publisher stops and comes back; a player that stays gets
// both publishes in full, on one line of time.
func TestRepublish(t *testing.T) {
	t.Parallel()
	source := encode(t, 3, "-c:v", "libx264", "-bf", "0", "-c:a", "aac")
	want := framesOf(t, source)
	s := startServer(t, defaultVhost())
	url := s.url("live/s")
	player := record(t, 1, url)
	s.waitLog(t, "play started")
	for i := range 2 {
		publisher := publishFile(t, source, url)
		if code := publisher.exit(t, longest); code != 0 {
			t.Fatalf("publish %d ended with %d:\n%s", i, code, publisher.text())
		}
		s.waitCount(t, "publish ended", i+1)
	}
	finish(t, s, player)
	got := player.frames(t)
	for stream, list := range want {
		have := got[stream]
		if len(have) != 2*len(list) {
			t.Errorf("%s: %d frames of two times %d", stream, len(have), len(list))
			continue
		}
		for i, f := range have {
			if f.hash != list[i%len(list)].hash {
				t.Errorf("%s: frame %d is not the published one", stream, i)
				break
			}
			if i > 0 && f.dts < have[i-1].dts {
				t.Errorf("%s: frame %d goes back in time, from %d to %d", stream, i, have[i-1].dts, f.dts)
			}
		}
	}
}

// TestSecondPublisher: it is refused and ends with an error; the first one's
// stream is whole.
func TestSecondPublisher(t *testing.T) {
	t.Parallel()
	source := encode(t, 4, "-c:v", "libx264", "-bf", "0", "-c:a", "aac")
	want := framesOf(t, source)
	s := startServer(t, defaultVhost())
	url := s.url("live/s")
	player := record(t, 0, url)
	s.waitLog(t, "play started")
	first := publishFile(t, source, url)
	s.waitLog(t, "publish started")
	second := publishFile(t, source, url)
	if code := second.exit(t, longest); code == 0 {
		t.Errorf("the second publisher ended with 0:\n%s", second.text())
	}
	s.waitLog(t, `reason=stream\.busy`)
	if code := first.exit(t, longest); code != 0 {
		t.Errorf("the first publisher ended with %d:\n%s", code, first.text())
	}
	finish(t, s, player)
	wantSame(t, player.frames(t), want, false)
}

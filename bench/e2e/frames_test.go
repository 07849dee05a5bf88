package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A frame is one packet of an elementary stream, as ffmpeg's framemd5 muxer
// tells of it without decoding: what must survive relay and recording.
type frame struct {
	dts, offset int // milliseconds; offset is presentation minus decoding
	size        string
	hash        string
}

// frames are the packets of a file by media type: "video" and "audio". Which
// comes first in the file differs between those who watch from the start and
// those who join.
type frames map[string][]frame

// framesOf takes a media file apart.
func framesOf(t testing.TB, path string) frames {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", "0", "-c", "copy", "-f", "framemd5", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg cannot read %s: %v", path, err)
	}
	return parseFrames(t, string(out))
}

func parseFrames(t testing.TB, text string) frames {
	t.Helper()
	all, types := frames{}, map[string]string{}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "#media_type "); ok {
			stream, typ, _ := strings.Cut(strings.TrimSpace(rest), ": ")
			types[stream] = typ
		}
		f := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") || len(f) < 6 || !strings.HasSuffix(line, "\n") {
			continue
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		dts, err1 := strconv.Atoi(f[1])
		pts, err2 := strconv.Atoi(f[2])
		typ := types[f[0]]
		if err1 != nil || err2 != nil || typ == "" {
			t.Fatalf("framemd5 line %q", line)
		}
		if typ != "video" && typ != "audio" { // GStreamer's files have their metadata twice
			continue
		}
		all[typ] = append(all[typ], frame{dts: dts, offset: pts - dts, size: f[4], hash: f[5]})
	}
	return all
}

func (f frames) count() (n int) {
	for _, list := range f {
		n += len(list)
	}
	return n
}

// wantSame checks that got is want: every frame, in order, with the same
// distances in time. With late, got may begin later, and is then all from
// there on. drift is what rounding may move a frame, milliseconds.
func wantSame(t testing.TB, got, want frames, late bool) {
	t.Helper()
	const drift = 1
	if len(got) != len(want) {
		t.Errorf("%d elementary streams, want %d", len(got), len(want))
	}
	for stream, list := range want {
		have := got[stream]
		if len(have) == 0 {
			t.Errorf("%s: nothing arrived", stream)
			continue
		}
		skip := len(list) - len(have)
		if skip != 0 && !late || skip < 0 || late && len(have) < len(list)/4 {
			t.Errorf("%s: %d frames arrived of %d", stream, len(have), len(list))
			continue
		}
		for i, f := range have {
			w := list[skip+i]
			step, wantStep := f.dts-have[0].dts, w.dts-list[skip].dts
			if f.hash != w.hash || f.size != w.size || f.offset != w.offset || step-wantStep > drift || wantStep-step > drift {
				t.Errorf("%s: frame %d is %+v (at %d), want %+v (at %d)", stream, i, f, step, w, wantStep)
				break
			}
			if i > 0 && f.dts < have[i-1].dts {
				t.Errorf("%s: frame %d goes back in time, from %d to %d", stream, i, have[i-1].dts, f.dts)
			}
		}
	}
}

// variants are what encoders send, as options for ffmpeg.
var variants = []struct {
	name string
	args []string
}{
	{"h264 aac", []string{"-c:v", "libx264", "-bf", "0", "-c:a", "aac"}},
	{"h264 with B-frames, aac", []string{"-c:v", "libx264", "-bf", "3", "-c:a", "aac"}},
	{"audio only", []string{"-vn", "-c:a", "aac"}},
	{"video only", []string{"-c:v", "libx264", "-bf", "2", "-an"}},
	{"h264 mp3", []string{"-c:v", "libx264", "-bf", "0", "-c:a", "libmp3lame"}},
	{"mp3 only", []string{"-vn", "-c:a", "libmp3lame"}},
}

// encode makes a source file of some seconds.
func encode(t testing.TB, seconds int, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.flv")
	all := []string{"-v", "error", "-nostdin",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100",
		"-t", strconv.Itoa(seconds), "-g", "25", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-flvflags", "no_duration_filesize"}
	all = append(append(all, args...), "-f", "flv", path)
	if out, err := exec.Command("ffmpeg", all...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg cannot encode: %v\n%s", err, out)
	}
	return path
}

// publishFile publishes a file in real time, once.
func publishFile(t testing.TB, path, url string) *process {
	t.Helper()
	return startFFmpeg(t, "-re", "-i", path, "-map", "0", "-c", "copy", "-f", "flv", url)
}

// A recorder is a real player that writes what it gets to a file.
type recorder struct {
	*process
	path string
	flat bool // the file has framemd5 lines already
}

// recorders are the real players there are. Each completes its file when the
// server closes the connection.
var recorders = []struct {
	name  string
	start func(t testing.TB, url, path string) *exec.Cmd
	flat  bool
}{
	{"ffmpeg", func(_ testing.TB, url, path string) *exec.Cmd {
		return exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", url, "-map", "0", "-c", "copy", "-flush_packets", "1", "-f", "framemd5", path)
	}, true},
	{"rtmpdump", func(_ testing.TB, url, path string) *exec.Cmd {
		return exec.Command("rtmpdump", "-q", "-v", "-r", url, "-o", path)
	}, false},
	{"gstreamer", func(_ testing.TB, url, path string) *exec.Cmd {
		return exec.Command("gst-launch-1.0", "-q", "-e", "rtmp2src", "location="+url, "!", "filesink", "buffer-mode=unbuffered", "location="+path)
	}, false},
}

// record starts recorder i on a stream.
func record(t testing.TB, i int, url string) *recorder {
	t.Helper()
	r := &recorder{path: filepath.Join(t.TempDir(), fmt.Sprintf("played-%d", i)), flat: recorders[i].flat}
	r.process = startProcess(t, recorders[i].start(t, url, r.path))
	return r
}

// finish waits until the players have everything and stops the server, which
// ends them: a player that is interrupted by a signal loses what it has read
// and not written yet.
func finish(t testing.TB, s *srs, players ...*recorder) {
	t.Helper()
	var wait sync.WaitGroup
	for _, r := range players {
		wait.Go(r.quiet)
	}
	wait.Wait()
	s.stop(t, syscall.SIGTERM)
	for _, r := range players {
		r.exit(t, longest)
	}
}

// quiet waits until the file has not grown for a while: the server sends
// players nothing at the end of a publish, so there is no other sign.
func (r *recorder) quiet() {
	size, since, begun := int64(-1), time.Now(), time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(since) < time.Second && time.Since(begun) < longest {
		if info, err := os.Stat(r.path); err == nil && info.Size() != size {
			size, since = info.Size(), time.Now()
		}
		<-tick.C
	}
}

// frames are what a player that has ended got.
func (r *recorder) frames(t testing.TB) frames {
	t.Helper()
	if !r.flat {
		return framesOf(t, r.path)
	}
	text, err := os.ReadFile(r.path)
	if err != nil {
		t.Fatalf("%v; the player says:\n%s", err, r.text())
	}
	return parseFrames(t, string(text))
}

// probe is what ffprobe says of a file, warnings being errors.
func probe(t testing.TB, path string) (duration float64) {
	t.Helper()
	cmd := exec.Command("ffprobe", "-v", "warning", "-show_entries", "format=duration", "-of", "csv=p=0", path)
	var warnings strings.Builder
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil || warnings.Len() > 0 {
		t.Errorf("ffprobe %s: %v\n%s", path, err, warnings.String())
	}
	duration, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		t.Errorf("ffprobe %s: duration %q", path, out)
	}
	return duration
}

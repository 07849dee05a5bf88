package dvr

import (
	"bytes"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"srs/flv"
)

// run runs a command and gives what it prints.
func run(t *testing.T, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, diag bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &diag
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, diag.String())
	}
	return out.String(), diag.String()
}

// TestFFmpeg records what ffmpeg encodes: the file plays without a warning, its
// frames are the published ones, and its duration is theirs.
func TestFFmpeg(t *testing.T) {
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatal(err)
		}
	}
	const seconds = "3"
	video := []string{"-f", "lavfi", "-i", "testsrc=size=160x120:rate=25"}
	audio := []string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100"}
	x264 := []string{"-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "25", "-pix_fmt", "yuv420p"}
	join := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	for _, c := range []struct {
		name    string
		args    []string
		streams int
	}{
		{"avc and aac", join(video, audio, x264, []string{"-c:a", "aac"}), 2},
		{"avc", join(video, x264), 1},
		{"aac", join(audio, []string{"-c:a", "aac"}), 1},
		{"mp3", join(audio, []string{"-c:a", "libmp3lame"}), 1},
		{"flv1 and mp3", join(video, audio, []string{"-c:v", "flv1", "-g", "25", "-c:a", "libmp3lame"}), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			published := filepath.Join(t.TempDir(), "published.flv")
			run(t, "ffmpeg", join([]string{"-v", "error", "-y"}, c.args, []string{"-t", seconds, "-f", "flv", published})...)
			var recorded string
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "[stream].flv")
				f := s.start("x")
				sendFile(t, f, published)
				f.unpublish()
				s.read(s.only())
				recorded = keep(t, filepath.Join(s.cwd, "x.flv"), filepath.Dir(published))
			})
			out, warnings := run(t, "ffprobe", "-v", "warning", "-show_entries", "format=duration,nb_streams", "-of", "default=nk=1:nw=1", recorded)
			if warnings != "" {
				t.Errorf("ffprobe warns: %s", warnings)
			}
			lines := strings.Fields(out)
			if len(lines) != 2 || lines[0] != strconv.Itoa(c.streams) {
				t.Fatalf("ffprobe: %q", out)
			}
			if d, err := strconv.ParseFloat(lines[1], 64); err != nil || math.Abs(d-3) > 0.1 {
				t.Errorf("duration %s", lines[1])
			}
			want, _ := run(t, "ffmpeg", "-v", "error", "-i", published, "-c", "copy", "-f", "framemd5", "-")
			got, warnings := run(t, "ffmpeg", "-v", "warning", "-i", recorded, "-c", "copy", "-f", "framemd5", "-")
			if got != want {
				t.Errorf("frames differ\n got %s\nwant %s", got, want)
			}
			if warnings != "" {
				t.Errorf("ffmpeg warns: %s", warnings)
			}
			// And every frame can be decoded.
			if _, diag := run(t, "ffmpeg", "-v", "warning", "-i", recorded, "-f", "null", "-"); diag != "" {
				t.Errorf("decoding warns: %s", diag)
			}
		})
	}
}

// sendFile publishes the tags of a file.
func sendFile(t *testing.T, f *feed, path string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := flv.NewReader(file)
	for {
		tag, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f.send(tag)
	}
}

// keep moves a file out of a directory that is about to be removed.
func keep(t *testing.T, from, dir string) string {
	t.Helper()
	to := filepath.Join(dir, "recorded.flv")
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	return to
}

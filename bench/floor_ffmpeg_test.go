package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"srs/rtmp"
)

// TestFloorFFmpeg: the yardstick serves real programs, not bench alone. ffmpeg
// publishes; bench and another ffmpeg play.
func TestFloorFFmpeg(t *testing.T) {
	t.Parallel()
	const frames, id = 200, 7 // 3 s; recordFile's stream
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.flv"), filepath.Join(dir, "out.flv")
	if err := os.WriteFile(in, recordFile(testLoad, frames), 0o664); err != nil {
		t.Fatal(err)
	}
	url := "rtmp://" + startFloor(t, 0) + "/live/x"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	player := dialFloor(t, url, (*rtmp.Conn).Play)
	ends := make(chan string, 2)
	ffmpeg := func(args ...string) {
		text, err := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-nostdin", "-y"}, args...)...).CombinedOutput()
		if err != nil {
			text = append(text, err.Error()...)
		}
		ends <- string(text)
	}
	go ffmpeg("-i", url, "-c", "copy", "-t", "1.5", out)
	go ffmpeg("-re", "-i", in, "-c", "copy", "-f", "flv", url)
	if sum := player.receive(id, frames-5); sum.damage() > 0 { // the last sounds may be beyond the picture's end
		t.Errorf("%d faults", sum.damage())
	}
	for range 2 {
		if text := <-ends; text != "" {
			t.Error(text)
		}
	}
	r, err := readRecording(out, id)
	if err != nil {
		t.Fatal(err)
	}
	// Beside frames: the two headers, and the end of the sequence, which ffmpeg
	// writes and which is no frame of ours.
	if r.frames < 50 || r.frames+3 != int64(r.video+r.audio) || r.tally.lost.Load() > 0 || r.tally.corrupt.Load() != 1 {
		t.Errorf("%d frames in %d tags, %d lost, %d corrupt", r.frames, r.video+r.audio, r.tally.lost.Load(), r.tally.corrupt.Load())
	}
}

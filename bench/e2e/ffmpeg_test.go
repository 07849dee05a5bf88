package e2e

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// sharedDir holds what tests share; TestMain removes it.
var sharedDir string

// clip is a file of a few seconds of H.264 and AAC, made once: publishing it
// costs next to nothing, encoding does.
var clip = sync.OnceValues(func() (string, error) {
	path := filepath.Join(sharedDir, "clip.flv")
	return path, exec.Command("ffmpeg", "-v", "error", "-y",
		"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-f", "lavfi", "-i", "sine=frequency=440",
		"-t", "10", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-pix_fmt", "yuv420p",
		"-c:a", "aac", "-f", "flv", path).Run()
})

// startFFmpeg runs ffmpeg; kill is its kill -9.
func startFFmpeg(t testing.TB, args ...string) *process {
	t.Helper()
	return startProcess(t, exec.Command("ffmpeg", append([]string{"-hide_banner", "-nostdin", "-v", "verbose", "-nostats"}, args...)...))
}

// publishFFmpeg publishes the clip in real time, over and over. before are
// options for the output.
func publishFFmpeg(t testing.TB, url string, before ...string) *process {
	t.Helper()
	path, err := clip()
	if err != nil {
		t.Fatalf("ffmpeg cannot make the clip: %v", err)
	}
	args := append([]string{"-re", "-stream_loop", "-1", "-i", path, "-c", "copy"}, before...)
	return startFFmpeg(t, append(args, "-f", "flv", url)...)
}

// playFFmpeg plays a stream and throws it away. before are options for the input.
func playFFmpeg(t testing.TB, url string, before ...string) *process {
	t.Helper()
	return startFFmpeg(t, append(before, "-i", url, "-c", "copy", "-f", "null", "-")...)
}

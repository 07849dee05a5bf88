package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCallbacks(t *testing.T) {
	c := newCallbacks()
	done := make(chan error, 1)
	go func() { done <- c.wait(t.Context(), map[string]int{"on_play": 2, "on_dvr": 1}, time.Minute) }()
	for _, line := range []string{
		"[2026-01-02 03:04:05][trace] api server listen at 127.0.0.1:1",
		"[2026-01-02 03:04:05][trace] srs on_play: client id=1, ip=127.0.0.1",
		"[2026-01-02 03:04:05][trace] srs on_dvr: client id=2, file=a.flv",
		"[2026-01-02 03:04:05][trace] srs on_play: client id=3, ip=127.0.0.1",
	} {
		c.line(line)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if all := c.list(); len(all) != 3 || all[1].action != "on_dvr" || all[1].text != "client id=2, file=a.flv" {
		t.Errorf("%+v", all)
	}
	err := c.wait(t.Context(), demoWants, 1)
	if err == nil || !strings.Contains(err.Error(), "on_close (0 of 4 came)") || strings.Contains(err.Error(), "on_dvr") {
		t.Errorf("%v", err)
	}
	if len(demoWants) != len(events) {
		t.Errorf("the demo waits for %d kinds of event, there are %d", len(demoWants), len(events))
	}
}

// TestRecording reads files back: whole, damaged, cut short.
func TestRecording(t *testing.T) {
	dir := t.TempDir()
	whole := recordFile(testLoad, 300)
	if _, err := findRecording(dir); err == nil {
		t.Error("found a recording in an empty directory")
	}
	path := filepath.Join(dir, "a.flv")
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o664); err != nil {
			t.Fatal(err)
		}
	}
	write(whole)
	if got, err := findRecording(dir); got != path || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	r, err := readRecording(path, 7)
	if err != nil || r.frames != 300 || r.tally.damage() != 0 || r.size != int64(len(whole)) || r.video+r.audio != 302 || r.script != 1 {
		t.Errorf("%v: %+v", err, r)
	}
	if r.duration < 4300*time.Millisecond || r.duration > 4500*time.Millisecond {
		t.Errorf("duration %v", r.duration)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)-30] ^= 1
	write(flipped)
	if r, err := readRecording(path, 7); err != nil || r.tally.damage() == 0 {
		t.Errorf("a flipped bit: %v", err)
	}
	write(whole[:len(whole)-5])
	if _, err := readRecording(path, 7); err == nil {
		t.Error("a file that is cut short was read as whole")
	}
	if err := os.WriteFile(path+".tmp", nil, 0o664); err != nil {
		t.Fatal(err)
	}
	if _, err := findRecording(dir); err == nil {
		t.Error("a recording under way was overlooked")
	}
}

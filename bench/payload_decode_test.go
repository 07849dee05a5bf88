package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"srs/flv"
)

// recordFile writes seconds of a stream as FLV.
func recordFile(w workload, frames int) []byte {
	p := newPayload(w, 7)
	file := flv.AppendHeader(nil, w.AudioKbps > 0, true)
	for _, t := range p.headers() {
		if t.Type == flv.TypeScript {
			t.Data = t.Data[16:] // without "@setDataFrame", as a recorder writes it
		}
		file = flv.AppendTag(file, t)
	}
	s := schedule{workload: w}
	for range frames {
		f := s.next()
		file = flv.AppendTag(file, flv.Tag{Type: f.typ, Timestamp: f.timestamp(), Data: p.frame(f, 1)})
	}
	return file
}

// TestPayloadDecodes gives the synthetic media to a real decoder, which must
// not say a word.
func TestPayloadDecodes(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]workload{
		"500k": {Kbps: 500, AudioKbps: 128, FPS: 25, GOP: 2e9},
		"5M":   {Kbps: 5000, AudioKbps: 128, FPS: 25, GOP: 2e9},
		"loud": {Kbps: 1500, AudioKbps: 600, FPS: 30, GOP: 1e9}, // audio frames of several elements
		"keys": {Kbps: 200, FPS: 10},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "a.flv")
			if err := os.WriteFile(file, recordFile(w, 300), 0o664); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(ffmpeg, "-v", "warning", "-xerror", "-i", file, "-f", "null", "-").CombinedOutput()
			if err != nil || len(bytes.TrimSpace(out)) > 0 {
				t.Errorf("ffmpeg: %v\n%s", err, out)
			}
		})
	}
}

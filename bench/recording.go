package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"srs/flv"
)

// A recording is what a finished file holds.
type recording struct {
	path                 string
	size                 int64
	duration             time.Duration // time stamp of its last tag
	video, audio, script int           // tags
	frames               int64         // intact ones, in order
	tally                tally
}

// findRecording returns the one file below a directory that is a recording,
// complete: none of the names that are in use while recording may be left.
func findRecording(dir string) (string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(d.Name(), ".flv") {
			found = append(found, path)
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case len(found) != 1 || !strings.HasSuffix(found[0], ".flv"):
		return "", fmt.Errorf("one finished recording is expected in %s, there are %q", dir, found)
	}
	return found[0], nil
}

// readRecording reads a file from one end to the other and checks its frames
// as a player does.
func readRecording(path string, stream uint32) (*recording, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r := &recording{path: path}
	check := newVerifier(&r.tally, stream)
	reader := flv.NewReader(bufio.NewReader(file))
	for {
		t, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: at byte %d: %w", path, reader.Offset(), err)
		}
		switch t.Type {
		case flv.TypeVideo:
			r.video++
		case flv.TypeAudio:
			r.audio++
		default:
			r.script++
		}
		r.duration = time.Duration(t.Timestamp) * time.Millisecond
		check.message(t.Type, t.Timestamp, t.Data, 0)
	}
	r.size, r.frames = reader.Offset(), check.intact
	return r, nil
}

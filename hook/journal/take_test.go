package journal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A directory that cannot be used is taken when it can be: what is in it is
// found, and what was appended meanwhile comes behind.
func TestTakenLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	w := start(t, dir)
	w.put(t, "a", "b")
	w.close(t)
	os.Rename(dir, dir+".away")
	os.WriteFile(dir, nil, 0o600)
	w = open(t, dir)
	if len(w.found) > 0 {
		t.Errorf("found %v", w.found)
	}
	w.KeepBelow(7)
	w.Start()
	w.mu.Lock()
	if len(w.trouble) != 1 || !errors.Is(w.trouble[0], syscall.ENOTDIR) || w.taken {
		t.Errorf("trouble %v, taken %v", w.trouble, w.taken)
	}
	w.mu.Unlock()
	first := &Entry{Kind: 1, Payload: []byte("c"), Hold: true}
	w.Append(first)
	os.Remove(dir)
	os.Rename(dir+".away", dir)
	w.put(t, "d")
	w.mu.Lock()
	if len(w.trouble) != 2 || w.trouble[1] != nil || !w.taken || w.text() != "a b" || first.Seq <= 2 || first.Place().Segment != 2 {
		t.Errorf("trouble %v, taken %v, found %q, number %d in %+v", w.trouble, w.taken, w.text(), first.Seq, first.Place())
	}
	w.mu.Unlock()
	w.close(t)
	w = open(t, dir)
	if got := w.text(); got != "c d" || w.State().Below != 7 { // a and b were not held
		t.Errorf("found %q, state %+v", got, w.State())
	}
}

// Close does not wait for a directory that cannot be used.
func TestNeverTaken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	w := open(t, file)
	w.Start()
	w.Append(&Entry{Payload: []byte("x")})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := w.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 records could not be written") {
		t.Errorf("Close: %v", err)
	}
}

// A state that cannot be read is told once, when a new one is made: not as long as
// the directory cannot be taken for another reason.
func TestUnreadableState(t *testing.T) {
	dir := t.TempDir()
	w := start(t, dir)
	w.put(t, "a")
	w.close(t)
	os.WriteFile(dir+"/state", []byte("{"), 0o600)
	if err := os.Mkdir(dir+"/0000000002.journal", 0o700); err != nil { // no file to read
		t.Fatal(err)
	}
	w = open(t, dir)
	if w.refused == nil || w.log.Len() > 0 {
		t.Errorf("refused %v, log %s", w.refused, w.log.String())
	}
	w.Start()
	os.Remove(dir + "/0000000002.journal")
	w.await(t, "taken", func() bool { return w.taken })
	w.close(t)
	if n := strings.Count(w.log.String(), "state is not readable, a new one is made"); n != 1 {
		t.Errorf("%d lines: %s", n, w.log.String())
	}
}

// A disk that answers only after Close has lost its patience does not keep the
// directory from being taken again.
func TestCloseOfSlowDisk(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	answer := make(chan struct{})
	w.flush = func(f *os.File) error { <-answer; return fdatasync(f) }
	w.Start()
	w.Append(&Entry{Kind: 1, Payload: []byte("x"), Hold: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	take := func() error {
		j, err := Open(Options{Dir: dir, Replay: func() func(Record) { return func(Record) {} }, Taken: func() {}})
		if err != nil {
			return err
		}
		j.Start()
		return j.Close(t.Context())
	}
	if err := take(); !errors.Is(err, ErrInUse) {
		t.Errorf("while the disk writes: %v", err)
	}
	close(answer)
	w.await(t, "given up", func() bool { return take() == nil })
}

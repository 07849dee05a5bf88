package journal

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// appendUntil appends something now and then until it holds.
func (w *owner) appendUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		if holds() {
			return
		}
		w.put(t, "more")
		<-tick.C
	}
	t.Fatalf("not %s in time:\n%s", what, w.log.String())
}

// What an owner or a cleaner removes under a running server is there again with the
// next records: the newest file whole, the state, and the lock. It is told once.
func TestRemovedWhileRunning(t *testing.T) {
	for _, what := range []string{"", "/*.journal", "/lock"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/hooks"
			w := start(t, dir)
			if err := w.SetState(State{ServerID: "me", Below: 7}); err != nil {
				t.Fatal(err)
			}
			w.put(t, "one", "two")
			w.mu.Lock()
			place := w.stored[0].Place()
			w.mu.Unlock()
			file := segmentsOf(t, dir)[0]
			missing := file
			switch what {
			case "":
				os.RemoveAll(dir)
			case "/lock":
				missing = dir + "/lock"
				os.Remove(missing)
			default:
				os.Remove(file)
			}
			if b, err := w.Read(place); err != nil || string(b) != "one" {
				t.Errorf("%q %v", b, err)
			}
			w.appendUntil(t, "there", func() bool { _, err := os.Stat(missing); return err == nil })
			w.put(t, "last")
			if b, err := w.Read(place); err != nil || string(b) != "one" {
				t.Errorf("%q %v", b, err)
			}
			if _, err := Open(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by process") {
				t.Errorf("a second server: %v", err)
			}
			w.close(t)
			if n := strings.Count(w.log.String(), "files of the journal were removed"); n != 1 || !strings.Contains(w.log.String(), "lost_records=0") {
				t.Errorf("%d lines:\n%s", n, w.log.String())
			}
			next := open(t, dir)
			if got := next.text(); !strings.HasPrefix(got, "one two more ") || !strings.HasSuffix(got, " last") || next.State() != (State{ServerID: "me", Below: 7}) {
				t.Errorf("found %s, %+v", got, next.State())
			}
		})
	}
}

// While it cannot be put back the disk counts as failing; then all is there.
func TestRemovedAndBlocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/hooks"
	w := start(t, dir)
	w.put(t, "one")
	w.mu.Lock()
	w.trouble = nil
	w.mu.Unlock()
	os.RemoveAll(dir)
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no directory can be made there
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	troubled := func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.trouble) > 0 }
	n := 0
	for ; n < 200 && !troubled(); n++ {
		w.Append(&Entry{Kind: 1, Payload: fmt.Append(nil, n), Hold: true})
		<-tick.C
	}
	if !troubled() {
		t.Fatal("nothing is told")
	}
	os.Remove(dir)
	w.await(t, "stored", func() bool { return len(w.stored) == n+1 })
	w.close(t)
	if len(w.trouble) != 2 || w.trouble[1] != nil || !strings.Contains(w.trouble[0].Error(), "files were removed and cannot be made anew") {
		t.Errorf("told %v", w.trouble)
	}
	next := open(t, dir)
	if got := strings.Fields(next.text()); len(got) != n+1 || got[0] != "one" {
		t.Errorf("%d of %d records", len(got), n+1)
	}
}

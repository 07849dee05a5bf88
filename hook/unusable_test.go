package hook

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A journal_dir that cannot be used stops nobody: gates and notices go on, what
// waits is in memory, and when the directory is back it has that too, and what
// the last run left in it is taken up.
func TestUnusableJournal(t *testing.T) {
	var down atomic.Bool
	srv := newLedger(t, func(w http.ResponseWriter, c call) {
		if down.Load() {
			w.WriteHeader(503)
		}
		fmt.Fprint(w, "0")
	})
	rules := rulesOf(all(srv.URL))
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rules})
	id := e.serverID
	lifecycle(t, e, 1, "a")
	quiet(t, e)
	left := killed(t, dir)
	closeNow(t, e)

	down.Store(true)
	place := filepath.Join(t.TempDir(), "objs", "hooks")
	os.WriteFile(filepath.Dir(place), nil, 0o600) // a file where the folder should be
	var book logBook
	e = durable(t, place, Options{Rules: rules, Log: book.logger()})
	if first, err := e.FirstID(50); err != nil || first != 50 {
		t.Errorf("first id %d, %v", first, err)
	}
	for _, want := range []string{"level=ERROR", "kept in memory", "uid=", "not a directory", "dir=" + place} {
		if !strings.Contains(book.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, book.String())
		}
	}
	if e.serverID == "" || e.serverID == id {
		t.Errorf("server id %q", e.serverID)
	}
	c := e.Client()
	c.end(100, "b") // is not taken
	down.Store(false)
	lifecycle(t, e, 101, "c")
	down.Store(true)
	e.Client().end(102, "d")

	os.Remove(filepath.Dir(place))
	os.Mkdir(filepath.Dir(place), 0o700)
	if err := os.Rename(left, place); err != nil {
		t.Fatal(err)
	}
	if !settles(func() bool { return strings.Contains(book.String(), "is written again") }) {
		t.Fatal(book.String())
	}
	if !strings.Contains(book.String(), "missing_ends=2") {
		t.Error(book.String())
	}
	quiet(t, e)
	again := killed(t, place)
	closeNow(t, e)
	down.Store(false)
	n := len(srv.seen())
	e = durable(t, again, Options{Rules: rules})
	if e.serverID != id {
		t.Errorf("server id %q, want %q", e.serverID, id)
	}
	if first, _ := e.FirstID(1); first < 102 {
		t.Errorf("first id %d", first)
	}
	closeNow(t, e)
	got := make(map[string]int)
	for _, c := range srv.seen()[n:] {
		got[fmt.Sprint(c.ClientID, c.Action)]++
	}
	for _, want := range []string{"1on_unpublish", "1on_close", "101on_unpublish", "101on_close", "102on_unpublish", "102on_close"} {
		if got[want] != 1 {
			t.Errorf("%d times %s", got[want], want)
		}
		delete(got, want)
	}
	if n := got["100on_unpublish"] + got["100on_close"]; len(got) > n {
		t.Errorf("besides: %v", got)
	}
}

// PR-04: what waits while the disk fails is bounded: the oldest is dropped, with a
// line. The rest goes to the disk when that is back. (A full disk: bench/e2e. One
// that refuses fsync, or hangs: hook/journal.)
func TestPR04(t *testing.T) {
	const more = 500
	place := filepath.Join(t.TempDir(), "hooks")
	os.WriteFile(place, nil, 0o600) // no folder can be here
	var book logBook
	e := durable(t, place, Options{Rules: rulesOf(all("http://127.0.0.1:1/")), Log: book.logger()})
	for i := range uint64(maxLoose + more) {
		e.Client().Tell(event(OnStop, i, "s"))
	}
	e.mu.Lock()
	waiting, bytes := e.loose.Len(), e.looseBytes
	e.mu.Unlock()
	dropped := e.Counters()[OnStop].Dropped
	if waiting > maxLoose || bytes > maxLooseBytes || waiting+int(dropped) != maxLoose+more || !strings.Contains(book.String(), "notices dropped") {
		t.Errorf("%d wait, %d bytes, %d dropped", waiting, bytes, dropped)
	}
	os.Remove(place)
	quiet(t, e)
	if n := strings.Count(book.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d error lines", n)
	}
	left := killed(t, place)
	closeWithin(t, e, time.Second)
	next := durable(t, left, Options{Rules: rulesOf(all("http://127.0.0.1:1/"))})
	if n := next.Endpoints()[0].Pending; n != waiting {
		t.Errorf("%d of %d survive", n, waiting)
	}
	closeWithin(t, next, time.Second)
}

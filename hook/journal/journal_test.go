package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// An owner keeps what a journal tells it.
type owner struct {
	*Journal
	mu      sync.Mutex
	stored  []*Entry
	trouble []error
	taken   bool
	log     bytes.Buffer
	found   map[uint64]string // what Open replayed
	places  map[uint64]Place
}

func open(t testing.TB, dir string) *owner {
	t.Helper()
	w := &owner{found: map[uint64]string{}, places: map[uint64]Place{}}
	j, err := Open(Options{
		Dir: dir,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		Replay: func() func(Record) {
			return func(r Record) { w.found[r.Seq], w.places[r.Seq] = string(r.Payload), r.Place }
		},
		Taken: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.taken = true
		},
		Stored: func(e []*Entry) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.stored = append(w.stored, e...)
		},
		Trouble: func(err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.trouble = append(w.trouble, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Journal = j
	t.Cleanup(func() { w.close(t) })
	return w
}

func start(t testing.TB, dir string) *owner {
	w := open(t, dir)
	w.Start()
	return w
}

func (w *owner) close(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := w.Close(ctx); err != nil {
		t.Error(err)
	}
}

// put appends texts and waits until all are stored.
func (w *owner) put(t testing.TB, texts ...string) {
	t.Helper()
	w.mu.Lock()
	n := len(w.stored) + len(texts)
	w.mu.Unlock()
	for _, s := range texts {
		w.Append(&Entry{Kind: 1, Payload: []byte(s), Hold: true})
	}
	w.await(t, "stored", func() bool { return len(w.stored) >= n })
}

func (w *owner) await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 15_000 {
		w.mu.Lock()
		ok := holds()
		w.mu.Unlock()
		if ok {
			return
		}
		<-tick.C
	}
	t.Fatalf("not %s in time", what)
}

// text returns what was replayed, in order.
func (w *owner) text() string {
	var b strings.Builder
	for _, seq := range slices.Sorted(maps.Keys(w.found)) {
		fmt.Fprintf(&b, "%s ", w.found[seq])
	}
	return strings.TrimSpace(b.String())
}

func segmentsOf(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.journal")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFoundAgain(t *testing.T) {
	dir := t.TempDir()
	w := start(t, dir)
	w.put(t, "a", "", strings.Repeat("b", 100))
	for i, e := range w.stored {
		if got, err := w.Read(e.Place()); err != nil || string(got) != string(e.Payload) {
			t.Errorf("%d: %q %v", i, got, err)
		}
	}
	w.close(t)
	w = open(t, dir)
	if got := w.text(); got != "a  "+strings.Repeat("b", 100) {
		t.Errorf("found %q", got)
	}
	w.Hold(w.places[1])
	w.Start()
	w.put(t, "c")
	w.close(t)
	w = open(t, dir)
	if got := w.text(); got != "a  "+strings.Repeat("b", 100)+" c" || w.places[4].Segment != 2 {
		t.Errorf("found %q", got)
	}
}

// What is let go of is removed, oldest file first, the current one excepted.
func TestRelease(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		w := open(t, dir)
		for _, p := range w.places {
			w.Hold(p)
		}
		w.Start()
		w.put(t, fmt.Sprint(i))
		w.close(t)
	}
	w := open(t, dir)
	if n := len(segmentsOf(t, dir)); n != 3 {
		t.Fatalf("%d files", n)
	}
	for _, p := range w.places {
		w.Hold(p)
	}
	w.Start()
	w.put(t, "3")
	w.Release(w.places[2])
	w.put(t, "4")
	if n := len(segmentsOf(t, dir)); n != 4 {
		t.Errorf("%d files, the first is held", n)
	}
	w.Release(w.places[1])
	w.await(t, "removed", func() bool { return len(segmentsOf(t, dir)) == 2 })
}

// What fsync refused is written again elsewhere, and the owner is told.
func TestSyncFails(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	fail := errors.New("input/output error")
	w.flush = func(f *os.File) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.stored) > 0 && len(w.trouble) == 0 {
			return fail
		}
		return fdatasync(f)
	}
	w.Start()
	w.put(t, "safe")
	w.put(t, "a", "b")
	w.mu.Lock()
	if len(w.trouble) != 2 || !errors.Is(w.trouble[0], fail) || w.trouble[1] != nil {
		t.Errorf("trouble %v", w.trouble)
	}
	if p := w.stored[1].Place(); p.Segment != 2 {
		t.Errorf("stored in %d", p.Segment)
	}
	w.mu.Unlock()
	w.close(t)
	w = open(t, dir)
	if got := w.text(); got != "safe a b" || w.places[3].Segment != 2 {
		t.Errorf("found %q", got)
	}
}

// A disk that hangs is told of, and its owner may take back what waits.
func TestHangs(t *testing.T) {
	w := open(t, t.TempDir())
	hang := make(chan struct{})
	w.flush = func(f *os.File) error { <-hang; return fdatasync(f) }
	w.Start()
	e := &Entry{Payload: []byte("x"), Written: make(chan struct{})}
	done := e.Written
	w.Append(e)
	<-done // survives the process all the same
	w.await(t, "trouble", func() bool { return len(w.trouble) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if w.Cancel(e) {
		t.Error("canceled what was written")
	}
	if err := w.Close(ctx); err == nil {
		t.Error("closed")
	}
	close(hang)
	w.done.Wait()
}

func TestCanceled(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	a, b := &Entry{Payload: []byte("a")}, &Entry{Payload: []byte("b")}
	w.Append(a)
	w.Append(b)
	if !w.Cancel(a) {
		t.Error("not canceled")
	}
	w.Start()
	w.close(t)
	if got := open(t, dir).text(); got != "b" {
		t.Errorf("found %q", got)
	}
}

// What is canceled while the writer is stuck takes no memory, and leaves what is
// not canceled as it was.
func TestCanceledWhileStuck(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir) // not started: as stuck as can be
	w.Append(&Entry{Payload: []byte("first")})
	for range 100_000 {
		e := &Entry{Payload: make([]byte, 1000), Owner: w}
		w.Append(e)
		if again := w.Cancel(e); !w.Cancel(e) || !again || e.Payload != nil || e.Owner != nil {
			t.Fatal("not canceled")
		}
	}
	w.Append(&Entry{Payload: []byte("last")})
	w.Journal.mu.Lock()
	if n := len(w.queue); n > maxCanceled+2 {
		t.Errorf("%d entries are queued", n)
	}
	w.Journal.mu.Unlock()
	w.Start()
	w.close(t)
	if got := open(t, dir).text(); got != "first last" {
		t.Errorf("found %q", got)
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	start(t, dir)
	_, err := Open(Options{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Error(err)
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	w := start(t, dir)
	if err := w.SetState(State{ServerID: "me", Below: 5}); err != nil {
		t.Fatal(err)
	}
	w.KeepBelow(9)
	w.close(t)
	if got := open(t, dir).State(); got != (State{ServerID: "me", Below: 9}) {
		t.Errorf("%+v", got)
	}
}

// Segments end when they are full; a reader follows from one to the next.
func TestRollAndFollow(t *testing.T) {
	dir := t.TempDir()
	w := start(t, dir)
	big := strings.Repeat("x", 512<<10)
	r := NewReader(dir)
	defer r.Close()
	var seen []uint64
	for range 40 {
		w.put(t, big)
		if _, err := r.Read(func(r Record) { seen = append(seen, r.Seq) }); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(segmentsOf(t, dir)); n != 3 {
		t.Errorf("%d files", n)
	}
	for i, seq := range seen {
		if seq != uint64(i+1) || len(seen) != 40 {
			t.Fatalf("read %v", seen)
		}
	}
	if _, yes := w.Wasteful(); yes {
		t.Error("wasteful")
	}
	for _, e := range w.stored[1:] {
		w.Release(e.Place())
	}
	if n, yes := w.Wasteful(); n != 1 || !yes {
		t.Error("not wasteful")
	}
}

func FuzzScan(f *testing.F) {
	const salt = 0x1234
	b := appendHeader(nil, 1, salt)
	for _, s := range []string{"", "a", strings.Repeat("b", 50)} {
		b = appendRecord(b, salt, 3, 7, []byte(s))
	}
	f.Add(b, uint16(0), byte(0))
	f.Add(b, uint16(40), byte(1))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, flip byte) {
		if len(b) > 0 {
			b[int(at)%len(b)] ^= flip
		}
		salt := uint32(salt)
		if s, ok := parseHeader(b, 1); ok {
			salt = s
		}
		last, total := 0, 0
		end, damaged, places := scan(b, 1, salt, 0, func(r Record) {
			if int(r.Place.offset) < last || int(r.Place.size) != recordSize(len(r.Payload)) {
				t.Errorf("record at %+v after %d", r.Place, last)
			}
			again := appendRecord(nil, salt, r.Kind, r.Seq, r.Payload)
			if binary.LittleEndian.Uint32(again[20:]) != binary.LittleEndian.Uint32(b[r.Place.offset+20:]) {
				t.Error("another checksum")
			}
			last = int(r.Place.offset + r.Place.size)
			total += int(r.Place.size)
		})
		if end != last || damaged != end-total || places > 0 != (damaged > 0) || end > len(b) {
			t.Errorf("end %d, damaged %d, last %d, total %d of %d", end, damaged, last, total, len(b))
		}
	})
}

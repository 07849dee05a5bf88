package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"srs/hook/journal"
)

// durable opens an engine with its journal in dir.
func durable(t testing.TB, dir string, o Options) *Engine {
	t.Helper()
	e := openEngine(t, o)
	if err := e.OpenJournal(dir); err != nil {
		t.Fatal(err)
	}
	return e
}

// closeWithin ends an engine whose endpoints may not answer.
func closeWithin(t testing.TB, e *Engine, d time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return e.Close(ctx)
}

// killed returns what a server that was killed now would leave: a copy.
func killed(t testing.TB, dir string) string {
	t.Helper()
	for range 100 {
		to := t.TempDir()
		files, err := os.ReadDir(dir)
		for _, f := range files {
			var b []byte
			if b, err = os.ReadFile(filepath.Join(dir, f.Name())); err == nil {
				err = os.WriteFile(filepath.Join(to, f.Name()), b, 0o600)
			}
			if err != nil {
				break
			}
		}
		if err == nil {
			return to
		}
		if !errors.Is(err, fs.ErrNotExist) { // removed meanwhile, behind a newer one
			t.Fatal(err)
		}
	}
	t.Fatal("no copy at rest")
	return ""
}

// quiet waits until the journal has all there is.
func quiet(t testing.TB, e *Engine) {
	t.Helper()
	if !settles(func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		for b := range e.begins {
			if !b.held {
				return false
			}
		}
		return e.loose.Len()+len(e.owed) == 0
	}) {
		t.Fatal("the journal does not store what it has")
	}
	last := &journal.Entry{Kind: recordSettle, Payload: done{}.append(nil), Written: make(chan struct{})} // of nothing
	written := last.Written
	e.journal.Append(last)
	select {
	case <-written:
	case <-time.After(10 * time.Second):
		t.Fatal("the journal does not write what it has")
	}
}

func lifecycle(t testing.TB, e *Engine, id uint64, stream string) *Client {
	t.Helper()
	c := e.Client()
	for _, a := range []Action{OnConnect, OnPublish} {
		if err := c.Ask(t.Context(), event(a, id, stream)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *Client) end(id uint64, stream string) {
	c.Tell(event(OnUnpublish, id, stream))
	c.Tell(event(OnClose, id, ""))
}

// What is not delivered when the server stops is delivered by the next one, in
// order, with the same ids.
func TestRestart(t *testing.T) {
	var up atomic.Bool
	srv := newLedger(t, func(w http.ResponseWriter, c call) {
		if endOf(c.Action) == "" && !up.Load() {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "0")
	})
	dir, o := t.TempDir(), Options{Rules: rulesOf(all(srv.URL))}
	e := durable(t, dir, o)
	for id := range uint64(20) {
		lifecycle(t, e, id, fmt.Sprint("s", id)).end(id, fmt.Sprint("s", id))
	}
	e.TellFile(event(OnDVR, 1, "s1"), func() {})
	first := e.serverID
	if err := closeWithin(t, e, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]string) // id by body
	for _, c := range srv.seen() {
		if endOf(c.Action) == "" {
			tried[c.body] = c.header.Get("Webhook-Id")
		}
	}
	up.Store(true)
	before := len(srv.seen())
	var book logBook
	o.Log = book.logger()
	e = durable(t, dir, o)
	if e.serverID != first || first == "" {
		t.Errorf("server id %q, was %q", e.serverID, first)
	}
	if err := closeWithin(t, e, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(book.String(), "that waited are delivered"); n != 1 || !strings.Contains(book.String(), "count=41 ") {
		t.Errorf("%d lines say what waited", n)
	}
	order := make(map[uint64]string)
	for _, c := range srv.seen()[before:] {
		order[c.ClientID] += string(c.Action) + " "
		if id := tried[c.body]; id != "" && id != c.header.Get("Webhook-Id") {
			t.Errorf("%s had the id %s, now %s", c, id, c.header.Get("Webhook-Id"))
		}
	}
	for id, got := range order {
		if want := "on_unpublish on_close "; got != want && !(id == 1 && strings.Contains(got, "on_dvr")) {
			t.Errorf("client %d: %s", id, got)
		}
	}
	if len(order) != 20 {
		t.Errorf("%d clients", len(order))
	}
	before = len(srv.seen())
	closeWithin(t, durable(t, dir, o), time.Second)
	if n := len(srv.seen()); n != before {
		t.Errorf("%d more calls by a third server", n-before)
	}
}

// The ends that a kill left missing go out in order, with a reason, the same id
// whoever tells them, and before anything new of their streams.
func TestMissingEnds(t *testing.T) {
	srv := newLedger(t, nil)
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rulesOf(all(srv.URL))})
	lifecycle(t, e, 1, "a")
	c := e.Client()
	for _, a := range []Action{OnConnect, OnPlay} {
		if err := c.Ask(t.Context(), event(a, 2, "a")); err != nil {
			t.Fatal(err)
		}
	}
	quiet(t, e)
	left := killed(t, dir)
	closeNow(t, e)

	slow := newLedger(t, func(w http.ResponseWriter, c call) { <-time.After(20 * time.Millisecond); io.WriteString(w, "0") })
	e = durable(t, left, Options{Rules: rulesOf(all(slow.URL))})
	again := killed(t, left)
	lifecycle(t, e, 3, "a")
	closeNow(t, e)
	calls := slow.seen()
	for i, c := range calls {
		if strings.Contains(c.body, `"reason":"server_restart"`) != (c.ClientID != 3) {
			t.Errorf("%d: %s", i, c.body)
		}
		if c.Action == OnPublish && i != len(calls)-1 {
			t.Errorf("on_publish is call %d of %d", i, len(calls))
		}
	}
	var got []string
	for _, c := range calls {
		if c.ClientID != 3 {
			got = append(got, fmt.Sprint(c.ClientID, c.Action))
		}
	}
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:1], b[:1]) })
	if want := []string{"1on_unpublish", "1on_close", "2on_stop", "2on_close"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}

	// Killed once more just then: the same ids.
	ids := make(map[string]bool)
	for _, c := range calls {
		ids[c.header.Get("Webhook-Id")] = true
	}
	repeat := newLedger(t, nil)
	e = durable(t, again, Options{Rules: rulesOf(all(repeat.URL))})
	closeNow(t, e)
	for _, c := range repeat.seen() {
		if !ids[c.header.Get("Webhook-Id")] {
			t.Errorf("%s has another id now: %s", c, c.header.Get("Webhook-Id"))
		}
	}
}

// Nothing is owed for what was refused, and for ends that nobody wants to hear.
func TestNothingOwed(t *testing.T) {
	srv := newLedger(t, func(w http.ResponseWriter, c call) {
		io.WriteString(w, map[bool]string{true: "1", false: "0"}[c.Action == OnPlay])
	})
	dir, r := t.TempDir(), all(srv.URL)
	var now atomic.Pointer[Rules]
	now.Store(r)
	e := durable(t, dir, Options{Rules: func(string) (*Rules, bool) { return now.Load(), true }})
	wantReason(t, e.Client().Ask(t.Context(), event(OnPlay, 1, "s")), ReasonDenied)
	c := lifecycle(t, e, 2, "s")
	now.Store(&Rules{})
	c.end(2, "s")
	now.Store(r)
	quiet(t, e)
	if !settles(func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.begins) == 0 }) {
		t.Errorf("%d begins are remembered", len(e.begins))
	}
	left := killed(t, dir)
	e = durable(t, left, Options{Rules: rulesOf(r)})
	closeNow(t, e)
	wantCalls(t, srv, "/ on_play 1 s", "/ on_connect 2 ", "/ on_publish 2 s")
}

// What on_fail accepted without a call owes its end as well.
func TestMissingEndOfUnasked(t *testing.T) {
	var up atomic.Bool
	srv := newLedger(t, func(w http.ResponseWriter, _ call) {
		if !up.Load() {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "0")
	})
	dir, r := t.TempDir(), all(srv.URL)
	r.AllowOnFail = true
	e := durable(t, dir, Options{Rules: rulesOf(r)})
	clients := uint64(breakerFails + 5) // the last ones find the breaker open
	for id := range clients {
		if err := e.Client().Ask(t.Context(), event(OnPlay, id, "s")); err != nil {
			t.Fatal(err)
		}
	}
	if !e.Endpoints()[0].BreakerOpen {
		t.Error("the breaker is closed")
	}
	quiet(t, e)
	left := killed(t, dir)
	closeNow(t, e)
	up.Store(true)
	before := len(srv.seen())
	closeNow(t, durable(t, left, Options{Rules: rulesOf(r)}))
	ends := make(map[uint64]bool)
	for _, c := range srv.seen()[before:] {
		ends[c.ClientID] = c.Action == OnStop
	}
	if uint64(len(ends)) != clients {
		t.Errorf("%d ends of %d begins", len(ends), clients)
	}
}

// The vhost is gone at the next start: the ends go where the begin would have
// sent them.
func TestMissingEndsOfVhostThatIsGone(t *testing.T) {
	srv := newLedger(t, nil)
	dir, r := t.TempDir(), all(srv.URL)
	e := durable(t, dir, Options{Rules: rulesOf(r)})
	lifecycle(t, e, 7, "a")
	quiet(t, e)
	left := killed(t, dir)
	closeNow(t, e)
	before := len(srv.seen())
	closeNow(t, durable(t, left, Options{Rules: func(string) (*Rules, bool) { return nil, false }}))
	got := srv.seen()[before:]
	if len(got) != 2 || got[0].Action != OnUnpublish || got[1].Action != OnClose || got[0].ClientID != 7 {
		t.Errorf("%v", got)
	}
}

// Old files go although something in them is needed: it is written once more.
func TestClean(t *testing.T) {
	srv := newLedger(t, nil)
	dir := t.TempDir()
	r := all(srv.URL)
	r.OnDVR = []string{"http://127.0.0.1:1/"}
	e := durable(t, dir, Options{ServerID: "sid", Rules: rulesOf(r)})
	lifecycle(t, e, 1, "long")
	e.TellFile(event(OnDVR, 1, "never told"), func() {})
	quiet(t, e)
	pad := strings.Repeat("x", 16<<10)
	c := e.Client()
	for range 3000 { // 48 MiB
		ev := event(OnStop, 2, "s")
		ev.Param = pad
		c.Tell(ev)
	}
	told := func() bool { return e.Counters()[OnStop].Delivered == 3000 }
	for try := 0; !settles(told); try++ { // a slow machine has half a minute
		if try == 5 {
			t.Fatalf("%+v", e.Counters()[OnStop])
		}
	}
	quiet(t, e)
	files, _ := filepath.Glob(dir + "/*.journal")
	if len(files) > 5 || slices.Contains(files, dir+"/0000000001.journal") {
		t.Errorf("files %q", files)
	}
	left := killed(t, dir)
	closeWithin(t, e, time.Second)
	r.OnDVR = nil
	before := len(srv.seen())
	e = durable(t, left, Options{ServerID: "sid", Rules: rulesOf(r)})
	if got := e.Counters()[OnDVR].Told; got != 1 {
		t.Errorf("%d recordings to be told", got)
	}
	if !settles(func() bool { return len(srv.seen()) == before+2 }) {
		t.Error(srv.saw())
	}
	closeWithin(t, e, time.Second)
}

// A record that is damaged while it waits is lost, with a line in the log, and
// only that one.
func TestDamagedWhileWaiting(t *testing.T) {
	var hold atomic.Value // chan struct{}
	never := make(chan struct{})
	hold.Store(never)
	srv := newLedger(t, func(w http.ResponseWriter, _ call) { <-hold.Load().(chan struct{}); io.WriteString(w, "0") })
	defer close(never)
	dir, r := t.TempDir(), all(srv.URL)
	r.Workers = 1
	e := durable(t, dir, Options{Rules: rulesOf(r)})
	for id := range uint64(3) {
		e.Client().Tell(event(OnStop, id, fmt.Sprint("stream", id)))
	}
	quiet(t, e)
	closeWithin(t, e, time.Millisecond)
	open := make(chan struct{})
	answer := sync.OnceFunc(func() { close(open) })
	defer answer()
	hold.Store(open)
	var book logBook
	before := len(srv.seen())
	e = durable(t, dir, Options{Rules: rulesOf(r), Log: book.logger()})
	if !settles(func() bool { return len(srv.seen()) > before }) {
		t.Fatal("nothing is delivered")
	}
	path := dir + "/0000000001.journal"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[strings.Index(string(b), "stream2")] ^= 1 // in the last record
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	answer()
	if !settles(func() bool { return e.Counters()[OnStop] == Counts{Told: 3, Delivered: 2, Dropped: 1} }) {
		t.Errorf("%+v", e.Counters()[OnStop])
	}
	closeNow(t, e)
	if n := strings.Count(book.String(), "notice lost: its record in the journal is damaged"); n != 1 {
		t.Errorf("%d lines:\n%s", n, book.String())
	}
}

// The oldest goes when too much waits for an endpoint; others lose nothing.
func TestPendingBound(t *testing.T) {
	srv := newLedger(t, nil)
	r := all("http://127.0.0.1:1/")
	r.OnStop = []string{srv.URL}
	e := durable(t, t.TempDir(), Options{Rules: rulesOf(r)})
	e.maxPending = 100
	for i := range 150 {
		e.Client().Tell(event(OnClose, uint64(i), ""))
	}
	for i := range 90 {
		e.Client().Tell(event(OnStop, uint64(i), "s"))
	}
	if got := e.Counters()[OnClose]; got.Dropped == 0 || got.Dropped > 50 {
		t.Errorf("%+v", got)
	}
	if !settles(func() bool { return e.Counters()[OnStop].Delivered == 90 }) {
		t.Errorf("%+v", e.Counters()[OnStop])
	}
	closeWithin(t, e, time.Second)
}

func TestClientIDsAreNotReused(t *testing.T) {
	dir := t.TempDir()
	srv := newLedger(t, nil)
	e := durable(t, dir, Options{Rules: rulesOf(all(srv.URL))})
	first, err := e.FirstID(1 << 30)
	if err != nil || first != 1<<30 {
		t.Fatal(first, err)
	}
	given := uint64(1<<30 + 3*idStep)
	lifecycle(t, e, given, "s").end(given, "s")
	closeNow(t, e)
	e = durable(t, dir, Options{Rules: rulesOf(all(srv.URL))})
	if next, err := e.FirstID(5); err != nil || next <= given {
		t.Errorf("%d given out again, %d was: %v", next, given, err)
	}
	closeNow(t, e)
}

func TestTwoServersOneJournal(t *testing.T) {
	dir := t.TempDir()
	durable(t, dir, Options{})
	err := New(Options{}).OpenJournal(dir)
	if err == nil || !strings.Contains(err.Error(), "journal_dir: ") || !strings.Contains(err.Error(), "in use by process") {
		t.Error(err)
	}
}

// Records of the version before do not say how an event was made, nor to how many
// URLs it is told: the last one of them closes the begin for all.
func TestRecordsOfTheVersionBefore(t *testing.T) {
	n := told{At: time.UnixMilli(1), ID: "i", Action: OnUnpublish, Client: 3, URL: "http://h/", Closes: 7, Body: []byte("{}")}
	b := n.append(nil)
	i, end := bytes.IndexByte(b, byte(OnUnpublish.index())|newer), len(b)-len(n.Body)
	old := append(slices.Clone(b[:end-2]), n.Body...)
	old[i] &^= newer
	got, err := parseTold(old)
	if err != nil || string(got.Body) != "{}" || got.Closes != 7 || got.Made != 0 || got.Parts != 0 || got.Action != OnUnpublish {
		t.Errorf("%+v %v", got, err)
	}
	f := newRecovery()
	f.begins[7] = new(foundBegin)
	if f.ended(got, 8); len(f.begins) != 0 {
		t.Error("not closed")
	}
	for _, asString := range []bool{false, true} {
		b := begun{At: time.UnixMilli(1), ID: "i", Event: full(OnPublish), IDAsString: asString}
		if got, err := parseBegun(b.append(nil)); err != nil || got.IDAsString != asString || got.Made != 0 {
			t.Errorf("%+v %v", got, err)
		}
	}
}

func FuzzRecords(f *testing.F) {
	b := begun{At: time.UnixMilli(1), ID: "i", Event: full(OnPublish), URLs: []string{"http://h/"}}
	f.Add(b.append(nil))
	n := told{At: time.UnixMilli(1), ID: "i", Action: OnStop, Client: 3, URL: "http://h/", Closes: 2, Body: []byte("{}")}
	f.Add(n.append(nil))
	n.Made, n.Parts = madeKnown|madeSigned, 2
	f.Add(n.append(nil))
	f.Add(done{3, Failed}.append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		if b, err := parseBegun(in); err == nil {
			if _, err := parseBegun(b.append(nil)); err != nil {
				t.Error(err)
			}
		}
		if n, err := parseTold(in); err == nil {
			if m, err := parseTold(n.append(nil)); err != nil || string(m.Body) != string(n.Body) || m.URL != n.URL || m.Parts != n.Parts || m.Made != n.Made {
				t.Error(err)
			}
		}
		if d, err := parseDone(in); err == nil {
			if c, err := parseDone(d.append(nil)); err != nil || c != d {
				t.Error(err)
			}
		}
	})
}

package hook

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// left is what a killed server with this configuration leaves: an end that waits,
// and one that is owed.
func left(t testing.TB, config string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	e := durable(t, dir, Options{Config: config, Rules: rulesOf(all("http://127.0.0.1:1/"))})
	e.Client().Tell(event(OnStop, 1, "s"))
	r := all("http://127.0.0.1:1/")
	r.OnConnect, r.OnPublish = nil, nil
	b := &begin{rules: r, id: "x"}
	ev := event(OnPublish, 2, "s")
	e.intend(t.Context(), b, &ev, true)
	quiet(t, e)
	dir = killed(t, dir)
	closeWithin(t, e, 0)
	return dir
}

// off are the rules of a server without hooks.
func off(string) (*Rules, bool) { return &Rules{}, true }

// A journal is resumed without hooks only by the server of the configuration that
// has written it; one that does not say so by anybody.
func TestResumedByItsOwn(t *testing.T) {
	for _, c := range []struct {
		writer, reader string
		resumes        bool
	}{{"/etc/a.conf", "/etc/a.conf", true}, {"/etc/a.conf", "/etc/b.conf", false}, {"/etc/a.conf", "", false}, {"", "/etc/b.conf", true}} {
		dir := left(t, c.writer)
		var book logBook
		e := openEngine(t, Options{Config: c.reader, Rules: off, Log: book.logger()})
		e.ResumeJournal(dir)
		pending := len(e.Endpoints()) == 1 && e.Endpoints()[0].Pending == 1
		if said := strings.Contains(book.String(), "left alone: it belongs to the server of another configuration"); pending != c.resumes || said == c.resumes {
			t.Errorf("%+v: %v\n%s", c, e.Endpoints(), book.String())
		}
		closeWithin(t, e, 0)
	}
}

// waits gives the journal of a server that was killed while its endpoint was down,
// with one notice for that.
func waits(t *testing.T, config string) (srv *ledger, down *atomic.Bool, journal string) {
	down = new(atomic.Bool)
	down.Store(true)
	srv = newLedger(t, func(w http.ResponseWriter, _ call) {
		if down.Load() {
			w.WriteHeader(503)
		}
		fmt.Fprint(w, "0")
	})
	dir := t.TempDir()
	e := durable(t, dir, Options{Config: config, Rules: rulesOf(all(srv.URL))})
	e.Client().Tell(event(OnStop, 1, "s"))
	quiet(t, e)
	journal = killed(t, dir)
	closeWithin(t, e, 0)
	return srv, down, journal
}

// A journal that was resumed is given back when all is told, for another server to
// take, and taken again when a reload switches hooks on.
func TestGivenBack(t *testing.T) {
	srv, down, dir := waits(t, "/a")
	var book logBook
	var now atomic.Pointer[Rules]
	now.Store(&Rules{})
	e := openEngine(t, Options{Config: "/a", Rules: func(string) (*Rules, bool) { return now.Load(), true }, Log: book.logger()})
	e.ResumeJournal(dir)
	if first, err := e.FirstID(7); err != nil || first < 7 {
		t.Errorf("first id %d, %v", first, err)
	}
	other := New(Options{})
	if err := other.OpenJournal(dir); err == nil {
		t.Fatal("two servers have it")
	}
	closeNow(t, other)
	down.Store(false)
	if !settles(func() bool { return strings.Contains(book.String(), "journal_dir is given back") }) {
		t.Fatal(book.String())
	}
	other = durable(t, dir, Options{})
	e.SwitchOn(dir, rulesOf(all(srv.URL)))
	if !strings.Contains(book.String(), "in use by process") {
		t.Error(book.String())
	}
	now.Store(all(srv.URL))
	lifecycle(t, e, 2, "s")
	closeNow(t, other)
	if !settles(func() bool { return strings.Contains(book.String(), "is written again") }) {
		t.Fatal(book.String())
	}
	quiet(t, e)
	copied := killed(t, dir)
	n := len(srv.seen())
	next := durable(t, copied, Options{Rules: rulesOf(all(srv.URL))})
	closeNow(t, next)
	if got := len(srv.seen()) - n; got != 2 {
		t.Errorf("%d ends are known after a kill", got)
	}
}

// What happens while a reload switches hooks on has the server's id, and its record
// in the journal.
func TestSwitchedOnUnderLoad(t *testing.T) {
	srv := newLedger(t, nil)
	r := all(srv.URL)
	dir := t.TempDir()
	closeNow(t, durable(t, dir, Options{Rules: rulesOf(r)})) // which has an id
	var now atomic.Pointer[Rules]
	now.Store(&Rules{})
	e := openEngine(t, Options{Rules: func(string) (*Rules, bool) { return now.Load(), true }})
	end := make(chan struct{})
	var clients sync.WaitGroup
	for i := range uint64(4) {
		clients.Go(func() {
			for n := uint64(0); ; n++ { // until the end; without hooks a hundred thousand are asked in no time
				e.Client().Ask(t.Context(), event(OnPlay, 1+i+4*n, "s"))
				select {
				case <-end:
					return
				default:
				}
			}
		})
	}
	e.SwitchOn(dir, rulesOf(r))
	now.Store(r)
	ok := settles(func() bool { return len(srv.seen()) > 50 })
	close(end)
	clients.Wait()
	quiet(t, e)
	begun := len(srv.seen())
	e.mu.Lock()
	if !ok || len(e.begins) != begun {
		t.Errorf("%d begins, %d records", begun, len(e.begins))
	}
	e.mu.Unlock()
	for _, c := range srv.seen() {
		if !strings.Contains(c.body, `"server_id":"`+e.id()+`"`) || e.id() == "" {
			t.Fatalf("server id %q: %s", e.id(), c.body)
		}
	}
	os.RemoveAll(dir)
	closeWithin(t, e, 0)
}

// What a journal says of its disk is forgotten with it, and what it says after it
// was given back is not heard: the next one is trusted.
func TestGivenBackByAFailingDisk(t *testing.T) {
	_, down, dir := waits(t, "")
	e := openEngine(t, Options{Rules: off})
	e.ResumeJournal(dir)
	e.mu.Lock()
	j := e.journal
	e.mu.Unlock()
	if _, err := e.FirstID(7); err != nil {
		t.Fatal(err)
	}
	trusts := func() bool { e.mu.Lock(); defer e.mu.Unlock(); return !e.untrusted }
	if e.trouble(j, os.ErrInvalid); trusts() {
		t.Error("a disk that fails is trusted")
	}
	down.Store(false)
	if !settles(func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.journal == nil && e.giving == nil }) {
		t.Fatal("it is not given back")
	}
	if !trusts() {
		t.Error("what the journal said is not forgotten")
	}
	if e.trouble(j, os.ErrInvalid); !trusts() {
		t.Error("a journal that was given back is heard")
	}
}

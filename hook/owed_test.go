package hook

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A killed server owes more ends than the memory may hold: none is lost at the next
// start, and the memory holds little of them.
func TestOwesMoreThanTheMemoryHolds(t *testing.T) {
	const clients = 12_000
	rules := &Rules{Enabled: true, OnUnpublish: []string{"http://127.0.0.1:1/a", "http://127.0.0.1:1/b"}}
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rulesOf(rules)})
	for id := range uint64(clients) {
		ev := event(OnPublish, id, fmt.Sprint("s", id))
		ev.Param = "?token=" + strings.Repeat("x", 3000)
		e.intend(t.Context(), &begin{rules: rules, id: fmt.Sprint(id)}, &ev, false)
	}
	quiet(t, e)
	dir = killed(t, dir)
	closeWithin(t, e, 0)
	var book logBook
	e = durable(t, dir, Options{Rules: rulesOf(rules), Log: book.logger()})
	most, deadline := 0, time.Now().Add(time.Minute)
	for done := false; !done && time.Now().Before(deadline); {
		e.mu.Lock()
		done = e.loose.Len()+len(e.owed) == 0
		most = max(most, e.looseBytes)
		e.mu.Unlock()
	}
	if got := e.Counters()[OnUnpublish]; got != (Counts{Told: 2 * clients}) || e.Endpoints()[0].Pending != 2*clients {
		t.Errorf("%+v, %v\n%s", got, e.Endpoints()[0].Args(), &book)
	}
	if most > owedLooseBytes+owedLooseBytes/8 {
		t.Errorf("%d bytes in memory", most)
	}
	left := killed(t, dir)
	closeWithin(t, e, 0)
	log := OpenLog(left)
	defer log.Close()
	told := 0
	if err := log.Read(func(l LogLine) {
		if l.What == "told" {
			told++
		}
	}); err != nil || told != 2*clients || log.Open()[OnPublish] != 0 {
		t.Errorf("%d of the ends are in the journal, %v", told, err)
	}
}

// owes is the journal of a server that was killed while each of its clients published:
// id its stream "s" with that number.
func owes(t *testing.T, rules *Rules, clients int) (journal string) {
	t.Helper()
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rulesOf(rules)})
	for id := range uint64(clients) {
		if err := e.Client().Ask(t.Context(), event(OnPublish, id, fmt.Sprint("s", id))); err != nil {
			t.Fatal(err)
		}
	}
	quiet(t, e)
	dir = killed(t, dir)
	closeWithin(t, e, 0)
	return dir
}

// openFull opens an engine that makes nothing of what is owed, until there is room.
func openFull(t *testing.T, o Options) *Engine {
	e := openEngine(t, o)
	e.looseBytes = owedLooseBytes
	return e
}

func room(e *Engine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looseBytes -= owedLooseBytes
	e.roomLocked()
}

// What is owed and not made yet is told also while the disk takes nothing, once; and
// what a stop finds so is for the next start.
func TestOwedWhileTheDiskFails(t *testing.T) {
	const clients = 50
	srv := newLedger(t, nil)
	rules := &Rules{Enabled: true, OnUnpublish: []string{srv.URL + "/a", srv.URL + "/b"}}
	dir := owes(t, rules, clients)
	full := func() *Engine {
		e := openFull(t, Options{Rules: rulesOf(rules)})
		if err := e.OpenJournal(dir); err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := full()
	if err := closeWithin(t, e, 10*time.Millisecond); err != nil || e.Counters()[OnUnpublish] != (Counts{Told: 2 * clients}) {
		t.Errorf("%v, %+v", err, e.Counters()[OnUnpublish])
	}

	e = full()
	if n := len(srv.seen()); n > 0 {
		t.Errorf("%d calls before the journal has them", n)
	}
	e.trouble(e.journal, syscall.ENOSPC)
	if !settles(func() bool { return e.Counters()[OnUnpublish].Delivered == 2*clients }) {
		t.Errorf("%+v", e.Counters()[OnUnpublish])
	}
	for _, c := range srv.seen() {
		if !strings.Contains(c.body, `"reason":"server_restart"`) || !strings.HasSuffix(c.header.Get("Webhook-Id"), "-end") {
			t.Errorf("%s: %s", c.header.Get("Webhook-Id"), c.body)
		}
	}
	e.trouble(e.journal, nil)
	room(e)
	closeNow(t, e)

	var book logBook
	durable(t, dir, Options{Rules: rulesOf(rules), Log: book.logger()})
	if len(book.lines("are taken up")) > 0 || len(srv.seen()) != 2*clients {
		t.Errorf("%d calls for %d ends\n%s", len(srv.seen()), 2*clients, &book)
	}
}

// What is owed is all told while the disk takes nothing: a journal that was resumed is
// given back only when nobody reads in it any more, and another takes it up but then.
func TestGivenBackWhenAllIsFed(t *testing.T) {
	const clients = 50
	srv := newLedger(t, nil)
	rules := &Rules{Enabled: true, OnUnpublish: []string{srv.URL}}
	dir := owes(t, rules, clients)
	var book logBook
	e := openFull(t, Options{Rules: func(string) (*Rules, bool) { return nil, false }, Log: book.logger()})
	e.ResumeJournal(dir)
	if _, err := e.FirstID(7); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	j := e.journal
	e.mu.Unlock()
	e.trouble(j, syscall.ENOSPC)
	if !settles(func() bool { return e.Counters()[OnUnpublish].Delivered == clients }) {
		t.Fatalf("%+v\n%s", e.Counters()[OnUnpublish], &book)
	}
	e.mu.Lock()
	if e.journal != j || !e.feeding {
		t.Error("it is given back while what is owed is read")
	}
	e.mu.Unlock()
	room(e)
	if !settles(func() bool { return strings.Contains(book.String(), "journal_dir is given back") }) {
		t.Fatal(&book)
	}
	e.SwitchOn(dir, rulesOf(rules))
	closeNow(t, e)
	if n := len(srv.seen()); n != clients {
		t.Errorf("%d calls for %d ends", n, clients)
	}
}

// A gate waits for its own stream's end alone, with what that client owes before it: it
// is made out of its turn, also where the memory has no room for the others.
func TestOwedFirst(t *testing.T) {
	const clients = 50
	srv := newLedger(t, nil)
	ends := &Rules{Enabled: true, OnConnect: []string{srv.URL}, OnUnpublish: []string{srv.URL + "/other", srv.URL}, OnClose: []string{srv.URL}}
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rulesOf(ends)})
	for id := range uint64(clients) {
		c := e.Client()
		for _, a := range []Action{OnConnect, OnPublish} {
			ev := event(a, id, "")
			if a == OnPublish {
				ev.Stream = fmt.Sprint("s", id)
			}
			if err := c.Ask(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
		}
	}
	quiet(t, e)
	dir = killed(t, dir)
	closeWithin(t, e, 0)
	before := len(srv.seen())

	rules := all(srv.URL)
	rules.OnUnpublish = ends.OnUnpublish
	e = openFull(t, Options{Rules: rulesOf(rules)})
	if err := e.OpenJournal(dir); err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{30, 10} {
		if err := e.Client().Ask(t.Context(), event(OnPublish, 1000+id, fmt.Sprint("s", id))); err != nil {
			t.Fatal(err)
		}
	}
	heard := func() (all []string) {
		for _, c := range srv.seen()[before:] {
			if c.path == "/" {
				all = append(all, fmt.Sprint(c.Action, " ", c.ClientID))
			}
		}
		return all
	}
	want := "on_unpublish 30, on_close 30, on_publish 1030, on_unpublish 10, on_close 10, on_publish 1010"
	if got := strings.Join(heard(), ", "); got != want {
		t.Errorf("heard %s", got)
	}
	room(e)
	if !settles(func() bool { return len(heard()) == 2*clients+2 }) {
		t.Errorf("heard %d", len(heard()))
	}
	closeNow(t, e)
}

// A disk that does not answer a read holds no stop up, and what was to be read is for
// the next start.
func TestStoppedWhileTheDiskHangs(t *testing.T) {
	srv := newLedger(t, nil)
	rules := &Rules{Enabled: true, OnUnpublish: []string{srv.URL}}
	dir := owes(t, rules, 1)
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	var book logBook
	e := openFull(t, Options{Rules: rulesOf(rules), Log: book.logger()})
	if err := e.OpenJournal(dir); err != nil {
		t.Fatal(err)
	}
	hangs, whole := filepath.Join(dir, "hangs"), filepath.Join(dir, "whole")
	for _, err := range []error{
		syscall.Mkfifo(hangs, 0o600), os.Link(files[0], whole), // who opens it waits for a writer
		os.Link(hangs, hangs+"2"), os.Rename(hangs+"2", files[0]),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	e.trouble(e.journal, syscall.ENOSPC) // a worker reads
	err = closeWithin(t, e, 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "does not answer a read") || strings.Contains(err.Error(), "not delivered") {
		t.Errorf("%v\n%s", err, &book)
	}
	w, err := os.OpenFile(hangs, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	e.calls.Wait()
	if err := os.Rename(whole, files[0]); err != nil {
		t.Fatal(err)
	}
	closeNow(t, durable(t, dir, Options{Rules: rulesOf(rules)}))
	if n := len(srv.seen()); n != 1 {
		t.Errorf("%d calls", n)
	}
}

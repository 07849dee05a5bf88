package hook

import (
	"strings"
	"testing"
)

// What a full disk's journal asks for is what is neither delivered nor ended; a begin
// that ends while it is moved stays ended after a kill.
func TestNeededOnFullDisk(t *testing.T) {
	srv := newLedger(t, nil)
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rulesOf(all(srv.URL))})
	stays, goes := e.Client(), e.Client()
	for i, c := range []*Client{stays, goes} {
		if err := c.Ask(t.Context(), event(OnConnect, uint64(i+1), "")); err != nil {
			t.Fatal(err)
		}
	}
	e.mu.Lock()
	j := e.journal
	e.mu.Unlock()
	if !settles(func() bool { return len(e.needed(j, []uint32{1})) == 2 }) {
		t.Fatal("the begins are not stored")
	}
	moved := e.needed(j, []uint32{1})
	goes.Tell(event(OnClose, 2, ""))
	if !settles(func() bool { return len(e.needed(j, []uint32{1})) == 1 }) {
		t.Fatal("the end is not stored")
	}
	e.mu.Lock()
	b := moved[0].Owner.(move).begin
	if b.over {
		b = moved[1].Owner.(move).begin
	}
	was := b.place
	e.mu.Unlock()
	for _, entry := range moved { // behind what says that one is over
		j.Append(entry)
	}
	if !settles(func() bool { e.mu.Lock(); defer e.mu.Unlock(); return b.place != was }) {
		t.Fatal("what is needed was not moved")
	}
	quiet(t, e)
	dir = killed(t, dir)
	n := len(srv.seen())
	next := durable(t, dir, Options{Rules: rulesOf(all(srv.URL))})
	settles(func() bool { next.mu.Lock(); defer next.mu.Unlock(); return next.pending == 0 })
	closeNow(t, next)
	if got := srv.seen()[n:]; len(got) != 1 || !strings.Contains(got[0].body, `"client_id":1,`) || !strings.Contains(got[0].body, "server_restart") {
		t.Errorf("told after the restart: %v", got)
	}
}

// Of what a stop finds while the disk takes nothing only that is lost of which no begin
// is on disk: the other ends are told by the next start.
func TestStoppedWithFullDisk(t *testing.T) {
	srv := newLedger(t, nil)
	rules := &Rules{Enabled: true, OnStop: []string{"http://127.0.0.1:1/"}, OnDVR: []string{"http://127.0.0.1:1/"}}
	dir := t.TempDir()
	var book logBook
	e := durable(t, dir, Options{Rules: rulesOf(rules), Log: book.logger()})
	clients := []*Client{e.Client(), e.Client()}
	for i, c := range clients {
		if err := c.Ask(t.Context(), event(OnPlay, uint64(i+1), "s")); err != nil {
			t.Fatal(err)
		}
	}
	quiet(t, e)
	if err := e.journal.Close(t.Context()); err != nil { // it takes nothing any more
		t.Fatal(err)
	}
	for i, c := range clients {
		c.Tell(event(OnStop, uint64(i+1), "s"))
	}
	e.TellFile(event(OnDVR, 1, "s"), func() {})
	if err := closeWithin(t, e, 0); err == nil || err.Error() != "hook: 1 events not delivered" {
		t.Errorf("%v\n%s", err, &book)
	}
	if c := e.Counters(); c[OnStop] != (Counts{Told: 2}) || c[OnDVR] != (Counts{Told: 1, Dropped: 1}) {
		t.Errorf("%+v", c)
	}
	if !strings.Contains(book.String(), `wait in the journal for the next start" count=2`) {
		t.Error(&book)
	}
	rules.OnStop = []string{srv.URL}
	closeNow(t, durable(t, dir, Options{Rules: rulesOf(rules)}))
	if n := len(srv.seen()); n != 2 {
		t.Errorf("%d ends are told by the next start", n)
	}
}

package hook

import (
	"strings"
	"sync/atomic"
	"testing"
)

// lines are those of a log that have all of this.
func (l *logBook) lines(all ...string) (found []string) {
	for line := range strings.Lines(l.String()) {
		has := true
		for _, s := range all {
			has = has && strings.Contains(line, s)
		}
		if has {
			found = append(found, line)
		}
	}
	return found
}

// Ends that a reload has switched off are not sent, and one line for each endpoint
// says how many; so does the next start, of what a killed server owed.
func TestEndsSwitchedOff(t *testing.T) {
	srv, other := newLedger(t, nil), newLedger(t, nil)
	on := all(srv.URL)
	on.OnClose = []string{other.URL, other.URL + "/2"}
	some := *on
	some.OnUnpublish = nil
	for _, c := range []struct {
		rules *Rules
		want  map[string]string // by endpoint
	}{
		{&Rules{}, map[string]string{srv.URL: "on_unpublish=2", other.URL: "on_close=2"}},
		{&some, map[string]string{srv.URL: "on_unpublish=2"}},
		{on, nil},
	} {
		dir := t.TempDir()
		var book logBook
		var now atomic.Pointer[Rules]
		now.Store(on)
		e := durable(t, dir, Options{Rules: func(string) (*Rules, bool) { return now.Load(), true }, Log: book.logger()})
		clients := []*Client{lifecycle(t, e, 1, "a"), lifecycle(t, e, 2, "b")}
		quiet(t, e)
		dir = killed(t, dir)
		now.Store(c.rules)
		for i, client := range clients {
			client.end(uint64(i+1), "ab"[i:i+1])
		}
		closeNow(t, e)
		var again logBook
		closeNow(t, durable(t, dir, Options{Rules: rulesOf(c.rules), Log: again.logger()}))
		for when, log := range map[string]*logBook{"reload": &book, "start": &again} {
			for url, count := range c.want {
				if n := len(log.lines("level=WARN", "are not sent", "vhost=v.example", "endpoint="+url+" "+count)); n != 1 {
					t.Errorf("%s: %d lines of %s %s:\n%s", when, n, url, count, log)
				}
			}
			if n := len(log.lines("are not sent")); n != len(c.want) {
				t.Errorf("%s: %d lines:\n%s", when, n, log)
			}
		}
	}
}

// The recordings of a vhost that a reload has removed are announced where they
// would have been; of one that was gone at the start one line names them.
func TestFilesOfAVhostThatIsGone(t *testing.T) {
	srv := newLedger(t, nil)
	var book logBook
	e := openEngine(t, Options{Rules: func(string) (*Rules, bool) { return nil, false }, Log: book.logger()})
	e.Removed("v.example", all(srv.URL))
	e.Removed("no.example", &Rules{Enabled: true})
	for _, vhost := range []string{"v.example", "old.example", "no.example", "old.example"} {
		ev := event(OnDVR, 1, "s")
		ev.Vhost, ev.File = vhost, "./rec/"+vhost+".flv"
		e.TellFile(ev)
	}
	for i := range 2 * maxRemoved {
		e.Removed(strings.Repeat("x", i), nil)
	}
	if len(e.removed) > maxRemoved {
		t.Errorf("%d are kept", len(e.removed))
	}
	wantCalls(t, srv, "/ on_dvr 1 s./rec/v.example.flv")
	closeNow(t, e)
	if n := len(book.lines("are not sent", "vhost=old.example", "on_dvr=2", "./rec/old.example.flv")); n != 1 || len(book.lines("are not sent")) != 1 {
		t.Error(book.String())
	}
}

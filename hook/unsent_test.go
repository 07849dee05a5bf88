package hook

import (
	"fmt"
	"io"
	"net/http"
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
	e.Replaced("v.example", all(srv.URL), nil)
	e.Replaced("no.example", &Rules{Enabled: true}, nil)
	for _, vhost := range []string{"v.example", "old.example", "no.example", "old.example"} {
		ev := event(OnDVR, 1, "s")
		ev.Vhost, ev.File = vhost, "./rec/"+vhost+".flv"
		e.TellFile(ev, func() {})
	}
	for i := range 2 * maxReplaced {
		e.Replaced(strings.Repeat("x", i), all(), nil)
	}
	if len(e.removed) > maxReplaced || len(e.lastOn) > maxReplaced {
		t.Errorf("%d are kept", len(e.removed))
	}
	wantCalls(t, srv, "/ on_dvr 1 s./rec/v.example.flv")
	closeNow(t, e)
	if n := len(book.lines("are not sent", "vhost=old.example", "on_dvr=2", "./rec/old.example.flv")); n != 1 || len(book.lines("are not sent")) != 1 {
		t.Error(book.String())
	}
}

// Of a vhost that a reload removes all is told as its last block said, to the URLs
// of the begin; and nobody is called whom that block had switched off.
func TestEndsOfARemovedVhost(t *testing.T) {
	for name, c := range map[string]struct {
		off     bool // by the last block
		pending bool // the ends are told before the vhost is removed
		want    string
	}{
		"later":               {want: "/1 on_stop 1 s\n/1 on_close 1 \n"},
		"off, later":          {off: true},
		"waiting":             {pending: true, want: "/1 on_stop 1 s\n/1 on_close 1 \n"},
		"waiting, off by now": {off: true, pending: true, want: "/1 on_stop 1 s\n/1 on_close 1 \n"},
	} {
		t.Run(name, func(t *testing.T) {
			var down atomic.Bool
			srv := newLedger(t, func(w http.ResponseWriter, _ call) {
				if down.Load() {
					w.WriteHeader(503)
				}
				io.WriteString(w, "0")
			})
			first, second := all(srv.URL+"/1"), all(srv.URL+"/2")
			first.Secrets, second.Secrets = []Secret{testSecret(t, "a")}, []Secret{testSecret(t, "b")}
			second.Enabled = !c.off
			var now atomic.Pointer[Rules]
			now.Store(first)
			e := openEngine(t, Options{Rules: func(string) (*Rules, bool) { r := now.Load(); return r, r != nil }})
			client := e.Client()
			for _, ev := range []Event{event(OnConnect, 1, ""), event(OnPlay, 1, "s")} {
				if err := client.Ask(t.Context(), ev); err != nil {
					t.Fatal(err)
				}
			}
			end := func() {
				client.Tell(event(OnStop, 1, "s"))
				client.Tell(event(OnClose, 1, ""))
			}
			if c.pending {
				down.Store(true)
				end()
				if !settles(func() bool { return len(srv.seen()) >= 3 }) {
					t.Fatal(srv.saw())
				}
			}
			e.Replaced("v.example", first, second)
			now.Store(second)
			e.Replaced("v.example", second, nil)
			now.Store(nil)
			before := len(srv.seen())
			down.Store(false)
			if !c.pending {
				end()
			}
			closeNow(t, e)
			var got strings.Builder
			for _, call := range srv.seen()[before:] {
				fmt.Fprintln(&got, call)
				id, at := call.header.Get("Webhook-Id"), call.header.Get("Webhook-Timestamp")
				want := second
				if c.off {
					want = first // the newest with hooks
				}
				if sig := call.header.Get("Webhook-Signature"); sig != sign(want.Secrets, id, at, []byte(call.body)) {
					t.Errorf("%s is signed with another secret", call)
				}
			}
			if got.String() != c.want {
				t.Errorf("calls\n%swant\n%s", &got, c.want)
			}
		})
	}
}

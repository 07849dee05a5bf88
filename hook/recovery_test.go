package hook

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// What a killed server left of a connection that had published two streams is
// told before the gates of each: of A one URL has not taken the end, that of B is
// missing altogether.
func TestEndsOfTwoStreamsOfOneClient(t *testing.T) {
	var restarted, up atomic.Bool
	one := newLedger(t, func(w http.ResponseWriter, c call) {
		if restarted.Load() && c.Action == OnUnpublish && !up.Load() {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "0")
	})
	two := newLedger(t, func(w http.ResponseWriter, c call) {
		if c.Action == OnUnpublish && !up.Load() {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "0")
	})
	rules := all(one.URL)
	rules.OnUnpublish = []string{one.URL, two.URL}
	dir, o := t.TempDir(), Options{Rules: rulesOf(rules)}
	e := durable(t, dir, o)
	c := lifecycle(t, e, 1, "A")
	c.Tell(event(OnUnpublish, 1, "A"))
	if err := c.Ask(t.Context(), event(OnPublish, 1, "B")); err != nil {
		t.Fatal(err)
	}
	quiet(t, e)
	left := killed(t, dir)
	closeWithin(t, e, time.Second)

	restarted.Store(true)
	before := len(one.seen())
	e = durable(t, left, o)
	asked := make(chan error, 1)
	go func() { asked <- e.Client().Ask(t.Context(), event(OnPublish, 2, "B")) }()
	settles(func() bool { return len(one.seen()) > before })
	up.Store(true)
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, c := range one.seen()[before:] {
		if len(order) == 0 || order[len(order)-1] != c.String() { // repeats
			order = append(order, c.String())
		}
	}
	if want := []string{"/ on_unpublish 1 B", "/ on_close 1 ", "/ on_publish 2 B"}; !slices.Equal(order, want) {
		t.Errorf("calls %q, want %q", order, want)
	}
}

// What is told of a vhost that has gone with a restart is not signed. An endpoint
// that wants it signed gets it so when the vhost is back; other notices to it, and
// gates, do not wait meanwhile.
func TestVhostGoneSinceTheLastRun(t *testing.T) {
	var restarted atomic.Bool
	srv := newLedger(t, func(w http.ResponseWriter, c call) {
		switch {
		case c.header.Get("Webhook-Signature") == "":
			w.WriteHeader([]int{401, 403}[c.ClientID%2])
		case !restarted.Load() && c.ClientID == 1 && c.Action == OnUnpublish:
			w.WriteHeader(503)
		default:
			io.WriteString(w, "0")
		}
	})
	secret, err := ParseSecret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	rules := all(srv.URL)
	rules.Secrets = []Secret{secret}
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rulesOf(rules)})
	lifecycle(t, e, 1, "a").end(1, "a") // waits
	for id := range uint64(breakerFails) {
		lifecycle(t, e, 2+id, fmt.Sprint("b", id)) // its ends are missing
	}
	quiet(t, e)
	left := killed(t, dir)
	closeWithin(t, e, time.Second)

	restarted.Store(true)
	before := len(srv.seen())
	var back atomic.Bool
	var book logBook
	e = durable(t, left, Options{Log: book.logger(), Rules: func(vhost string) (*Rules, bool) {
		if vhost == "v.example" && !back.Load() {
			return nil, false
		}
		return rules, true
	}})
	const ends = 2 + 2*breakerFails
	if want := fmt.Sprintf("vhost=v.example endpoint=%s count=%d", srv.URL, ends); !settles(func() bool {
		return strings.Contains(book.String(), want) && e.Endpoints()[0].Vhosts == 1
	}) {
		t.Fatalf("no %q, or %v, in:\n%s", want, e.Endpoints(), book.String())
	}
	ev := event(OnStop, 100, "other")
	ev.Vhost = "other"
	e.Client().Tell(ev)
	if !settles(func() bool { return e.Counters()[OnStop].Delivered == 1 }) || e.Endpoints()[0].Throttled {
		t.Errorf("another vhost's notice waits: %v", e.Endpoints()[0].Args())
	}
	if n := e.Endpoints()[0].Pending; n != ends {
		t.Errorf("%d wait, not %d", n, ends)
	}
	back.Store(true)
	if !settles(func() bool { return e.Endpoints()[0].Pending == 0 }) {
		t.Errorf("not delivered: %v", e.Endpoints()[0].Args())
	}
	signed := 0
	for _, c := range srv.seen()[before:] {
		if c.header.Get("Webhook-Signature") != "" && c.ClientID != 100 {
			signed++
		}
	}
	if signed != ends {
		t.Errorf("%d of %d ends were signed in the end", signed, ends)
	}
}

// It waits for a day, only if the status says that it was not signed, and only if it
// ever was to be and its vhost, or its hooks, are not there to ask.
func TestUnsignedWaitsForADay(t *testing.T) {
	const signed, plain = madeKnown | madeSigned, madeKnown
	gone, off, on := &Rules{Enabled: true, gone: true}, &Rules{}, &Rules{Enabled: true}
	still := &Rules{Secrets: make([]Secret, 1)}
	for _, c := range []struct {
		rules  *Rules
		how    made
		status int
		age    time.Duration
		want   bool
	}{
		{gone, signed, 401, time.Hour, true}, {gone, signed, 403, time.Hour, true}, {gone, signed, 404, time.Hour, false},
		{gone, signed, 200, time.Hour, false}, {gone, signed, 401, 25 * time.Hour, false},
		{gone, plain, 403, time.Hour, false}, {gone, plain | madeTLS, 403, time.Hour, true},
		{off, signed, 403, time.Hour, true}, {off, plain, 403, time.Hour, false}, {still, signed, 403, time.Hour, false},
		{on, signed, 403, time.Hour, false},                              // the owner has removed the secret
		{gone, 0, 403, time.Hour, true}, {off, 0, 403, time.Hour, false}, // by an earlier version
	} {
		if got := c.rules.unsigned(c.status, time.Now().Add(-c.age), c.how); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// What waits from the last run: the vhost is gone or its hooks are off, it had a
// secret or not. Without one a 403 is an answer like any other, and no line speaks of
// a secret.
func TestRefusedSinceTheLastRun(t *testing.T) {
	secret, err := ParseSecret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		signed, gone bool
		line         string
	}{
		{true, true, "is not in the configuration any more: its secret is not known, they are sent without; what the endpoint answers with 401 or 403"},
		{false, true, "is not in the configuration any more: they are sent all the same"},
		{true, false, "whose http_hooks are off: its secret is not known, they are sent without; what the endpoint answers with 401 or 403"},
		{false, false, ""},
	} {
		var restarted atomic.Bool
		srv := newLedger(t, func(w http.ResponseWriter, _ call) {
			w.WriteHeader(map[bool]int{false: 503, true: 403}[restarted.Load()])
		})
		rules := &Rules{Enabled: true, OnUnpublish: []string{srv.URL}, OnStop: []string{srv.URL}}
		if c.signed {
			rules.Secrets = []Secret{secret}
		}
		dir := t.TempDir()
		e := durable(t, dir, Options{Rules: rulesOf(rules)})
		client := e.Client()
		if err := client.Ask(t.Context(), event(OnPublish, 1, "owed")); err != nil {
			t.Fatal(err)
		}
		client.Tell(event(OnStop, 1, "waits"))
		quiet(t, e)
		dir = killed(t, dir)
		closeWithin(t, e, 0)
		restarted.Store(true)
		var book logBook
		e = durable(t, dir, Options{Rules: func(string) (*Rules, bool) {
			if c.gone {
				return nil, false
			}
			return &Rules{}, true
		}, Log: book.logger()})
		told := 1
		if c.gone {
			told = 2 // the end, too
		}
		over := func() int { return int(e.Counters()[OnStop].Delivered + e.Counters()[OnUnpublish].Delivered) }
		tried := func() bool { return len(book.lines("http hook on_stop failed, to be repeated")) > 0 }
		if ok := settles(func() bool { return over() == told || tried() }); !ok || tried() != c.signed {
			t.Errorf("%+v: %d delivered of %d:\n%s", c, over(), told, &book)
		}
		lines := book.lines("level=WARN", "http hook events wait of a vhost")
		if len(lines) > 1 || len(lines) == 0 != (c.line == "") || len(lines) > 0 && !strings.Contains(lines[0], c.line) {
			t.Errorf("%+v: %q", c, lines)
		}
		closeWithin(t, e, 0)
	}
}

// damage changes the newest record of each text in a file of a journal.
func damage(t *testing.T, dir string, number int, texts ...string) {
	t.Helper()
	file := fmt.Sprintf("%s/%010d.journal", dir, number)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		b[bytes.LastIndex(b, []byte(text))] ^= 1
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A record that is damaged costs none of the ends that a begin owes: what one URL has
// not been told is told anew, the others hear nothing twice.
func TestDamagedEndOfOneURL(t *testing.T) {
	for damaged := range 2 {
		urls := []string{"http://127.0.0.1:1/a", "http://127.0.0.1:1/b"}
		rules := &Rules{Enabled: true, OnUnpublish: urls}
		dir := t.TempDir()
		e := durable(t, dir, Options{Rules: rulesOf(rules)})
		c := e.Client()
		if err := c.Ask(t.Context(), event(OnPublish, 1, "s")); err != nil {
			t.Fatal(err)
		}
		quiet(t, e)
		c.Tell(event(OnUnpublish, 1, "s"))
		quiet(t, e)
		dir = killed(t, dir)
		closeWithin(t, e, 0)
		damage(t, dir, 1, urls[damaged])
		var book logBook
		e = durable(t, dir, Options{Rules: rulesOf(rules), Log: book.logger()})
		quiet(t, e)
		if len(book.lines("not_delivered=1", "missing_ends=1", "unreadable=1")) != 1 {
			t.Errorf("%d: %s", damaged, &book)
		}
		again := killed(t, dir)
		closeWithin(t, e, 0)
		log := OpenLog(again)
		defer log.Close()
		told := make(map[string]int)
		if err := log.Read(func(l LogLine) { told[l.What+l.URL]++ }); err != nil {
			t.Fatal(err)
		}
		if told["told"+urls[0]] != 1 || told["told"+urls[1]] != 1 || log.Open()[OnPublish] != 0 {
			t.Errorf("%d: %v, %v open", damaged, told, log.Open())
		}
	}
}

// Nor do records that are lost at two starts.
func TestEndLostTwice(t *testing.T) {
	urls := []string{"http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "http://127.0.0.1:1/c"}
	rules := &Rules{Enabled: true, OnUnpublish: urls}
	dir := t.TempDir()
	lose := func(e *Engine, number int, urls ...string) { // a crash, in which these records of a file are damaged
		quiet(t, e)
		dir = killed(t, dir)
		closeWithin(t, e, 0)
		damage(t, dir, number, urls...)
	}
	e := durable(t, dir, Options{Rules: rulesOf(rules)})
	c := e.Client()
	if err := c.Ask(t.Context(), event(OnPublish, 1, "s")); err != nil {
		t.Fatal(err)
	}
	quiet(t, e)
	c.Tell(event(OnUnpublish, 1, "s"))
	lose(e, 1, urls[1], urls[2])
	lose(durable(t, dir, Options{Rules: rulesOf(rules)}), 2, urls[2])
	var book logBook
	e = durable(t, dir, Options{Rules: rulesOf(rules), Log: book.logger()})
	if len(book.lines("not_delivered=2", "missing_ends=1")) != 1 {
		t.Errorf("the last URL is forgotten: %s", &book)
	}
	lose(e, 3)
	var last logBook
	durable(t, dir, Options{Rules: rulesOf(rules), Log: last.logger()})
	if len(last.lines("not_delivered=3", "missing_ends=0")) != 1 {
		t.Errorf("all are told, once: %s", &last)
	}
}

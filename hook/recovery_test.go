package hook

import (
	"fmt"
	"io"
	"net/http"
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

// It waits for a day, and only if the status says that it was not signed.
func TestUnsignedWaitsForADay(t *testing.T) {
	for _, c := range []struct {
		gone   bool
		status int
		age    time.Duration
		want   bool
	}{
		{true, 401, time.Hour, true}, {true, 403, time.Hour, true}, {true, 404, time.Hour, false},
		{true, 200, time.Hour, false}, {true, 401, 25 * time.Hour, false}, {false, 401, time.Hour, false},
	} {
		if got := (&Rules{gone: c.gone}).unsigned(c.status, time.Now().Add(-c.age)); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

package hook

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// One vhost's short timeout is not held against the others of its endpoint: its
// own gates alone are decided without it, until a trial is answered.
func TestShortTimeoutIsOfVhost(t *testing.T) {
	var fast atomic.Bool
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if !fast.Load() {
			pause(r, 800*time.Millisecond)
		}
		io.WriteString(w, "0")
	}
	short, usual := all("http://h/"), all("http://h/")
	short.Timeout = 600 * time.Millisecond
	rules := func(vhost string) (*Rules, bool) {
		if vhost == "short" {
			return short, true
		}
		return usual, true
	}
	var book logBook
	bubble(t, Options{Rules: rules, Log: book.logger()}, h, func(t *testing.T, e *Engine) {
		ask := func(id uint64) error {
			ev := event(OnPlay, id, "s")
			ev.Vhost = "short"
			return e.Client().Ask(t.Context(), ev)
		}
		for i := range uint64(2 * breakerFails) {
			wantReason(t, ask(i), []string{ReasonTimeout, ReasonBreaker}[i/breakerFails])
		}
		if err := e.Client().Ask(t.Context(), event(OnPlay, 1000, "s")); err != nil {
			t.Error(err)
		}
		if args := e.Endpoints()[0].Args(); args[3] != "vhost_fails" {
			t.Error(args)
		}
		<-time.After(time.Second)
		started := time.Now()
		wantReason(t, ask(2000), ReasonTimeout) // a trial
		wantReason(t, ask(2001), ReasonBreaker)
		if took := time.Since(started); took != short.Timeout {
			t.Errorf("took %v", took)
		}
		fast.Store(true)
		<-time.After(maxProbe + time.Second)
		for i := range uint64(10) {
			if err := ask(3000 + i); err != nil {
				t.Error(err)
			}
		}
	})
	for _, text := range []string{"cannot be asked as the vhost says", "can be asked as the vhost says again"} {
		if n := strings.Count(book.String(), text); n != 1 {
			t.Errorf("%d lines %q:\n%s", n, text, book.String())
		}
	}
}

// Likewise a certificate that it does not trust. Under other rules it begins anew.
func TestUntrustedCertificateIsOfVhost(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "0") }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	good, bad, reloaded := all(srv.URL), all(srv.URL), all(srv.URL)
	good.TLS = trusting(t, srv)
	bad.AllowOnFail = true
	var mended atomic.Bool
	e := openEngine(t, Options{Rules: func(vhost string) (*Rules, bool) {
		switch {
		case vhost != "bad":
			return good, true
		case mended.Load():
			return reloaded, true
		}
		return bad, true
	}})
	ask := func(id uint64, vhost string) error {
		ev := event(OnPlay, id, "s")
		ev.Vhost = vhost
		return e.Client().Ask(t.Context(), ev)
	}
	for i := range uint64(breakerFails) {
		if err := ask(i, "bad"); err != nil {
			t.Fatal(err)
		}
	}
	before := e.Endpoints()[0].Events[0]
	if err := ask(100, "bad"); err != nil {
		t.Error(err)
	}
	if now := e.Endpoints()[0]; now.GateVhosts != 1 || now.BreakerOpen || now.Events[0].Latency != before.Latency {
		t.Errorf("asked all the same: %v", now.Args())
	}
	if err := ask(101, "good"); err != nil {
		t.Error(err)
	}
	mended.Store(true)
	wantReason(t, ask(102, "bad"), ReasonTLS)
}

// What a gate would have to wait for cannot be told either.
func TestGateOfFailingVhostDoesNotWait(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) { pause(r, time.Minute) }
	rules := all("http://h/")
	rules.Timeout = 900 * time.Millisecond
	bubble(t, Options{Rules: rulesOf(rules)}, h, func(t *testing.T, e *Engine) {
		for i := range uint64(breakerFails) {
			wantReason(t, e.Client().Ask(t.Context(), event(OnPlay, i, "s")), ReasonTimeout)
		}
		c := e.Client()
		c.Tell(event(OnUnpublish, 100, "s"))
		<-time.After(maxProbe)
		started := time.Now()
		wantReason(t, c.Ask(t.Context(), event(OnPublish, 100, "s")), ReasonBreaker)
		wantReason(t, e.Client().Ask(t.Context(), event(OnPublish, 101, "s")), ReasonBreaker)
		if took := time.Since(started); took > 0 {
			t.Errorf("waited %v", took)
		}
		closeWithin(t, e, time.Second)
	})
}

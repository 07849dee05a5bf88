package hook

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// Likewise a certificate that it does not trust. A reload changes nothing of that
// unless it changes what calls need; the end of it is logged.
func TestUntrustedCertificateIsOfVhost(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "0") }))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	good, bad := all(srv.URL), all(srv.URL)
	good.TLS = trusting(t, srv)
	bad.AllowOnFail = true
	var inForce atomic.Pointer[Rules]
	inForce.Store(bad)
	var book logBook
	e := openEngine(t, Options{Log: book.logger(), Rules: func(vhost string) (*Rules, bool) {
		if vhost != "bad" {
			return good, true
		}
		return inForce.Load(), true
	}})
	id := uint64(0)
	ask := func(vhost string) {
		t.Helper()
		id++
		ev := event(OnPlay, id, "s")
		ev.Vhost = vhost
		if err := e.Client().Ask(t.Context(), ev); err != nil {
			t.Error(err)
		}
	}
	calls := func() (n uint64) {
		for _, c := range e.Endpoints()[0].Events[0].Latency {
			n += c
		}
		return n
	}
	want := func(breaker string, asked uint64) {
		t.Helper()
		if args := e.Endpoints()[0].Args(); args[3] != breaker || calls() != asked {
			t.Errorf("%d calls, want %d; want %s: %v", calls(), asked, breaker, args)
		}
	}
	for range breakerFails {
		ask("bad")
	}
	ask("bad")
	want("vhost_fails", breakerFails)
	ask("good")
	want("vhost_fails", breakerFails+1)

	same := *bad
	inForce.Store(&same)
	ask("bad")
	want("vhost_fails", breakerFails+1)

	other := *bad
	other.Timeout++
	inForce.Store(&other)
	want("closed", breakerFails+1)
	for range breakerFails + 1 {
		ask("bad")
	}
	want("vhost_fails", 2*breakerFails+1)

	mended := *good
	inForce.Store(&mended)
	want("closed", 2*breakerFails+1)
	ask("bad")
	ask("bad")
	want("closed", 2*breakerFails+3)
	for text, want := range map[string]int{"cannot be asked as the vhost says": 2, "can be asked as the vhost says again": 1} {
		if n := strings.Count(book.String(), text); n != want {
			t.Errorf("%d lines %q:\n%s", n, text, book.String())
		}
	}
}

// An answer to what was asked before a reload says nothing of the rules since.
func TestAnswerUnderOldRules(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		pause(r, 10*time.Second)
		io.WriteString(w, "0")
	}
	long, short := all("http://h/"), all("http://h/")
	long.Timeout, short.Timeout = time.Minute, 500*time.Millisecond
	var inForce atomic.Pointer[Rules]
	inForce.Store(long)
	bubble(t, Options{Rules: func(string) (*Rules, bool) { return inForce.Load(), true }}, h, func(t *testing.T, e *Engine) {
		done := make(chan error)
		go func() { done <- e.Client().Ask(t.Context(), event(OnPlay, 1, "s")) }()
		synctest.Wait()
		inForce.Store(short)
		for i := range uint64(breakerFails) {
			wantReason(t, e.Client().Ask(t.Context(), event(OnPlay, 10+i, "s")), ReasonTimeout)
		}
		if err := <-done; err != nil || e.Endpoints()[0].GateVhosts != 1 {
			t.Errorf("%v, %v", err, e.Endpoints()[0].Args())
		}
	})
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

// Gates that wait already when their vhost's gates begin to fail need not wait longer.
func TestWaitingGateOfFailingVhost(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) { pause(r, time.Minute) }
	rules, usual := all("http://h/"), all("http://h/")
	rules.Timeout = 900 * time.Millisecond
	bubble(t, Options{Rules: func(vhost string) (*Rules, bool) {
		if vhost == "usual" {
			return usual, true
		}
		return rules, true
	}}, h, func(t *testing.T, e *Engine) {
		for _, vhost := range []string{"v.example", "usual"} {
			end := event(OnUnpublish, 1, "s")
			end.Vhost = vhost
			e.Client().Tell(end)
		}
		for i := range uint64(breakerFails - 1) {
			wantReason(t, e.Client().Ask(t.Context(), event(OnPlay, 10+i, "s")), ReasonTimeout)
		}
		last, waiting, other := make(chan error), make(chan error), make(chan error)
		go func() { last <- e.Client().Ask(t.Context(), event(OnPlay, 20, "s")) }()
		<-time.After(rules.Timeout / 2)
		go func() { waiting <- e.Client().Ask(t.Context(), event(OnPublish, 30, "s")) }()
		go func() {
			ev := event(OnPublish, 31, "s")
			ev.Vhost = "usual"
			other <- e.Client().Ask(t.Context(), ev)
		}()
		started := time.Now()
		wantReason(t, <-last, ReasonTimeout)
		wantReason(t, <-waiting, ReasonBreaker)
		if took := time.Since(started); took != rules.Timeout/2 {
			t.Errorf("waited %v", took)
		}
		wantReason(t, <-other, ReasonPending)
		if took := time.Since(started); took != usual.Timeout {
			t.Errorf("another vhost's: %v", took)
		}
		closeWithin(t, e, time.Second)
	})
}

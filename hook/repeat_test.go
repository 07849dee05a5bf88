package hook

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// HK-20: two answers that ask to come back, then one that does not: three
// requests, the same id and body.
func TestHK20(t *testing.T) {
	var ids, bodies trail
	var n atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		ids.add(c.header.Get("Webhook-Id"))
		bodies.add(string(r.Context().Value(bodyKey{}).([]byte)))
		if n.Add(1) < 3 {
			w.WriteHeader(500)
			return
		}
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		e.Client().Tell(event(OnStop, 1, "s"))
		<-time.After(2 * time.Second)
		for _, list := range []string{ids.String(), bodies.String()} {
			if f := strings.Fields(list); len(f) != 3 || f[0] != f[1] || f[1] != f[2] {
				t.Errorf("%q", f)
			}
		}
		if got := e.Counters()[OnStop]; got != (Counts{Told: 1, Delivered: 1}) {
			t.Errorf("%+v", got)
		}
	})
}

// HK-23: how long Retry-After keeps a notice, at most a minute.
func TestHK23(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "60": time.Minute, "3600": time.Minute, "-1": 0, "x": 0, "1.5": 0, "99999999999999999999": 0,
		now.Add(30 * time.Second).Format(http.TimeFormat): 30 * time.Second,
		now.Add(time.Hour).Format(http.TimeFormat):        time.Minute,
		now.Add(-time.Hour).Format(http.TimeFormat):       0,
	} {
		if got := parseRetryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	var n atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if n.Add(1) == 1 {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		e.Client().Tell(event(OnStop, 1, "s"))
		<-time.After(59 * time.Second)
		if n.Load() != 1 {
			t.Errorf("%d requests within a minute", n.Load())
		}
		<-time.After(2 * time.Second)
		if n.Load() != 2 {
			t.Errorf("%d requests after a minute", n.Load())
		}
	})
}

// An endpoint that answers "later" again and again is left alone but for a try
// now and then; it hears of its return within 5 s, and then all of it in order.
func TestThrottle(t *testing.T) {
	var up atomic.Bool
	var calls atomic.Int32
	var order trail
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		calls.Add(1)
		if !up.Load() {
			w.WriteHeader(503)
			return
		}
		order.add(fmt.Sprint(c.ClientID, c.Action))
		io.WriteString(w, "0")
	}
	var book logBook
	bubble(t, Options{Log: book.logger(), Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		for id := range uint64(500) {
			c := e.Client()
			c.Tell(event(OnStop, id, "s"))
			c.Tell(event(OnClose, id, ""))
		}
		<-time.After(10 * time.Minute)
		if n := calls.Load(); n > 400 {
			t.Errorf("%d calls in ten minutes", n)
		}
		if text := fmt.Sprintln(e.Endpoints()[0].Args()...); !strings.Contains(text, "breaker closed notices later") {
			t.Error(text)
		}
		up.Store(true)
		<-time.After(5 * time.Second)
		if order.String() == "" {
			t.Error("nothing within 5 s")
		}
		<-time.After(2 * time.Minute) // those that were tried have waited a minute at most
		if n := strings.Count(order.String(), "on_close"); n != 500 {
			t.Errorf("%d delivered", n)
		}
		for id := range 500 {
			s := " " + order.String() + " "
			if strings.Index(s, fmt.Sprintf(" %don_stop ", id)) > strings.Index(s, fmt.Sprintf(" %don_close ", id)) {
				t.Errorf("client %d is out of order", id)
			}
		}
		if a, b := strings.Count(book.String(), "does not take notices"), strings.Count(book.String(), "takes notices again"); a != 1 || b != 1 {
			t.Errorf("%d and %d lines", a, b)
		}
	})
}

// The breaker: eight failures open it, gates are then refused at once, one in a
// few seconds is the trial, and a yes closes it.
func TestBreaker(t *testing.T) {
	var up atomic.Bool
	var calls atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		calls.Add(1)
		if !up.Load() {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		ask := func() string { return reason(t, e.Client().Ask(t.Context(), event(OnPlay, 1, "s"))) }
		for i := range breakerFails {
			if got := ask(); got != ReasonBadResponse {
				t.Errorf("%d: %s", i, got)
			}
		}
		for range 100 {
			if got := ask(); got != ReasonBreaker {
				t.Error(got)
			}
		}
		if ep := e.Endpoints()[0]; !ep.BreakerOpen || ep.Events[0].Count(Undecided) != breakerFails+100 {
			t.Errorf("%+v", ep)
		}
		calls.Store(0)
		for range 600 { // a minute
			ask()
			<-time.After(100 * time.Millisecond)
		}
		if n := calls.Load(); n < 12 || n > 30 {
			t.Errorf("%d trials a minute", n)
		}
		up.Store(true)
		<-time.After(5 * time.Second)
		for range 10 {
			if got := ask(); got != "" {
				t.Error(got)
			}
		}
	})
}

// on_fail allow accepts what is not decided, never what is refused.
func TestAllowOnFail(t *testing.T) {
	var answer atomic.Value
	answer.Store("200 0")
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		var status int
		var body string
		fmt.Sscan(answer.Load().(string), &status, &body)
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
	r := all("http://h/")
	r.AllowOnFail = true
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		for text, want := range map[string]string{
			"200 0": "", "500 0": "", "503 0": "", "429 0": "", "0 0": "",
			"200 1": ReasonDenied, "403 0": ReasonStatus, "200 OK": ReasonBadResponse, "302 0": ReasonRedirect, "404 0": ReasonStatus,
		} {
			answer.Store(text)
			if got := reason(t, e.Client().Ask(t.Context(), event(OnPlay, 1, "s"))); got != want {
				t.Errorf("%s: %q, want %q", text, got, want)
			}
		}
	})
}

// TestAllowNeverUnasked: on_fail does not let in whom nobody was asked about,
// because an earlier end is not delivered yet.
func TestAllowNeverUnasked(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.Action == OnUnpublish {
			w.WriteHeader(http.StatusBadGateway)
		}
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.AllowOnFail, r.Timeout = true, 2*time.Second
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		first := e.Client()
		if err := first.Ask(t.Context(), event(OnPublish, 1, "s")); err != nil {
			t.Fatal(err)
		}
		first.Tell(event(OnUnpublish, 1, "s"))
		time.Sleep(100 * time.Millisecond)
		if got := reason(t, e.Client().Ask(t.Context(), event(OnPublish, 2, "s"))); got != ReasonPending {
			t.Errorf("%q", got)
		}
		if got := reason(t, e.Client().Ask(t.Context(), event(OnPublish, 3, "other"))); got != "" {
			t.Errorf("another stream: %q", got)
		}
	})
}

// Whoever said yes before a later URL refused hears the end; the others do not.
func TestTakenBack(t *testing.T) {
	first, second, third := newLedger(t, nil), newLedger(t, func(w http.ResponseWriter, _ call) { io.WriteString(w, "1") }), newLedger(t, nil)
	e := testEngine(t, all(first.URL, second.URL, third.URL))
	c := e.Client()
	err := c.Ask(t.Context(), event(OnPublish, 1, "s"))
	wantReason(t, err, ReasonDenied)
	closeNow(t, e)
	wantCalls(t, first, "/ on_publish 1 s", "/ on_unpublish 1 s")
	if last := first.seen()[1]; !strings.Contains(last.body, `"reason":"hook.denied"`) {
		t.Error(last.body)
	}
	wantCalls(t, second, "/ on_publish 1 s")
	wantCalls(t, third)
}

// HK-21, and secrets that are none.
func TestHK21(t *testing.T) {
	key := strings.Repeat("k", 24)
	good := "whsec_" + base64.StdEncoding.EncodeToString([]byte(key))
	t.Setenv("HOOK_SECRET", good)
	all, err := LoadSecrets([]string{"env:HOOK_SECRET", good})
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", all, all[0], all[0], all[1]); strings.Contains(text, "107") || strings.Contains(text, key) {
		t.Error(text)
	}
	// Made with Python's hmac.
	const want = "v1,E3sCg9uS8x43RKlJqcda1EcaYZxNkN+l2u7RBZBSZQQ="
	if got := sign(all, "msg_1", "1700000000", []byte("{}")); got != want+" "+want {
		t.Errorf("%s", got)
	}
	for _, bad := range []string{"env:NONE", "file:/no/such", "whsec_SECRET", "whsec_" + base64.StdEncoding.EncodeToString([]byte("SECRET")), "SECRET"} {
		if _, err := LoadSecrets([]string{bad}); err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Each endpoint's numbers.
func TestEndpoints(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.Action == OnPlay {
			pause(r, 100*time.Millisecond)
		}
		if c.Action == OnStop {
			w.WriteHeader(404)
		}
		if c.Action == OnClose {
			w.WriteHeader(500)
		}
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		for range 10 {
			if err := e.Client().Ask(t.Context(), event(OnPlay, 1, "s")); err != nil {
				t.Fatal(err)
			}
		}
		e.Client().Tell(event(OnStop, 1, "s"))
		e.Client().Tell(event(OnClose, 1, ""))
		synctest.Wait()
		<-time.After(100 * time.Millisecond)
		all := e.Endpoints()
		if len(all) != 1 || all[0].Pending != 1 || all[0].Oldest != 100*time.Millisecond || len(all[0].Events) != 3 {
			t.Fatalf("%+v", all)
		}
		for _, ev := range all[0].Events {
			switch ev.Action {
			case OnPlay:
				if ev.Count(Accepted) != 10 || ev.Quantile(0.99) != 100*time.Millisecond {
					t.Errorf("%+v", ev)
				}
				if text := fmt.Sprintln(ev.Args()...); !strings.Contains(text, "accepted 10 p50 100ms p90 100ms p99 100ms max 100ms") {
					t.Error(text)
				}
			case OnStop:
				if ev.Count(Objected) != 1 {
					t.Errorf("%+v", ev)
				}
			case OnClose:
				if ev.Count(Retried) != 1 {
					t.Errorf("%+v", ev)
				}
			}
		}
		if text := fmt.Sprint(append(all[0].Args(), all[0].Events[0].Args()...)...); !strings.Contains(text, "http://h:80") {
			t.Error(text)
		}
	})
}

package hook

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hangs is an endpoint that does not answer one kind of event until it is up; it
// counts what it has heard of ends.
func hangs(a Action, up *atomic.Bool, heard *atomic.Int32) func(http.ResponseWriter, *http.Request, call) {
	return func(w http.ResponseWriter, r *http.Request, c call) {
		if c.Action == a && !up.Load() {
			pause(r, time.Minute)
			return
		}
		if c.Action == OnClose {
			heard.Add(1)
		}
		io.WriteString(w, "0")
	}
}

// Notices that hang say nothing of gates that are answered.
func TestNoticesHangGatesDoNot(t *testing.T) {
	var up atomic.Bool
	var heard atomic.Int32
	h := hangs(OnClose, &up, &heard)
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		for i := range uint64(4 * breakerFails) {
			e.Client().Tell(event(OnClose, i, ""))
		}
		for range 100 { // over the moment when all of them time out
			if err := e.Client().Ask(t.Context(), event(OnPlay, 1000, "s")); err != nil {
				t.Fatal(err)
			}
			<-time.After(200 * time.Millisecond)
		}
		if ep := e.Endpoints()[0]; ep.BreakerOpen || !strings.Contains(fmt.Sprintln(ep.Args()...), "breaker closed notices unanswered") {
			t.Errorf("notices are not held back, or gates are: %v", ep.Args())
		}
		up.Store(true)
		<-time.After(15 * time.Second) // a trial under way, and the next
		if n := heard.Load(); n != 4*breakerFails {
			t.Errorf("%d notices delivered", n)
		}
	})
}

// Gates that hang are found out although notices are answered meanwhile, which
// are no trial of gates.
func TestGatesHangNoticesDoNot(t *testing.T) {
	var up atomic.Bool
	var heard atomic.Int32
	h := hangs(OnPlay, &up, &heard)
	rules := all("http://h/")
	rules.Timeout = 2 * time.Second
	bubble(t, Options{Rules: rulesOf(rules)}, h, func(t *testing.T, e *Engine) {
		const gates = 40
		calls := 0
		for i := range uint64(gates) {
			e.Client().Tell(event(OnClose, 1000+i, ""))
			begun := time.Now()
			err := e.Client().Ask(t.Context(), event(OnPlay, i, "s"))
			if time.Since(begun) > 0 {
				calls++
				wantReason(t, err, ReasonTimeout)
			} else {
				wantReason(t, err, ReasonBreaker)
			}
			<-time.After(100 * time.Millisecond)
		}
		if ep := e.Endpoints()[0]; !ep.BreakerOpen || calls > breakerFails+5 {
			t.Errorf("%d calls of %d gates, %v", calls, gates, ep.Args())
		}
		up.Store(true)
		<-time.After(5 * time.Second)
		if err := e.Client().Ask(t.Context(), event(OnPlay, gates, "s")); err != nil || e.Endpoints()[0].BreakerOpen {
			t.Errorf("not found to be back: %v, %v", err, e.Endpoints()[0].Args())
		}
		if n := heard.Load(); n != gates {
			t.Errorf("%d notices delivered", n)
		}
	})
}

// Gates that are decided without a call are counted, and no calls of 0 ms.
func TestNoCallTakesNoTime(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		pause(r, 100*time.Millisecond)
		panic(http.ErrAbortHandler)
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		for i := range uint64(100) {
			err := e.Client().Ask(t.Context(), event(OnPlay, i, "s"))
			if want := []string{ReasonBadResponse, ReasonBreaker}[min(i/breakerFails, 1)]; reason(t, err) != want {
				t.Errorf("gate %d: %v", i, err)
			}
		}
		ev, calls := e.Endpoints()[0].Events[0], uint64(0)
		for _, n := range ev.Latency {
			calls += n
		}
		if ev.Count(Undecided) != 100 || calls != breakerFails || ev.Quantile(0.01) != 100*time.Millisecond {
			t.Errorf("%d calls, %v", calls, ev.Args())
		}
	})
}

// Nor is what has a URL that cannot be called.
func TestNoURLTakesNoTime(t *testing.T) {
	for _, noRetry := range []bool{true, false} {
		rules := all("http://h:SECRET/")
		rules.NoRetry = noRetry
		e := testEngine(t, rules)
		wantReason(t, e.Client().Ask(t.Context(), event(OnPlay, 1, "s")), ReasonRefused)
		e.Client().Tell(event(OnStop, 1, "s"))
		if !settles(func() bool { return e.Counters()[OnStop].Failed == 1 }) {
			t.Fatal("the notice is not given up")
		}
		for _, ev := range e.Endpoints()[0].Events {
			if ev.Latency != [buckets]uint64{} {
				t.Errorf("a call: %v", ev.Args())
			}
		}
	}
}

// What one vhost does not accept is not held against the others of its endpoint.
func TestTLSIsOfVhost(t *testing.T) {
	rules := &Rules{}
	for _, c := range []struct {
		r    Refusal
		want bool
	}{
		{Refusal{Reason: ReasonTLS, Detail: "x509: unknown authority"}, true},
		{Refusal{Reason: ReasonTLS, Detail: lateHandshake}, false},
		{Refusal{Reason: ReasonTimeout}, false},
		{Refusal{Reason: ReasonRefused}, false},
		{Refusal{Reason: ReasonBadResponse}, false},
	} {
		if got := c.r.ofVhost(rules); got != c.want {
			t.Errorf("%+v: %v", c.r, got)
		}
	}
}

// An endpoint that is back when the server stops hears all that waits for it:
// the trial's outcome is waited for.
func TestBackAtTheStop(t *testing.T) {
	for _, status := range []int{0, http.StatusServiceUnavailable} { // no answer, "later"
		var up atomic.Bool
		var heard atomic.Int32
		h := func(w http.ResponseWriter, r *http.Request, c call) {
			switch {
			case up.Load():
				pause(r, time.Second)
				heard.Add(1)
				io.WriteString(w, "0")
			case status == 0:
				panic(http.ErrAbortHandler)
			default:
				w.WriteHeader(status)
			}
		}
		const notices = 100
		bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
			for i := range uint64(notices) {
				ev := event(OnStop, i, "s")
				ev.Vhost = string(rune('a' + i%3))
				e.Client().Tell(ev)
			}
			<-time.After(20 * time.Second)
			up.Store(true)
			if err := closeWithin(t, e, 20*time.Second); err != nil || heard.Load() != notices {
				t.Errorf("status %d: %d notices delivered, %v", status, heard.Load(), err)
			}
		})
	}
}

// One that is not is given up after the trial, also when that hangs in several lanes.
func TestNotBackAtTheStop(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) { pause(r, time.Minute) }
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(Options{Rules: rulesOf(all("http://h/"))}, newPipeNetBody(t, h).dial)
		for i := range uint64(300) {
			ev := event(OnStop, i, "s")
			ev.Vhost = string(rune('a' + i%3))
			e.Client().Tell(ev)
		}
		<-time.After(25 * time.Second)
		started := time.Now()
		if err := closeWithin(t, e, time.Hour); err == nil || time.Since(started) > 21*time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
	})
}

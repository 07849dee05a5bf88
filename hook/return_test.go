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

// soon is how long an endpoint that is back may wait for what waits: the longest
// probe, jitter included.
const soon = 5 * time.Second

// An endpoint that comes back after a long time gets all that waits within
// seconds, however often it was tried before, and through the lane's workers.
func TestBackAfterALongTime(t *testing.T) {
	const clients, outage = 500, 10 * time.Minute
	for _, c := range []struct {
		name    string
		timeout time.Duration
		fail    func(w http.ResponseWriter, r *http.Request)
	}{
		{"5xx", 10 * time.Second, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }},
		{"asks to come later", 10 * time.Second, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "4")
			w.WriteHeader(429)
		}},
		{"no answer", 10 * time.Second, func(w http.ResponseWriter, r *http.Request) { pause(r, time.Minute) }},
		{"no answer in the vhost's short time", 500 * time.Millisecond, func(w http.ResponseWriter, r *http.Request) { pause(r, time.Minute) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var down atomic.Bool
			var failed, under, most atomic.Int32
			h := func(w http.ResponseWriter, r *http.Request, _ call) {
				if down.Load() {
					failed.Add(1)
					c.fail(w, r)
					return
				}
				if n := under.Add(1); n > most.Load() {
					most.Store(n)
				}
				pause(r, time.Millisecond)
				under.Add(-1)
				io.WriteString(w, "0")
			}
			rules := all("http://h/")
			rules.Timeout = c.timeout
			var book logBook
			bubble(t, Options{Rules: rulesOf(rules), Log: book.logger()}, h, func(t *testing.T, e *Engine) {
				down.Store(true)
				e.Client().Tell(event(OnClose, 1, "s")) // tried again and again
				<-time.After(outage / 2)
				for i := range clients - 1 {
					e.Client().Tell(event(OnClose, uint64(i+2), "s"))
				}
				<-time.After(outage / 2)
				if n := failed.Load(); n > 400 {
					t.Errorf("%d calls of an endpoint that is down", n)
				}
				down.Store(false)
				<-time.After(soon + c.timeout)
				if got := e.Counters()[OnClose]; got.Delivered != clients {
					t.Errorf("%+v", got)
				}
				if log := book.String(); strings.Count(log, "that waited are delivered") != 1 || !strings.Contains(log, "endpoint=http://h:80 count=500 waited=10m") {
					t.Errorf("the log does not say what waited, once: %d lines", strings.Count(log, "that waited are delivered"))
				}
				if n := most.Load(); n > DefaultWorkers {
					t.Errorf("%d calls at a time", n)
				}
			})
		})
	}
}

// One notice that an endpoint does not take while it takes the others is tried
// less and less often: the others' success says nothing of it.
func TestOneThatIsNotTaken(t *testing.T) {
	var tries atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.ClientID == 1 {
			tries.Add(1)
			w.WriteHeader(500)
		}
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		e.Client().Tell(event(OnClose, 1, "s"))
		for i := range uint64(600) {
			e.Client().Tell(event(OnClose, i+2, "s"))
			<-time.After(time.Second)
		}
		if n := tries.Load(); n < 12 || n > 25 {
			t.Errorf("%d tries in 10 min", n)
		}
	})
}

// What fails because of one vhost's rules is told once, and changes nothing for
// the other vhosts of the endpoint, at the stop neither.
func TestVhostThatFails(t *testing.T) {
	var book logBook
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if strings.Contains(c.body, "short.example") {
			pause(r, time.Minute)
		}
		pause(r, 2*time.Second)
		io.WriteString(w, "0")
	}
	short, long := all("http://h/"), all("http://h/")
	short.Timeout, long.Workers = 200*time.Millisecond, 1
	rules := func(vhost string) (*Rules, bool) {
		if vhost == "short.example" {
			return short, true
		}
		return long, true
	}
	bubble(t, Options{Rules: rules, Log: book.logger()}, h, func(t *testing.T, e *Engine) {
		for i := range uint64(20) {
			ev := event(OnClose, i, "s")
			ev.Vhost = "short.example"
			e.Client().Tell(ev)
		}
		<-time.After(time.Minute)
		if n := strings.Count(book.String(), "cannot be called as the vhost says"); n != 1 || !strings.Contains(book.String(), "vhost=short.example") {
			t.Errorf("%d lines:\n%s", n, book.String())
		}
		if text := fmt.Sprintln(e.Endpoints()[0].Args()...); !strings.Contains(text, "breaker closed notices vhost_fails") {
			t.Error(text)
		}
		for i := range uint64(3) {
			e.Client().Tell(event(OnClose, 100+i, "s"))
		}
		synctest.Wait()
		closeWithin(t, e, 8*time.Second)
		if got := e.Counters()[OnClose]; got.Delivered != 3 {
			t.Errorf("%+v", got)
		}
	})
}

package hook

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A takeover waits for the end at the endpoints of on_publish, not at one that only
// hears of ends and may be dead.
func TestTakeoverWaitsWhereAsked(t *testing.T) {
	var heard trail
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if r.Host == "dead" {
			pause(r, time.Hour)
			return
		}
		if c.Action == OnUnpublish {
			pause(r, time.Second)
		}
		heard.add(string(c.Action))
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.OnUnpublish = []string{"http://dead/", "http://h/"}
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		first, second := e.Client(), e.Client()
		for i, c := range []*Client{first, second} {
			if err := c.Ask(t.Context(), event(OnPublish, uint64(i+1), "s")); err != nil {
				t.Fatal(err)
			}
		}
		first.Tell(event(OnUnpublish, 1, "s"))
		synctest.Wait()
		started := time.Now()
		if err := second.AwaitEnds(t.Context(), event(OnPublish, 2, "s")); err != nil || time.Since(started) != time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
		if want := "on_publish on_publish on_unpublish"; heard.String() != want {
			t.Errorf("heard %s", heard.String())
		}
	})
}

// Notices of others that hang, or are answered "later", do not keep an end from the
// gate that waits for it, and are not tried more often because of it.
func TestEndPassesBreakers(t *testing.T) {
	for name, fail := range map[string]func(w http.ResponseWriter, r *http.Request){
		"hang":  func(w http.ResponseWriter, r *http.Request) { pause(r, time.Hour) },
		"later": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) },
	} {
		for _, timeout := range []time.Duration{5 * time.Second, 500 * time.Millisecond} { // the latter is of the vhost alone
			t.Run(name, func(t *testing.T) {
				var closes atomic.Int32
				h := func(w http.ResponseWriter, r *http.Request, c call) {
					if c.Action == OnClose {
						closes.Add(1)
						fail(w, r)
						return
					}
					io.WriteString(w, "0")
				}
				var book logBook
				r := all("http://h/")
				r.Timeout = timeout
				bubble(t, Options{Rules: rulesOf(r), Log: book.logger()}, h, func(t *testing.T, e *Engine) {
					for i := range uint64(100) {
						e.Client().Tell(event(OnClose, 1000+i, ""))
					}
					<-time.After(time.Minute)
					closes.Store(0)
					started := time.Now()
					for id := range uint64(200) { // each is ended while notices are held back
						c := e.Client()
						if err := c.Ask(t.Context(), event(OnPublish, id, "s")); err != nil {
							t.Fatal(err)
						}
						c.Tell(event(OnUnpublish, id, "s"))
						c.Tell(event(OnClose, id, ""))
						<-time.After(10 * time.Millisecond)
					}
					if took := time.Since(started); took > 3*time.Second {
						t.Errorf("took %v", took)
					}
					if n := closes.Load(); n > 10 {
						t.Errorf("%d on_close besides", n)
					}
					if log := book.String(); strings.Contains(log, "again\"") {
						t.Errorf("the breaker closes:\n%s", log)
					}
				})
			})
		}
	}
}

// An end that is told while a gate waits for its stream is moved ahead, too: that of
// another newcomer who lost a takeover.
func TestEndToldWhileGateWaits(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		switch c.Action {
		case OnClose:
			pause(r, 25*time.Second) // slow, not dead
		case OnUnpublish:
			pause(r, 2*time.Second)
		}
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.Timeout = time.Minute
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		for i := range uint64(2 * DefaultWorkers) {
			e.Client().Tell(event(OnClose, 1000+i, ""))
		}
		synctest.Wait()
		e.Client().Tell(event(OnUnpublish, 1, "s"))
		time.AfterFunc(time.Second, func() { e.Client().Tell(event(OnUnpublish, 2, "s")) })
		started := time.Now()
		if err := e.Client().Ask(t.Context(), event(OnPublish, 3, "s")); err != nil || time.Since(started) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
	})
}

// The end itself hangs: the gate waits in its own time. on_fail applies once the
// endpoint is known to answer nothing that is told.
func TestEndHangs(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if endOf(c.Action) == "" {
			pause(r, time.Hour)
		}
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.Timeout = 5 * time.Second
	var now atomic.Pointer[Rules]
	now.Store(r)
	bubble(t, Options{Rules: func(string) (*Rules, bool) { return now.Load(), true }}, h, func(t *testing.T, e *Engine) {
		e.Client().Tell(event(OnUnpublish, 1, "s"))
		for i := range uint64(20) {
			started := time.Now()
			wantReason(t, e.Client().Ask(t.Context(), event(OnPublish, 2, "s")), ReasonPending)
			if took := time.Since(started); took != r.Timeout {
				t.Errorf("%d: took %v", i, took)
			}
		}
		if ev := e.Endpoints()[0].Events[0]; ev.Action != OnPublish || ev.Count(Denied) != 0 || ev.Count(Undecided) != 20 {
			t.Errorf("an endpoint that was not asked has denied: %v", ev.Args())
		}
		allow := *r
		allow.AllowOnFail = true
		now.Store(&allow)
		if err := e.Client().Ask(t.Context(), event(OnPublish, 2, "s")); err != nil {
			t.Error(err)
		}
		if err := e.Client().Ask(t.Context(), event(OnPublish, 3, "other")); err != nil {
			t.Errorf("another stream: %v", err)
		}
	})
}

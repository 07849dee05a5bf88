package hook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// HK-22: short clients, many at once: each one's events in order, none missing.
func TestHK22(t *testing.T) {
	const clients = 2000
	srv := newLedger(t, nil)
	e := testEngine(t, all(srv.URL))
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range 100 {
		wg.Go(func() {
			for id := range next {
				c, stream := e.Client(), fmt.Sprint("s", id%50)
				for _, a := range []Action{OnConnect, OnPublish, OnUnpublish, OnPlay, OnStop, OnClose} {
					ev := event(a, id, stream)
					if endOf(a) == "" {
						c.Tell(ev)
					} else if err := c.Ask(t.Context(), ev); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for id := range uint64(clients) {
		next <- id
	}
	close(next)
	wg.Wait()
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint64]string)
	for _, c := range srv.seen() {
		seen[c.ClientID] += string(c.Action) + " "
	}
	for id := range uint64(clients) {
		if want := "on_connect on_publish on_unpublish on_play on_stop on_close "; seen[id] != want {
			t.Fatalf("client %d: %s", id, seen[id])
		}
	}
	for a, n := range e.Counters() {
		if want := (Counts{Told: clients, Delivered: clients}); endOf(a) == "" && a != OnDVR && n != want {
			t.Errorf("%s: %+v", a, n)
		}
	}
}

// A bubble runs f with an engine whose endpoints are h, in fake time.
func bubble(t *testing.T, o Options, h func(w http.ResponseWriter, r *http.Request, c call), f func(t *testing.T, e *Engine)) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(o, newPipeNetBody(t, h).dial)
		defer closeNow(t, e)
		f(t, e)
	})
}

func rulesOf(r *Rules) func(string) (*Rules, bool) {
	return func(string) (*Rules, bool) { return r, true }
}

// Tell returns at once; Ask comes after what the same client told, within its
// own deadline; other clients pass.
func TestAskWaitsForTell(t *testing.T) {
	var order trail
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.Action == OnStop {
			pause(r, 3*time.Second)
		}
		order.add(fmt.Sprint(c.Action, c.ClientID))
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		started, c := time.Now(), e.Client()
		c.Tell(event(OnStop, 1, "s"))
		c.Tell(event(OnStop, 1, "s"))
		if time.Since(started) != 0 {
			t.Error("Tell waited")
		}
		if err := e.Client().Ask(t.Context(), event(OnPlay, 2, "s")); err != nil || time.Since(started) != 0 {
			t.Errorf("another client: %v after %v", err, time.Since(started))
		}
		if err := c.Ask(t.Context(), event(OnPlay, 1, "s")); err != nil || time.Since(started) != 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
		if got := order.String(); got != "on_play2 on_stop1 on_stop1 on_play1" {
			t.Error(got)
		}
		for range 4 {
			c.Tell(event(OnStop, 1, "s"))
		}
		started = time.Now()
		wantReason(t, c.Ask(t.Context(), event(OnPlay, 1, "s")), ReasonPending)
		if time.Since(started) != 10*time.Second {
			t.Errorf("after %v", time.Since(started))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantReason(t, c.Ask(ctx, event(OnPlay, 1, "s")), ReasonPending)
	})
}

// No receiver sees publish(new) before unpublish(old), not behind a backlog
// either; a dead second endpoint of the end does not hold the gate up.
func TestUnpublishBeforePublish(t *testing.T) {
	var order trail
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		switch {
		case r.Host == "dead":
			pause(r, time.Minute)
		case endOf(c.Action) == "":
			pause(r, time.Second)
		}
		order.add(string(c.Action) + c.Stream)
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.OnUnpublish = []string{"http://h/", "http://dead/"}
	r.Workers = 1
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		for i := range 100 { // 100 s of backlog in the lane
			e.Client().Tell(event(OnStop, uint64(i), "x"))
		}
		old := e.Client()
		old.Tell(event(OnStop, 500, "x"))
		old.Tell(event(OnUnpublish, 500, "x"))
		started := time.Now()
		if err := e.Client().Ask(t.Context(), event(OnPublish, 501, "y")); err != nil || time.Since(started) != 0 {
			t.Errorf("another stream: %v after %v", err, time.Since(started))
		}
		if err := e.Client().Ask(t.Context(), event(OnPublish, 501, "x")); err != nil || time.Since(started) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
		if got := order.String(); !strings.Contains(got, "on_unpublishx on_publishx") && !strings.Contains(got, "on_unpublishx on_stopx on_publishx") {
			t.Error(got)
		}
		closeNow(t, e)
	})
}

// A gate does not wait for the backlog of other clients, only for its own.
func TestOwnNoticesFirst(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if endOf(c.Action) == "" {
			pause(r, time.Second)
		}
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.Workers = 1
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		for i := range 100 {
			e.Client().Tell(event(OnStop, uint64(i), "x"))
		}
		c := e.Client()
		c.Tell(event(OnStop, 500, "s"))
		c.Tell(event(OnUnpublish, 500, "s"))
		started := time.Now()
		if err := c.Ask(t.Context(), event(OnPlay, 500, "s")); err != nil || time.Since(started) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
	})
}

// Notices that hang and have every worker do not delay the ends that gates wait
// for; those have a bound of their own.
func TestEndsPassHangingNotices(t *testing.T) {
	var under, most atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.Action == OnDVR {
			pause(r, time.Minute)
		}
		if c.Action == OnUnpublish {
			if n := under.Add(1); n > most.Load() {
				most.Store(n)
			}
			pause(r, time.Second)
			under.Add(-1)
		}
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		for i := range 2 * DefaultWorkers {
			e.TellFile(event(OnDVR, uint64(i), fmt.Sprint("f", i)), func() {})
		}
		const crowd = 2 * urgentWorkers
		for i := range uint64(crowd) {
			e.Client().Tell(event(OnUnpublish, i, fmt.Sprint("s", i)))
		}
		synctest.Wait()
		if n := under.Load(); n != 0 {
			t.Errorf("%d ends that nobody waits for have the workers of those that somebody does", n)
		}
		started := time.Now()
		var wg sync.WaitGroup
		for i := range uint64(crowd) {
			wg.Go(func() {
				if err := e.Client().Ask(t.Context(), event(OnPublish, crowd+i, fmt.Sprint("s", i))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(started); took != 2*time.Second || most.Load() != urgentWorkers {
			t.Errorf("%v, %d at a time", took, most.Load())
		}
	})
}

// A lane takes up the workers of new rules while it is in use.
func TestWorkersRaised(t *testing.T) {
	var under atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		under.Add(1)
		pause(r, time.Second)
		io.WriteString(w, "0")
	}
	few, more := all("http://h/"), all("http://h/")
	few.Workers, more.Workers = 1, 10
	var now atomic.Pointer[Rules]
	now.Store(few)
	o := Options{Rules: func(string) (*Rules, bool) { return now.Load(), true }}
	bubble(t, o, h, func(t *testing.T, e *Engine) {
		for i := range 9 {
			e.Client().Tell(event(OnStop, uint64(i), "s"))
		}
		synctest.Wait()
		if n := under.Load(); n != 1 {
			t.Errorf("%d calls under way", n)
		}
		now.Store(more)
		e.Client().Tell(event(OnStop, 9, "s"))
		synctest.Wait()
		if n := under.Load(); n != 10 {
			t.Errorf("%d calls under way", n)
		}
	})
}

// While the end cannot be delivered, the publish is refused in its own time.
func TestUnpublishPending(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.Action == OnUnpublish {
			pause(r, time.Minute)
		}
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.NoRetry = true
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		e.Client().Tell(event(OnUnpublish, 1, "s"))
		<-time.After(4 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		wantReason(t, e.Client().Ask(ctx, event(OnPublish, 2, "s")), ReasonPending)
		// One attempt was made and failed after 10 s: the way is free.
		if err := e.Client().Ask(t.Context(), event(OnPublish, 2, "s")); err != nil {
			t.Error(err)
		}
		if got := e.Counters()[OnUnpublish]; got != (Counts{Told: 1, Failed: 1}) {
			t.Errorf("%+v", got)
		}
	})
}

// Files of a stream keep their order, others do not wait for them.
func TestTellFile(t *testing.T) {
	var order trail
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.File == "1" {
			pause(r, time.Second)
		}
		order.add(c.Stream + c.File)
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		for _, file := range []string{"1", "2", "3"} {
			ev := event(OnDVR, 7, "a")
			ev.File = file
			e.TellFile(ev, func() {})
		}
		synctest.Wait()
		ev := event(OnDVR, 7, "b")
		ev.File = "4"
		e.TellFile(ev, func() {})
		synctest.Wait()
		e.Client().Tell(event(OnUnpublish, 7, "c"))
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := order.String(); got != "b4 c a1 a2 a3" {
			t.Error(got)
		}
	})
}

// A failing URL does not stop the next; what counts as delivered is counted.
func TestNoticeOutcomes(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		switch c.path {
		case "/500":
			w.WriteHeader(500)
		case "/404":
			w.WriteHeader(404)
		case "/429":
			w.WriteHeader(429)
		case "/no":
			io.WriteString(w, "1")
		case "/big500":
			w.WriteHeader(500)
			w.Write(make([]byte, maxBody+1))
		case "/big":
			w.Write(make([]byte, maxBody+1))
		default:
			io.WriteString(w, "0")
		}
	}
	for _, c := range []struct {
		paths string
		want  Counts
		log   string
	}{
		{"/ok", Counts{Told: 1, Delivered: 1}, "http hook on_stop delivered\""},
		{"/500 /ok", Counts{Told: 2, Delivered: 1, Failed: 1}, "http hook on_stop delivered\""},
		{"/429", Counts{Told: 1, Failed: 1}, "reason=hook.status status=429"},
		{"/big", Counts{Told: 1, Delivered: 1}, "reason=hook.too_big status=200"},
		{"/big500", Counts{Told: 1, Failed: 1}, "reason=hook.too_big status=500"},
		{"/404", Counts{Told: 1, Delivered: 1}, "answered with a refusal"},
		{"/no /no", Counts{Told: 2, Delivered: 2}, `reason=hook.denied status=200 detail="code 1"`},
	} {
		var book logBook
		r := &Rules{Enabled: true, NoRetry: true}
		for path := range strings.FieldsSeq(c.paths) {
			r.OnStop = append(r.OnStop, "http://h"+path)
		}
		bubble(t, Options{Log: book.logger(), Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
			e.Client().Tell(event(OnStop, 1, "s"))
			closeNow(t, e)
			if got := e.Counters()[OnStop]; got != c.want || !strings.Contains(book.String(), c.log) {
				t.Errorf("%s: %+v\n%s", c.paths, got, book.String())
			}
		})
	}
}

// The configuration in force decides, at each event; a vhost that is gone is
// remembered as it was at the begin.
func TestReload(t *testing.T) {
	a, b := newLedger(t, nil), newLedger(t, nil)
	var inForce atomic.Pointer[Rules] // nil: there is no such vhost
	inForce.Store(all(a.URL + "/1"))
	e := openEngine(t, Options{Rules: func(string) (*Rules, bool) { r := inForce.Load(); return r, r != nil }})
	c := e.Client()
	ask := func(action Action) {
		t.Helper()
		if err := c.Ask(t.Context(), event(action, 1, "s")); err != nil {
			t.Fatal(err)
		}
	}
	tell := func(action Action) { c.Tell(event(action, 1, "s")) }

	ask(OnConnect)
	inForce.Store(all(b.URL + "/2"))
	ask(OnPublish)
	inForce.Store(all(b.URL + "/3"))
	tell(OnUnpublish) // the new URLs
	inForce.Store(all(a.URL + "/4"))
	ask(OnPlay)
	inForce.Store(&Rules{OnStop: []string{a.URL + "/off"}})
	tell(OnStop) // hooks are off
	inForce.Store(nil)
	ask(OnPublish)    // no such vhost: as at on_connect
	tell(OnUnpublish) // and its end
	tell(OnClose)
	tell(OnClose) // remembered no more
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, a, "/1 on_connect 1 ", "/4 on_play 1 s", "/1 on_publish 1 s", "/1 on_unpublish 1 s", "/1 on_close 1 ")
	wantCalls(t, b, "/2 on_publish 1 s", "/3 on_unpublish 1 s")
}

// A refused begin is not remembered.
func TestRefusedBeginIsForgotten(t *testing.T) {
	srv := newLedger(t, func(w http.ResponseWriter, _ call) { io.WriteString(w, "1") })
	exists := true
	e := openEngine(t, Options{Rules: func(string) (*Rules, bool) { return all(srv.URL), exists }})
	c := e.Client()
	wantReason(t, c.Ask(t.Context(), event(OnPublish, 1, "s")), ReasonDenied)
	e.rules = func(string) (*Rules, bool) { return nil, false }
	c.Tell(event(OnUnpublish, 1, "s"))
	closeNow(t, e)
	wantCalls(t, srv, "/ on_publish 1 s")
}

// newPipeNetBody serves h with the call already read.
func newPipeNetBody(t testing.TB, h func(w http.ResponseWriter, r *http.Request, c call)) *pipeNet {
	return newPipeNet(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := call{path: r.URL.RequestURI(), header: r.Header}
		body := r.Context().Value(bodyKey{}).([]byte)
		if err := json.Unmarshal(body, &c); err != nil {
			t.Error(err)
		}
		h(w, r, c)
	}))
}

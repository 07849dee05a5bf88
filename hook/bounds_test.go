package hook

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Notices wait for neither gates nor other endpoints, and lanes go when idle.
func TestLanesApart(t *testing.T) {
	var delivered atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if r.Host == "dead" {
			pause(r, time.Hour)
		}
		delivered.Add(1)
		io.WriteString(w, "0")
	}
	dead, live := all("http://dead/"), all("http://live/")
	rules := func(vhost string) (*Rules, bool) {
		if vhost == "dead.example" {
			return dead, true
		}
		return live, true
	}
	bubble(t, Options{Rules: rules}, h, func(t *testing.T, e *Engine) {
		for i := range 1000 {
			ev := event(OnClose, uint64(i), "")
			ev.Vhost = "dead.example"
			e.Client().Tell(ev)
		}
		for i := range 200 {
			ev := event(OnClose, uint64(i), "")
			ev.Vhost = fmt.Sprint("v", i)
			e.Client().Tell(ev)
		}
		synctest.Wait()
		if delivered.Load() != 200 {
			t.Errorf("%d delivered", delivered.Load())
		}
		e.mu.Lock()
		for _, ep := range e.endpoints {
			for vhost, l := range ep.lanes {
				if vhost != "dead.example" || l.running != DefaultWorkers || ep.pending != 1000 {
					t.Errorf("lane %v: %d running, %d pending", vhost, l.running, ep.pending)
				}
			}
		}
		e.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Close(ctx); err == nil || !strings.Contains(err.Error(), "1000 events") {
			t.Error(err)
		}
		if got := e.Counters()[OnClose]; got != (Counts{Told: 1200, Delivered: 200, Dropped: 1000}) {
			t.Errorf("%+v", got)
		}
	})
}

// Memory is bounded by number and by bytes; the oldest goes, and the log says
// so once a second.
func TestOverflow(t *testing.T) {
	for _, c := range []struct {
		name         string
		told, param  int
		mostWaiting  int
		leastDropped uint64
	}{
		{"number", maxLoose + 500, 0, maxLoose, 499},
		{"bytes", 300, 1 << 20, maxLooseBytes >> 20, 230},
	} {
		t.Run(c.name, func(t *testing.T) {
			var book logBook
			var heard trail
			h := func(w http.ResponseWriter, r *http.Request, c call) {
				heard.add(fmt.Sprint(c.ClientID))
				pause(r, time.Hour)
			}
			r := all("http://h/")
			r.Workers, r.Timeout = 1, 24*time.Hour
			bubble(t, Options{Log: book.logger(), Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
				param := strings.Repeat("x", c.param)
				clients := make([]*Client, 10_000)
				for i := range clients {
					clients[i] = e.Client()
				}
				for i := range c.told {
					of := i % len(clients)
					ev := event(OnUnpublish, uint64(i), fmt.Sprint("s", of))
					ev.Param = param
					clients[of].Tell(ev)
					if i == 0 {
						synctest.Wait()
					}
				}
				e.mu.Lock()
				waiting, bytes := e.loose.Len(), e.looseBytes
				oldest, err := parseTold(e.loose.Front().Next().Value.(*item).fresh.payload)
				if err != nil {
					t.Fatal(err)
				}
				e.mu.Unlock()
				got := e.Counters()[OnUnpublish]
				if waiting > c.mostWaiting || bytes > maxLooseBytes || got.Dropped < c.leastDropped || oldest.Client != got.Dropped+1 {
					t.Errorf("%d waiting, %d bytes, oldest %d, %+v", waiting, bytes, oldest.Client, got)
				}
				synctest.Wait() // the line comes behind
				if n := strings.Count(book.String(), "notices dropped"); n != 1 {
					t.Errorf("%d log lines", n)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := e.Close(ctx); err == nil || !strings.Contains(err.Error(), fmt.Sprint(waiting)) {
					t.Errorf("%v with %d waiting", err, waiting)
				}
				if heard.String() != "0" {
					t.Errorf("heard %v", heard.String())
				}
			})
		})
	}
}

// Dropping works wherever a notice stands: in a lane, behind a gate, in a file line.
func TestDropEverywhere(t *testing.T) {
	block := make(chan struct{})
	srv := newLedger(t, func(w http.ResponseWriter, c call) { <-block; io.WriteString(w, "0") })
	r := all(srv.URL)
	r.Workers = 1
	e := testEngine(t, r)
	c := e.Client()
	result := make(chan error)
	go func() { result <- c.Ask(t.Context(), event(OnPlay, 1, "s")) }()
	if !settles(func() bool { return len(srv.seen()) == 1 }) {
		t.Fatal("no gate")
	}
	c.Tell(event(OnStop, 1, "s"))      // behind the gate
	c.Tell(event(OnUnpublish, 1, "s")) // behind the notice
	for i := range 3 {
		e.Client().Tell(event(OnClose, uint64(2+i), "")) // one under way, two in the lane
		e.TellFile(event(OnDVR, 3, "s"), func() {})
	}
	e.mu.Lock()
	for e.dropOldestLooseLocked() {
	}
	e.mu.Unlock()
	close(block)
	if err := <-result; err != nil {
		t.Error(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wantCalls(t, srv, "/ on_play 1 s", "/ on_close 2 ")
	if got := e.Counters()[OnUnpublish]; got != (Counts{Told: 1, Dropped: 1}) {
		t.Errorf("%+v", got)
	}
}

// Close delivers what waits, refuses what is new, and ends the gates at once.
func TestClose(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		pause(r, time.Second)
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.Workers = 1
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		c := e.Client()
		for range 5 {
			c.Tell(event(OnStop, 1, "s"))
		}
		var wg sync.WaitGroup
		for range 2 { // one is asked, one waits for a worker
			wg.Go(func() { wantClosed(t, e.Client().Ask(t.Context(), event(OnPublish, 2, "s"))) })
		}
		wg.Go(func() { wantClosed(t, c.Ask(t.Context(), event(OnPublish, 1, "s"))) }) // waits for its turn
		synctest.Wait()
		started := time.Now()
		go func() {
			wg.Wait()
			if time.Since(started) != 0 {
				t.Errorf("gates ended after %v", time.Since(started))
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil || time.Since(started) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
		wantClosed(t, c.Ask(t.Context(), event(OnPublish, 1, "s")))
		c.Tell(event(OnStop, 1, "s"))
		if got := e.Counters()[OnStop]; got != (Counts{Told: 6, Delivered: 5, Dropped: 1}) {
			t.Errorf("%+v", got)
		}
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

func wantClosed(t *testing.T, err error) {
	if got := reason(t, err); got != ReasonClosed {
		t.Errorf("reason %q", got)
	}
}

// A storm of everything, with callers that give up: every event ends in one of
// the counters and nothing is left behind.
func TestStorm(t *testing.T) {
	srv := newLedger(t, func(w http.ResponseWriter, c call) {
		switch rand.IntN(10) {
		case 0:
			w.WriteHeader(500)
		case 1:
			panic(http.ErrAbortHandler)
		case 2:
			io.WriteString(w, "1")
		default:
			io.WriteString(w, "0")
		}
	})
	r := all(srv.URL+"/a", srv.URL+"/b")
	r.Workers, r.Queue = 3, 8
	r.NoRetry = true
	e := testEngine(t, r)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			c := e.Client()
			for range 40 {
				ev := event(OnPublish, uint64(i), fmt.Sprint("s", rand.IntN(3)))
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(30))*time.Millisecond)
				if c.Ask(ctx, ev) == nil {
					ev.Action = OnUnpublish
					c.Tell(ev)
				}
				cancel()
				e.TellFile(event(OnDVR, uint64(i), ev.Stream), func() {})
			}
		})
	}
	wg.Wait()
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for a, n := range e.Counters() {
		if n.Asked != n.Accepted+n.Refused || n.Told != n.Delivered+n.Failed+n.Dropped {
			t.Errorf("%s: %+v", a, n)
		}
	}
	if n := e.Counters(); n[OnUnpublish].Told < 2*n[OnPublish].Accepted || n[OnDVR].Told != 2*24*40 {
		t.Errorf("%+v", n)
	}
}

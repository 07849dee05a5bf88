package hook

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGateRequest(t *testing.T) {
	srv := newLedger(t, nil)
	url := strings.Replace(srv.URL, "http://", "http://user:pw@", 1) + "/api/v1/streams?k=a%20b&k=c"
	e := openEngine(t, Options{ServerID: "sid", UserAgent: "srs/1.2", Rules: func(string) (*Rules, bool) { return all(url, url), true }})
	ev := full(OnPublish)
	if err := e.Client().Ask(t.Context(), ev); err != nil {
		t.Fatal(err)
	}
	calls := srv.seen()
	if len(calls) != 2 {
		t.Fatalf("%d calls", len(calls))
	}
	c := calls[0]
	if want := string(ev.AppendJSON(nil, "sid", false)); c.body != want || c.path != "/api/v1/streams?k=a%20b&k=c" {
		t.Errorf("%s %s", c.path, c.body)
	}
	for key, want := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "srs/1.2", "Authorization": "Basic dXNlcjpwdw==",
		"Content-Length": fmt.Sprint(len(c.body)), "Accept-Encoding": "", "X-Idempotency-Key": "",
	} {
		if got := c.header.Get(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if _, ok := c.header["X-Idempotency-Key"]; ok {
		t.Error("X-Idempotency-Key was sent")
	}
	if id := c.header.Get("Webhook-Id"); len(id) < 20 || id != calls[1].header.Get("Webhook-Id") {
		t.Errorf("webhook-id %q and %q", id, calls[1].header.Get("Webhook-Id"))
	}
	if ts := c.header.Get("Webhook-Timestamp"); len(ts) != 10 {
		t.Errorf("webhook-timestamp %q", ts)
	}
	if got := e.Counters()[OnPublish]; got != (Counts{Asked: 1, Accepted: 1}) {
		t.Errorf("%+v", got)
	}
}

// HK-25 and "an event without a URL counts as accepted".
func TestHK25(t *testing.T) {
	srv := newLedger(t, nil)
	off := all(srv.URL)
	off.Enabled = false
	for name, r := range map[string]*Rules{"off": off, "no rules": nil, "no URLs": {Enabled: true}} {
		e := testEngine(t, r)
		c := e.Client()
		for _, a := range []Action{OnConnect, OnPublish, OnPlay} {
			if err := c.Ask(t.Context(), event(a, 1, "s")); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, a := range []Action{OnStop, OnUnpublish, OnClose} {
			c.Tell(event(a, 1, "s"))
		}
		e.TellFile(event(OnDVR, 1, "s"), func() {})
		closeNow(t, e)
	}
	wantCalls(t, srv)
}

// HK-02: 500 gates at an endpoint that never answers. Each ends at the
// deadline, another endpoint is not touched, goroutines stay bounded.
func TestHK02(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead := newPipeNet(t, nil)
		live := newPipeNet(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "0") }))
		r := all("http://dead/")
		r.OnPlay, r.Timeout = []string{"http://live/"}, 0
		e := newEngine(Options{Rules: func(string) (*Rules, bool) { return r, true }},
			func(ctx context.Context, network, addr string) (net.Conn, error) {
				if addr == "dead:80" {
					return dead.dial(ctx, network, addr)
				}
				return live.dial(ctx, network, addr)
			})
		defer closeNow(t, e)
		started, before := time.Now(), runtime.NumGoroutine()
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				if got := reason(t, e.Client().Ask(t.Context(), event(OnPublish, uint64(i), "s"))); got != ReasonTimeout && got != ReasonBreaker {
					t.Errorf("reason %q", got)
				}
			})
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before - 500; n > 6*DefaultWorkers {
			t.Errorf("%d goroutines for 500 gates", n)
		}
		if err := e.Client().Ask(t.Context(), event(OnPlay, 1000, "s")); err != nil || time.Since(started) > 0 {
			t.Errorf("another endpoint: %v after %v", err, time.Since(started))
		}
		wg.Wait()
		if took := time.Since(started); took != DefaultTimeout {
			t.Errorf("took %v", took)
		}
	})
}

// HK-03: a byte a second is no answer; HK-19: a late yes neither.
func TestHK03(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"drip": func(w http.ResponseWriter, r *http.Request) {
			for range 100 {
				select {
				case <-r.Context().Done():
					return
				case <-time.After(time.Second):
				}
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
			}
			io.WriteString(w, "0")
		},
		"late": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(31 * time.Second):
			}
			io.WriteString(w, "0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := all("http://slow/")
				r.Timeout = DefaultTimeout
				e := newEngine(Options{Rules: func(string) (*Rules, bool) { return r, true }}, newPipeNet(t, h).dial)
				defer closeNow(t, e)
				started := time.Now()
				wantReason(t, e.Client().Ask(t.Context(), event(OnConnect, 1, "")), ReasonTimeout)
				if took := time.Since(started); took != DefaultTimeout {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// HK-12: the first no stops; the deadline is one for all URLs.
func TestHK12(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.URL.Path)
			switch r.URL.Path {
			case "/deny":
				io.WriteString(w, "7")
			case "/hang":
				<-r.Context().Done()
			case "/slow":
				<-time.After(4 * time.Second)
				fallthrough
			default:
				io.WriteString(w, "0")
			}
		})
		var r Rules
		e := newEngine(Options{Rules: func(string) (*Rules, bool) { return &r, true }}, newPipeNet(t, h).dial)
		defer closeNow(t, e)
		for _, c := range []struct{ urls, seen, want, at string }{
			{"/a /deny /b", "/a /deny", ReasonDenied, "http://h/deny"},
			{"/a /hang /b", "/a /hang", ReasonTimeout, "http://h/hang"},
			{"/slow /slow /slow", "/slow /slow /slow", ReasonTimeout, "http://h/slow"},
			{"/a /slow /b", "/a /slow /b", "", ""},
		} {
			r, seen = Rules{Enabled: true, Timeout: 10 * time.Second}, nil
			for path := range strings.FieldsSeq(c.urls) {
				r.OnPlay = append(r.OnPlay, "http://h"+path)
			}
			err := e.Client().Ask(t.Context(), event(OnPlay, 1, "s"))
			wantReason(t, err, c.want)
			synctest.Wait()
			if got := strings.Join(seen, " "); got != c.seen || err != nil && err.(*Refusal).URL != c.at {
				t.Errorf("%s: called %s, %v", c.urls, got, err)
			}
		}
	})
}

// HK-08: a redirect is a no, and nobody hears of it.
func TestHK08(t *testing.T) {
	canary := newLedger(t, nil)
	for _, to := range []string{canary.URL, "file:///etc/passwd", "http://169.254.169.254/", "//", "/elsewhere"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			srv := newLedger(t, func(w http.ResponseWriter, _ call) {
				w.Header().Set("Location", to)
				w.WriteHeader(status)
				io.WriteString(w, "0")
			})
			r := all(srv.URL)
			r.NoRetry = true
			e := testEngine(t, r)
			wantReason(t, e.Client().Ask(t.Context(), event(OnPublish, 1, "s")), ReasonRedirect)
			e.Client().Tell(event(OnUnpublish, 1, "s"))
			closeNow(t, e)
			wantCalls(t, srv, "/ on_publish 1 s", "/ on_unpublish 1 s")
			if e.Counters()[OnUnpublish].Failed != 1 {
				t.Errorf("%+v", e.Counters()[OnUnpublish])
			}
		}
	}
	wantCalls(t, canary)
}

// HK-11: an endpoint takes 2 s, 1,000 a second want to publish: as many are under
// way and as many wait as the defaults say, all others are refused at once.
func TestHK11(t *testing.T) {
	const rate, seconds = 1000, 5
	var busy, most atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		most.Store(max(most.Load(), busy.Add(1)))
		pause(r, 2*time.Second)
		busy.Add(-1)
		io.WriteString(w, "0")
	}
	rules := all("http://h/")
	rules.Timeout = 0 // the default
	bubble(t, Options{Rules: rulesOf(rules)}, h, func(t *testing.T, e *Engine) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := make(map[string]int) // by reason
		waiting := 0
		for i := range uint64(rate * seconds) {
			wg.Go(func() {
				started := time.Now()
				why := reason(t, e.Client().Ask(t.Context(), event(OnPublish, i, fmt.Sprint("s", i))))
				took := time.Since(started)
				if why == ReasonOverload && took != 0 || why == ReasonTimeout && took != DefaultTimeout {
					t.Errorf("%s after %v", why, took)
				}
				mu.Lock()
				defer mu.Unlock()
				got[why]++
			})
			<-time.After(time.Second / rate)
			ep := e.Endpoints()[0]
			waiting = max(waiting, ep.WaitingGate)
			if ep.Running > DefaultWorkers {
				t.Fatalf("%d under way", ep.Running)
			}
		}
		underway := most.Load() // an endpoint may be slow to notice that a call was given up, after 30 s
		wg.Wait()
		t.Logf("%v; at most %d under way, %d waiting", got, underway, waiting)
		if underway != DefaultWorkers || waiting != DefaultQueue {
			t.Errorf("at most %d under way, %d waiting", underway, waiting)
		}
		if n := got[""] + got[ReasonTimeout] + got[ReasonOverload]; n != rate*seconds || got[ReasonOverload] < rate*(seconds-2) || got[""] < DefaultQueue-2*DefaultWorkers {
			t.Errorf("%v", got)
		}
	})
}

// HK-18: the client leaves while it is asked about.
func TestHK18(t *testing.T) {
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	srv := newLedger(t, func(w http.ResponseWriter, c call) {
		if c.Action == OnPublish {
			arrived <- struct{}{}
			<-release
		}
		io.WriteString(w, "0")
	})
	e := testEngine(t, all(srv.URL))
	c := e.Client()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- c.Ask(ctx, event(OnPublish, 1, "s")) }()
	<-arrived
	c.Tell(event(OnClose, 1, "")) // told meanwhile: comes after
	cancel()
	wantReason(t, <-result, ReasonCanceled)
	wantCalls(t, srv, "/ on_publish 1 s", "/ on_close 1 ")
	close(release)
	wantReason(t, c.Ask(ctx, event(OnPublish, 1, "s")), ReasonCanceled)
	if got := e.Counters()[OnPublish]; got != (Counts{Asked: 2, Refused: 2}) {
		t.Errorf("%+v", got)
	}
}

// HK-18: what a call that is given up has started is gone by its deadline, also
// where the endpoint never answers: at once if the caller gives up, else then.
func TestHK18Goroutines(t *testing.T) {
	for _, givesUp := range []bool{true, false} {
		h := func(w http.ResponseWriter, r *http.Request, c call) { pause(r, time.Hour) }
		rules := all("http://h/")
		bubble(t, Options{Rules: rulesOf(rules)}, h, func(t *testing.T, e *Engine) {
			synctest.Wait() // what begins has begun
			before, want := inBubble(), rules.Timeout
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if givesUp {
				want = time.Second
				time.AfterFunc(want, cancel)
			}
			client, started := e.Client(), time.Now()
			time.AfterFunc(time.Second, client.Leave)
			err := client.Ask(ctx, event(OnPublish, 1, "s"))
			if took := time.Since(started); err == nil || took != want {
				t.Errorf("%v after %v", err, took)
			}
			synctest.Wait()
			if n := inBubble(); n > before || n == 0 {
				t.Errorf("%d goroutines, %d before", n, before)
			}
		})
	}
}

// inBubble counts the goroutines of this test's bubble, whatever other tests begin.
func inBubble() int {
	own := make([]byte, 128)
	_, bubble, _ := strings.Cut(string(own[:runtime.Stack(own, false)]), "synctest bubble ")
	bubble, _, _ = strings.Cut(bubble, "]")
	all := make([]byte, 1<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "synctest bubble "+bubble+"]")
}

// HK-13: no secret in a log line or an error, whatever happens.
func TestHK13(t *testing.T) {
	for _, answer := range []string{"0", "1", "SECRET", `{"code":"SECRET"}`} {
		srv := newLedger(t, func(w http.ResponseWriter, _ call) { io.WriteString(w, answer) })
		url := strings.Replace(srv.URL, "http://", "http://u:SECRET@", 1) + "/p?k=SECRET"
		dead := newLedger(t, nil)
		dead.Close()
		var book logBook
		r := all(url, dead.URL+"/?SECRET")
		e := openEngine(t, Options{ServerID: "sid", Log: book.logger(), Rules: func(string) (*Rules, bool) { return r, true }})
		ev := event(OnPublish, 42, "s\nx")
		ev.Param, ev.TcURL = "?token=SECRET", "rtmp://h/live?token=SECRET"
		err := e.Client().Ask(t.Context(), ev)
		ev.Action = OnUnpublish
		e.Client().Tell(ev)
		closeNow(t, e)
		text := book.String()
		if strings.Contains(text, "SECRET") || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("secret in\n%v\n%s", err, text)
		}
		for _, want := range []string{"http hook on_publish refused", "client=42", "vhost=v.example", `stream="s\nx"`, "u:***@", "k=***", "took=", "http hook on_unpublish failed"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
	}
}

func BenchmarkAsk(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "0") }))
	defer srv.Close()
	e := testEngine(b, all(srv.URL))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c := e.Client()
		for pb.Next() {
			if err := c.Ask(b.Context(), event(OnPlay, 1, "s")); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

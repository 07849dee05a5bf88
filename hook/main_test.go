package hook

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain fails the run when a goroutine outlives all tests.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // has goroutines of its own
	if code == 0 && !fuzzing && !settles(func() bool { return runtime.NumGoroutine() <= before }) {
		buf := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "goroutines left over:\n%s\n", buf[:runtime.Stack(buf, true)])
		code = 1
	}
	os.Exit(code)
}

// settles waits up to 5 s for something the scheduler or the kernel still has to do.
func settles(ok func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if ok() {
			return true
		}
		<-tick.C
	}
	return false
}

// testEngine makes an engine with the same rules for every vhost, closed at the end.
func testEngine(t testing.TB, r *Rules) *Engine {
	return openEngine(t, Options{ServerID: "sid", Rules: func(string) (*Rules, bool) { return r, true }})
}

func openEngine(t testing.TB, o Options) *Engine {
	e := New(o)
	t.Cleanup(func() { closeNow(t, e) })
	return e
}

// closeNow ends an engine and checks that nothing is left in its books.
func closeNow(t testing.TB, e *Engine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e.Close(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pending > 0 && e.pending == e.parked || e.aborted {
		return // left to the next start
	}
	for _, ep := range e.endpoints {
		if len(ep.lines)+len(ep.lanes)+len(ep.gates)+len(ep.ends)+ep.pending+ep.bytes != 0 || ep.oldest != nil {
			t.Errorf("left of %s after Close: %d lines, %d lanes, %d gates, %d ends, %d notices, %d bytes",
				ep.key, len(ep.lines), len(ep.lanes), len(ep.gates), len(ep.ends), ep.pending, ep.bytes)
		}
	}
	if e.pending+e.loose.Len()+e.looseBytes+e.kept != 0 {
		t.Errorf("left after Close: %d pending, %d loose, %d bytes, %d kept", e.pending, e.loose.Len(), e.looseBytes, e.kept)
	}
}

// all lets every event go to the same URLs.
func all(urls ...string) *Rules {
	return &Rules{
		Enabled: true, OnConnect: urls, OnClose: urls, OnPublish: urls, OnUnpublish: urls,
		OnPlay: urls, OnStop: urls, OnDVR: urls, Timeout: 10 * time.Second,
	}
}

func event(a Action, client uint64, stream string) Event {
	return Event{
		Action: a, ClientID: client, IP: "10.0.0.7", Vhost: "v.example", App: "live",
		TcURL: "rtmp://v.example/live", Stream: stream,
	}
}

// reason returns why err refuses, "" for nil.
func reason(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("error %v is a %T, not a *Refusal", err, err)
	}
	return r.Reason
}

func wantReason(t testing.TB, err error, want string) {
	t.Helper()
	if got := reason(t, err); got != want {
		t.Fatalf("reason %q, want %q (%v)", got, want, err)
	}
}

// A call is one request as an endpoint saw it.
type call struct {
	Action   Action `json:"action"`
	ClientID uint64 `json:"client_id"`
	Stream   string `json:"stream"`
	File     string `json:"file"`

	path   string
	header http.Header
	body   string
}

func (c call) String() string {
	return fmt.Sprintf("%s %s %d %s%s", c.path, c.Action, c.ClientID, c.Stream, c.File)
}

// A ledger is an endpoint that keeps what it was called with.
type ledger struct {
	*httptest.Server
	mu     sync.Mutex
	calls  []call
	answer func(w http.ResponseWriter, c call) // nil: 0
}

func newLedger(t testing.TB, answer func(http.ResponseWriter, call)) *ledger {
	l := &ledger{answer: answer}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c := call{path: r.URL.RequestURI(), header: r.Header, body: string(body)}
	if err := json.Unmarshal(body, &c); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	l.calls = append(l.calls, c)
	l.mu.Unlock()
	if l.answer != nil {
		l.answer(w, c)
		return
	}
	io.WriteString(w, "0")
}

func (l *ledger) seen() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// saw returns the calls as text, one a line.
func (l *ledger) saw() string {
	var b strings.Builder
	for _, c := range l.seen() {
		fmt.Fprintln(&b, c)
	}
	return b.String()
}

func wantCalls(t testing.TB, l *ledger, want ...string) {
	t.Helper()
	text := strings.Join(append(want, ""), "\n")
	if !settles(func() bool { return len(l.seen()) >= len(want) }) || l.saw() != text {
		t.Fatalf("calls:\n%swant:\n%s", l.saw(), text)
	}
}

// rawServer runs one function per connection, after the request was read.
func rawServer(t testing.TB, serve func(*net.TCPConn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return "http://" + l.Addr().String()
}

type bodyKey struct{}

// A pipeNet is a network inside one synctest bubble.
type pipeNet struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// newPipeNet serves h; a nil h accepts and never answers.
func newPipeNet(t testing.TB, h http.Handler) *pipeNet {
	p := &pipeNet{conns: make(chan net.Conn), done: make(chan struct{})}
	if h == nil {
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				c, err := p.Accept()
				if err != nil {
					return
				}
				wg.Go(func() { io.Copy(io.Discard, c) })
			}
		})
		t.Cleanup(func() { p.Close(); wg.Wait() })
		return p
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // only then does the server notice a client that leaves
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bodyKey{}, body)))
	})}
	var wg sync.WaitGroup
	wg.Go(func() { srv.Serve(p) })
	t.Cleanup(func() { srv.Close(); wg.Wait() })
	return p
}

func (p *pipeNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeNet) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipeNet) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A logBook collects what is logged.
type logBook struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// A trail is what happened, in order.
type trail struct {
	mu    sync.Mutex
	steps []string
}

func (t *trail) add(step string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, step)
}

func (t *trail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.steps, " ")
}

// pause keeps a client waiting, as long as it does.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-r.Context().Done():
	case <-time.After(d):
	}
}

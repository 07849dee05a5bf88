package e2e

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The seven events.
var (
	gates     = []string{"on_connect", "on_publish", "on_play"}
	allEvents = []string{"on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop", "on_dvr"}
)

// A call is a request that a receiver got.
type call struct {
	at     time.Time
	method string
	uri    string // path and query
	host   string
	header http.Header
	body   string
	fields map[string]any // of the body
}

func (c call) action() string { return c.text("action") }

// text is a field that is a string.
func (c call) text(key string) string {
	s, _ := c.fields[key].(string)
	return s
}

// client is the client_id, as it is written.
func (c call) client() string {
	n, _ := c.fields["client_id"].(json.Number)
	return n.String()
}

// A reply is how a receiver answers a call. The zero reply accepts.
type reply struct {
	status int               // 0: 200
	body   string            // "": 0
	empty  bool              // really no body
	header map[string]string // Location for one
	raw    string            // instead of HTTP
	cut    bool              // closes without a word
	reset  bool              // closes with RST, raw or not
	until  <-chan struct{}   // answers when this is closed; the caller may leave before
}

// A receiver is an HTTP endpoint on loopback that records every call.
type receiver struct {
	addr string
	end  chan struct{} // closed at the end of the test: nobody hangs longer

	mu      sync.Mutex
	calls   []call
	left    int           // calls whose caller left before the answer
	more    chan struct{} // closed when calls or left change, and made anew
	scripts map[string]func(call) reply
}

// newReceiver starts a receiver that accepts everything.
func newReceiver(t testing.TB) *receiver {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{
		addr: ln.Addr().String(), end: make(chan struct{}), more: make(chan struct{}),
		scripts: make(map[string]func(call) reply),
	}
	server := &http.Server{Handler: r}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(ln)
	}()
	t.Cleanup(func() {
		close(r.end)
		server.Close()
		<-served
	})
	return r
}

// url is where an event goes; the path is the event's name.
func (r *receiver) url(event string) string { return "http://" + r.addr + "/" + event }

// script says how calls of an action are answered. It runs when the call has
// come and may look at the world as it is then.
func (r *receiver) script(action string, f func(call) reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scripts[action] = f
}

// always answers calls of an action in one way.
func (r *receiver) always(action string, a reply) {
	r.script(action, func(call) reply { return a })
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	c := call{
		at: time.Now(), method: req.Method, uri: req.RequestURI, host: req.Host,
		header: req.Header, body: string(body),
	}
	numbers := json.NewDecoder(strings.NewReader(c.body))
	numbers.UseNumber()
	numbers.Decode(&c.fields) // a bad body shows where it is compared
	r.mu.Lock()
	script := r.scripts[c.action()]
	r.mu.Unlock()
	var a reply
	if script != nil {
		a = script(c) // before the call is shown: what it finds out is there then
	}
	r.note(func() { r.calls = append(r.calls, c) })
	if a.until != nil {
		select {
		case <-a.until:
		case <-r.end:
		case <-req.Context().Done():
			r.note(func() { r.left++ })
			return
		}
	}
	r.answer(w, a)
}

func (r *receiver) answer(w http.ResponseWriter, a reply) {
	if a.cut || a.reset || a.raw != "" {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(conn, a.raw)
			if a.reset {
				conn.(*net.TCPConn).SetLinger(0)
			}
			conn.Close()
		}
		return
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	switch {
	case a.body != "":
		io.WriteString(w, a.body)
	case !a.empty:
		io.WriteString(w, "0")
	}
}

func (r *receiver) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.more)
	r.more = make(chan struct{})
}

// all returns the calls so far, in the order they came.
func (r *receiver) all() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// of returns the calls of an action so far, of one stream if stream is not "".
func (r *receiver) of(action, stream string) []call {
	return slices.DeleteFunc(r.all(), func(c call) bool {
		return c.action() != action || stream != "" && c.text("stream") != stream
	})
}

// wait waits for call n of an action, counted from 1, and returns it.
func (r *receiver) wait(t testing.TB, action, stream string, n int) call {
	t.Helper()
	r.until(t, action, func() bool { return len(r.of(action, stream)) >= n })
	return r.of(action, stream)[n-1]
}

// until waits until a condition on the receiver holds.
func (r *receiver) until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	end := time.After(longest)
	for {
		r.mu.Lock()
		more := r.more
		r.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-more:
		case <-end:
			t.Fatalf("waited %v for %s; calls so far: %q", longest, what, r.actions(""))
		}
	}
}

// actions lists the actions of one client's calls, or of all, in order. A
// repeat with the same webhook-id to the same URL counts once.
func (r *receiver) actions(client string) []string {
	var names []string
	seen := make(map[string]bool)
	for _, c := range r.all() {
		key := c.header.Get("Webhook-Id") + c.uri
		if client == "" || c.client() == client && !seen[key] {
			names = append(names, c.action())
		}
		seen[key] = true
	}
	return names
}

// hooks is an http_hooks block that sends events to a receiver; all seven if
// none is named. More lines go into the block as they are.
func hooks(r *receiver, events ...string) string {
	if len(events) == 0 {
		events = allEvents
	}
	lines := []string{"enabled on;"}
	for _, e := range events {
		if strings.HasSuffix(e, ";") {
			lines = append(lines, e)
			continue
		}
		lines = append(lines, e+" "+r.url(e)+";")
	}
	return block("http_hooks", lines...)
}

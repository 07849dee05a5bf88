package hook

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options is what an engine needs to know.
type Options struct {
	ServerID  string       // sent with every event
	UserAgent string       // "srs" if empty
	Log       *slog.Logger // nil: silent

	// Rules returns the hooks in force for a vhost, and whether there is such a
	// vhost. Called at every event, from many goroutines. nil: no hooks.
	Rules func(vhost string) (r *Rules, exists bool)
}

// An Engine calls the endpoints of all vhosts.
type Engine struct {
	// Static after construction.
	serverID  string
	userAgent string
	log       *slog.Logger
	rules     func(vhost string) (*Rules, bool)
	transport *http.Transport
	http      *http.Client

	// Ended by Close: the gates at once, the notices when its time is over.
	gates       context.Context
	endGates    context.CancelCauseFunc
	notices     context.Context
	endNotices  context.CancelCauseFunc
	calls, asks sync.WaitGroup // added to under mu, never once closed and drained

	mu       sync.Mutex // guards what follows, and all lanes, lines and notices
	closed   bool
	aborted  bool          // Close ran out of time: nothing new is called
	drained  chan struct{} // closed when closed and pending is 0
	counters map[Action]*Counts

	lanes     map[laneKey]*lane
	files     map[streamKey]*line
	ends      map[endKey]*unpublish
	endpoints map[string]*endpoint // by raw URL, a cache

	pending     int       // notices told and not finished
	age         list.List // of *notice, oldest first: those without a call under way
	ageBytes    int
	undelivered int // by Close

	dropsUnlogged int
	dropLogged    time.Time
}

// Counts is what happened to one kind of event. Events that nobody is called
// for are not counted.
type Counts struct {
	Asked, Accepted, Refused         uint64 // gates; the difference is under way
	Told, Delivered, Failed, Dropped uint64 // notices; the difference waits
}

// Counters has an entry for each action.
type Counters map[Action]Counts

// New makes an engine. It starts no goroutine.
func New(o Options) *Engine {
	return newEngine(o, (&net.Dialer{Timeout: connectTimeout}).DialContext)
}

func newEngine(o Options, dial dialFunc) *Engine {
	e := &Engine{
		serverID: o.ServerID, userAgent: o.UserAgent, log: o.Log, rules: o.Rules,
		transport: newTransport(dial),
		drained:   make(chan struct{}),
		counters:  make(map[Action]*Counts),
		lanes:     make(map[laneKey]*lane),
		files:     make(map[streamKey]*line),
		ends:      make(map[endKey]*unpublish),
		endpoints: make(map[string]*endpoint),
	}
	if e.userAgent == "" {
		e.userAgent = "srs"
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.rules == nil {
		e.rules = func(string) (*Rules, bool) { return nil, true }
	}
	e.http = newClient(e.transport)
	e.gates, e.endGates = context.WithCancelCause(context.Background())
	e.notices, e.endNotices = context.WithCancelCause(context.Background())
	for _, a := range []Action{OnConnect, OnClose, OnPublish, OnUnpublish, OnPlay, OnStop, OnDVR} {
		e.counters[a] = new(Counts)
	}
	return e
}

// Client starts one RTMP connection's line.
func (e *Engine) Client() *Client { return &Client{engine: e} }

// TellFile announces a recording and returns. Files of one stream keep their
// order; nothing else waits for them, nor they for anything. A file of a vhost
// that is gone is not announced: no begin remembers where to.
func (e *Engine) TellFile(ev Event) {
	rules, _ := e.rules(ev.Vhost)
	if urls := rules.urls(ev.Action); len(urls) > 0 {
		e.tell(nil, &ev, rules, urls)
	}
}

// Counters returns what happened since the start.
func (e *Engine) Counters() Counters {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make(Counters, len(e.counters))
	for a, c := range e.counters {
		all[a] = *c
	}
	return all
}

func (e *Engine) countLocked(a Action) *Counts {
	c := e.counters[a]
	if c == nil {
		panic("hook: no such action: " + string(a))
	}
	return c
}

// endpointsLocked parses URLs. The cache is emptied when reloads have filled it.
func (e *Engine) endpointsLocked(urls []string) []*endpoint {
	all := make([]*endpoint, len(urls))
	for i, raw := range urls {
		ep := e.endpoints[raw]
		if ep == nil {
			if len(e.endpoints) >= maxEndpointCache {
				clear(e.endpoints)
			}
			ep = parseEndpoint(raw)
			e.endpoints[raw] = ep
		}
		all[i] = ep
	}
	return all
}

// Close refuses new events and the gates under way, delivers the notices that
// wait until ctx ends, and returns when every goroutine of the engine is gone.
// The error says how many notices were not delivered.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		if e.pending == 0 {
			close(e.drained)
		}
	}
	e.mu.Unlock()
	e.endGates(errClosed)
	e.asks.Wait()
	select {
	case <-e.drained:
	case <-ctx.Done():
		e.abort()
	}
	e.calls.Wait()
	e.endNotices(errClosed)
	e.transport.CloseIdleConnections()

	e.mu.Lock()
	drops, undelivered := e.dropsUnlogged, e.undelivered
	e.dropsUnlogged = 0
	e.mu.Unlock()
	if drops > 0 {
		e.log.Warn("http hook notices dropped", "count", drops)
	}
	if undelivered > 0 {
		e.log.Warn("http hook events not delivered", "count", undelivered)
		return fmt.Errorf("hook: %d events not delivered", undelivered)
	}
	return nil
}

// abort gives up what waits and cuts what is under way.
func (e *Engine) abort() {
	e.mu.Lock()
	e.aborted = true
	for e.age.Len() > 0 {
		e.undelivered++
		e.dropLocked(e.age.Front().Value.(*notice))
	}
	e.mu.Unlock()
	e.endNotices(errClosed)
}

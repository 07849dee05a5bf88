package hook

import (
	"container/list"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"srs/hook/journal"
)

// Options is what an engine needs to know.
type Options struct {
	ServerID  string       // sent with every event; "": the journal's
	Config    string       // path of the configuration, absolute: the journal is its server's
	UserAgent string       // "srs" if empty
	Log       *slog.Logger // nil: silent

	// Rules returns the hooks in force for a vhost, and whether there is such a
	// vhost. Called at every event, from many goroutines. nil: no hooks.
	Rules func(vhost string) (r *Rules, exists bool)
}

// An Engine calls the endpoints of all vhosts.
type Engine struct {
	// Static after construction.
	userAgent string
	config    string
	log       *slog.Logger
	rules     func(vhost string) (*Rules, bool)
	dial      dialFunc
	names     *resolver
	seed      maphash.Seed

	maxPending int // the constant, or a test's

	dir string // set when a journal is opened, before what needs it

	// Ended by Close: the gates at once, the notices when its time is over.
	gates       context.Context
	endGates    context.CancelCauseFunc
	notices     context.Context
	endNotices  context.CancelCauseFunc
	calls, asks sync.WaitGroup // added to under mu, never once closed and drained

	// Owned by the journal's goroutine.
	cleaned  uint32 // the file that is cleaned, or was last
	cleaning []old  // what is left of it

	mu        sync.Mutex // guards what follows, and all endpoints, lanes, lines and items
	closed    bool
	aborted   bool          // Close ran out of time: nothing new is called
	drained   chan struct{} // closed when closed and nothing more can be done
	isDrained bool
	counters  map[Action]*Counts

	endpoints  map[string]*endpoint
	targets    map[string]*target // by raw URL, a cache
	transports map[transportKey]transport

	serverID  string           // "": until a journal is opened
	journal   *journal.Journal // nil: notices do not survive a restart
	resumed   bool             // it is given back when all is delivered
	taken     bool             // what it has found is in work
	numbered  bool             // it knows which client ids this run gives out
	giving    chan struct{}    // closed when it is given back; nil: it is not under way
	untrusted bool             // the disk fails
	begins    map[*begin]struct{}
	idsBelow  uint64

	pending    int       // notices told and not finished
	parked     int       // of them: left to the next start
	loose      list.List // of *item, oldest first: those that only the memory has
	looseBytes int
	kept       int // bytes of payloads that are on disk and in memory

	owed      []*owed       // ends of the last run, not made yet; one may be in feed's hands
	owedFirst []*owed       // of them: gates wait for these
	feeding   bool          // feed runs: there is one, and the journal stays
	room      chan struct{} // capacity 1: less is loose

	dropsUnlogged int
	dropTimer     *time.Timer // nil: there are none
	dropLogged    time.Time

	unsent       map[unsentKey]*unsent // not logged yet
	unsentTimer  *time.Timer
	unsentLogged time.Time
	removed      map[string]*Rules // the last ones of vhosts that are gone
	lastOn       map[string]*Rules // the last ones with hooks, of vhosts that had some
}

// Counts is what happened to one kind of event. A notice counts once for each
// URL. Events that nobody is called for are not counted.
type Counts struct {
	Asked, Accepted, Refused         uint64 // gates; the difference is under way
	Told, Delivered, Failed, Dropped uint64 // notices; the difference waits
}

// Counters has an entry for each action.
type Counters map[Action]Counts

// New makes an engine. It starts no goroutine.
func New(o Options) *Engine { return newEngine(o, nil) }

func newEngine(o Options, dial dialFunc) *Engine {
	e := &Engine{
		serverID: o.ServerID, userAgent: o.UserAgent, config: o.Config, log: o.Log, rules: o.Rules, dial: dial,
		seed:       maphash.MakeSeed(),
		maxPending: maxPending,
		drained:    make(chan struct{}),
		room:       make(chan struct{}, 1),
		counters:   make(map[Action]*Counts),
		endpoints:  make(map[string]*endpoint),
		targets:    make(map[string]*target),
		transports: make(map[transportKey]transport),
		begins:     make(map[*begin]struct{}),
		unsent:     make(map[unsentKey]*unsent),
		removed:    make(map[string]*Rules),
		lastOn:     make(map[string]*Rules),
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
	e.names = newResolver(e.log)
	if dial == nil {
		e.dial = e.names.dial
	}
	e.gates, e.endGates = context.WithCancelCause(context.Background())
	e.notices, e.endNotices = context.WithCancelCause(context.Background())
	for _, a := range actions {
		e.counters[a] = new(Counts)
	}
	return e
}

// Client starts one RTMP connection's line.
func (e *Engine) Client() *Client { return &Client{engine: e} }

// TellFile announces a recording and returns. Files of one stream keep their
// order; nothing else waits for them, nor they for anything. A file of a vhost
// that is gone is announced as its last rules said; where those are not known, for
// it is gone since before the start, a line in the log says that it is not.
//
// Kept is called, once, when that survives a crash of the server: each URL has the
// event, or the journal, or nobody is to hear it. It is not called for what is
// dropped. It must not block.
func (e *Engine) TellFile(ev Event, kept func()) {
	rules, exists := e.rules(ev.Vhost)
	if !exists {
		e.mu.Lock()
		if rules = e.removed[ev.Vhost]; rules == nil {
			e.unsentFileLocked(&ev)
		}
		e.mu.Unlock()
	}
	urls := rules.URLs(ev.Action)
	if len(urls) == 0 {
		kept()
		return
	}
	id := ev.ID
	if id == "" {
		id = rand.Text()
	}
	e.tell(notice{
		ev: &ev, id: id, body: ev.AppendJSON(nil, e.id(), rules.ClientIDString), urls: urls, rules: rules,
		keeping: &keeping{parts: len(urls), over: kept},
	})
}

// id is the server's.
func (e *Engine) id() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.serverID
}

func (e *Engine) hash(s streamKey) uint64 { return maphash.Comparable(e.seed, s) }

// lineOf names the line of an event at an endpoint: its client's, or for a
// recording its stream's.
func (e *Engine) lineOf(a Action, client uint64, s streamKey) uint64 {
	if a == OnDVR {
		return e.hash(s) | fileLine
	}
	return client
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

// Close refuses new events and the gates under way, delivers the notices that
// wait until ctx ends, or until only endpoints that fail are left, and returns
// when every goroutine of the engine is gone, but for one that the disk does not
// answer. What the journal has is for the next start; the error says how many
// notices are lost, and that the disk hangs.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		e.lastTryLocked()
		e.checkDrainedLocked()
	}
	e.mu.Unlock()
	e.endGates(errClosed)
	e.asks.Wait()
	select {
	case <-e.drained:
	case <-ctx.Done():
		e.mu.Lock()
		e.aborted = true
		if !e.isDrained {
			e.isDrained = true
			close(e.drained)
		}
		e.mu.Unlock()
		e.endNotices(errClosed)
	}
	hangs := e.awaitCalls(ctx)
	e.endNotices(errClosed)
	e.names.close()
	e.awaitGiven()
	e.mu.Lock()
	for _, t := range e.transports {
		t.client.CloseIdleConnections()
	}
	drops, j := e.dropsUnlogged, e.journal
	e.dropsUnlogged = 0
	for _, timer := range []*time.Timer{e.dropTimer, e.unsentTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	e.mu.Unlock()
	e.logUnsent()
	if drops > 0 {
		e.log.Warn("http hook notices dropped", "count", drops)
	}
	if j != nil {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeJournal)
		defer cancel()
		if err := j.Close(within); err != nil {
			e.log.Error("the journal of http hooks is not complete", "error", err.Error())
		}
	}
	return errors.Join(hangs, e.account())
}

// awaitCalls waits for all goroutines of notices. Once ctx has ended only the disk can
// keep one.
func (e *Engine) awaitCalls(ctx context.Context) error {
	over := make(chan struct{})
	go func() { // as long as the disk takes
		e.calls.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-over:
		return nil
	case <-time.After(closeReads):
		return fmt.Errorf("hook: the disk of the journal %s does not answer a read: what it was to tell waits for the next start", e.dir)
	}
}

// lastTryLocked has everything that rests tried once more.
func (e *Engine) lastTryLocked() {
	for _, ep := range e.endpoints {
		ep.breaker.until, ep.throttle.until = time.Time{}, time.Time{}
		for _, l := range ep.lanes {
			l.breaker.until = time.Time{}
		}
		for _, ln := range ep.lines {
			if ln.state == lineResting {
				e.wakeLocked(ln)
			}
		}
		e.pumpAllLocked(ep)
	}
}

// account ends the books: what is left is on disk or lost.
func (e *Engine) account() error {
	e.mu.Lock()
	left, kept := 0, 0
	for _, ep := range e.endpoints {
		ep.breaker.stop()
		ep.throttle.stop()
		for _, l := range ep.lanes {
			l.breaker.stop()
		}
		for it := ep.oldest; it != nil; it = it.newer {
			left++
			if it.stored || it.fresh != nil && it.fresh.closes.isHeld() {
				kept++
			} else {
				e.countLocked(it.name()).Dropped++
			}
		}
	}
	e.mu.Unlock()
	if kept > 0 {
		e.log.Warn("http hook events wait in the journal for the next start", "count", kept, "dir", e.dir)
	}
	if lost := left - kept; lost > 0 {
		e.log.Warn("http hook events not delivered", "count", lost)
		return fmt.Errorf("hook: %d events not delivered", lost)
	}
	return nil
}

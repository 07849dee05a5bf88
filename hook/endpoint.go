package hook

import (
	"context"
	"log/slog"
	"time"
)

// An endpoint is what may be down together: scheme, host and port. What one
// endpoint does changes nothing for another.
type endpoint struct {
	// Static after construction.
	key     string
	tallies [len(actions)]tally

	// Guarded by Engine.mu.
	gateBreaker breaker           // of gates: no answer to them, or no connection at all
	gatesHang   bool              // the last that failed had a connection
	breaker     breaker           // of notices: no answer to any call
	throttle    breaker           // of notices: the answer is "later"
	own         map[string]*own   // of gates, by vhost: those that have failed
	answered    time.Time         // to a gate, the last time
	taking      time.Time         // likewise to a notice, but to what was let ahead
	took        time.Time         // a notice, the last time
	gateFailing chan struct{}     // closed, and made anew, when a call fails and gateBreaker, or that of a vhost, is open
	lines       map[uint64]*line  // of clients and recordings
	lanes       map[string]*lane  // of notices, by vhost
	gates       map[string]*gates // by vhost
	ends        map[endKey]ending // that gates may wait for
	waits       map[endKey]*wait  // of gates, for an entry of ends
	pending     int               // notices
	bytes       int               // of them
	underway    int               // likewise, lines whose call is under way

	oldest, newest *item // all notices, in the order they were told
	drain          drain // of them
}

// Our own choices for what is kept of endpoints.
const (
	maxEndpoints = 1024 // beyond, idle ones are forgotten with their numbers
	maxTargets   = 1024 // parsed URLs
)

// endpointLocked finds an endpoint by its key.
func (e *Engine) endpointLocked(key string) *endpoint {
	ep := e.endpoints[key]
	if ep != nil {
		return ep
	}
	if len(e.endpoints) >= maxEndpoints {
		for k, old := range e.endpoints {
			if old.idle() {
				delete(e.endpoints, k)
			}
		}
	}
	ep = &endpoint{
		key: key, gateFailing: make(chan struct{}), lines: make(map[uint64]*line),
		lanes: make(map[string]*lane), gates: make(map[string]*gates), ends: make(map[endKey]ending),
		waits: make(map[endKey]*wait), own: make(map[string]*own),
	}
	e.endpoints[key] = ep
	return ep
}

func (ep *endpoint) idle() bool {
	return len(ep.lines)+len(ep.lanes)+len(ep.gates) == 0 && !ep.gateBreaker.open && !ep.breaker.open && !ep.throttle.open
}

// targetLocked parses a URL. The cache is emptied when reloads have filled it.
func (e *Engine) targetLocked(raw string) *target {
	t := e.targets[raw]
	if t == nil {
		if len(e.targets) >= maxTargets {
			clear(e.targets)
		}
		t = parseTarget(raw)
		e.targets[raw] = t
	}
	return t
}

// passLocked reports whether a notice of a lane may be sent to its endpoint now. If not,
// the lanes are looked at again in time.
func (e *Engine) passLocked(l *lane) bool {
	now := time.Now()
	ep := l.ep
	all := []*breaker{&ep.breaker, &l.breaker, &ep.throttle}
	for _, b := range all {
		if !b.shut(now) {
			continue
		}
		if b.timer == nil {
			b.timer = time.AfterFunc(b.until.Sub(now), func() {
				e.mu.Lock()
				defer e.mu.Unlock()
				b.timer = nil
				e.pumpAllLocked(ep)
			})
		}
		return false
	}
	for _, b := range all {
		b.admit(now)
	}
	return true
}

// heardLocked notes how a call went that was sent then: whether the endpoint
// answered at all, and if not, why. One that failed says nothing when another of
// its kind was answered meanwhile: what hung before the endpoint came back ends
// late. That notices get no answer says nothing of gates, unless there
// was no connection. An answer to a gate, or to an end that one waits for and that
// was let ahead, says nothing of notices; one to a notice nothing of gates that
// have hung. It returns what to log.
func (e *Engine) heardLocked(ep *endpoint, gate, ahead, answered bool, why *Refusal, sent time.Time) (text string) {
	now := time.Now()
	if !answered {
		if gate && ep.answered.After(sent) || !gate && ep.taking.After(sent) {
			return ""
		}
		if gate {
			ep.gatesHang = why.Reason != ReasonRefused
		}
		gates := (gate || why.Reason == ReasonRefused) && ep.gateBreaker.failed(now)
		notices := ep.breaker.failed(now)
		if ep.gateBreaker.open { // gates that wait for something here need not wait longer
			ep.releaseLocked()
		}
		switch {
		case gates:
			return "http hook endpoint fails: gates are decided without it, notices wait, it is tried again now and then"
		case notices:
			return "http hook endpoint does not answer notices: they wait, it is tried again now and then, gates are asked as ever"
		}
		return ""
	}
	switch {
	case gate:
		ep.answered = now
	case !ahead:
		ep.taking = now
	}
	shut := ep.gateBreaker.open
	if gate || !ep.gatesHang {
		ep.gatesHang = false
		ep.gateBreaker.worked()
	}
	back := shut && !ep.gateBreaker.open
	switch {
	case (gate || ahead) && ep.breaker.open && !shut:
		return "" // notices have a trial of their own
	case ep.breaker.worked():
		e.returnLocked(ep, nil)
		if ep.gateBreaker.open {
			return "http hook endpoint answers notices again, gates are decided without it as before"
		}
		return "http hook endpoint answers again"
	case back:
		return "http hook endpoint answers gates again"
	}
	return ""
}

// ofVhost reports whether a call failed because of what its vhost's rules say,
// so that it must not count against the other vhosts of the endpoint.
func (r *Refusal) ofVhost(rules *Rules) bool {
	switch r.Reason {
	case ReasonTLS:
		return r.Detail != lateHandshake
	case ReasonTimeout:
		return rules.timeout() < time.Second
	}
	return false
}

// laterLocked notes how a notice was answered that was sent then: taken, or "come back
// later", after a time if the endpoint named one. Later says nothing when another was
// taken meanwhile; see heardLocked.
func (e *Engine) laterLocked(ep *endpoint, took bool, after time.Duration, sent time.Time) (text string) {
	if took {
		ep.took = time.Now()
		if ep.throttle.worked() {
			e.returnLocked(ep, nil)
			return "http hook endpoint takes notices again"
		}
		return ""
	}
	if ep.took.After(sent) {
		return ""
	}
	opened := ep.throttle.failed(time.Now())
	if ep.throttle.open && after > 0 {
		ep.throttle.until = time.Now().Add(after)
	}
	if opened {
		return "http hook endpoint does not take notices: they wait, it is tried again now and then"
	}
	return ""
}

// ownLocked notes how a call went whose failure is the vhost's own.
func (e *Engine) ownLocked(l *lane, failed bool) (text string) {
	switch {
	case failed && l.breaker.failed(time.Now()):
		return "http hook endpoint cannot be called as the vhost says: its notices wait, it is tried again now and then"
	case failed:
		return ""
	}
	l.answered = time.Now()
	if l.breaker.worked() {
		e.returnLocked(l.ep, l)
		return "http hook endpoint can be called as the vhost says again"
	}
	return ""
}

// patience is how long a client must have waited for a call's answer before its
// giving up counts as a failure of the endpoint: less than clients usually wait,
// more than endpoints usually take. One that connects and goes at once says
// nothing of the endpoint.
const patience = 2 * time.Second

// gaveUp notes that a client gave up before there was an answer to a call of its
// gate, unless the endpoint has answered another gate meanwhile; that it answers
// notices says nothing. Else one that hangs would never be found out where all
// clients have less patience than the timeout.
func (e *Engine) gaveUp(ep *endpoint, c *Client, why *Refusal, sent time.Time) {
	e.mu.Lock()
	gone := time.Now()
	if !c.left.IsZero() { // its calls have had a grace since
		gone = c.left
	}
	text := ""
	if waited := gone.Sub(sent); waited >= patience {
		why.Detail = "no answer while the client waited, " + waited.Round(100*time.Millisecond).String()
		text = e.heardLocked(ep, true, false, false, why, sent)
	}
	e.mu.Unlock()
	e.logEndpoint(ep, text, why)
}

// logEndpoint writes the one line about a change.
func (e *Engine) logEndpoint(ep *endpoint, text string, why *Refusal, more ...any) {
	if text == "" {
		return
	}
	e.mu.Lock()
	pending := ep.pending
	e.mu.Unlock()
	args := append([]any{"endpoint", ep.key, "pending", pending}, more...)
	level := slog.LevelInfo
	if why != nil {
		level = slog.LevelWarn
		args = append(args, "reason", why.Reason)
		if why.Detail != "" {
			args = append(args, "detail", why.Detail)
		}
		if why.Status != 0 {
			args = append(args, "status", why.Status)
		}
	}
	e.log.Log(context.Background(), level, text, args...)
}

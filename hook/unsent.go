package hook

import (
	"slices"
	"time"
)

// Our own choices for the lines about what is not sent.
const (
	unsentSoon  = time.Second      // after the first
	unsentEvery = 10 * time.Second // between two: a kill takes what was counted since
	unsentNames = 8                // files named in one
)

// An unsentKey is what events that are not sent have in common. An unsent counts
// them, for one line now and then: what was accepted while hooks were on and ends
// when they are off would else vanish without a word.
type (
	unsentKey struct{ vhost, endpoint, why string }
	unsent    struct {
		counts [len(actions)]int
		files  []string // the first
	}
)

const (
	unsentOff  = "http hook events are not sent: ends of what was accepted while the http_hooks of the vhost were on, they are switched off"
	unsentNone = "http hook events are not sent: ends of what was accepted while the http_hooks of the vhost had a URL for them, they have none now"
	unsentFile = "http hook events are not sent: recordings of a vhost that is not in the configuration any more are complete, the URLs of its on_dvr are not known"
)

// unsentEndLocked notes that an end is not sent to where its begin would have sent it.
func (e *Engine) unsentEndLocked(ev *Event, urls []string, now *Rules) {
	why := unsentOff
	if now.on() {
		why = unsentNone
	}
	var keys []string
	for _, url := range urls {
		if key := e.targetLocked(url).key; !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		e.unsentLocked(unsentKey{ev.Vhost, key, why}).counts[ev.Action.index()]++
	}
}

// unsentFileLocked notes that a recording is not announced.
func (e *Engine) unsentFileLocked(ev *Event) {
	u := e.unsentLocked(unsentKey{vhost: ev.Vhost, why: unsentFile})
	u.counts[ev.Action.index()]++
	if len(u.files) < unsentNames {
		u.files = append(u.files, clip(ev.File))
	}
}

func (e *Engine) unsentLocked(key unsentKey) *unsent {
	u := e.unsent[key]
	if u == nil {
		u = new(unsent)
		e.unsent[key] = u
	}
	if e.unsentTimer == nil && !e.closed {
		wait := max(unsentSoon, unsentEvery-time.Since(e.unsentLogged))
		e.unsentTimer = time.AfterFunc(wait, e.logUnsent)
	}
	return u
}

// logUnsent writes the lines that are due.
func (e *Engine) logUnsent() {
	e.mu.Lock()
	all := e.unsent
	e.unsent, e.unsentTimer, e.unsentLogged = make(map[unsentKey]*unsent), nil, time.Now()
	e.mu.Unlock()
	for key, u := range all {
		args := []any{"vhost", clip(key.vhost)}
		if key.endpoint != "" {
			args = append(args, "endpoint", key.endpoint)
		}
		for i, n := range u.counts {
			if n > 0 {
				args = append(args, string(actions[i]), n)
			}
		}
		if len(u.files) > 0 {
			args = append(args, "files", u.files)
		}
		e.log.Warn(key.why, args...)
	}
}

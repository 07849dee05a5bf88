package hook

import (
	"net/http"
	"time"
)

// Our own choices, used where Rules leaves a value at zero.
const (
	DefaultTimeout = 30 * time.Second // as SRS 3.0 and later
	DefaultWorkers = 64               // calls under way in one lane
	DefaultQueue   = 1024             // gates waiting in one lane
)

// Rules is the http_hooks block of one vhost. The engine keeps pointers to it,
// so it must not change once Options.Rules returned it: a reload makes new ones.
type Rules struct {
	Enabled bool

	// URLs in the order they are called: http, https, or http://unix:/path.sock:/uri.
	OnConnect, OnClose     []string
	OnPublish, OnUnpublish []string
	OnPlay, OnStop         []string
	OnDVR                  []string

	Timeout        time.Duration // a whole gate with all its URLs; one call of a notice
	Workers        int           // calls under way at most, per vhost, endpoint, gate or notice
	Queue          int           // gates waiting at most, likewise
	ClientIDString bool          // send client_id as a string, as SRS 4.0 and later
	NoRetry        bool          // a notice is tried once
	AllowOnFail    bool          // a gate whose endpoint does not decide is accepted
	Secrets        []Secret      // sign every call; several while they are changed
	TLS            *TLS          // of https endpoints; nil: the system's roots

	gone bool // made up: the vhost is not in the configuration since the start
}

// goneFor is how long what was made under a secret waits where it is refused for
// want of a signature: the vhost, or its hooks, may come back.
const goneFor = 24 * time.Hour

// unsigned reports whether a status says that a notice, told then, was not taken
// because the secret to sign it with is not known any more.
func (r *Rules) unsigned(status int, told time.Time, how made) bool {
	return r.lacks(how) && (status == http.StatusUnauthorized || status == http.StatusForbidden) && time.Since(told) < goneFor
}

// lacks reports whether a notice was made with what these rules do not have, for the
// vhost is gone or its hooks are off. With hooks that are on it is the owner's will.
func (r *Rules) lacks(how made) bool {
	switch {
	case how&madeKnown == 0:
		return r.gone
	case r.on() && !r.gone:
		return false
	}
	return how&^madeBy(r) != 0
}

// URLs returns whom to call about an event; nobody when r is nil or hooks are off.
func (r *Rules) URLs(a Action) []string {
	if r == nil || !r.Enabled {
		return nil
	}
	switch a {
	case OnConnect:
		return r.OnConnect
	case OnClose:
		return r.OnClose
	case OnPublish:
		return r.OnPublish
	case OnUnpublish:
		return r.OnUnpublish
	case OnPlay:
		return r.OnPlay
	case OnStop:
		return r.OnStop
	case OnDVR:
		return r.OnDVR
	}
	return nil
}

// under returns the rules of a begin as the last ones of their vhost would have
// them: its secrets and the rest are those, and who was switched off is not called,
// but the URLs of an event stay.
func (r *Rules) under(last *Rules, a Action) *Rules {
	if last == nil || last == r {
		return r
	}
	if len(last.URLs(a)) == 0 {
		return last
	}
	with := *last
	with.OnConnect, with.OnClose = r.OnConnect, r.OnClose
	with.OnPublish, with.OnUnpublish = r.OnPublish, r.OnUnpublish
	with.OnPlay, with.OnStop = r.OnPlay, r.OnStop
	return &with
}

// on reports whether hooks are on at all.
func (r *Rules) on() bool { return r != nil && r.Enabled }

// setURLs sets whom to call about an end.
func (r *Rules) setURLs(a Action, urls []string) {
	switch a {
	case OnClose:
		r.OnClose = urls
	case OnUnpublish:
		r.OnUnpublish = urls
	case OnStop:
		r.OnStop = urls
	}
}

func (r *Rules) timeout() time.Duration {
	if r.Timeout <= 0 {
		return DefaultTimeout
	}
	return r.Timeout
}

func (r *Rules) workers() int {
	if r.Workers <= 0 {
		return DefaultWorkers
	}
	return r.Workers
}

func (r *Rules) queue() int {
	if r.Queue <= 0 {
		return DefaultQueue
	}
	return r.Queue
}

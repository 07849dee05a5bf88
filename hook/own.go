package hook

import "time"

// An own is the breaker of one vhost's gates at one endpoint, for what fails only
// because of the vhost's rules. It exists while there are failures.
type own struct {
	breaker
	rules *Rules // that failed; others begin anew
}

// ownLocked finds the breaker of a vhost's gates; one that is not kept is closed.
func (ep *endpoint) ownLocked(vhost string, rules *Rules) *breaker {
	if o := ep.own[vhost]; o != nil && o.rules == rules {
		return &o.breaker
	}
	return new(breaker)
}

// shutLocked reports whether a gate of a vhost would not be let pass.
func (ep *endpoint) shutLocked(vhost string, rules *Rules, now time.Time) bool {
	return ep.gateBreaker.shut(now) || ep.ownLocked(vhost, rules).shut(now)
}

// admitLocked reports whether a gate of a vhost may be asked now.
func (ep *endpoint) admitLocked(vhost string, rules *Rules, now time.Time) bool {
	return !ep.shutLocked(vhost, rules, now) && ep.gateBreaker.admit(now) && ep.ownLocked(vhost, rules).admit(now)
}

// heard notes how the call of a gate went.
func (e *Engine) heard(ep *endpoint, vhost string, rules *Rules, answered bool, why *Refusal) {
	var text, ofVhost string
	e.mu.Lock()
	if o := ep.own[vhost]; answered || !why.ofVhost(rules) {
		text = e.heardLocked(ep, true, false, answered, why)
		if answered && o != nil && o.rules == rules {
			delete(ep.own, vhost)
			if o.open {
				ofVhost = "http hook endpoint can be asked as the vhost says again"
			}
		}
	} else {
		if o == nil || o.rules != rules {
			o = &own{rules: rules}
			ep.own[vhost] = o
		}
		if o.failed(time.Now()) {
			ofVhost = "http hook endpoint cannot be asked as the vhost says: its gates are decided without it, it is tried again now and then"
		}
	}
	e.mu.Unlock()
	e.logEndpoint(ep, text, why)
	e.logEndpoint(ep, ofVhost, why, "vhost", clip(vhost))
}

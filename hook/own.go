package hook

import "time"

// An own is the breaker of one vhost's gates at one endpoint, for what fails only
// because of the vhost's rules. It exists while there are failures.
type own struct {
	breaker
	rules *Rules // that failed; with others it is tried anew
	told  bool   // the log says that it fails
}

// callsAs reports whether calls go out alike under both rules, as far as what
// fails because of them goes: after a reload that changes nothing of it what
// was found out holds on.
func (r *Rules) callsAs(o *Rules) bool {
	return r == o || r != nil && o != nil && r.timeout() == o.timeout() && r.TLS.key() == o.TLS.key()
}

// ownLocked finds the breaker of a vhost's gates; one that is not kept is closed.
func (ep *endpoint) ownLocked(vhost string, rules *Rules) *breaker {
	if o := ep.own[vhost]; o != nil && o.rules.callsAs(rules) {
		return &o.breaker
	}
	return new(breaker)
}

// shutLocked reports whether a gate of a vhost would not be let pass.
func (ep *endpoint) shutLocked(vhost string, rules *Rules, now time.Time) bool {
	return ep.gateBreaker.shut(now) || ep.ownLocked(vhost, rules).shut(now)
}

// failsLocked reports whether gates of a vhost fail, so that none need wait.
func (ep *endpoint) failsLocked(vhost string, rules *Rules) bool {
	return ep.gateBreaker.open || ep.ownLocked(vhost, rules).open
}

// admitLocked reports whether a gate of a vhost may be asked now.
func (ep *endpoint) admitLocked(vhost string, rules *Rules, now time.Time) bool {
	return !ep.shutLocked(vhost, rules, now) && ep.gateBreaker.admit(now) && ep.ownLocked(vhost, rules).admit(now)
}

// releaseLocked has gates that wait for something at an endpoint look whether
// there is still hope.
func (ep *endpoint) releaseLocked() {
	close(ep.gateFailing)
	ep.gateFailing = make(chan struct{})
}

// heard notes how the call of a gate went that was sent then. What was called under
// rules that a reload has replaced says nothing of the vhost's own.
func (e *Engine) heard(ep *endpoint, vhost string, rules *Rules, answered bool, why *Refusal, sent time.Time) {
	now, exists := e.rules(vhost)
	current := !exists || rules.callsAs(now)
	ofVhost := !answered && why.ofVhost(rules)
	var text, own string
	e.mu.Lock()
	if !ofVhost {
		text = e.heardLocked(ep, true, false, answered, why, sent)
	}
	if current && (answered || ofVhost) {
		own = ep.ownHeardLocked(vhost, rules, answered, sent)
	}
	e.mu.Unlock()
	e.logEndpoint(ep, text, why)
	e.logEndpoint(ep, own, why, "vhost", clip(vhost))
}

// ownHeardLocked notes how a call under a vhost's present rules went, as far as
// they decide; see heardLocked. It returns what to log.
func (ep *endpoint) ownHeardLocked(vhost string, rules *Rules, answered bool, sent time.Time) (text string) {
	o, g := ep.own[vhost], ep.gates[vhost] // the call has its place there
	switch {
	case answered:
		g.answered = time.Now()
		delete(ep.own, vhost)
		if o != nil && o.told {
			return "http hook endpoint can be asked as the vhost says again"
		}
		return ""
	case g.answered.After(sent):
		return ""
	}
	if o == nil || !o.rules.callsAs(rules) {
		o = &own{rules: rules, told: o != nil && o.told}
		ep.own[vhost] = o
	}
	if o.failed(time.Now()) {
		o.told = true
		text = "http hook endpoint cannot be asked as the vhost says: its gates are decided without it, it is tried again now and then"
	}
	if o.open {
		ep.releaseLocked()
	}
	return text
}

// failingVhosts counts by endpoint the vhosts whose gates are decided without it,
// as the rules in force are: those that failed may have been mended since.
func (e *Engine) failingVhosts() map[string]int {
	type failing struct {
		endpoint, vhost string
		rules           *Rules
	}
	var all []failing
	e.mu.Lock()
	for _, ep := range e.endpoints {
		for vhost, o := range ep.own {
			if o.open {
				all = append(all, failing{ep.key, vhost, o.rules})
			}
		}
	}
	e.mu.Unlock()
	counts := make(map[string]int)
	for _, f := range all {
		if now, _ := e.rules(f.vhost); f.rules.callsAs(now) {
			counts[f.endpoint]++
		}
	}
	return counts
}

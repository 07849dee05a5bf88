package hook

// maxReplaced is of how many vhosts without hooks the last rules are kept.
const maxReplaced = 1024

// Replaced notes that a reload puts other rules of a vhost in force, or none; it is
// called before they are. What waits is told under the last rules with hooks, and of
// a vhost that is gone all is told as its last ones said.
func (e *Engine) Replaced(vhost string, was, now *Rules) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now == nil {
		keepRules(e.removed, vhost, was)
	}
	if was.on() && !now.on() {
		keepRules(e.lastOn, vhost, was)
	}
}

func keepRules(all map[string]*Rules, vhost string, r *Rules) {
	if _, known := all[vhost]; !known && len(all) >= maxReplaced {
		for other := range all {
			delete(all, other)
			break
		}
	}
	all[vhost] = r
}

// rulesOf returns the rules for calls about a vhost's notices: those in force,
// with their secrets and TLS options; where hooks are off or the vhost is gone
// those that were last in force, as far as they are known. lane are those that a
// notice came with last.
func (e *Engine) rulesOf(vhost string, lane *Rules) *Rules {
	e.mu.Lock()
	last := e.lastOn[vhost] // may have other secrets than what was told under the rules before
	e.mu.Unlock()
	if last == nil {
		last = lane
	}
	return rulesFrom(e.rules, vhost, last)
}

func rulesFrom(rules func(string) (*Rules, bool), vhost string, last *Rules) *Rules {
	r, _ := rules(vhost)
	switch {
	case r.on():
		return r
	case last != nil && (r == nil || last.on() && !last.gone):
		return last
	case r != nil:
		return r
	}
	return &Rules{gone: true}
}

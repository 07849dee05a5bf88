package hook

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"
)

// A Trial is one call made to see how an endpoint answers.
type Trial struct {
	URL     string // masked
	Request http.Header
	Body    []byte
	Took    time.Duration

	Status   int // 0: no answer
	Response http.Header
	Answer   []byte

	Taken   bool     // a notice would count as delivered
	Refusal *Refusal // why a gate would refuse; nil: it would accept
}

// Try sends an event to a URL under a vhost's rules, once, and changes nothing:
// no journal, no breaker.
func (e *Engine) Try(ctx context.Context, ev Event, rules *Rules, rawURL string) Trial {
	ctx, cancel := context.WithTimeout(ctx, rules.timeout())
	defer cancel()
	t := parseTarget(rawURL)
	id := rand.Text()
	trial := Trial{URL: t.masked, Body: ev.AppendJSON(nil, e.id(), rules.ClientIDString)}
	if t.err == nil {
		trial.Request = e.request(ctx, t, rules, id, trial.Body).Header
		delete(trial.Request, "X-Idempotency-Key")
	}
	started := time.Now()
	a, r := e.call(ctx, t, rules, id, trial.Body)
	trial.Took = time.Since(started)
	trial.Status, trial.Response, trial.Answer = a.status, a.header, a.body
	trial.Taken = a.taken(r)
	switch {
	case r == nil:
		r = a.verdict()
	case a.status != 0:
		if s := a.statusVerdict(); s != nil {
			r = s
		}
	}
	trial.Refusal = r
	return trial
}

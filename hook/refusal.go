package hook

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// Why a gate refused or a notice failed.
const (
	ReasonDenied      = "hook.denied"       // the endpoint answered a code that is not 0
	ReasonStatus      = "hook.status"       // a status other than 200 and 201
	ReasonBadResponse = "hook.bad_response" // no HTTP, cut short, or a body that is no verdict
	ReasonTooBig      = "hook.too_big"      // a header or body over the bound
	ReasonRedirect    = "hook.redirect"     // never followed
	ReasonTimeout     = "hook.timeout"      // the deadline passed
	ReasonRefused     = "hook.refused"      // no connection: URL, name, address
	ReasonTLS         = "hook.tls"          // no connection: certificate, handshake
	ReasonBreaker     = "hook.breaker"      // the endpoint has failed again and again: it was not called
	ReasonPending     = "hook.end_pending"  // an earlier end must be delivered first, and is not: it was not called
	ReasonOverload    = "hook.overload"     // too many gates wait for this endpoint
	ReasonCanceled    = "hook.canceled"     // the caller gave up
	ReasonClosed      = "hook.closed"       // the engine is closing
)

// A Refusal is the answer no, and everything that counts as no. Its text is
// for logs: it holds nothing the endpoint wrote, except what a failed TLS
// handshake quotes from a certificate, capped.
type Refusal struct {
	Action Action
	Reason string // one of the Reason constants
	URL    string // masked; empty when no URL was at fault
	Status int    // HTTP status, 0 when none arrived
	Sent   bool   // a request went out: an endpoint may have said yes
	Owed   bool   // the end must be told all the same, see Client.Ask
	Detail string

	silent bool // of ReasonPending: the endpoint answers neither the end nor other notices
}

// Undecided reports whether the endpoint had no say: it failed, or was not reached.
func (r *Refusal) Undecided() bool {
	switch r.Reason {
	case ReasonTimeout, ReasonRefused, ReasonTLS, ReasonBreaker, ReasonOverload:
		return true
	case ReasonBadResponse, ReasonTooBig:
		return r.Status != http.StatusOK && r.Status != http.StatusCreated
	case ReasonStatus:
		return r.Status >= 500 || retryable(r.Status)
	case ReasonPending:
		return r.silent
	}
	return false
}

// pending says what a timeout was that came before anybody was asked. on_fail
// applies only if the endpoint is silent: else nothing says that it fails.
func (r *Refusal) pending(silent bool) {
	if r.Reason == ReasonTimeout {
		r.Reason, r.silent = ReasonPending, silent
	}
}

// owed reports whether the end is owed although nobody said yes: the question
// was given up when the endpoint had heard it, or its answer was no answer when
// the client had left, so that nobody hears the no.
func (r *Refusal) owed(left bool) bool {
	switch r.Reason {
	case ReasonCanceled, ReasonClosed:
		return r.Sent
	case ReasonTimeout, ReasonBadResponse, ReasonTooBig:
		return r.Sent && left
	}
	return false
}

func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString("http hook ")
	b.WriteString(string(r.Action))
	b.WriteString(" refused: ")
	b.WriteString(r.Reason)
	if r.URL != "" {
		b.WriteString(" url=")
		b.WriteString(r.URL)
	}
	if r.Status != 0 {
		b.WriteString(" status=")
		b.WriteString(strconv.Itoa(r.Status))
	}
	if r.Detail != "" {
		b.WriteString(": ")
		b.WriteString(r.Detail)
	}
	return b.String()
}

// errClosed is the cause that Close gives to what it ends.
var errClosed = errors.New("hook: closed")

// ended turns a context that is over into a refusal.
func ended(ctx context.Context) *Refusal {
	switch err := context.Cause(ctx); {
	case errors.Is(err, errClosed):
		return &Refusal{Reason: ReasonClosed}
	case errors.Is(err, context.DeadlineExceeded):
		return &Refusal{Reason: ReasonTimeout}
	}
	return &Refusal{Reason: ReasonCanceled}
}

// clip bounds text of others in logs and errors.
func clip(s string) string {
	const most = 256 // bytes
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

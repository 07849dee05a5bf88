package hook

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// stage is how far a call has come.
const (
	stageDial int32 = iota
	stageTLS
	stageConnected
)

// A unix socket whose queue of connections is full refuses the next one at once
// (EAGAIN), where TCP knocks again by itself. So do we, as long as the call has
// time: our own choices.
const (
	minKnock = time.Millisecond
	maxKnock = 50 * time.Millisecond
)

// call posts one body to one URL, once, within ctx. A refusal says that no whole
// answer came; a status that arrived is in the answer all the same. id is the
// same in every call about one event.
func (e *Engine) call(ctx context.Context, t *target, rules *Rules, id string, body []byte) (answer, *Refusal) {
	if t.err != nil {
		return answer{}, &Refusal{Reason: ReasonRefused, Detail: t.err.Error()}
	}
	var stage atomic.Int32
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn:           func(string) { stage.Store(stageDial) }, // again for a repeat
		TLSHandshakeStart: func() { stage.Store(stageTLS) },
		GotConn:           func(httptrace.GotConnInfo) { stage.Store(stageConnected); sent.Store(true) },
	}
	traced, client := httptrace.WithClientTrace(ctx, trace), e.transport(t, rules.TLS)
	var resp *http.Response
	var err error
	for wait := minKnock; ; wait = min(2*wait, maxKnock) {
		resp, err = client.Do(e.request(traced, t, rules, id, body))
		if err == nil {
			break
		}
		if stage.Load() != stageDial || !errors.Is(err, syscall.EAGAIN) {
			return answer{sent: sent.Load()}, failure(ctx, err, stage.Load())
		}
		select {
		case <-time.After(spread(wait)):
		case <-ctx.Done():
			r := ended(ctx)
			r.Detail = "the socket's queue of connections is full"
			return answer{sent: sent.Load()}, r
		}
	}
	defer resp.Body.Close()
	a := answer{sent: true, status: resp.StatusCode, header: resp.Header, retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())}
	if resp.ContentLength > maxBody {
		return a, &Refusal{Reason: ReasonTooBig, Status: a.status, Detail: "body over 64 KiB"}
	}
	if a.status == http.StatusSwitchingProtocols {
		return a, nil // what is behind it is the bare connection, which knows no deadline
	}
	// Read to its end also where the status decides: only so is the connection kept.
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case len(a.body) > maxBody:
		a.body = nil
		return a, &Refusal{Reason: ReasonTooBig, Status: a.status, Detail: "body over 64 KiB"}
	case err != nil:
		a.body = nil
		r := failure(ctx, err, stageConnected)
		r.Status = a.status
		return a, r
	}
	return a, nil
}

// request makes the request of one call.
func (e *Engine) request(ctx context.Context, t *target, rules *Rules, id string, body []byte) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		panic("hook: " + err.Error()) // nothing in it comes from outside
	}
	req.URL, req.Host = t.url, t.host
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {e.userAgent},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {timestamp},
		// Not sent, as it has no value. It lets net/http repeat the POST when an
		// idle connection turns out to be closed by the endpoint; should the
		// endpoint have read it after all, the id is the same.
		"X-Idempotency-Key": {},
	}
	if len(rules.Secrets) > 0 {
		req.Header["Webhook-Signature"] = []string{sign(rules.Secrets, id, timestamp, body)}
	}
	return req
}

// alerted reports whether the endpoint ended the TLS connection. In TLS 1.3 it
// says so only after the handshake that our certificate is missing or not good.
func alerted(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}

const lateHandshake = "no TLS handshake in time"

// failure names what went wrong. Once connected, the text of net/http's errors
// may quote the endpoint, so ours replaces it.
func failure(ctx context.Context, err error, stage int32) *Refusal {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var outer *url.Error // its text holds the query
	if errors.As(err, &outer) {
		err = outer.Err
	}
	var timeout net.Error
	late := errors.As(err, &timeout) && timeout.Timeout()
	switch {
	case stage == stageTLS && late:
		return &Refusal{Reason: ReasonTLS, Detail: lateHandshake}
	case stage == stageTLS, alerted(err):
		return &Refusal{Reason: ReasonTLS, Detail: clip(err.Error())}
	case late:
		return &Refusal{Reason: ReasonTimeout, Detail: "no connection in time"}
	case stage == stageDial:
		return &Refusal{Reason: ReasonRefused, Detail: clip(err.Error())}
	}
	r := &Refusal{Reason: ReasonBadResponse}
	switch {
	case strings.Contains(err.Error(), "response headers exceeded"): // net/http has no error value for it
		r.Reason, r.Detail = ReasonTooBig, "header over 32 KiB"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		r.Detail = "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.HasSuffix(err.Error(), "server closed idle connection"):
		r.Detail = "connection closed before the whole answer"
	default:
		r.Detail = "not an HTTP answer"
	}
	return r
}

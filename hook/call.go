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

// call posts one body to one endpoint, once, within ctx. A refusal says that
// no whole answer came; a status that arrived is in the answer all the same.
// id is the same in every call about one event.
func (e *Engine) call(ctx context.Context, ep *endpoint, id string, body []byte) (answer, *Refusal) {
	if ep.err != nil {
		return answer{}, &Refusal{Reason: ReasonRefused, Detail: ep.err.Error()}
	}
	var connected atomic.Bool
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { connected.Store(false) }, // again for a repeat
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodPost, "/", bytes.NewReader(body))
	if err != nil {
		return answer{}, &Refusal{Reason: ReasonRefused, Detail: "invalid request"}
	}
	req.URL, req.Host = ep.url, ep.host
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {e.userAgent},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {strconv.FormatInt(time.Now().Unix(), 10)},
		// Not sent, as it has no value. It lets net/http repeat the POST when an
		// idle connection turns out to be closed by the endpoint; should the
		// endpoint have read it after all, the id is the same.
		"X-Idempotency-Key": {},
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return answer{}, failure(ctx, err, connected.Load())
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	if resp.ContentLength > maxBody {
		return a, &Refusal{Reason: ReasonTooBig, Status: a.status, Detail: "body over 64 KiB"}
	}
	// Read to its end also where the status decides: only so is the connection kept.
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case len(a.body) > maxBody:
		a.body = nil
		return a, &Refusal{Reason: ReasonTooBig, Status: a.status, Detail: "body over 64 KiB"}
	case err != nil:
		a.body = nil
		r := failure(ctx, err, true)
		r.Status = a.status
		return a, r
	}
	return a, nil
}

// failure names what went wrong. Once connected, the text of net/http's errors
// may quote the endpoint, so ours replaces it.
func failure(ctx context.Context, err error, connected bool) *Refusal {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var outer *url.Error // its text holds the query
	if errors.As(err, &outer) {
		err = outer.Err
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return &Refusal{Reason: ReasonTimeout, Detail: "no connection in time"}
	}
	if !connected {
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

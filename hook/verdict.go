package hook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// An answer is what an endpoint said, body and all.
type answer struct {
	sent       bool // a connection was there for the request
	status     int
	header     http.Header
	body       []byte        // at most maxBody
	retryAfter time.Duration // what it asks for, capped; 0: nothing
}

// verdict returns nil for yes.
//
// Yes is status 200 or 201 and, between ASCII white space, the body 0 or a
// JSON object whose key code stands there once and is written 0. SRS allows no
// white space; everything else is its rule.
func (a answer) verdict() *Refusal {
	if r := a.statusVerdict(); r != nil {
		return r
	}
	body := bytes.Trim(a.body, " \t\r\n\v\f")
	code, err := readCode(body)
	if err != nil {
		detail := err.Error()
		if coding := a.header.Get("Content-Encoding"); coding != "" && coding != "identity" {
			detail = "body is compressed, which was not asked for" // and is not unpacked
		}
		return &Refusal{Reason: ReasonBadResponse, Status: a.status, Detail: detail}
	}
	if code == "0" {
		return nil
	}
	n, err := strconv.ParseInt(code, 10, 64)
	if err != nil || n == 0 {
		return &Refusal{Reason: ReasonBadResponse, Status: a.status, Detail: "code is no integer"}
	}
	return &Refusal{Reason: ReasonDenied, Status: a.status, Detail: fmt.Sprintf("code %d", n)}
}

func (a answer) statusVerdict() *Refusal {
	switch a.status {
	case http.StatusOK, http.StatusCreated:
		return nil
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return &Refusal{Reason: ReasonRedirect, Status: a.status}
	}
	return &Refusal{Reason: ReasonStatus, Status: a.status}
}

// taken reports whether a notice counts as delivered, r being what is wrong with
// the call: the endpoint answered and did not ask to come back. What it thinks of
// the event is its own business, and a body over the bound changes nothing.
func (a answer) taken(r *Refusal) bool {
	if r != nil && r.Reason != ReasonTooBig {
		return false
	}
	return a.status/100 == 2 || a.status/100 == 4 && !retryable(a.status)
}

// retryable are the statuses that ask to come back, besides 5xx.
func retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return false
}

// maxRetryAfter is how long an endpoint may send us away.
const maxRetryAfter = 60 * time.Second

// parseRetryAfter reads seconds or a date (RFC 9110 §10.2.3); anything else is 0.
func parseRetryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(s)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// readCode returns the code as it is written: the body itself, or the value
// of the top-level key code.
func readCode(body []byte) (string, error) {
	switch {
	case len(body) == 0:
		return "", fmt.Errorf("empty body")
	case !utf8.Valid(body):
		return "", fmt.Errorf("body is not UTF-8")
	case !json.Valid(body): // trailing data and endless nesting included
		return "", fmt.Errorf("body is not JSON")
	case body[0] != '{':
		return string(body), nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return "", fmt.Errorf("body is not JSON")
	}
	var code json.RawMessage
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return "", fmt.Errorf("body is not JSON")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil && err != io.EOF {
			return "", fmt.Errorf("body is not JSON")
		}
		if key != "code" {
			continue
		}
		if code != nil {
			return "", fmt.Errorf("key code twice")
		}
		code = value
	}
	if code == nil {
		return "", fmt.Errorf("no key code")
	}
	return string(code), nil
}

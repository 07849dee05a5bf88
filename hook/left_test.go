package hook

import (
	"testing"
)

// What is told of a vhost that is gone is signed as before.
func TestVhostGoneIsSigned(t *testing.T) {
	srv := newLedger(t, nil)
	r, exists := all(srv.URL), true
	secret, err := ParseSecret("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	r.Secrets = []Secret{secret}
	e := openEngine(t, Options{Rules: func(string) (*Rules, bool) {
		if !exists {
			return nil, false
		}
		return r, true
	}})
	c := lifecycle(t, e, 1, "s")
	exists = false
	c.end(1, "s")
	closeNow(t, e)
	wantCalls(t, srv, "/ on_connect 1 ", "/ on_publish 1 s", "/ on_unpublish 1 s", "/ on_close 1 ")
	for _, c := range srv.seen() {
		if c.header.Get("Webhook-Signature") == "" {
			t.Errorf("%s is not signed", c)
		}
	}
}

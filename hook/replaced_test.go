package hook

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// testSecret is a secret of one letter.
func testSecret(t testing.TB, letter string) Secret {
	s, err := ParseSecret("whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 24))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What waits while hooks are switched off is signed as they last were, whatever else
// the vhost has been: a secret that a reload has retired is never used again.
func TestSignedAsLastInForce(t *testing.T) {
	secret := map[string][]Secret{"K1": {testSecret(t, "a")}, "K2": {testSecret(t, "b")}}
	for _, c := range []struct{ before, after string }{
		{"K1", "K2 off"}, {"K1", "K2 gone"}, {"K1 gone K2", "off"}, {"K1 off K2", "gone"}, {"K1 gone K2", "gone"},
		{"K2", "K1 K2 off gone"}, {"K1", "off K2 gone off"},
	} {
		var down atomic.Bool
		srv := newLedger(t, func(w http.ResponseWriter, _ call) {
			if down.Load() {
				w.WriteHeader(503)
			}
			io.WriteString(w, "0")
		})
		var now atomic.Pointer[Rules]
		e := openEngine(t, Options{Rules: func(string) (*Rules, bool) { r := now.Load(); return r, r != nil }})
		reload := func(states string) {
			for state := range strings.FieldsSeq(states) {
				var next *Rules
				switch state {
				case "gone":
				case "off":
					next = &Rules{}
				default:
					next = all(srv.URL)
					next.Secrets = secret[state]
				}
				if was := now.Load(); was != nil {
					e.Replaced("v.example", was, next)
				}
				now.Store(next)
			}
		}
		reload(c.before)
		down.Store(true)
		e.Client().Tell(event(OnStop, 1, "s"))
		if !settles(func() bool { return len(srv.seen()) > 0 }) {
			t.Fatal("it is not told")
		}
		reload(c.after)
		before := len(srv.seen())
		down.Store(false)
		closeNow(t, e)
		for _, call := range srv.seen()[before:] {
			id, at := call.header.Get("Webhook-Id"), call.header.Get("Webhook-Timestamp")
			if call.header.Get("Webhook-Signature") != sign(secret["K2"], id, at, []byte(call.body)) {
				t.Errorf("%s, told, %s: not signed with K2", c.before, c.after)
			}
		}
		if len(srv.seen()) == before {
			t.Errorf("%s, told, %s: it is lost", c.before, c.after)
		}
	}
}

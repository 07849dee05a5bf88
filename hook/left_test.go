package hook

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
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

// HK-18, HK-19: a gate finds no answer. The end is owed when the client has left
// meanwhile and the endpoint has heard of it, to whom it was asked before too.
func TestNoAnswerForWhoLeft(t *testing.T) {
	for _, c := range []struct {
		path, reason string
		left, owed   bool
	}{
		{"/hang", ReasonTimeout, true, true},
		{"/hang", ReasonTimeout, false, false},
		{"/reset", ReasonBadResponse, true, true},
		{"/reset", ReasonBadResponse, false, false},
		{"/big", ReasonTooBig, true, true},
		{"/no", ReasonDenied, true, false},
	} {
		var ends trail
		h := func(w http.ResponseWriter, r *http.Request, call call) {
			switch {
			case call.Action == OnUnpublish:
				ends.add(call.path)
			case call.path == "/yes":
			case c.path == "/hang":
				pause(r, time.Minute)
			default:
				pause(r, 2*time.Second)
			}
			switch {
			case call.Action == OnUnpublish || call.path == "/yes":
				io.WriteString(w, "0")
			case c.path == "/reset":
				panic(http.ErrAbortHandler)
			case c.path == "/big":
				w.Write(make([]byte, maxBody+1))
			default:
				io.WriteString(w, "1")
			}
		}
		bubble(t, Options{Rules: rulesOf(all("http://h/yes", "http://other"+c.path))}, h, func(t *testing.T, e *Engine) {
			client := e.Client()
			time.AfterFunc(time.Second, func() {
				if c.left {
					client.Leave()
				}
			})
			err := client.Ask(context.Background(), event(OnPublish, 1, "s"))
			wantReason(t, err, c.reason)
			var r *Refusal
			if errors.As(err, &r); r.Owed != c.owed {
				t.Errorf("%+v: owed %v", c, r.Owed)
			}
			want := "/yes" // taken back
			if r.Owed {
				client.Tell(event(OnUnpublish, 1, "s"))
				want = "/yes " + c.path
			}
			closeNow(t, e)
			if got := ends.String(); got != want && got != c.path+" /yes" {
				t.Errorf("%+v: ends %q", c, got)
			}
		})
	}
}

// Who leaves while the first endpoints of a list think is over for those; the ones
// behind them were not asked and hear nothing, also not after a restart. Who only
// hears of ends does.
func TestNeverAsked(t *testing.T) {
	for _, c := range []struct {
		urls, ends string // on_publish; who hears on_unpublish
	}{
		{"hang a", "hang end"},
		{"a hang b", "a hang end"},
		{"a hang a", "a hang end"},
		{"dead hang b", "hang end"}, // passed over as on_fail says
	} {
		t.Run(c.urls, func(t *testing.T) {
			servers, at := make(map[string]*ledger), map[string]string{"dead": "http://127.0.0.1:1/dead"}
			thinks := make(chan struct{})
			for _, name := range []string{"a", "b", "hang", "end"} {
				servers[name] = newLedger(t, func(w http.ResponseWriter, call call) {
					if name == "hang" && call.Action == OnPublish {
						<-thinks
					}
					io.WriteString(w, "0")
				})
				at[name] = servers[name].URL + "/" + name
			}
			r := &Rules{Enabled: true, AllowOnFail: true, OnUnpublish: []string{at["end"]}}
			for name := range strings.FieldsSeq(c.urls) {
				r.OnPublish = append(r.OnPublish, at[name])
				if !slices.Contains(r.OnUnpublish, at[name]) {
					r.OnUnpublish = append(r.OnUnpublish, at[name])
				}
			}
			dir := t.TempDir()
			e := durable(t, dir, Options{Rules: rulesOf(r)})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				settles(func() bool { return len(servers["hang"].seen()) > 0 })
				cancel()
			}()
			client := e.Client()
			err := client.Ask(ctx, event(OnPublish, 1, "s"))
			close(thinks)
			wantReason(t, err, ReasonCanceled)
			if !err.(*Refusal).Owed {
				t.Fatalf("no end is owed: %v", err)
			}
			client.Tell(event(OnUnpublish, 1, "s"))
			quiet(t, e)
			left := killed(t, dir)
			closeNow(t, e)
			if told := e.Counters()[OnUnpublish].Told; told != uint64(len(strings.Fields(c.ends))) {
				t.Errorf("told %d times", told)
			}
			closeNow(t, durable(t, left, Options{Rules: rulesOf(r)}))
			heard := make(map[string]bool)
			for name, srv := range servers {
				for _, call := range srv.seen() {
					if call.Action == OnUnpublish {
						heard[name] = true
					}
				}
			}
			if got := strings.Join(slices.Sorted(maps.Keys(heard)), " "); got != strings.Join(slices.Sorted(strings.FieldsSeq(c.ends)), " ") {
				t.Errorf("ends at %s, want %s", got, c.ends)
			}
		})
	}
}

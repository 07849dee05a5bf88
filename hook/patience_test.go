package hook

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// An endpoint whose gates hang is found out also when all clients give up before
// the timeout, and when it answers notices all the while: then on_fail decides, at
// once.
func TestClientsGiveUpOnHangingEndpoint(t *testing.T) {
	for _, notices := range []bool{false, true} {
		t.Run(fmt.Sprint("notices answered ", notices), func(t *testing.T) { testGiveUp(t, notices) })
	}
}

func testGiveUp(t *testing.T, notices bool) {
	var up atomic.Bool
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if !up.Load() && endOf(c.Action) != "" {
			pause(r, time.Minute)
			return
		}
		io.WriteString(w, "0")
	}
	rules := all("http://h/")
	rules.Timeout, rules.AllowOnFail = 30*time.Second, true
	bubble(t, Options{Rules: rulesOf(rules)}, h, func(t *testing.T, e *Engine) {
		for i := range uint64(20) {
			if notices {
				time.AfterFunc(time.Second, func() { e.Client().Tell(event(OnClose, 1000+i, "")) })
			}
			err := gone(t, e, i, 5*time.Second, 2*time.Second)
			if i < breakerFails {
				wantReason(t, err, ReasonCanceled)
			} else if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		}
		up.Store(true)
		<-time.After(5 * time.Second)
		if err := gone(t, e, 100, 5*time.Second, 0); err != nil || e.Endpoints()[0].BreakerOpen {
			t.Errorf("not found to be back: %v, %v", err, e.Endpoints()[0].Args())
		}
	})
}

// Clients that connect and go at once do not open a breaker, nor do those that
// give up on one slow call while the endpoint answers others.
func TestClientsThatGoSayNothing(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.ClientID < 1000 {
			pause(r, time.Minute)
			return
		}
		io.WriteString(w, "0")
	}
	for _, c := range []struct {
		name   string
		after  time.Duration
		others bool
		grace  time.Duration
	}{
		{"at once", 50 * time.Millisecond, false, 0},
		{"at once, with a grace", 50 * time.Millisecond, false, 2 * time.Second},
		{"others are answered", 5 * time.Second, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
				const clients = 3 * breakerFails
				gates := make(chan error, clients)
				for i := range uint64(clients) {
					go func() { gates <- gone(t, e, i, c.after, c.grace) }()
				}
				<-time.After(20 * time.Millisecond)
				if c.others {
					if err := gone(t, e, 1000, time.Second, 0); err != nil {
						t.Error(err)
					}
				}
				for range clients {
					wantReason(t, <-gates, ReasonCanceled)
				}
				if e.Endpoints()[0].BreakerOpen {
					t.Error("the breaker is open")
				}
			})
		})
	}
}

// gone asks for a client that goes away after a time, and gives up after some more.
func gone(t *testing.T, e *Engine, id uint64, after, grace time.Duration) error {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := e.Client()
	defer time.AfterFunc(after, c.Leave).Stop()
	defer time.AfterFunc(after+grace, cancel).Stop()
	return c.Ask(ctx, event(OnPlay, id, "s"))
}

package hook

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What hung before an endpoint came back ends late: that says nothing of an endpoint
// that has answered since, neither of its gates nor of its notices, nor where the
// timeout is so short that it is the vhost's own.
func TestLateTimeouts(t *testing.T) {
	for _, timeout := range []time.Duration{5 * time.Second, 800 * time.Millisecond} {
		var up atomic.Bool
		h := func(w http.ResponseWriter, r *http.Request, c call) {
			if !up.Load() {
				pause(r, time.Minute)
			}
			io.WriteString(w, "0")
		}
		rules := all("http://h/")
		rules.Timeout = timeout
		bubble(t, Options{Rules: rulesOf(rules)}, h, func(t *testing.T, e *Engine) {
			const old = 3 * breakerFails
			var late atomic.Int32
			for i := range uint64(old) {
				go func() {
					if reason(t, e.Client().Ask(t.Context(), event(OnPlay, i, "s"))) == ReasonTimeout {
						late.Add(1)
					}
				}()
				e.Client().Tell(event(OnStop, 1000+i, "s"))
			}
			<-time.After(timeout / 2)
			up.Store(true)
			for id := uint64(2000); id < 2020; id++ {
				if err := e.Client().Ask(t.Context(), event(OnPlay, id, "s")); err != nil {
					t.Errorf("%v: %v", timeout, err)
				}
				e.Client().Tell(event(OnStop, id, "s"))
				synctest.Wait()
				if n := e.Counters()[OnStop].Delivered; n < id-2000+1 {
					t.Errorf("%v: %d notices are delivered", timeout, n)
				}
				<-time.After(timeout / 20)
			}
			if late.Load() != old {
				t.Errorf("%d end late", late.Load())
			}
		})
	}
}

// A proxy that has waited for its backend says late that calls shall come back later:
// that shuts no endpoint which has taken notices since.
func TestLateLater(t *testing.T) {
	var up atomic.Bool
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if !up.Load() {
			pause(r, 2*time.Second)
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		io.WriteString(w, "0")
	}
	bubble(t, Options{Rules: rulesOf(all("http://h/"))}, h, func(t *testing.T, e *Engine) {
		const old = 3 * breakerFails
		for i := range uint64(old) {
			e.Client().Tell(event(OnStop, i, "s"))
		}
		<-time.After(time.Second)
		up.Store(true)
		for id := uint64(1000); id < 1010; id++ {
			e.Client().Tell(event(OnStop, id, "s"))
			synctest.Wait()
			if n := e.Counters()[OnStop].Delivered; n != id-1000+1 {
				t.Errorf("%d notices are delivered, %d are told since it is back", n, id-1000+1)
			}
			<-time.After(time.Second / 2)
		}
		<-time.After(40 * time.Second) // what was to come back later does
		synctest.Wait()
		if n := e.Counters()[OnStop].Delivered; n != old+10 {
			t.Errorf("%d notices are delivered", n)
		}
	})
}

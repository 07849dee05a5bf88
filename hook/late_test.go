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

package hook

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A takeover waits for the end at the endpoints of on_publish, not at one that only
// hears of ends and may be dead.
func TestTakeoverWaitsWhereAsked(t *testing.T) {
	var heard trail
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if r.Host == "dead" {
			pause(r, time.Hour)
			return
		}
		if c.Action == OnUnpublish {
			pause(r, time.Second)
		}
		heard.add(string(c.Action))
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.OnUnpublish = []string{"http://dead/", "http://h/"}
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		first, second := e.Client(), e.Client()
		for i, c := range []*Client{first, second} {
			if err := c.Ask(t.Context(), event(OnPublish, uint64(i+1), "s")); err != nil {
				t.Fatal(err)
			}
		}
		first.Tell(event(OnUnpublish, 1, "s"))
		synctest.Wait()
		started := time.Now()
		if err := second.AwaitEnds(t.Context(), event(OnPublish, 2, "s")); err != nil || time.Since(started) != time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
		if want := "on_publish on_publish on_unpublish"; heard.String() != want {
			t.Errorf("heard %s", heard.String())
		}
	})
}

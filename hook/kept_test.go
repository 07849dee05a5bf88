package hook

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestKept: that an announcement is kept is said once: when it is in the journal,
// whatever its endpoint does; without one when all its URLs have it; and never of
// what is dropped.
func TestKept(t *testing.T) {
	srv := newLedger(t, nil)
	r := all(srv.URL)
	r.OnDVR = []string{"http://127.0.0.1:1/", srv.URL}
	said := make(chan struct{}, 2)
	e := durable(t, t.TempDir(), Options{ServerID: "sid", Rules: rulesOf(r)})
	e.TellFile(event(OnDVR, 1, "s"), func() { said <- struct{}{} })
	select {
	case <-said:
	case <-time.After(10 * time.Second):
		t.Error("nothing is said of what is in the journal")
	}
	e.TellFile(event(OnDVR, 1, "of no vhost"), func() { said <- struct{}{} })
	<-said
	closeNow(t, e)
	e.TellFile(event(OnDVR, 1, "too late"), func() { said <- struct{}{} })
	if len(said) > 0 {
		t.Error("it is said twice, or of what is dropped")
	}
}

// TestKeptWithoutJournal: and an id that an event has is its webhook-id.
func TestKeptWithoutJournal(t *testing.T) {
	var seen trail
	h := func(w http.ResponseWriter, r *http.Request, c call) {
		if c.path == "/slow" {
			pause(r, time.Second)
		}
		seen.add(r.Header.Get("webhook-id"))
		io.WriteString(w, "0")
	}
	r := all("http://h/")
	r.OnDVR = []string{"http://h/", "http://h/slow"}
	bubble(t, Options{Rules: rulesOf(r)}, h, func(t *testing.T, e *Engine) {
		var kept atomic.Int32
		ev := event(OnDVR, 7, "a")
		ev.ID = "of-before"
		e.TellFile(ev, func() { kept.Add(1) })
		time.Sleep(time.Second / 2)
		synctest.Wait()
		if kept.Load() != 0 {
			t.Error("kept, and one URL has not heard it")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := seen.String(); kept.Load() != 1 || got != "of-before of-before" {
			t.Errorf("said %d times, heard %q", kept.Load(), got)
		}
	})
}

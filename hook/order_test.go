package hook

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
)

// The order of a client's events holds over a crash, also where the record of one of
// its ends is damaged: that one is told anew, before what came behind it.
func TestOrderAroundADamagedEnd(t *testing.T) {
	for _, damaged := range []Action{OnStop, OnUnpublish, OnClose} {
		var up atomic.Bool
		srv := newLedger(t, func(w http.ResponseWriter, _ call) {
			if !up.Load() {
				w.WriteHeader(503)
			}
			io.WriteString(w, "0")
		})
		rules := &Rules{Enabled: true, OnStop: []string{srv.URL}, OnUnpublish: []string{srv.URL}, OnClose: []string{srv.URL}}
		dir := t.TempDir()
		e := durable(t, dir, Options{Rules: rulesOf(rules)})
		c := e.Client()
		for _, ev := range []Event{
			event(OnConnect, 1, ""), event(OnPlay, 1, "a"), event(OnStop, 1, "a"), event(OnPublish, 1, "b"), event(OnUnpublish, 1, "b"), event(OnClose, 1, ""),
		} {
			if endOf(ev.Action) == "" {
				c.Tell(ev)
			} else if err := c.Ask(t.Context(), ev); err != nil {
				t.Fatal(err)
			}
		}
		quiet(t, e)
		dir = killed(t, dir)
		closeWithin(t, e, 0)
		damage(t, dir, 1, string(damaged))

		before := len(srv.seen())
		up.Store(true)
		var book logBook
		e = durable(t, dir, Options{Rules: rulesOf(rules), Log: book.logger()})
		closeNow(t, e)
		var got []Action
		for _, c := range srv.seen()[before:] {
			got = append(got, c.Action)
		}
		if want := []Action{OnStop, OnUnpublish, OnClose}; !slices.Equal(got, want) || len(book.lines("not_delivered=2", "missing_ends=1")) != 1 {
			t.Errorf("%s is damaged: %v\n%s", damaged, got, &book)
		}
	}
}

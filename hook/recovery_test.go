package hook

import (
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// What a killed server left of a connection that had published two streams is
// told before the gates of each: of A one URL has not taken the end, that of B is
// missing altogether.
func TestEndsOfTwoStreamsOfOneClient(t *testing.T) {
	var restarted, up atomic.Bool
	one := newLedger(t, func(w http.ResponseWriter, c call) {
		if restarted.Load() && c.Action == OnUnpublish && !up.Load() {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "0")
	})
	two := newLedger(t, func(w http.ResponseWriter, c call) {
		if c.Action == OnUnpublish && !up.Load() {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "0")
	})
	rules := all(one.URL)
	rules.OnUnpublish = []string{one.URL, two.URL}
	dir, o := t.TempDir(), Options{Rules: rulesOf(rules)}
	e := durable(t, dir, o)
	c := lifecycle(t, e, 1, "A")
	c.Tell(event(OnUnpublish, 1, "A"))
	if err := c.Ask(t.Context(), event(OnPublish, 1, "B")); err != nil {
		t.Fatal(err)
	}
	quiet(t, e)
	left := killed(t, dir)
	closeWithin(t, e, time.Second)

	restarted.Store(true)
	before := len(one.seen())
	e = durable(t, left, o)
	asked := make(chan error, 1)
	go func() { asked <- e.Client().Ask(t.Context(), event(OnPublish, 2, "B")) }()
	settles(func() bool { return len(one.seen()) > before })
	up.Store(true)
	if err := <-asked; err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, c := range one.seen()[before:] {
		if len(order) == 0 || order[len(order)-1] != c.String() { // repeats
			order = append(order, c.String())
		}
	}
	if want := []string{"/ on_unpublish 1 B", "/ on_close 1 ", "/ on_publish 2 B"}; !slices.Equal(order, want) {
		t.Errorf("calls %q, want %q", order, want)
	}
}

package hook

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A killed server owes more ends than the memory may hold: none is lost at the next
// start, and the memory holds little of them.
func TestOwesMoreThanTheMemoryHolds(t *testing.T) {
	const clients = 12_000
	rules := &Rules{Enabled: true, OnUnpublish: []string{"http://127.0.0.1:1/a", "http://127.0.0.1:1/b"}}
	dir := t.TempDir()
	e := durable(t, dir, Options{Rules: rulesOf(rules)})
	for id := range uint64(clients) {
		ev := event(OnPublish, id, fmt.Sprint("s", id))
		ev.Param = "?token=" + strings.Repeat("x", 3000)
		e.intend(t.Context(), &begin{rules: rules, id: fmt.Sprint(id)}, &ev, false)
	}
	quiet(t, e)
	dir = killed(t, dir)
	closeWithin(t, e, 0)
	var book logBook
	e = durable(t, dir, Options{Rules: rulesOf(rules), Log: book.logger()})
	most, deadline := 0, time.Now().Add(time.Minute)
	for done := false; !done && time.Now().Before(deadline); {
		e.mu.Lock()
		done = e.loose.Len()+len(e.owed) == 0
		most = max(most, e.looseBytes)
		e.mu.Unlock()
	}
	if got := e.Counters()[OnUnpublish]; got != (Counts{Told: 2 * clients}) || e.Endpoints()[0].Pending != 2*clients {
		t.Errorf("%+v, %v\n%s", got, e.Endpoints()[0].Args(), &book)
	}
	if most > owedLooseBytes+owedLooseBytes/8 {
		t.Errorf("%d bytes in memory", most)
	}
	left := killed(t, dir)
	closeWithin(t, e, 0)
	log := OpenLog(left)
	defer log.Close()
	told := 0
	if err := log.Read(func(l LogLine) {
		if l.What == "told" {
			told++
		}
	}); err != nil || told != 2*clients || log.Open()[OnPublish] != 0 {
		t.Errorf("%d of the ends are in the journal, %v", told, err)
	}
}

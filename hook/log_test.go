package hook

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"srs/hook/journal"
)

// What is written once more because the disk failed counts once, wherever the copy
// begins and ends.
func TestLogOfRecordsWrittenTwice(t *testing.T) {
	at := time.UnixMilli(1)
	begin := func(a Action, client uint64) []byte {
		b := begun{At: at, ID: "i", Event: event(a, client, "s")}
		return b.append(nil)
	}
	end := told{At: at, ID: "i-end", Action: OnUnpublish, Client: 1, URL: "http://h/", Closes: 1, Body: []byte("{}")}
	records := []journal.Entry{
		{Kind: recordBegin, Seq: 1, Payload: begin(OnPublish, 1)},
		{Kind: recordNotice, Seq: 2, Payload: end.append(nil)},
		{Kind: recordDone, Seq: 3, Payload: done{2, Delivered}.append(nil)},
		{Kind: recordBegin, Seq: 4, Payload: begin(OnPlay, 2)},
		{Kind: recordSettle, Seq: 5, Payload: done{Seq: 4}.append(nil)},
	}
	for first := range records {
		for last := first; last < len(records); last++ {
			dir := t.TempDir()
			j, err := journal.Open(journal.Options{
				Dir: dir, Replay: func() func(journal.Record) { return func(journal.Record) {} }, Taken: func() {},
				Stored: func([]*journal.Entry) {}, Trouble: func(error) {},
			})
			if err != nil {
				t.Fatal(err)
			}
			j.Start()
			for _, r := range slices.Concat(records, records[first:last+1]) {
				r.Hold = true
				j.Append(&r)
			}
			if err := j.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			l, lines := OpenLog(dir), 0
			defer l.Close()
			if err := l.Read(func(LogLine) { lines++ }); err != nil {
				t.Fatal(err)
			}
			eps := fmt.Sprintf("%+v", l.Endpoints())
			want := fmt.Sprintf("%+v", []EndpointLog{{Endpoint: "http://h:80", Delivered: 1}})
			if lines != len(records) || len(l.Open()) != 0 || eps != want {
				t.Errorf("%d to %d again: %d lines, open %v, %s", first, last, lines, l.Open(), eps)
			}
		}
	}
}

// What a journal that is followed does not have any more is not pending, and one that
// was emptied goes on with the next: the same numbers are other events.
func TestLogOfFilesThatGo(t *testing.T) {
	rules := &Rules{Enabled: true, OnStop: []string{"http://127.0.0.1:1/"}}
	dir := t.TempDir()
	l := OpenLog(dir)
	defer l.Close()
	for client := range uint64(2) {
		e := durable(t, dir, Options{Rules: rulesOf(rules)})
		e.Client().Tell(event(OnStop, client, "s"))
		quiet(t, e)
		var told []LogLine
		if err := l.Read(func(line LogLine) { told = append(told, line) }); err != nil {
			t.Fatal(err)
		}
		if eps := l.Endpoints(); len(told) == 0 || told[0].Client != client || eps[0].Pending != 1 {
			t.Errorf("%v, %v", told, eps)
		}
		closeWithin(t, e, 0)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		os.Mkdir(dir, 0o700)
		if err := l.Read(func(LogLine) {}); err != nil || l.Endpoints()[0].Pending != 0 {
			t.Errorf("%v, %v", l.Endpoints(), err)
		}
	}
}

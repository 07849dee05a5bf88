package hook

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"srs/hook/journal"
)

// A Log reads a journal, also one that a server is writing.
type Log struct {
	reader    *journal.Reader
	begins    map[uint64]logged
	notices   map[uint64]logged
	endpoints map[string]*EndpointLog
	over      [2]map[uint64]struct{} // what of both is over, the latest and those before: see finish
}

// maxOver is how many finished records are remembered, twice: far more than
// are on their way to the disk when it fails.
const maxOver = 1 << 18

type logged struct {
	place    journal.Place // the newest copy's
	endpoint string        // of a notice
	at       time.Time
	line     LogLine
}

// A LogLine is one thing that happened.
type LogLine struct {
	At     time.Time // zero: the record does not say
	What   string    // begun, settled, told, or an Outcome
	Action Action    // empty: the record is about one that is not in the journal any more
	Client uint64
	Vhost  string
	App    string
	Stream string
	URL    string // masked; empty for begins
	ID     string // webhook-id
}

// EndpointLog is what a journal says of one endpoint. Numbers of what is done
// reach back as far as the files do.
type EndpointLog struct {
	Endpoint                            string
	Pending                             int
	Delivered, Refused, Failed, Dropped int
	Oldest                              time.Time // of the pending; zero: there are none
}

// OpenLog reads the journal in a directory.
func OpenLog(dir string) *Log {
	l := &Log{reader: journal.NewReader(dir), endpoints: make(map[string]*EndpointLog)}
	l.anew()
	l.reader.Anew = l.anew
	return l
}

// Damage lists what of the journal could not be read so far.
func (l *Log) Damage() []journal.Damage { return l.reader.Damage() }

// Close ends the reading.
func (l *Log) Close() { l.reader.Close() }

// anew forgets what other records would be taken for: those of a journal that was
// removed. What is counted stays.
func (l *Log) anew() {
	l.begins, l.notices = make(map[uint64]logged), make(map[uint64]logged)
	l.over = [2]map[uint64]struct{}{make(map[uint64]struct{}), nil}
}

// forget drops what is not in the files any more: it is over, and what said so was
// removed with a file between two looks.
func (l *Log) forget() {
	gone := func(_ uint64, n logged) bool { return !l.reader.There(n.place) }
	maps.DeleteFunc(l.begins, gone)
	maps.DeleteFunc(l.notices, gone)
}

// finish notes that a record is over, and reports whether that is new. After a
// failure of the disk records are written once more: they do not count again.
func (l *Log) finish(seq uint64) bool {
	if l.isOver(seq) {
		return false
	}
	if len(l.over[0]) >= maxOver {
		l.over[0], l.over[1] = make(map[uint64]struct{}), l.over[0]
	}
	l.over[0][seq] = struct{}{}
	delete(l.begins, seq)
	return true
}

func (l *Log) isOver(seq uint64) bool {
	_, latest := l.over[0][seq]
	_, before := l.over[1][seq]
	return latest || before
}

// Read calls f for what has happened since the last Read.
func (l *Log) Read(f func(LogLine)) error {
	vanished, err := l.reader.Read(func(r journal.Record) {
		switch r.Kind {
		case recordBegin:
			b, err := parseBegun(r.Payload)
			if err != nil || l.isOver(r.Seq) || moved(l.begins, r) {
				return
			}
			ev := &b.Event
			line := LogLine{At: b.At, What: "begun", Action: ev.Action, Client: ev.ClientID, Vhost: ev.Vhost, App: ev.App, Stream: ev.Stream, ID: b.ID}
			l.begins[r.Seq] = logged{place: r.Place, line: line}
			f(line)
		case recordNotice:
			n, err := parseTold(r.Payload)
			if err != nil || l.isOver(r.Seq) || moved(l.notices, r) {
				return
			}
			t := parseTarget(n.URL)
			line := LogLine{
				At: n.At, What: "told", Action: n.Action, Client: n.Client,
				Vhost: n.Stream.vhost, App: n.Stream.app, Stream: n.Stream.stream, URL: t.masked, ID: n.ID,
			}
			l.notices[r.Seq] = logged{r.Place, t.key, n.At, line}
			if n.Closes != 0 {
				l.finish(n.Closes)
			}
			l.endpoint(t.key)
			f(line)
		case recordSettle:
			d, err := parseDone(r.Payload)
			if err != nil {
				return
			}
			line := l.begins[d.Seq].line // before it is forgotten
			line.At, line.What = time.Time{}, "settled"
			if l.finish(d.Seq) {
				f(line)
			}
		case recordDone:
			d, err := parseDone(r.Payload)
			if err != nil {
				return
			}
			l.finish(d.Seq)
			n, ok := l.notices[d.Seq]
			line := n.line
			line.At, line.What = time.Time{}, d.Outcome.String()
			if ok {
				delete(l.notices, d.Seq)
				l.endpoint(n.endpoint).count(d.Outcome)
				f(line)
			}
		}
	})
	if vanished {
		l.forget()
	}
	return err
}

// moved notes where a record is that was read before, if it was.
func moved(known map[uint64]logged, r journal.Record) bool {
	was, again := known[r.Seq]
	if again {
		was.place = r.Place
		known[r.Seq] = was
	}
	return again
}

func (l *Log) endpoint(key string) *EndpointLog {
	ep := l.endpoints[key]
	if ep == nil {
		ep = &EndpointLog{Endpoint: key}
		l.endpoints[key] = ep
	}
	return ep
}

func (ep *EndpointLog) count(o Outcome) {
	switch o {
	case Delivered:
		ep.Delivered++
	case Objected:
		ep.Refused++
	case Failed:
		ep.Failed++
	default:
		ep.Dropped++
	}
}

// Endpoints sums up what was read, by name.
func (l *Log) Endpoints() []EndpointLog {
	sums := make(map[string]EndpointLog, len(l.endpoints))
	for key, ep := range l.endpoints {
		sums[key] = *ep
	}
	for _, n := range l.notices {
		ep := sums[n.endpoint]
		ep.Pending++
		if ep.Oldest.IsZero() || n.at.Before(ep.Oldest) {
			ep.Oldest = n.at
		}
		sums[n.endpoint] = ep
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b EndpointLog) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
}

// Open counts what has begun and not ended, by action.
func (l *Log) Open() map[Action]int {
	open := make(map[Action]int)
	for _, b := range l.begins {
		open[b.line.Action]++
	}
	return open
}

package hook

import (
	"encoding/binary"
	"errors"
	"time"
)

// Kinds of records in the journal.
const (
	recordBegin  = 1 // something was asked for, or accepted without asking: its end is owed
	recordSettle = 2 // no, it is not
	recordNotice = 3 // an event for one URL
	recordDone   = 4 // that URL has it, or will never
)

// How an event was made: what its endpoint may want to see. Records of earlier
// versions do not say.
type made byte

const (
	madeKnown  made = 1 << iota // the record says so
	madeSigned                  // under a secret
	madeTLS                     // with certificates of the vhost
)

// madeBy tells how events are made under some rules.
func madeBy(r *Rules) made {
	m := madeKnown
	if len(r.Secrets) > 0 {
		m |= madeSigned
	}
	if r.TLS != nil {
		m |= madeTLS
	}
	return m
}

// newer marks the byte of a notice's action: Made and Parts follow Closes. Records
// of earlier versions end there.
const newer = 0x80

// A begun is what recordBegin says: all that is needed to tell the end.
type begun struct {
	At         time.Time
	ID         string // webhook-id of the gate
	Event      Event  // the begin's
	IDAsString bool
	Made       made
	URLs       []string // of the end, for when the vhost is gone
}

// A told is what recordNotice says.
type told struct {
	At     time.Time
	ID     string // webhook-id
	Action Action
	Client uint64
	Stream streamKey
	URL    string
	Closes uint64 // the begin that is ended by it, once it is told to all; 0: none
	Made   made
	Parts  uint64 // to so many URLs the same is told, by earlier runs too; 0: by an earlier version, this is the last
	Body   []byte
}

// A done is what recordDone says, and recordSettle: which record it is about.
type done struct {
	Seq     uint64
	Outcome Outcome
}

var errRecord = errors.New("not a record of this version")

func (b *begun) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(b.At.UnixMilli()))
	dst = appendField(dst, b.ID)
	ev := &b.Event
	dst = append(dst, byte(ev.Action.index()), bit(b.IDAsString)|byte(b.Made)<<1)
	dst = binary.AppendUvarint(dst, ev.ClientID)
	for _, s := range []string{ev.IP, ev.Vhost, ev.App, ev.TcURL, ev.Stream, ev.Param} {
		dst = appendField(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.URLs)))
	for _, s := range b.URLs {
		dst = appendField(dst, s)
	}
	return dst
}

func parseBegun(b []byte) (*begun, error) {
	f := fields{b: b}
	r := &begun{At: f.time(), ID: f.text()}
	ev := &r.Event
	ev.Action = f.action()
	flags := f.byte()
	r.IDAsString, r.Made = flags&1 != 0, made(flags>>1)
	ev.ClientID = f.uint()
	for _, s := range []*string{&ev.IP, &ev.Vhost, &ev.App, &ev.TcURL, &ev.Stream, &ev.Param} {
		*s = f.text()
	}
	for n := f.uint(); n > 0 && !f.bad; n-- { // ends with the bytes
		r.URLs = append(r.URLs, f.text())
	}
	return r, f.end()
}

func (n *told) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(n.At.UnixMilli()))
	dst = appendField(dst, n.ID)
	dst = append(dst, byte(n.Action.index())|newer)
	dst = binary.AppendUvarint(dst, n.Client)
	for _, s := range []string{n.Stream.vhost, n.Stream.app, n.Stream.stream, n.URL} {
		dst = appendField(dst, s)
	}
	dst = binary.AppendUvarint(dst, n.Closes)
	dst = append(dst, byte(n.Made))
	dst = binary.AppendUvarint(dst, n.Parts)
	return append(dst, n.Body...)
}

// parseTold leaves the body where it is.
func parseTold(b []byte) (*told, error) {
	f := fields{b: b}
	n := &told{At: f.time(), ID: f.text()}
	a := f.byte()
	n.Action = f.actionOf(a &^ newer)
	n.Client = f.uint()
	for _, s := range []*string{&n.Stream.vhost, &n.Stream.app, &n.Stream.stream, &n.URL} {
		*s = f.text()
	}
	n.Closes = f.uint()
	if a&newer != 0 {
		n.Made, n.Parts = made(f.byte()), f.uint()
	}
	n.Body, f.b = f.b, nil
	return n, f.end()
}

func (d done) append(dst []byte) []byte {
	return append(binary.AppendUvarint(dst, d.Seq), byte(d.Outcome))
}

func parseDone(b []byte) (done, error) {
	f := fields{b: b}
	d := done{Seq: f.uint(), Outcome: Outcome(f.byte())}
	if d.Outcome >= outcomes {
		f.bad = true
	}
	return d, f.end()
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}

func appendField(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// fields reads what was appended; bad once it does not fit.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) uint() uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 {
		f.bad, f.b = true, nil
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) time() time.Time { return time.UnixMilli(int64(f.uint())) }

func (f *fields) byte() byte {
	if len(f.b) == 0 {
		f.bad = true
		return 0
	}
	c := f.b[0]
	f.b = f.b[1:]
	return c
}

func (f *fields) action() Action { return f.actionOf(f.byte()) }

func (f *fields) actionOf(i byte) Action {
	if int(i) >= len(actions) {
		f.bad = true
		i = 0
	}
	return actions[i]
}

func (f *fields) text() string {
	n := f.uint()
	if n > uint64(len(f.b)) {
		f.bad, f.b = true, nil
		return ""
	}
	s := string(f.b[:n])
	f.b = f.b[n:]
	return s
}

func (f *fields) end() error {
	if f.bad || len(f.b) > 0 {
		return errRecord
	}
	return nil
}

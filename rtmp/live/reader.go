package live

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"srs/flv"
)

// Frame is one tag of a publication.
type Frame struct {
	flv.Tag          // Timestamp is on the stream's time line
	Raw     uint32   // time as published
	Info    flv.Info // what the first bytes tell
	Gap     bool     // tags before this one were passed over: the reader lagged
	Skipped int      // so many
}

// Reader gives the tags of one publication, from its first to its last, to a
// subscriber that is no player. Poll and Close belong to one goroutine.
type Reader struct {
	stream *Stream       // nil: at the end from the start
	over   chan struct{} // closed at the publication's end
	epoch  uint64
	lent   *block // has the data of the tag that was given out last
	buf    []byte // has it where it lies in pieces

	lag *Lag

	mu      sync.Mutex // the publisher moves a reader on that is busy elsewhere; Stream.mu comes first
	behind  int64      // bytes, as counted in lag
	pos     position   // no block: the end
	given   uint64     // sequence number of the tag that was given out last
	gap     bool
	skipped int      // tags, behind the last that was given out
	headers []header // in force behind a gap, to be given out first
}

// A Lag bounds how many bytes readers may be behind their streams: each, and
// all together. As long as all of them are within that, each has its own bound;
// beyond it no more than its share.
type Lag struct {
	each, all int64
	readers   atomic.Int64
	behind    atomic.Int64 // of all of them
}

// NewLag makes the bounds of some readers.
func NewLag(each, all int) *Lag { return &Lag{each: int64(each), all: int64(all)} }

// bound is how many bytes a reader may be behind now.
func (l *Lag) bound() int64 {
	if l.behind.Load() > l.all {
		return min(l.each, l.all/max(l.readers.Load(), 1))
	}
	return l.each
}

// NewReader returns a reader at the publication's next tag: from Watcher's
// Published, its first. A reader that is too far behind is moved on.
func (p *Publication) NewReader(lag *Lag) *Reader {
	s := p.stream
	s.registry.mu.Lock()
	if s.users == 0 { // the publication is over and its stream forgotten
		s.registry.mu.Unlock()
		return &Reader{}
	}
	s.users++
	s.registry.mu.Unlock()
	r := &Reader{stream: s, epoch: p.epoch, lag: lag, over: p.over}
	lag.readers.Add(1)
	s.mu.Lock()
	r.pos = s.tailLocked()
	s.readers = append(s.readers, r)
	s.mu.Unlock()
	return r
}

// Over is closed when the publication has ended; what is left can be read then.
func (r *Reader) Over() <-chan struct{} { return r.over }

// Close ends the reading.
func (r *Reader) Close() {
	if r.stream == nil {
		return
	}
	s := r.stream
	s.mu.Lock()
	s.readers = slices.DeleteFunc(s.readers, func(o *Reader) bool { return o == r })
	s.mu.Unlock()
	r.mu.Lock()
	r.endLocked()
	r.mu.Unlock()
	r.lag.readers.Add(-1)
	r.takeBack()
	s.registry.close(s)
}

// takeBack ends the use of the data that was given out last.
func (r *Reader) takeBack() {
	if r.lent != nil {
		r.lent.release()
		r.lent = nil
	}
}

// countLocked notes how far behind the reader is.
func (r *Reader) countLocked(bytes int64) {
	if bytes != r.behind {
		r.lag.behind.Add(bytes - r.behind)
		r.behind = bytes
	}
}

func (r *Reader) endLocked() {
	r.countLocked(0)
	if r.pos.block != nil {
		r.pos.block.release()
		r.pos.block = nil
	}
}

// Poll returns the next tag, or false when there is none at the moment. Its data
// is the ring's, to be read only, and valid until the next call. After the
// publication's last tag the error is io.EOF, with Gap set where the last tags
// were passed over. Nobody is woken for a tag: who polls now and then, and once
// more when Over is closed, costs the publisher nothing.
func (r *Reader) Poll() (Frame, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lent != r.pos.block {
		r.takeBack()
	}
	if r.pos.block == nil {
		return Frame{Gap: r.gap, Skipped: r.skipped}, false, io.EOF
	}
	ok := r.pos.step()
	if r.pos.block.epoch != r.epoch {
		return Frame{Gap: r.gap, Skipped: r.skipped}, false, io.EOF
	}
	if !ok {
		r.countLocked(0)
		return Frame{}, false, nil
	}
	e := r.pos.block.index[r.pos.entry]
	if len(r.headers) > 0 {
		h := r.headers[0]
		r.headers = r.headers[1:]
		f := Frame{Tag: flv.Tag{Type: h.typ, Timestamp: e.line, Data: h.body}, Raw: e.raw, Info: h.info, Gap: r.gap, Skipped: r.skipped}
		r.gap, r.skipped = false, 0
		return f, true, nil
	}
	data, whole := r.pos.block.payload(r.pos.entry)
	if !whole {
		r.buf = r.pos.block.appendPayload(r.buf[:0], r.pos.entry)
		data = r.buf
	} else if r.lent != r.pos.block { // which the publisher may make the reader leave
		r.takeBack()
		r.lent = r.pos.block.retain()
	}
	r.given = r.pos.seq()
	r.pos.entry++
	f := Frame{Tag: flv.Tag{Type: e.typ, Timestamp: e.line, Data: data}, Raw: e.raw, Info: e.info, Gap: r.gap, Skipped: r.skipped}
	r.gap, r.skipped = false, 0
	return f, true, nil
}

// sweepLocked moves a reader on that has fallen too far behind, so that what
// it has not read does not pile up. newest is how many bytes the stream has.
func (r *Reader) sweepLocked(newest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stream
	if r.pos.block == nil {
		return
	}
	r.countLocked(int64(newest - r.pos.bytes()))
	bound := r.lag.bound()
	if r.behind <= bound {
		return
	}
	if !s.active || s.epoch != r.epoch {
		end := r.pos.block // of the next one, or its last
		for next := end.next.Load(); end.epoch == r.epoch && next != nil; next = end.next.Load() {
			end = next
		}
		r.gap, r.skipped = true, r.skipped+int(end.firstSeq-r.pos.seq())
		r.endLocked() // its publication is over; what is left would cost too much
		return
	}
	to, headers := s.tailLocked(), s.current
	if m := s.mark; m.block != nil && m.seq > r.pos.seq() && int64(newest-m.bytes) <= bound {
		to.block.release()
		to, headers = position{block: m.block.retain(), entry: m.entry}, m.headers
	}
	r.moveLocked(to, headers, newest)
}

// moveLocked passes over the tags up to a position.
func (r *Reader) moveLocked(to position, headers *prologue, newest uint64) {
	r.skipped += int(to.seq() - r.pos.seq())
	r.pos.block.release()
	r.pos, r.gap, r.headers = to, true, nil
	r.countLocked(int64(newest - to.bytes()))
	if headers != nil {
		r.headers = headers.headers
	}
}

// Unread gives the tag of the last Poll back: the next Poll returns it again, or
// it is one of those that were passed over meanwhile.
func (r *Reader) Unread() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos.block != nil && r.pos.entry > 0 && r.pos.seq() == r.given+1 {
		r.pos.entry--
		return
	}
	r.gap, r.skipped = true, r.skipped+1
}

// Wait is for who takes no tags for a while and is to keep none for that: it moves
// on to the newest keyframe from which players begin, where there is one, else to
// the end. What follows the keyframe is kept for the players anyway.
func (r *Reader) Wait() {
	s := r.stream
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos.block == nil || !s.active || s.epoch != r.epoch {
		return // what is left of it is little
	}
	to, headers := s.tailLocked(), s.current
	if m := s.mark; m.block != nil {
		to.block.release()
		to, headers = position{block: m.block.retain(), entry: m.entry}, m.headers
	}
	if to.seq() <= r.pos.seq() {
		to.block.release()
		return
	}
	r.moveLocked(to, headers, max(s.newestBytes.Load(), to.bytes()))
}

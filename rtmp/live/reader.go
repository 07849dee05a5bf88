package live

import (
	"io"
	"slices"
	"sync"

	"srs/flv"
)

// Frame is one tag of a publication.
type Frame struct {
	flv.Tag          // Timestamp is on the stream's time line
	Raw     uint32   // time as published
	Info    flv.Info // what the first bytes tell
	Gap     bool     // tags before this one were passed over: the reader lagged
}

// Reader gives the tags of one publication, from its first to its last, to a
// subscriber that is no player. Poll and Close belong to one goroutine.
type Reader struct {
	stream *Stream       // nil: at the end from the start
	over   chan struct{} // closed at the publication's end
	epoch  uint64
	lent   *block // has the data of the tag that was given out last
	buf    []byte // has it where it lies in pieces

	mu      sync.Mutex // the publisher moves a reader on that is busy elsewhere; Stream.mu comes first
	maxLag  int64
	pos     position // no block: the end
	gap     bool
	headers []header // in force behind a gap, to be given out first
}

// NewReader returns a reader at the publication's next tag: from Watcher's
// Published, its first. A reader more than maxLag bytes behind is moved on.
func (p *Publication) NewReader(maxLag int) *Reader {
	s := p.stream
	s.registry.mu.Lock()
	if s.users == 0 { // the publication is over and its stream forgotten
		s.registry.mu.Unlock()
		return &Reader{}
	}
	s.users++
	s.registry.mu.Unlock()
	r := &Reader{stream: s, epoch: p.epoch, maxLag: int64(maxLag), over: p.over}
	s.mu.Lock()
	r.pos = s.tailLocked()
	s.readers = append(s.readers, r)
	s.mu.Unlock()
	return r
}

// SetMaxLag says anew how many bytes the reader may be behind.
func (r *Reader) SetMaxLag(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.maxLag = int64(n)
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

func (r *Reader) endLocked() {
	if r.pos.block != nil {
		r.pos.block.release()
		r.pos.block = nil
	}
}

// Poll returns the next tag, or false when there is none at the moment. Its data
// is the ring's, to be read only, and valid until the next call. After the publication's last tag the error is
// io.EOF, with Gap set where the last tags were passed over. Nobody is woken for a tag: who polls now and then, and once more when
// Over is closed, costs the publisher nothing.
func (r *Reader) Poll() (Frame, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lent != r.pos.block {
		r.takeBack()
	}
	if r.pos.block == nil {
		return Frame{Gap: r.gap}, false, io.EOF
	}
	ok := r.pos.step()
	if r.pos.block.epoch != r.epoch {
		return Frame{Gap: r.gap}, false, io.EOF
	}
	if !ok {
		return Frame{}, false, nil
	}
	e := r.pos.block.index[r.pos.entry]
	if len(r.headers) > 0 {
		h := r.headers[0]
		r.headers = r.headers[1:]
		f := Frame{Tag: flv.Tag{Type: h.typ, Timestamp: e.line, Data: h.body}, Raw: e.raw, Info: h.info, Gap: r.gap}
		r.gap = false
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
	r.pos.entry++
	f := Frame{Tag: flv.Tag{Type: e.typ, Timestamp: e.line, Data: data}, Raw: e.raw, Info: e.info, Gap: r.gap}
	r.gap = false
	return f, true, nil
}

// sweepLocked moves a reader on that has fallen too far behind, so that what
// it has not read does not pile up. newest is how many bytes the stream has.
func (r *Reader) sweepLocked(newest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stream
	if r.pos.block == nil || int64(newest-r.pos.bytes()) <= r.maxLag {
		return
	}
	if !s.active || s.epoch != r.epoch {
		r.gap = true
		r.endLocked() // its publication is over; what is left would cost too much
		return
	}
	to, headers := s.tailLocked(), s.current
	if m := s.mark; m.block != nil && m.seq > r.pos.seq() && int64(newest-m.bytes) <= r.maxLag {
		to.block.release()
		to, headers = position{block: m.block.retain(), entry: m.entry}, m.headers
	}
	r.pos.block.release()
	r.pos, r.gap, r.headers = to, true, nil
	if headers != nil {
		r.headers = headers.headers
	}
}

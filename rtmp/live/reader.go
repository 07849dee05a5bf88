package live

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"srs/flv"
)

// Frame is one tag of a publication, copied out of the ring.
type Frame struct {
	flv.Tag          // Timestamp is on the stream's time line
	Raw     uint32   // time as published
	Info    flv.Info // what the first bytes tell
	Gap     bool     // tags before this one were passed over: the reader lagged
}

// readHold is how long a Reader that has been woken lets more come: one
// wake-up for several tags.
const readHold = 50 * time.Millisecond

// Reader gives the tags of one publication, from its first to its last, to a
// subscriber that is no player. Next and Close belong to one goroutine.
type Reader struct {
	stream *Stream // nil: at the end from the start
	bell   *Bell
	woken  chan struct{} // capacity 1
	over   chan struct{} // closed at the publication's end
	hold   *time.Timer
	epoch  uint64
	buf    []byte

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
	r := &Reader{stream: s, epoch: p.epoch, maxLag: int64(maxLag), woken: make(chan struct{}, 1), over: p.over}
	r.bell = NewBell(func(Due) {
		select {
		case r.woken <- struct{}{}:
		default:
		}
	})
	s.Hang(r.bell)
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
	s.TakeDown(r.bell)
	s.mu.Lock()
	s.readers = slices.DeleteFunc(s.readers, func(o *Reader) bool { return o == r })
	s.mu.Unlock()
	r.mu.Lock()
	r.endLocked()
	r.mu.Unlock()
	s.registry.close(s)
}

func (r *Reader) endLocked() {
	if r.pos.block != nil {
		r.pos.block.release()
		r.pos.block = nil
	}
}

// Next waits for a tag. Its data is valid until the next call. After the
// publication's last tag the error is io.EOF.
func (r *Reader) Next(ctx context.Context) (Frame, error) {
	for {
		f, ok, err := r.Poll()
		if ok || err != nil {
			return f, err
		}
		r.bell.Arm()
		f, ok, err = r.Poll() // what came before the publisher could see us wait
		if ok || err != nil {
			r.bell.Silence()
			return f, err
		}
		if err := r.wait(ctx); err != nil {
			return Frame{}, err
		}
	}
}

// wait is until something has come, and a little longer.
func (r *Reader) wait(ctx context.Context) error {
	select {
	case <-r.woken:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.hold == nil {
		r.hold = time.NewTimer(readHold)
	} else {
		r.hold.Reset(readHold)
	}
	select {
	case <-r.hold.C:
	case <-r.over:
		r.hold.Stop()
	case <-ctx.Done():
		r.hold.Stop()
	}
	return nil // with an end of ctx the next call has what came
}

// Poll is Next without the waiting: it reports false when there is no tag at the
// moment. Whoever polls now and then costs the publisher nothing.
func (r *Reader) Poll() (Frame, bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pos.block == nil {
		return Frame{}, false, io.EOF
	}
	ok := r.pos.step()
	if r.pos.block.epoch != r.epoch {
		return Frame{}, false, io.EOF
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
	r.buf = r.pos.block.appendPayload(r.buf[:0], r.pos.entry)
	r.pos.entry++
	f := Frame{Tag: flv.Tag{Type: e.typ, Timestamp: e.line, Data: r.buf}, Raw: e.raw, Info: e.info, Gap: r.gap}
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

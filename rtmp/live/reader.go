package live

import (
	"context"
	"io"
	"sync"

	"srs/flv"
)

// Frame is one tag of a publication, copied out of the ring.
type Frame struct {
	flv.Tag          // Timestamp is on the stream's time line
	Raw     uint32   // time as published
	Info    flv.Info // what the first bytes tell
	Gap     bool     // tags before this one were passed over: the reader lagged
}

// Reader gives the tags of one publication, from its first to its last, to a
// subscriber that is no player. Next and Close belong to one goroutine.
type Reader struct {
	stream   *Stream // nil: at the end from the start
	listener *listener
	epoch    uint64
	maxLag   int64
	buf      []byte

	mu      sync.Mutex // the pump moves a reader on that is busy elsewhere
	pos     position   // no block: the end
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
	r := &Reader{stream: s, epoch: p.epoch, maxLag: int64(maxLag)}
	r.listener = newListener(false, r.sweep)
	s.mu.Lock()
	r.pos = s.tailLocked()
	s.mu.Unlock()
	s.listeners.add(r.listener)
	return r
}

// Close ends the reading.
func (r *Reader) Close() {
	if r.stream == nil {
		return
	}
	r.stream.listeners.remove(r.listener)
	r.mu.Lock()
	r.endLocked()
	r.mu.Unlock()
	r.stream.registry.close(r.stream)
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
		f, ok, err := r.take()
		if ok || err != nil {
			return f, err
		}
		r.listener.waiting.Store(true)
		f, ok, err = r.take() // what came before the pump could see us wait
		if ok || err != nil {
			r.listener.waiting.Store(false)
			return f, err
		}
		select {
		case <-r.listener.woken:
		case <-ctx.Done():
			return Frame{}, ctx.Err()
		}
	}
}

func (r *Reader) take() (Frame, bool, error) {
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

// sweep moves a reader on that has fallen too far behind, so that what it has
// not read does not pile up.
func (r *Reader) sweep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stream
	// The publisher counts a message's bytes after it shows the message, so the
	// reader may be ahead of the count.
	if r.pos.block == nil || int64(s.newestBytes.Load()-r.pos.bytes()) <= r.maxLag {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.active || s.epoch != r.epoch {
		r.endLocked() // its publication is over; what is left would cost too much
		return
	}
	to, headers := s.tailLocked(), s.current
	if m := s.mark; m.block != nil && m.seq > r.pos.seq() && int64(s.newestBytes.Load()-m.bytes) <= r.maxLag {
		to.block.release()
		to, headers = position{block: m.block.retain(), entry: m.entry}, m.headers
	}
	r.pos.block.release()
	r.pos, r.gap, r.headers = to, true, nil
	if headers != nil {
		r.headers = headers.headers
	}
}

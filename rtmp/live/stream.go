package live

import (
	"sync"
	"sync/atomic"

	"srs/flv"
)

// Stream is one name: its chain of blocks, where late players start, and who
// listens. It outlives its publishers for as long as somebody waits for it.
type Stream struct {
	registry *Registry
	key      Key

	users int // guarded by Registry.mu

	mu       sync.Mutex
	reserved bool   // a publisher has the name
	tail     *block // one reference; never nil until drop
	epoch    uint64
	active   bool // a publication is under way
	mark     bookmark
	current  *prologue // headers and metadata in force at the tail
	keyed    bool      // this publication has shown a keyframe
	gopCache bool
	lastLine uint32 // time line's end when the last publication closed

	// What readers compare their position with; the publisher stores it.
	newestSeq   atomic.Uint64 // sequence number of the next entry
	newestBytes atomic.Uint64
	newestLine  atomic.Uint32
	keySeq      atomic.Uint64 // of the newest keyframe
	keyBytes    atomic.Uint64 // bytes of the stream before it

	listeners listeners
}

// bookmark is where a late player starts: the last keyframe. It holds a
// reference on its block. The headers are those in force at the keyframe.
type bookmark struct {
	block   *block
	entry   uint32
	seq     uint64
	bytes   uint64
	line    uint32
	headers *prologue
}

// prologue is what a player must have before it can decode: an immutable
// snapshot, replaced when the publisher sends a new header or new metadata.
type prologue struct {
	metadata, audio, video []byte
}

// with returns a copy with one tag replaced by a copy of body.
func (p *prologue) with(info flv.Info, body []byte) *prologue {
	q := &prologue{}
	if p != nil {
		*q = *p
	}
	own := append([]byte(nil), body...)
	switch {
	case info&flv.Metadata != 0:
		q.metadata = own
	case info&flv.AudioHeader != 0:
		q.audio = own
	case info&flv.VideoHeader != 0:
		q.video = own
	}
	return q
}

func newStream(r *Registry, key Key) *Stream {
	s := &Stream{registry: r, key: key, tail: newBlock(0)}
	s.tail.epoch = 1 // of the first publication
	return s
}

// drop lets go of all blocks once nobody uses the stream.
func (s *Stream) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropMarkLocked()
	s.tail.release()
	s.tail = nil
}

func (s *Stream) dropMarkLocked() {
	if s.mark.block != nil {
		s.mark.block.release()
	}
	s.mark = bookmark{}
}

// startLocked is where a new player begins: a block with a reference for it,
// the entry, the headers to send first, and whether it must wait for a
// keyframe from there on.
func (s *Stream) startLocked() (at position, headers *prologue, waitKey bool) {
	if !s.active {
		// Everything from the first message of the next publication.
		return s.tailLocked(), nil, false
	}
	if s.gopCache && s.mark.block != nil {
		h := &prologue{audio: s.mark.headers.audio, video: s.mark.headers.video}
		if s.current != nil {
			h.metadata = s.current.metadata
		}
		return position{block: s.mark.block.retain(), entry: s.mark.entry}, h, false
	}
	return s.tailLocked(), s.current, s.keyed
}

func (s *Stream) tailLocked() position {
	return position{block: s.tail.retain(), entry: s.tail.count.Load()}
}

// position is a place in the chain, with a reference on its block.
type position struct {
	block *block
	entry uint32
}

// seq is the sequence number of the entry at the position.
func (p position) seq() uint64 { return p.block.firstSeq + uint64(p.entry) }

// bytes is how many bytes of the stream lie before the position.
func (p position) bytes() uint64 { return p.block.base + uint64(p.block.start(p.entry)) }

// step moves to the next block when this one is closed and used up. It
// reports whether there is an entry to read.
func (p *position) step() bool {
	for {
		next := p.block.next.Load() // before count: after it, count is final
		if p.entry < p.block.count.Load() {
			return true
		}
		if next == nil {
			return false
		}
		next.retain()
		p.block.release()
		p.block, p.entry = next, 0
	}
}

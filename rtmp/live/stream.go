package live

import (
	"bytes"
	"slices"
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
	lastLine uint32    // time line's end when the last publication closed

	// What readers compare their position with; the publisher stores it.
	newestSeq   atomic.Uint64 // sequence number of the next entry
	newestBytes atomic.Uint64
	newestLine  atomic.Uint32
	merged      atomic.Int32  // milliseconds of mw_latency; 0: none
	keySeq      atomic.Uint64 // of the newest keyframe
	keyBytes    atomic.Uint64 // bytes of the stream before it

	players int                     // guarded by mu
	readers []*Reader               // guarded by mu
	bells   atomic.Pointer[[]*Bell] // replaced under mu
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
	metadata []byte
	headers  []header // audio first, then video, each in order of coming
}

// header is a sequence header or what is wanted beside it. Each track of an
// Enhanced RTMP stream has its own.
type header struct {
	typ, track uint8
	info       flv.Info
	body       []byte
}

// Bounds of a prologue. What is beyond is relayed and not kept.
const (
	maxHeaders    = 32      // tracks and kinds together
	maxHeaderSize = 1 << 20 // bytes of one header, or of the metadata
)

// kept says whether a tag belongs into the prologue.
func kept(info flv.Info) bool { return info.Header() || info&(flv.Metadata|flv.Setup) != 0 }

// with returns a copy with one tag replaced by a copy of body.
func (p *prologue) with(typ uint8, info flv.Info, body []byte) *prologue {
	if len(body) > maxHeaderSize {
		return p
	}
	q := &prologue{}
	if p != nil {
		*q = *p
	}
	if info&flv.Metadata != 0 {
		q.metadata = bytes.Clone(body)
		return q
	}
	h := header{typ: typ, track: flv.Track(typ, body), info: info, body: bytes.Clone(body)}
	same := func(o header) bool { return o.typ == h.typ && o.track == h.track && o.info == h.info }
	if i := slices.IndexFunc(q.headers, same); i >= 0 {
		q.headers = slices.Clone(q.headers)
		q.headers[i] = h
		return q
	}
	if len(q.headers) == maxHeaders {
		return q
	}
	at := len(q.headers)
	if typ == flv.TypeAudio {
		at = 0
		for at < len(q.headers) && q.headers[at].typ == flv.TypeAudio {
			at++
		}
	}
	q.headers = slices.Insert(slices.Clone(q.headers), at, h)
	return q
}

func newStream(r *Registry, key Key) *Stream {
	s := &Stream{registry: r, key: key, tail: newBlock(&r.memory, 0)}
	s.tail.epoch = 1 // of the first publication
	return s
}

// Newest counts the messages that were ever published.
func (s *Stream) Newest() uint64 { return s.newestSeq.Load() }

// Players counts those who play it or wait for it.
func (s *Stream) Players() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.players
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
	if s.mark.block != nil {
		h := &prologue{headers: s.mark.headers.headers}
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

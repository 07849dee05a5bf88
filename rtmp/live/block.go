// Package live is the fan-out: streams by name, one publisher each, and any
// number of subscribers that read what it publishes.
//
// A publisher appends tags to a chain of blocks (block.go) that hold bytes
// ready for the wire. A subscriber walks the chain with a Cursor and sends
// whole runs of it; nothing is copied per player and no lock is taken per
// message. Registry finds streams, Publication writes, Subscriber reads wire
// bytes, Reader gives tags to those that need them (recordings).
package live

import (
	"sync/atomic"

	"srs/flv"
	"srs/rtmp/chunk"
)

// The life of a block
//
//	          bookmark                          tail
//	             |                               |  (the publisher appends here)
//	[ 17 ]-->[ 18 ]----------->[ 19 ]-------->[ 20 ]      --> holds a reference
//	   |                                        |
//	cursor A                                 cursors B, C
//
// A block is made with one reference, its writer's. It holds one on its
// successor, so whoever holds a block can step forward. When the last holder
// lets go the block returns to its pool and lets go of its successor in turn:
// a slow cursor alone keeps alive what it has not read, and nothing else.
//
// The writer fills buf and index behind count and then publishes with one
// store of count; readers look only at what lies before the count they
// loaded. A block is closed by setting next, after which count never changes.
type block struct {
	// Static after construction, until the block is back in its pool.
	epoch     uint64 // which publication of the stream
	firstSeq  uint64 // sequence number of entry 0
	base      uint64 // bytes of the stream before this block
	chunkSize int
	memory    *memory
	class     int    // pool it returns to, or -1
	buf       []byte // whole messages, each from its type 0 header on
	index     []entry

	// Owned by the publisher; what lies behind count is its alone.
	used int // bytes of buf
	n    int // entries of index

	count atomic.Uint32
	next  atomic.Pointer[block]
	refs  atomic.Int32
}

// entry is what is known of one message in a block.
type entry struct {
	end    uint32 // where it ends in buf; it begins where the one before ends
	length uint32 // bytes of payload
	line   uint32 // time on the stream's time line
	raw    uint32 // time as the publisher sent it
	typ    uint8
	info   flv.Info
}

// wireTime is the time in the message's header. Metadata has none: SRS always
// sends 0, and ffmpeg takes a later onMetaData for a data stream of its own.
func (e *entry) wireTime() uint32 {
	if e.info&flv.Metadata != 0 {
		return 0
	}
	return e.line
}

// retain adds a reference. The caller must hold one already, or hold
// Stream.mu while the stream does.
func (b *block) retain() *block {
	if b.refs.Add(1) < 2 {
		panic("live: a block was retained that nobody held")
	}
	return b
}

// release gives up a reference and walks on while each was the last.
func (b *block) release() {
	for b != nil {
		n := b.refs.Add(-1)
		if n > 0 {
			return
		}
		if n < 0 {
			panic("live: a block was released more often than retained")
		}
		next := b.next.Load()
		b.free()
		b = next
	}
}

// room reports whether a message of size bytes fits.
func (b *block) room(size int) bool {
	return len(b.buf)-b.used >= size && b.n < len(b.index)
}

// append adds a message and publishes it. The caller has checked room.
func (b *block) append(e entry, body []byte) {
	wire := chunk.Append(b.buf[:b.used], chunk.Message{
		CSID: csidOf(e.typ), Type: e.typ, StreamID: messageStream, Timestamp: e.wireTime(), Body: body,
	}, b.chunkSize)
	b.used = len(wire)
	e.end, e.length = uint32(b.used), uint32(len(body))
	b.index[b.n] = e
	b.n++
	b.count.Store(uint32(b.n))
}

// start returns where entry i begins in buf.
func (b *block) start(i uint32) uint32 {
	if i == 0 {
		return 0
	}
	return b.index[i-1].end
}

// payload is the payload of entry i where it lies in one piece, false where
// chunk headers are between.
func (b *block) payload(i uint32) ([]byte, bool) {
	e := &b.index[i]
	if int(e.length) > b.chunkSize {
		return nil, false
	}
	return b.buf[e.end-e.length : e.end : e.end], true
}

// appendPayload adds the payload of entry i, without the chunk headers between.
func (b *block) appendPayload(dst []byte, i uint32) []byte {
	e := b.index[i]
	first, again := chunk.HeaderSize(csidOf(e.typ), e.wireTime())
	wire := b.buf[b.start(i)+uint32(first) : e.end]
	for left := int(e.length); ; {
		n := min(left, b.chunkSize)
		dst = append(dst, wire[:n]...)
		left -= n
		if left == 0 {
			return dst
		}
		wire = wire[n+again:]
	}
}

// Chunk streams of what players get, and the one message stream there is.
// They are ours: what the publisher used says nothing to its players.
const (
	csidControl   = 2
	csidData      = 5
	csidVideo     = 6
	csidAudio     = 7
	messageStream = 1
)

func csidOf(typ uint8) uint32 {
	switch typ {
	case flv.TypeVideo:
		return csidVideo
	case flv.TypeAudio:
		return csidAudio
	}
	return csidData
}

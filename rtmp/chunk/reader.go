package chunk

import "encoding/binary"

// Limits bound what a Reader takes from its peer. They may change between
// calls of Next, as a client earns trust.
type Limits struct {
	Streams int // chunk streams
	Command int // bytes of a message that is neither audio nor video nor aggregate
	Media   int // bytes of an audio, video or aggregate message
	Partial int // bytes of messages begun and not complete, all chunk streams together
}

// Reader assembles messages from chunks. It is not safe for concurrent use.
//
// The stages of Next, for one chunk:
//
//  1. basic header, message header, extended timestamp (header.go)
//  2. checks against Limits, before a byte of the body is kept
//  3. body: taken in place when the whole message lies in the input,
//     otherwise gathered (gather.go) in memory that grows with the
//     bytes that have really arrived
//  4. Set Chunk Size and Abort are obeyed here; every message is handed out
type Reader struct {
	Limits Limits

	size    int       // the peer's chunk size
	streams []*stream // few: encoders use four or five
	partial int       // bytes gathered and not yet handed out

	in    []byte  // input not yet looked at, borrowed from Feed
	cur   *stream // the chunk whose body is being read, nil between chunks
	left  int     // bytes of that chunk still to come
	given *stream // its buffer is out with the caller until the next call

	stash    [maxHeader]byte // a header whose rest has not arrived
	stashLen int

	repeat repeatMode
}

// repeatMode is whether the peer repeats the extended timestamp in the
// chunks that continue a message: the specification says so, older librtmp
// and ffmpeg do not. The first such chunk decides for the connection.
type repeatMode uint8

const (
	repeatUnknown repeatMode = iota
	repeatYes
	repeatNo
)

// stream is the state of one chunk stream: the header that the next one is
// relative to, and the message under way.
type stream struct {
	csid      uint32
	typ       uint8
	streamID  uint32
	length    int
	timestamp uint32
	delta     uint32
	extended  bool    // the last header had an extended timestamp
	known     bool    // a header has been read
	active    bool    // a message is under way
	got       int     // bytes of it that have arrived, kept or not
	gather    *gather // nil: none has come in pieces yet
}

// keep gathers a piece of the message.
func (s *stream) keep(piece []byte) {
	if s.gather == nil {
		s.gather = new(gather)
	}
	s.gather.add(piece)
}

// NewReader returns a Reader at the start of a connection.
func NewReader(limits Limits) *Reader {
	return &Reader{Limits: limits, size: DefaultSize}
}

// Feed gives the Reader its next bytes. It must be called only after Next
// has returned no message. The bytes stay the caller's; they are not touched
// after Next has again returned no message.
func (r *Reader) Feed(b []byte) { r.in = b }

// Rest returns the bytes that were fed and not yet looked at.
func (r *Reader) Rest() []byte { return r.in }

// Next returns the next whole message, or false when more bytes are needed.
// After an error the Reader must not be used again.
func (r *Reader) Next() (Message, bool, error) {
	if r.given != nil {
		r.given.gather.reset()
		r.given = nil
	}
	for {
		if r.cur == nil {
			ok, err := r.header()
			if err != nil || !ok {
				return Message{}, false, err
			}
		}
		s := r.cur
		take := min(r.left, len(r.in))
		piece := r.in[:take]
		r.in = r.in[take:]
		r.left -= take
		s.got += take
		if s.got == s.length {
			body := piece
			if take != s.length { // not the whole message in one piece
				r.partial -= s.gather.size()
				s.keep(piece)
				body = s.gather.body()
				r.given = s
			}
			r.cur, s.active = nil, false
			m := Message{CSID: s.csid, Type: s.typ, StreamID: s.streamID, Timestamp: s.timestamp, Body: body}
			return m, true, r.obey(m)
		}
		s.keep(piece)
		r.partial += take
		if r.partial > r.Limits.Partial {
			return Message{}, false, errorf(ReasonTooBig,
				"more than %d bytes of unfinished messages", r.Limits.Partial)
		}
		if r.left > 0 {
			return Message{}, false, nil // the input is used up
		}
		r.cur = nil
	}
}

// Partial returns the bytes held of messages that are not complete.
func (r *Reader) Partial() int { return r.partial }

// Release gives back the buffers of a Reader that is no longer needed.
func (r *Reader) Release() {
	for _, s := range r.streams {
		s.gather.reset()
	}
	r.partial, r.given, r.in = 0, nil, nil
}

// obey applies the messages that steer the chunk layer itself.
func (r *Reader) obey(m Message) error {
	switch m.Type {
	case TypeSetChunkSize, TypeAbort, TypeAck, TypeWindowAck, TypePeerBW:
		need := 4
		if m.Type == TypePeerBW {
			need = 5
		}
		if len(m.Body) < need {
			return errorf(ReasonShortControl, "protocol control message %d with %d bytes, needs %d", m.Type, len(m.Body), need)
		}
	case TypeUserControl:
		if len(m.Body) < 2 {
			return errorf(ReasonShortControl, "user control message with %d bytes, needs 2", len(m.Body))
		}
	}
	switch m.Type {
	case TypeSetChunkSize: // RTMP 1.0 §5.4.1
		n := binary.BigEndian.Uint32(m.Body)
		if n < MinSize || n&0x80000000 != 0 {
			return errorf(ReasonSize, "Set Chunk Size %d, must be %d to %d", n, MinSize, 0x7fffffff)
		}
		r.size = int(min(n, maxSize))
	case TypeAbort: // RTMP 1.0 §5.4.2
		if s := r.find(binary.BigEndian.Uint32(m.Body)); s != nil && s.active {
			r.partial -= s.gather.size()
			s.active, s.got = false, 0
			s.gather.reset()
		}
	}
	return nil
}

func (r *Reader) find(csid uint32) *stream {
	for _, s := range r.streams {
		if s.csid == csid {
			return s
		}
	}
	return nil
}

// open returns the state of a chunk stream, made on its first chunk.
func (r *Reader) open(csid uint32) (*stream, error) {
	if s := r.find(csid); s != nil {
		return s, nil
	}
	if len(r.streams) >= r.Limits.Streams {
		return nil, errorf(ReasonStreams, "chunk stream %d is one more than the %d allowed", csid, r.Limits.Streams)
	}
	s := &stream{csid: csid}
	r.streams = append(r.streams, s)
	return s, nil
}

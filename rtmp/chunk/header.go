package chunk

import (
	"bytes"
	"encoding/binary"
)

// Bytes of the message header by fmt (RTMP 1.0 §5.3.1.2).
var messageHeader = [4]int{11, 7, 3, 0}

// Message types whose length is bounded as media.
const (
	typeAudio     = 8
	typeVideo     = 9
	typeAggregate = 22
)

// header reads one chunk header and opens its chunk. It reports false when
// the input ends before the header does; what there is then waits in stash.
func (r *Reader) header() (bool, error) {
	if len(r.in) == 0 {
		return false, nil
	}
	if r.stashLen == 0 {
		n, err := r.parseHeader(r.in)
		if err != nil {
			return false, err
		}
		if n == 0 {
			r.stashLen = copy(r.stash[:], r.in)
			r.in = nil
			return false, nil
		}
		r.in = r.in[n:]
		return true, nil
	}
	had := r.stashLen
	copied := copy(r.stash[had:], r.in)
	n, err := r.parseHeader(r.stash[:had+copied])
	if err != nil {
		return false, err
	}
	if n == 0 { // maxHeader bytes are always enough, so all input went in
		r.stashLen += copied
		r.in = nil
		return false, nil
	}
	r.stashLen = 0
	if n < had {
		// What looked like the start of an extended timestamp is body, now that
		// the peer is known not to repeat it: once in a connection at most.
		r.in = append(bytes.Clone(r.stash[n:had]), r.in...)
		return true, nil
	}
	r.in = r.in[n-had:]
	return true, nil
}

// parseHeader reads a header from the front of b and returns its length, or 0
// when b is too short. Nothing is changed before the whole header is there.
func (r *Reader) parseHeader(b []byte) (int, error) {
	// 1. Basic header (RTMP 1.0 §5.3.1.1).
	format := b[0] >> 6
	csid, n := uint32(b[0]&0x3f), 1
	switch csid {
	case 0:
		if len(b) < 2 {
			return 0, nil
		}
		csid, n = uint32(b[1])+64, 2
	case 1:
		if len(b) < 3 {
			return 0, nil
		}
		csid, n = uint32(b[1])+uint32(b[2])<<8+64, 3
	}
	s, err := r.open(csid)
	if err != nil {
		return 0, err
	}
	if format > 1 && !s.known {
		return 0, errorf(ReasonNoPrevious, "chunk stream %d begins with a header of type %d", csid, format)
	}
	if format == 3 {
		return r.continued(s, b, n)
	}
	// 2. Message header (§5.3.1.2).
	if len(b) < n+messageHeader[format] {
		return 0, nil
	}
	h := b[n:]
	n += messageHeader[format]
	time := uint32(h[0])<<16 | uint32(h[1])<<8 | uint32(h[2])
	length, typ := s.length, s.typ
	if format <= 1 {
		length, typ = int(h[3])<<16|int(h[4])<<8|int(h[5]), h[6]
	}
	if s.active && (format == 0 || length != s.length || typ != s.typ) {
		return 0, errorf(ReasonHeaderChange, "chunk stream %d: a new message begins %d bytes into one of %d", csid, s.got, s.length)
	}
	// 3. Extended timestamp (§5.3.1.3).
	isExtended := time == extended
	if isExtended {
		if len(b) < n+4 {
			return 0, nil
		}
		time = binary.BigEndian.Uint32(b[n:])
		n += 4
	}
	if s.active { // a chunk that continues its message, with a longer header than needed
		return n, r.begin(s)
	}
	if format == 0 {
		s.timestamp = time
		s.streamID = binary.LittleEndian.Uint32(h[7:])
	} else {
		s.timestamp += time
	}
	s.delta, s.extended, s.length, s.typ, s.known = time, isExtended, length, typ, true
	return n, r.begin(s)
}

// continued reads the header of a chunk of type 3: the rest of a message, or
// a new one with everything as before.
//
// The time step of a new one is the last step; behind a type 0 header that is
// its timestamp (§5.3.1.2.4), and ffmpeg counts on it.
func (r *Reader) continued(s *stream, b []byte, n int) (int, error) {
	if s.extended && r.repeat != repeatNo {
		if len(b) < n+4 {
			return 0, nil
		}
		again := binary.BigEndian.Uint32(b[n:])
		if r.repeat == repeatUnknown {
			r.repeat = repeatNo
			if again == s.delta {
				r.repeat = repeatYes
			}
		}
		if r.repeat == repeatYes {
			n += 4
			if !s.active {
				s.delta = again
			}
		}
	}
	if !s.active {
		s.timestamp += s.delta
	}
	return n, r.begin(s)
}

// begin opens a chunk, and its message when none is under way.
func (r *Reader) begin(s *stream) error {
	if !s.active {
		limit := r.Limits.Command
		if s.typ == typeAudio || s.typ == typeVideo || s.typ == typeAggregate {
			limit = r.Limits.Media
		}
		if s.length > limit {
			return errorf(ReasonTooBig, "message of type %d announces %d bytes, at most %d are allowed", s.typ, s.length, limit)
		}
		s.active, s.got = true, 0
	}
	r.cur = s
	r.left = min(s.length-s.got, r.size)
	return nil
}

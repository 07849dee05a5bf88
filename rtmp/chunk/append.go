package chunk

import "encoding/binary"

// AppendHeader adds a type 0 header, which depends on nothing before it.
func AppendHeader(dst []byte, csid uint32, typ uint8, streamID, timestamp uint32, length int) []byte {
	dst = appendBasic(dst, 0, csid)
	time := min(timestamp, extended)
	dst = append(dst,
		byte(time>>16), byte(time>>8), byte(time),
		byte(length>>16), byte(length>>8), byte(length),
		typ)
	dst = binary.LittleEndian.AppendUint32(dst, streamID)
	if time == extended {
		dst = binary.BigEndian.AppendUint32(dst, timestamp)
	}
	return dst
}

// AppendContinuation adds the type 3 header between two chunks of a message.
// The extended timestamp is repeated, as the specification and SRS have it.
func AppendContinuation(dst []byte, csid, timestamp uint32) []byte {
	dst = appendBasic(dst, continuedBase, csid)
	if timestamp >= extended {
		dst = binary.BigEndian.AppendUint32(dst, timestamp)
	}
	return dst
}

// Append adds a whole message, cut into chunks of size bytes.
func Append(dst []byte, m Message, size int) []byte {
	dst = AppendHeader(dst, m.CSID, m.Type, m.StreamID, m.Timestamp, len(m.Body))
	body := m.Body
	for len(body) > size {
		dst = append(dst, body[:size]...)
		body = body[size:]
		dst = AppendContinuation(dst, m.CSID, m.Timestamp)
	}
	return append(dst, body...)
}

// WireSize returns how many bytes Append adds for a body of that length.
func WireSize(csid, timestamp uint32, length, size int) int {
	n, again := basicSize(csid)+messageHeader[0], basicSize(csid)
	if timestamp >= extended {
		n += 4
		again += 4
	}
	n += length
	if length > size {
		n += (length - 1) / size * again
	}
	return n
}

// HeaderSize returns the length of the header that AppendHeader adds, and of
// the one that AppendContinuation adds.
func HeaderSize(csid, timestamp uint32) (first, continuation int) {
	first, continuation = basicSize(csid)+messageHeader[0], basicSize(csid)
	if timestamp >= extended {
		first += 4
		continuation += 4
	}
	return first, continuation
}

func basicSize(csid uint32) int {
	switch {
	case csid < 64:
		return 1
	case csid < 64+256:
		return 2
	}
	return 3
}

// appendBasic adds a basic header (RTMP 1.0 §5.3.1.1); format is in the top bits.
func appendBasic(dst []byte, format byte, csid uint32) []byte {
	switch basicSize(csid) {
	case 1:
		return append(dst, format|byte(csid))
	case 2:
		return append(dst, format, byte(csid-64))
	}
	csid -= 64
	return append(dst, format|1, byte(csid), byte(csid>>8))
}

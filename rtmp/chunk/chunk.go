// Package chunk is the RTMP chunk stream (RTMP 1.0 §5.3): messages cut into
// chunks and interleaved over one byte stream.
//
// Reader is a push parser: Feed it bytes as they arrive, in pieces of any
// size, and take whole messages with Next. It keeps no input: what Feed was
// given may be reused once Next has said that there is nothing more. Append
// writes messages. The package starts no goroutine and reads no clock.
package chunk

import "fmt"

// Message types that the chunk layer itself obeys (RTMP 1.0 §5.4).
const (
	TypeSetChunkSize = 1
	TypeAbort        = 2
	TypeAck          = 3
	TypeUserControl  = 4
	TypeWindowAck    = 5
	TypePeerBW       = 6
)

// Sizes the specification fixes (RTMP 1.0 §5.3.1, §5.4.1).
const (
	DefaultSize = 128      // chunk size until a peer says otherwise, bytes
	maxSize     = 0xffffff // no message is longer, so no chunk need be

	extended      = 0xffffff   // 24-bit time field: the time follows in 4 bytes
	maxHeader     = 3 + 11 + 4 // basic header, message header, extended timestamp
	continuedBase = 0xc0       // fmt 3 in the basic header
)

// MinSize is the smallest chunk size that is accepted from a peer. The
// specification allows 1; such a peer would cost a header per byte, and SRS
// refuses it too (SRS issue 541).
const MinSize = 128

// Reason codes of Error.
const (
	ReasonSize         = "chunk.size_invalid"
	ReasonShortControl = "chunk.ctrl_short"
	ReasonStreams      = "chunk.csid_limit"
	ReasonNoPrevious   = "chunk.no_prev"
	ReasonHeaderChange = "chunk.header_change"
	ReasonTooBig       = "msg.too_big"
)

// An Error ends the connection. Reason is stable and short, Text says more.
type Error struct {
	Reason string
	Text   string
}

func (e *Error) Error() string { return e.Text + " (" + e.Reason + ")" }

func errorf(reason, format string, args ...any) error {
	return &Error{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// A Message is one whole message. Body is valid until the next call of Next.
type Message struct {
	CSID      uint32 // chunk stream it came on
	Type      uint8
	StreamID  uint32 // message stream
	Timestamp uint32 // milliseconds, absolute
	Body      []byte
}

package flv

import "fmt"

// Sizes of the FLV format, in bytes (FLV specification E.2, E.3, E.4.1).
const (
	HeaderSize = 9 + 4 // the file header and the first previous tag size
	TagHeader  = 11    // in front of a tag's body
	TagTrailer = 4     // the previous tag size behind it
	TagFrame   = TagHeader + TagTrailer
	MaxData    = 1<<24 - 1 // the largest body of a tag
)

// FlagsAt is where in a file the byte with the header flags stands.
const FlagsAt = 4

// Flags is the value of the byte at FlagsAt (E.2).
func Flags(hasAudio, hasVideo bool) byte {
	var flags byte
	if hasAudio {
		flags |= 4
	}
	if hasVideo {
		flags |= 1
	}
	return flags
}

// AppendHeader appends what stands in front of the first tag of a file.
func AppendHeader(dst []byte, hasAudio, hasVideo bool) []byte {
	return append(dst,
		'F', 'L', 'V', 1,
		Flags(hasAudio, hasVideo),
		0, 0, 0, 9, // size of the header
		0, 0, 0, 0, // previous tag size 0
	)
}

// AppendTag appends a whole tag: header, body and previous tag size. All 32
// bits of the timestamp are written; the specification calls them signed
// (E.4.1), but the readers in use take them as unsigned, so that a file goes on
// behind 24 days. A body above MaxData has no form in FLV: AppendTag panics, so
// callers that take bodies from peers compare first.
func AppendTag(dst []byte, t Tag) []byte {
	n := len(t.Data)
	if n > MaxData {
		panic(fmt.Sprintf("flv: a tag of %d bytes", n))
	}
	ts, prev := t.Timestamp, uint32(n+TagHeader)
	dst = append(dst,
		t.Type,
		byte(n>>16), byte(n>>8), byte(n),
		byte(ts>>16), byte(ts>>8), byte(ts), byte(ts>>24), // the high byte comes last
		0, 0, 0, // stream id, always 0
	)
	dst = append(dst, t.Data...)
	return append(dst, byte(prev>>24), byte(prev>>16), byte(prev>>8), byte(prev))
}

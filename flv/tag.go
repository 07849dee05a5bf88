// Package flv knows the FLV container and the first bytes of its tag bodies.
//
// RTMP audio, video and data messages carry exactly FLV tag bodies, so Tag is
// the one noun that travels through the server. The package looks at a body's
// first bytes to tell keyframes and sequence headers (Sniff), writes and reads
// files (AppendTag, FileMetadata, Reader), and never refuses a codec it does not know.
package flv

// Tag types (FLV specification E.4.1); the same numbers are RTMP's message
// types for audio, video and AMF0 data (RTMP 1.0 §7.1).
const (
	TypeAudio  = 8
	TypeVideo  = 9
	TypeScript = 18
)

// A Tag is one audio, video or script tag. Data is the tag's body; who may
// keep it is said by the function that hands the Tag out.
type Tag struct {
	Type      uint8
	Timestamp uint32 // milliseconds
	Data      []byte
}

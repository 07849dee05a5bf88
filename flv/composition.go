package flv

import "encoding/binary"

// CompositionTime is by how much later than its tag says a picture is shown, ms (FLV
// specification E.4.3.2; of Enhanced RTMP section "Enhanced Video"): of codecs that
// decode pictures in another order than they are shown. 0 where the tag tells none.
func CompositionTime(body []byte) int64 {
	if len(body) == 0 {
		return 0
	}
	at := 2
	switch id := body[0] & 0x0f; {
	case body[0]&0x80 == 0:
		if id != codecAVC && id != codecHEVC || len(body) < 2 || body[1] != 1 {
			return 0
		}
	case id == exCodedFrames && len(body) > 5:
		switch string(body[1:5]) {
		case "avc1", "hvc1", "vvc1":
			at = 5
		default:
			return 0
		}
	default:
		return 0
	}
	if len(body) < at+3 {
		return 0
	}
	return int64(int8(body[at]))<<16 | int64(binary.BigEndian.Uint16(body[at+1:]))
}

package amf0

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxShortString is the longest text with a 16-bit length (§2.4).
const maxShortString = math.MaxUint16

// Append adds the encoding of values to dst and returns it. A value of a Go
// type that is none of the package's panics: only our own code chooses types.
// Keys longer than 65,535 bytes are cut there.
func Append(dst []byte, values ...any) []byte {
	for _, v := range values {
		dst = appendValue(dst, v)
	}
	return dst
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case float64:
		dst = append(dst, markerNumber)
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v))
	case int:
		dst = append(dst, markerNumber)
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(float64(v)))
	case bool:
		if v {
			return append(dst, markerBoolean, 1)
		}
		return append(dst, markerBoolean, 0)
	case string:
		if len(v) > maxShortString {
			return appendLong(append(dst, markerLongString), v)
		}
		return appendKey(append(dst, markerString), v)
	case Object:
		return appendProperties(append(dst, markerObject), v)
	case ECMAArray:
		dst = append(dst, markerECMAArray)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
		return appendProperties(dst, v)
	case StrictArray:
		dst = append(dst, markerStrictArray)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(v)))
		return Append(dst, v...)
	case Date:
		dst = append(dst, markerDate)
		dst = binary.BigEndian.AppendUint64(dst, math.Float64bits(v.UnixMilli))
		return binary.BigEndian.AppendUint16(dst, uint16(v.Zone))
	case XML:
		return appendLong(append(dst, markerXML), string(v))
	case Null, nil:
		return append(dst, markerNull)
	case Undefined:
		return append(dst, markerUndefined)
	}
	panic(fmt.Sprintf("amf0: no encoding for %T", value))
}

func appendProperties(dst []byte, properties []Property) []byte {
	for _, p := range properties {
		dst = appendValue(appendKey(dst, p.Key), p.Value)
	}
	return append(dst, 0, 0, markerObjectEnd)
}

func appendKey(dst []byte, s string) []byte {
	if len(s) > maxShortString {
		s = s[:maxShortString]
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

func appendLong(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

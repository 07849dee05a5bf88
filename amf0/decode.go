package amf0

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Limits bound what Decode accepts.
type Limits struct {
	Depth  int // objects and arrays within each other
	Values int // values in all, nested ones included
	String int // bytes of one string
}

// DefaultLimits are generous for every encoder known and small enough that a
// hostile message costs little.
var DefaultLimits = Limits{Depth: 16, Values: 4096, String: 64 << 10}

// Errors that Decode wraps; a caller may branch on them.
var (
	ErrTruncated = errors.New("value cut short")
	ErrDepth     = errors.New("values nested too deeply")
	ErrValues    = errors.New("too many values")
	ErrString    = errors.New("string too long")
	ErrMarker    = errors.New("marker without a meaning here")
)

// Decode reads every value of b. On an error it returns the values before the
// damaged one too. An object or array whose end marker is missing at the very
// end of b is taken as complete: several encoders send metadata so.
func Decode(b []byte, lim Limits) ([]any, error) {
	d := decoder{data: b, lim: lim}
	var values []any
	for d.pos < len(d.data) {
		v, err := d.value(0)
		if err != nil {
			return values, fmt.Errorf("amf0: at byte %d: %w", d.pos, err)
		}
		values = append(values, v)
	}
	return values, nil
}

type decoder struct {
	data   []byte
	pos    int
	values int
	lim    Limits
}

func (d *decoder) value(depth int) (any, error) {
	if d.values++; d.values > d.lim.Values {
		return nil, fmt.Errorf("%w (more than %d)", ErrValues, d.lim.Values)
	}
	marker, err := d.take(1)
	if err != nil {
		return nil, err
	}
	switch marker[0] {
	case markerNumber:
		return d.number()
	case markerBoolean:
		b, err := d.take(1)
		if err != nil {
			return nil, err
		}
		return b[0] != 0, nil
	case markerString:
		return d.text(2)
	case markerLongString:
		return d.text(4)
	case markerXML:
		s, err := d.text(4)
		return XML(s), err
	case markerNull:
		return Null{}, nil
	case markerUndefined, markerUnsupported:
		return Undefined{}, nil
	case markerReference: // to an object before; no encoder known uses it
		_, err := d.take(2)
		return Undefined{}, err
	case markerDate:
		return d.date()
	}
	if depth >= d.lim.Depth {
		return nil, fmt.Errorf("%w (more than %d levels)", ErrDepth, d.lim.Depth)
	}
	switch marker[0] {
	case markerObject:
		p, err := d.properties(depth + 1)
		return Object(p), err
	case markerTypedObject:
		if _, err := d.text(2); err != nil {
			return nil, err
		}
		p, err := d.properties(depth + 1)
		return Object(p), err
	case markerECMAArray:
		if _, err := d.take(4); err != nil {
			return nil, err
		}
		p, err := d.properties(depth + 1)
		return ECMAArray(p), err
	case markerStrictArray:
		return d.strictArray(depth + 1)
	}
	d.pos--
	return nil, fmt.Errorf("%w: %#02x", ErrMarker, marker[0])
}

func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.data)-d.pos {
		return nil, ErrTruncated
	}
	b := d.data[d.pos : d.pos+n]
	d.pos += n
	return b, nil
}

func (d *decoder) number() (float64, error) {
	b, err := d.take(8)
	if err != nil {
		return 0, err
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

func (d *decoder) date() (Date, error) {
	ms, err := d.number()
	if err != nil {
		return Date{}, err
	}
	zone, err := d.take(2)
	if err != nil {
		return Date{}, err
	}
	return Date{UnixMilli: ms, Zone: int16(binary.BigEndian.Uint16(zone))}, nil
}

// text reads a string behind a length of 2 or 4 bytes.
func (d *decoder) text(lengthBytes int) (string, error) {
	b, err := d.take(lengthBytes)
	if err != nil {
		return "", err
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	if n > uint64(len(d.data)-d.pos) {
		return "", ErrTruncated
	}
	if n > uint64(d.lim.String) {
		return "", fmt.Errorf("%w (%d bytes, at most %d)", ErrString, n, d.lim.String)
	}
	s, err := d.take(int(n))
	return string(s), err
}

// properties reads keys and values up to the end marker, or to the end of
// the data where a whole property was the last thing.
func (d *decoder) properties(depth int) ([]Property, error) {
	var list []Property
	for d.pos < len(d.data) {
		key, err := d.text(2)
		if err != nil {
			return nil, err
		}
		if key == "" && d.pos < len(d.data) && d.data[d.pos] == markerObjectEnd {
			d.pos++
			return list, nil
		}
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, Property{Key: key, Value: v})
	}
	return list, nil
}

func (d *decoder) strictArray(depth int) (StrictArray, error) {
	b, err := d.take(4)
	if err != nil {
		return nil, err
	}
	var list StrictArray
	for n := binary.BigEndian.Uint32(b); n > 0; n-- {
		v, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

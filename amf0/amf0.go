// Package amf0 encodes and decodes Action Message Format 0, the value format
// of RTMP commands and of FLV script data (Adobe AMF 0 specification, 2007).
//
// Append adds values to a byte slice. Decode reads all values of a message
// within Limits: depth, number of values and string length are bounded, and
// nothing is allocated that the input has not paid for with its own bytes.
// Decoded values are copies and belong to the caller.
//
// A value is one of these Go types:
//
//	float64, bool, string      number, boolean, string and long string
//	Object, ECMAArray          ordered properties
//	StrictArray                values by position
//	Date, XML                  as named
//	Null, Undefined            also for "unsupported" and references
package amf0

// Markers (AMF 0 specification §2.1).
const (
	markerNumber      = 0x00
	markerBoolean     = 0x01
	markerString      = 0x02
	markerObject      = 0x03
	markerNull        = 0x05
	markerUndefined   = 0x06
	markerReference   = 0x07
	markerECMAArray   = 0x08
	markerObjectEnd   = 0x09
	markerStrictArray = 0x0a
	markerDate        = 0x0b
	markerLongString  = 0x0c
	markerUnsupported = 0x0d
	markerXML         = 0x0f
	markerTypedObject = 0x10
)

// A Property is one key and value of an Object or ECMAArray.
type Property struct {
	Key   string
	Value any
}

// Object is an anonymous object (§2.5); a typed object (§2.18) decodes to one too.
type Object []Property

// ECMAArray is an associative array (§2.10). Its count on the wire is a hint:
// Append writes the true one, Decode ignores it.
type ECMAArray []Property

// StrictArray is an array by position (§2.12).
type StrictArray []any

// Date is a point in time (§2.13): milliseconds since 1970 in UTC, and a time
// zone that the specification reserves.
type Date struct {
	UnixMilli float64
	Zone      int16
}

// XML is the text of an XML document (§2.17).
type XML string

// Null is the null value (§2.7).
type Null struct{}

// Undefined is the undefined value (§2.8).
type Undefined struct{}

// Get returns the value of a key. Where a key stands twice the last one counts.
func (o Object) Get(key string) (any, bool) { return get(o, key) }

// Get returns the value of a key. Where a key stands twice the last one counts.
func (a ECMAArray) Get(key string) (any, bool) { return get(a, key) }

// String returns the text of a key, or "" where it is missing or no string.
func (o Object) String(key string) string {
	s, _ := get2[string](o, key)
	return s
}

// Number returns the number of a key, or 0 where it is missing or no number.
func (o Object) Number(key string) float64 {
	n, _ := get2[float64](o, key)
	return n
}

func get(properties []Property, key string) (any, bool) {
	for i := len(properties) - 1; i >= 0; i-- {
		if properties[i].Key == key {
			return properties[i].Value, true
		}
	}
	return nil, false
}

func get2[T any](properties []Property, key string) (T, bool) {
	v, _ := get(properties, key)
	t, ok := v.(T)
	return t, ok
}

package flv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"srs/amf0"
)

// metadataLimits bound the metadata that is understood. They are wider than
// those of commands: encoders put whole XMP documents there.
var metadataLimits = amf0.Limits{Depth: 16, Values: 1 << 16, String: 1 << 20}

// numberSize is an AMF0 number behind its marker.
const numberSize = 8

// fileProperties are what publishers that replay a file say about that file. It
// is wrong of a recording (an index makes players seek to nowhere), so they are
// left out.
var fileProperties = map[string]bool{
	"duration":              true,
	"filesize":              true,
	"fileSize":              true,
	"keyframes":             true,
	"hasKeyframes":          true,
	"hasCuePoints":          true,
	"cuePoints":             true,
	"canSeekToEnd":          true,
	"lasttimestamp":         true,
	"lastkeyframetimestamp": true,
	"lastkeyframelocation":  true,
	"datasize":              true,
	"videosize":             true,
	"audiosize":             true,
	"padding":               true,
	recordedFrom:            true,
}

// recordedFrom is the property that says whose a file is that others may go on
// in: text of the owner's choice.
const recordedFrom = "recordedFrom"

// FileMetadata is the body of a recording's onMetaData tag. Its size never
// changes; what is not known before the file is complete has its space:
//
//	"onMetaData" [ what the publisher said
//	  recordedFrom                                                     if it is to be continued
//	  duration filesize lasttimestamp keyframes{times,filepositions}   patched at the end
//	  padding ]                                                        what is left of the space
//
// While the file grows the padding holds a note: text of the owner's choice that
// whoever completes the file later may need, and that is gone then.
type FileMetadata struct {
	Body []byte

	tail       int // index in Body of the first key that is patched; 0: of another program
	size       int // of Body
	properties int // in front of tail
}

// MaxKeyframes is how many keyframes an index can have room for.
const MaxKeyframes = 4096

const (
	perKeyframe = 2 * (1 + numberSize) // bytes of the index
	minIndex    = 2                    // keyframes; ffmpeg warns of a shorter index
	countAt     = 14                   // of the array's length in the body
	arrayEnd    = "\x00\x00\x09"
	perString   = 1 + 2 // bytes around a short string
	maxString   = 1000  // bytes of one string; ffmpeg reads up to 1023
)

// NewFileMetadata builds the metadata of a file from the onMetaData body that
// the publisher sent: its properties in their order, then those of the file,
// with room for an index of so many keyframes, as an ECMA array (FLV
// specification E.4.4.1). Nothing is taken from what cannot be read. From, if it
// is not empty, says for good whose the file is; see Owner.
func NewFileMetadata(published []byte, keyframes int, note, from string) FileMetadata {
	properties, _ := ParseMetadata(published)
	array := make(amf0.ECMAArray, 0, len(properties))
	for _, p := range properties {
		// An empty key is the end of the array to most readers. At a long text
		// ffmpeg stops to read and would miss all that follows.
		text, _ := p.Value.(string)
		if p.Key != "" && !fileProperties[p.Key] && len(text) <= maxString {
			array = append(array, p)
		}
	}
	if from != "" {
		array = append(array, amf0.Property{Key: recordedFrom, Value: encodeOwner(from)})
	}
	m := FileMetadata{properties: len(array), Body: amf0.Append(nil, "onMetaData", array)}
	m.tail = len(m.Body) - len(arrayEnd)
	noted := len(encodePadding(note, 0))
	m.size = m.tail + withoutRoom + max(min(keyframes, MaxKeyframes)*perKeyframe, noted)
	m.Body = append(m.Body, make([]byte, m.size-len(m.Body))...)
	for _, p := range m.fill(&Summary{}, 0, note) {
		copy(m.Body[p.At:], p.Data)
	}
	return m
}

// encodeOwner is a text, or its pieces where it is too long for one.
func encodeOwner(from string) any {
	if len(from) <= maxString {
		return from
	}
	var pieces amf0.StrictArray
	for from != "" {
		n := min(len(from), maxString)
		for n > 1 && n < len(from) && !utf8.RuneStart(from[n]) {
			n--
		}
		pieces, from = append(pieces, from[:n]), from[n:]
	}
	return pieces
}

// decodeOwner reads it back.
func decodeOwner(v any) string {
	owner, _ := v.(string)
	pieces, _ := v.(amf0.StrictArray)
	for _, p := range pieces {
		piece, _ := p.(string)
		owner += piece
	}
	return owner
}

// fill encodes the values of the file in the body's space.
func (m FileMetadata) fill(s *Summary, size int64, note string) []Patch {
	values := []amf0.Property{
		{Key: "duration", Value: s.Duration().Seconds()},
		{Key: "filesize", Value: float64(size)},
		{Key: "lasttimestamp", Value: float64(s.Last) / 1000},
	}
	if index := s.Index(m.Room()); len(index) >= minIndex {
		values = append(values, keyframes(index))
	}
	var b []byte
	for _, p := range values {
		b = appendProperty(b, p)
	}
	b = appendProperty(b, amf0.Property{Key: "padding", Value: amf0.StrictArray{}})
	count := len("\x00\x00\x00\x00") // of the array, its last bytes
	padding := encodePadding(note, m.size-m.tail-len(b)-len(arrayEnd))
	b = append(append(b[:len(b)-count], padding...), arrayEnd...)
	return []Patch{
		{countAt, binary.BigEndian.AppendUint32(nil, uint32(m.properties+len(values)+1))},
		{m.tail, b},
	}
}

func keyframes(index []IndexEntry) amf0.Property {
	times, positions := make(amf0.StrictArray, len(index)), make(amf0.StrictArray, len(index))
	for i, k := range index {
		times[i], positions[i] = float64(k.Time)/1000, float64(k.Position)
	}
	return amf0.Property{Key: "keyframes", Value: amf0.Object{{Key: "times", Value: times}, {Key: "filepositions", Value: positions}}}
}

// appendProperty encodes what stands within an object.
func appendProperty(dst []byte, p amf0.Property) []byte {
	one := amf0.Append(nil, amf0.Object{p})
	return append(dst, one[1:len(one)-len(arrayEnd)]...)
}

// encodePadding is the padding's array from its count on: the note and blanks,
// in so many bytes behind the count, or in as few as the note needs.
func encodePadding(note string, space int) []byte {
	var list amf0.StrictArray
	for used := 0; note != "" || used < space; {
		if left := space - used; note == "" && left < perString {
			list = append(list, amf0.Null{}) // one byte each
			used++
			continue
		}
		piece := note[:min(len(note), maxString)]
		note = note[len(piece):]
		if note == "" {
			piece += strings.Repeat(" ", max(0, min(maxString, space-used-perString)-len(piece)))
		}
		list = append(list, piece)
		used += perString + len(piece)
	}
	return amf0.Append(nil, list)[1:]
}

// withoutRoom is how many bytes the values of a file take whose index is empty.
var withoutRoom = func() int {
	b := appendProperty(nil, keyframes(nil))
	for _, key := range []string{"duration", "filesize", "lasttimestamp"} {
		b = appendProperty(b, amf0.Property{Key: key, Value: 0.0})
	}
	b = appendProperty(b, amf0.Property{Key: "padding", Value: amf0.StrictArray{}})
	return len(b) + len(arrayEnd)
}()

// Room is how many keyframes the index has room for.
func (m FileMetadata) Room() int {
	if m.tail == 0 {
		return 0
	}
	return (m.size - m.tail - withoutRoom) / perKeyframe
}

// Patch is what a complete file has at an offset from the start of its metadata
// tag's body.
type Patch struct {
	At   int
	Data []byte
}

// Patches gives what is to be written over Body in a complete file of size bytes.
func (m FileMetadata) Patches(s *Summary, size int64) []Patch {
	if m.tail > 0 {
		return m.fill(s, size, "")
	}
	var patches []Patch
	for _, p := range []struct {
		key   string
		value float64
	}{
		{"duration", s.Duration().Seconds()}, {"filesize", float64(size)}, {"fileSize", float64(size)}, // OBS
		{"lasttimestamp", float64(s.Last) / 1000},
	} {
		if at := m.place(p.key); at >= 0 {
			patches = append(patches, Patch{at, binary.BigEndian.AppendUint64(nil, math.Float64bits(p.value))})
		}
	}
	return patches
}

// place is where Body has a number, negative when it has none of that name.
func (m FileMetadata) place(key string) int {
	at := bytes.LastIndex(m.Body, numberKey(key))
	if at < 0 || at+len(numberKey(key))+numberSize > len(m.Body) {
		return -1
	}
	return at + len(numberKey(key))
}

// numberKey is what stands in front of the 8 bytes of a number in an array.
func numberKey(key string) []byte {
	return append(append([]byte{0, byte(len(key))}, key...), 0)
}

// ParseFileMetadata finds the space in the metadata of a file, also when what is
// in it is damaged, and the note while there is one. It keeps body. Metadata of
// another program has no space; then its own numbers are patched.
func ParseFileMetadata(body []byte) (m FileMetadata, note string) {
	m = FileMetadata{Body: body, size: len(body)}
	// The three numbers stand in a row nowhere else.
	duration, filesize, last := numberKey("duration"), numberKey("filesize"), numberKey("lasttimestamp")
	at := bytes.LastIndex(body, duration)
	row := at
	for _, key := range [][]byte{duration, filesize, last} {
		if row < 0 || !bytes.HasPrefix(body[min(row, len(body)):], key) {
			return m, ""
		}
		row += len(key) + numberSize
	}
	if m.size-at < withoutRoom {
		return m, ""
	}
	m.tail = at
	head, _ := ParseMetadata(append(bytes.Clone(body[:at]), arrayEnd...))
	m.properties = len(head)
	if all, _ := ParseMetadata(body); len(all) > 0 && all[len(all)-1].Key == "padding" {
		list, _ := all[len(all)-1].Value.(amf0.StrictArray)
		for _, v := range list {
			piece, _ := v.(string)
			note += piece
		}
	}
	return m, strings.TrimRight(note, " ")
}

var errNoMetadata = errors.New("flv: no onMetaData")

// ParseMetadata reads the properties of an onMetaData body, which encoders send
// as an object or as an ECMA array. They are copies.
func ParseMetadata(body []byte) ([]amf0.Property, error) {
	if Sniff(TypeScript, body) != Metadata {
		return nil, errNoMetadata
	}
	values, err := amf0.Decode(body, metadataLimits)
	// What stands in front of damage or of trailing bytes is still good.
	if len(values) >= 2 {
		switch v := values[1].(type) {
		case amf0.Object:
			return v, nil
		case amf0.ECMAArray:
			return v, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("flv: onMetaData: %w", err)
	}
	return nil, errNoMetadata
}

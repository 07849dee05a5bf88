package flv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

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
}

// FileMetadata is the body of a recording's onMetaData tag, with the places
// that are filled when the file is complete.
type FileMetadata struct {
	Body       []byte
	durationAt int // index in Body of the 8 bytes of the number
	filesizeAt int
}

// NewFileMetadata builds the metadata of a file from the onMetaData body that
// the publisher sent: its properties in their order, then duration (s) and
// filesize (bytes), both 0, as an ECMA array (FLV specification E.4.4.1). From
// nothing, or from what cannot be read, come these two alone.
func NewFileMetadata(published []byte) FileMetadata {
	properties, _ := ParseMetadata(published)
	array := make(amf0.ECMAArray, 0, len(properties)+2)
	for _, p := range properties {
		// An empty key is the end of the array to most readers.
		if p.Key != "" && !fileProperties[p.Key] {
			array = append(array, p)
		}
	}
	array = append(array,
		amf0.Property{Key: "duration", Value: 0.0},
		amf0.Property{Key: "filesize", Value: 0.0},
	)
	body := amf0.Append(nil, "onMetaData", array)
	const end = 3 // of the array
	filesizeAt := len(body) - end - numberSize
	const between = 2 + len("filesize") + 1 // key and marker
	return FileMetadata{Body: body, durationAt: filesizeAt - between - numberSize, filesizeAt: filesizeAt}
}

// Patch is what a complete file has at an offset from the start of its metadata
// tag's body.
type Patch struct {
	At   int
	Data []byte
}

// Patches gives what is to be written over Body in a complete file.
func (m FileMetadata) Patches(seconds float64, bytes int64) [2]Patch {
	return [2]Patch{
		{m.durationAt, number(seconds)},
		{m.filesizeAt, number(float64(bytes))},
	}
}

func number(f float64) []byte {
	return binary.BigEndian.AppendUint64(nil, math.Float64bits(f))
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

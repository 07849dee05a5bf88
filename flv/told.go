package flv

import (
	"io"
	"time"

	"srs/amf0"
)

// Told is what the metadata of a file of this server says, without a look at its
// tags.
type Told struct {
	Duration time.Duration
	Note     string
	Owner    string
}

// Tell reads it, false for a file of another program.
func Tell(f io.ReaderAt, size int64) (told Told, ok bool) {
	body := ourMetadata(f, size)
	if body == nil {
		return told, false
	}
	_, told.Note = ParseFileMetadata(body)
	properties, _ := ParseMetadata(body)
	values := amf0.ECMAArray(properties)
	seconds, _ := values.Get("duration")
	if s, _ := seconds.(float64); s > 0 {
		told.Duration = time.Duration(s*1000+0.5) * time.Millisecond
	}
	told.Owner = ownerIn(values)
	return told, true
}

// Owner says whose the file is, as NewFileMetadata was told; empty: nobody's.
func (r *Report) Owner() string {
	if r.metadata.tail == 0 {
		return ""
	}
	properties, _ := ParseMetadata(r.metadata.Body)
	return ownerIn(amf0.ECMAArray(properties))
}

func ownerIn(values amf0.ECMAArray) string {
	from, _ := values.Get(recordedFrom)
	return decodeOwner(from)
}

package flv

import (
	"bytes"
	"errors"
	"io"
	"math"
)

// A Report tells what is in a file, whole or not.
type Report struct {
	Summary
	Size   int64  // up to the end of the last whole tag
	Damage error  // what stands behind it, nil when nothing does
	Note   string // in the metadata of a file that was never completed
	Tags   int

	flags      byte
	metadata   FileMetadata
	metadataAt int64 // of the body of the onMetaData tag; 0: there is none
	told       bool  // the metadata says what is in the file
}

// Whole reports whether nothing is left to repair.
func (r *Report) Whole() bool {
	return r.Damage == nil && r.flags == Flags(r.Audio, r.Video) && (r.told || r.metadataAt == 0)
}

// durationSlack is what two programs may think differently of how long the last
// frame lasts, seconds.
const durationSlack = 0.2

// Scan reads a file front to back. Its error is that of the medium, or
// ErrFormat when the file is no FLV from its first bytes on; damage behind them
// is in the report.
func Scan(from io.Reader) (*Report, error) {
	rep := &Report{}
	r := NewReader(from)
	if _, _, err := r.Header(); err != nil {
		return rep, err
	}
	rep.flags = r.flags
	var saidDuration, saidSize float64
	for {
		rep.Size = r.Offset()
		t, err := r.Next()
		switch {
		case err == io.EOF:
			rep.told = saidSize == float64(rep.Size) && math.Abs(saidDuration-rep.Duration().Seconds()) <= durationSlack
			return rep, nil
		case errors.Is(err, ErrFormat) || err == io.ErrUnexpectedEOF:
			rep.Damage = err
			return rep, nil
		case err != nil:
			return rep, err
		}
		rep.Tags++
		if rep.metadataAt == 0 && Sniff(t.Type, t.Data) == Metadata {
			rep.metadataAt = rep.Size + TagHeader
			rep.metadata, rep.Note = ParseFileMetadata(bytes.Clone(t.Data))
			saidDuration, saidSize = said(t.Data)
		}
		rep.Add(t, rep.Size)
	}
}

// said gives what metadata says of its file.
func said(body []byte) (duration, size float64) {
	properties, _ := ParseMetadata(body)
	for _, p := range properties {
		switch p.Key {
		case "duration":
			duration, _ = p.Value.(float64)
		case "filesize":
			size, _ = p.Value.(float64)
		}
	}
	return duration, size
}

// Repair makes the file whole that the report is about: what stands behind the
// last whole tag is cut off, and flags and metadata say what is in the file. It
// may be done again when it was interrupted.
func (r *Report) Repair(f interface {
	io.WriterAt
	Truncate(size int64) error
}) error {
	if r.Damage != nil {
		if err := f.Truncate(r.Size); err != nil {
			return err
		}
	}
	return r.metadata.Complete(f, r.metadataAt, &r.Summary, r.Size)
}

// Complete writes what is known at the end over a file of size bytes, whose
// metadata body stands at an offset; 0: it has none.
func (m FileMetadata) Complete(f io.WriterAt, at int64, s *Summary, size int64) error {
	if _, err := f.WriteAt([]byte{Flags(s.Audio, s.Video)}, FlagsAt); err != nil {
		return err
	}
	if at == 0 {
		return nil
	}
	for _, p := range m.Patches(s, size) {
		if _, err := f.WriteAt(p.Data, at+int64(p.At)); err != nil {
			return err
		}
	}
	return nil
}

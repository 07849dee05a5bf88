package flv

import (
	"bytes"
	"errors"
	"io"
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
	claims     claims
}

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
	for {
		rep.Size = r.Offset()
		t, err := r.Next()
		switch {
		case err == io.EOF:
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
			rep.claims = claimsOf(t.Data)
		} else {
			rep.claims.compare(t, rep.Size)
		}
		rep.Add(t, rep.Size)
	}
}

// Bounds of GoesOn.
const (
	lookAt = TagFrame + MaxData // bytes at a time, so that each tag that begins in them ends in the next ones
	chain  = 3                  // whole tags one behind the other are no chance
)

// GoesOn looks for tags behind the damage: then it is none of the end. It
// returns where they begin, 0 when there are none.
func (r *Report) GoesOn(f io.ReaderAt) (int64, error) {
	if r.Damage == nil {
		return 0, nil
	}
	for at := r.Size + 1; ; at += lookAt {
		b, err := io.ReadAll(io.NewSectionReader(f, at, 2*lookAt))
		if err != nil {
			return 0, err
		}
		end := len(b) < 2*lookAt
		for i := range min(len(b), lookAt) {
			if chained(b[i:], end) {
				return at + int64(i), nil
			}
		}
		if end && len(b) <= lookAt {
			return 0, nil
		}
	}
}

// chained says whether bytes begin with whole tags, up to where the bytes end.
func chained(b []byte, end bool) bool {
	switch b[0] {
	case TypeAudio, TypeVideo, TypeScript:
	default:
		return false // as nearly all do
	}
	for n := range chain {
		_, rest, ok := Split(b)
		switch {
		case !ok:
			return n > 0 && !end && len(b) < lookAt // the next one begins; where it ends is not in sight
		case len(rest) == 0:
			return true
		}
		b = rest
	}
	return true
}

// Repair makes the file whole that the report is about: what stands behind the
// last whole tag is cut off, and flags and metadata say what is in the file, with a
// note as Complete does. It may be done again, also when it was interrupted.
func (r *Report) Repair(f interface {
	io.WriterAt
	Truncate(size int64) error
}, note string) error {
	if err := f.Truncate(r.Size); err != nil { // also of room that was kept behind it
		return err
	}
	return r.metadata.Complete(f, r.metadataAt, &r.Summary, r.Size, note)
}

// Complete writes what is known at the end over a file of size bytes, whose
// metadata body stands at an offset; 0: it has none. With a note it is not the last
// time: that takes the place of the index.
func (m FileMetadata) Complete(f io.WriterAt, at int64, s *Summary, size int64, note string) error {
	if _, err := f.WriteAt([]byte{Flags(s.Audio, s.Video)}, FlagsAt); err != nil {
		return err
	}
	if at == 0 {
		return nil
	}
	patches := m.Patches(s, size)
	if note != "" && m.tail > 0 {
		without := *s
		without.index = nil
		patches = m.fill(&without, size, m.fitting(note))
	}
	for _, p := range patches {
		if _, err := f.WriteAt(p.Data, at+int64(p.At)); err != nil {
			return err
		}
	}
	return nil
}

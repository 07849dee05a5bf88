package flv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFormat is wrapped by the errors that say that bytes are no FLV.
var ErrFormat = errors.New("flv: bad format")

const (
	// readStep bounds what is allocated ahead of the bytes received: a tag that
	// declares 16 MiB costs that only when they come.
	readStep = 64 << 10

	// maxHeader bounds the header that a file may declare; 9 is the only size
	// in use.
	maxHeader = 1 << 10
)

// A Reader reads a file front to back. It checks what the format repeats (tag
// types, previous tag sizes), so that the first damaged tag ends it.
//
//	header  io.EOF: nothing at all
//	tag     io.EOF: behind the last whole tag; io.ErrUnexpectedEOF: within a tag
type Reader struct {
	r      *bufio.Reader
	header bool
	flags  byte
	offset int64
	buf    []byte
}

// NewReader returns a Reader at the start of a file.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, readStep)} }

// Header reads the file header and tells its flags. Next calls it when nobody did.
func (r *Reader) Header() (hasAudio, hasVideo bool, err error) {
	if !r.header {
		if err := r.readHeader(); err != nil {
			return false, false, err
		}
	}
	return r.flags&4 != 0, r.flags&1 != 0, nil
}

// Offset is the size of the file up to the end of the last whole tag that was
// read: where a file with a torn tail is to be cut.
func (r *Reader) Offset() int64 { return r.offset }

func (r *Reader) readHeader() error {
	var b [9]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		return err
	}
	if string(b[:3]) != "FLV" || b[3] != 1 {
		return fmt.Errorf("%w: the file begins with %q", ErrFormat, b[:4])
	}
	size := binary.BigEndian.Uint32(b[5:])
	if size < 9 || size > maxHeader {
		return fmt.Errorf("%w: a header of %d bytes", ErrFormat, size)
	}
	if _, err := r.r.Discard(int(size) - 9); err != nil {
		return torn(err)
	}
	if err := r.readPrevious(0); err != nil {
		return err
	}
	r.header, r.flags = true, b[4]
	r.offset = int64(size) + TagTrailer
	return nil
}

// Next reads a tag. Its Data is valid until the next call.
func (r *Reader) Next() (Tag, error) {
	if _, _, err := r.Header(); err != nil {
		return Tag{}, err
	}
	var b [TagHeader]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		return Tag{}, err // io.EOF before the first byte, else io.ErrUnexpectedEOF
	}
	t, size, err := parseTagHeader(b[:])
	if err != nil {
		return Tag{}, fmt.Errorf("%w at byte %d", err, r.offset)
	}
	r.buf = r.buf[:0]
	for len(r.buf) < size {
		have := len(r.buf)
		step := min(size-have, max(readStep, have)) // at most doubles
		if cap(r.buf)-have < step {
			r.buf = append(make([]byte, 0, have+step), r.buf...)
		}
		r.buf = r.buf[:have+step]
		if _, err := io.ReadFull(r.r, r.buf[have:]); err != nil {
			return Tag{}, torn(err)
		}
	}
	if err := r.readPrevious(uint32(size) + TagHeader); err != nil {
		return Tag{}, err
	}
	r.offset += int64(size) + TagFrame
	t.Data = r.buf
	return t, nil
}

func (r *Reader) readPrevious(want uint32) error {
	var b [TagTrailer]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		return torn(err)
	}
	if got := binary.BigEndian.Uint32(b[:]); got != want {
		return fmt.Errorf("%w: previous tag size %d behind a tag of %d bytes at byte %d", ErrFormat, got, want, r.offset)
	}
	return nil
}

// Split takes the first whole tag off b. It reports false when there is none:
// b ends within it, or is no tag. The tag's Data lies in b.
func Split(b []byte) (t Tag, rest []byte, ok bool) {
	if len(b) < TagFrame {
		return Tag{}, b, false
	}
	t, size, err := parseTagHeader(b)
	if err != nil || len(b) < size+TagFrame {
		return Tag{}, b, false
	}
	end := TagHeader + size
	if binary.BigEndian.Uint32(b[end:]) != uint32(end) {
		return Tag{}, b, false
	}
	t.Data = b[TagHeader:end:end]
	return t, b[end+TagTrailer:], true
}

// parseTagHeader reads the 11 bytes in front of a body (E.4.1). A set filter bit
// (encrypted body) and the reserved bits are no tag that this server writes.
// The stream id is always 0 by the specification and not looked at, as
// everywhere else.
func parseTagHeader(b []byte) (t Tag, size int, err error) {
	switch b[0] {
	case TypeAudio, TypeVideo, TypeScript:
	default:
		return Tag{}, 0, fmt.Errorf("%w: tag type %d", ErrFormat, b[0])
	}
	t.Type = b[0]
	size = int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	t.Timestamp = uint32(b[7])<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])
	return t, size, nil
}

// torn is the error of a file that ends within something.
func torn(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

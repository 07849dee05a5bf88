package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The layout of a segment, all numbers little-endian:
//
//	header  "SRSHOOK1"  number u32  salt u32
//	record  mark u32  length u32  seq u64  kind u8, 3 × 0  crc u32  payload, padded to 8 bytes
//
// mark and crc depend on the salt: what a client sends cannot look like a
// record, wherever it comes to stand.
const (
	magic        = "SRSHOOK1"
	headerSize   = 16
	recordHeader = 24
	align        = 8
	markBase     = 0x4b4f4f48
)

// Our own choices.
const (
	MaxPayload   = 1 << 20  // bytes of one record
	segmentBytes = 8 << 20  // a segment that is longer is followed by a new one
	maxSegment   = 64 << 20 // bytes read of a file that claims to be one
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Record is what was appended, as it is found again.
type Record struct {
	Kind    byte
	Seq     uint64
	Payload []byte // valid during the call
	Place   Place
}

// A Place is where a record stands. The zero Place is nowhere.
type Place struct{ Segment, offset, size uint32 }

// recordSize is what a payload of n bytes takes.
func recordSize(n int) int { return (recordHeader + n + align - 1) &^ (align - 1) }

func appendHeader(dst []byte, number, salt uint32) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint32(dst, number)
	return binary.LittleEndian.AppendUint32(dst, salt)
}

// parseHeader returns the salt; ok is false when this is no segment of that number.
func parseHeader(b []byte, number uint32) (salt uint32, ok bool) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic || binary.LittleEndian.Uint32(b[8:]) != number {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b[12:]), true
}

func appendRecord(dst []byte, salt uint32, kind byte, seq uint64, payload []byte) []byte {
	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, markBase^salt)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	dst = append(dst, kind, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, checksum(salt, dst[start+4:start+20], payload))
	dst = append(dst, payload...)
	for (len(dst)-start)%align != 0 {
		dst = append(dst, 0)
	}
	return dst
}

func checksum(salt uint32, header, payload []byte) uint32 {
	return crc32.Update(crc32.Update(salt, castagnoli, header), castagnoli, payload)
}

// parseRecord reads the record that begins b; size is 0 when none does.
func parseRecord(b []byte, salt uint32) (r Record, size int) {
	if len(b) < recordHeader || binary.LittleEndian.Uint32(b) != markBase^salt {
		return r, 0
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > MaxPayload || recordSize(int(n)) > len(b) {
		return r, 0
	}
	r.Payload = b[recordHeader : recordHeader+n]
	if binary.LittleEndian.Uint32(b[20:]) != checksum(salt, b[4:20], r.Payload) {
		return r, 0
	}
	r.Seq, r.Kind = binary.LittleEndian.Uint64(b[8:]), b[16]
	return r, recordSize(int(n))
}

// scan calls f for each record of a segment's bytes from offset on. Damage is
// stepped over: the next record that is whole goes on. It returns how far whole
// records reach, how many bytes before that belong to none, and in how many places.
func scan(b []byte, number, salt uint32, offset int, f func(Record)) (end, damaged, places int) {
	end = offset
	for at := offset; at+recordHeader <= len(b); {
		r, size := parseRecord(b[at:], salt)
		if size == 0 {
			at += align
			continue
		}
		if damaged += at - end; at > end {
			places++
		}
		r.Place = Place{number, uint32(at), uint32(size)}
		f(r)
		at += size
		end = at
	}
	return end, damaged, places
}

// name is a segment's file.
func name(dir string, number uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%010d.journal", number))
}

// list finds the numbers of a directory's segments, in order.
func list(dir string) ([]uint32, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".journal")
		if n, err := strconv.ParseUint(digits, 10, 32); ok && err == nil && name(dir, uint32(n)) == filepath.Join(dir, e.Name()) {
			numbers = append(numbers, uint32(n))
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// Exists reports whether a directory has a journal that somebody has written.
func Exists(dir string) bool {
	numbers, err := list(dir)
	return err == nil && len(numbers) > 0
}

// load reads a segment from offset on, bounded.
func load(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.NewSectionReader(f, offset, maxSegment))
}

package main

import (
	"fmt"
	"testing"

	"srs/flv"
)

func TestStampBothWays(t *testing.T) {
	for name, s := range map[string]stamp{
		"zero":    {},
		"usual":   {stream: 0xdeadbeef, number: 7, sequence: 19, sent: 1795359365557123456},
		"largest": {stream: 1<<32 - 1, number: 1<<32 - 1, sequence: 1<<32 - 1, sent: 1<<63 - 1},
		"before":  {sent: -1},
	} {
		for _, typ := range []uint8{flv.TypeAudio, flv.TypeVideo} {
			body := make([]byte, stampAt(typ)+stampSize+10)
			s.write(typ, body)
			if got, ok := readStamp(typ, body); !ok || got != s {
				t.Errorf("%s, type %d: read %+v, %v; want %+v", name, typ, got, ok, s)
			}
		}
	}
}

// TestStampFindsEveryFlippedBit: also in the checksum's own digits, where a
// flipped bit may give the same digit in upper case.
func TestStampFindsEveryFlippedBit(t *testing.T) {
	p := newPayload(testLoad, 1)
	for i, f := range []frame{{typ: flv.TypeVideo, key: true}, {typ: flv.TypeAudio}} {
		body := append([]byte(nil), p.frame(f, int64(1000+i))...)
		for bit := range 8 * len(body) {
			body[bit/8] ^= 1 << (bit % 8)
			if s, ok := readStamp(f.typ, body); ok {
				t.Fatalf("type %d: bit %d of byte %d flipped, read as %+v", f.typ, bit%8, bit/8, s)
			}
			body[bit/8] ^= 1 << (bit % 8)
		}
		for n := range len(body) {
			if _, ok := readStamp(f.typ, body[:n]); ok {
				t.Fatalf("type %d: cut to %d of %d bytes and still good", f.typ, n, len(body))
			}
		}
	}
}

func Example_stamp() {
	body := make([]byte, audioStampAt+stampSize)
	stamp{stream: 1, number: 2, sequence: 3, sent: 4}.write(flv.TypeAudio, body)
	fmt.Printf("%s\n", body[audioStampAt:audioStampAt+crcDigits])
	// Output: 42656e310000000100000002000000030000000000000004
}

package main

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"

	"srs/flv"
)

// A stamp stands in every audio and video frame. It is written as lower case
// hexadecimal digits: free of zero bytes, as H.264 wants it, and easy to see in
// a dump.
//
//	offset  0      4         8         12         16          24
//	        magic  stream    number    sequence   sent (ns)   CRC32C
//
// The checksum is that of the whole body without the checksum's own digits.
type stamp struct {
	stream   uint32 // which publisher, anew at each start
	number   uint32 // of the frame among those of its type
	sequence uint32 // among all frames of the stream
	sent     int64  // ns since 1970
}

const (
	stampMagic = 0x42656e31 // "Ben1"
	stampBytes = 28
	stampSize  = 2 * stampBytes // digits
	crcDigits  = 2 * 24         // where the checksum's digits begin
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stampAt returns where a frame's stamp stands.
func stampAt(typ uint8) int {
	if typ == flv.TypeVideo {
		return videoStampAt
	}
	return audioStampAt
}

// write puts the stamp into a body that has room for it.
func (s stamp) write(typ uint8, body []byte) {
	var b [stampBytes]byte
	binary.BigEndian.PutUint32(b[0:], stampMagic)
	binary.BigEndian.PutUint32(b[4:], s.stream)
	binary.BigEndian.PutUint32(b[8:], s.number)
	binary.BigEndian.PutUint32(b[12:], s.sequence)
	binary.BigEndian.PutUint64(b[16:], uint64(s.sent))
	at := stampAt(typ)
	hex.Encode(body[at:], b[:24])
	binary.BigEndian.PutUint32(b[24:], checksum(at, body))
	hex.Encode(body[at+crcDigits:], b[24:])
}

// readStamp returns a body's stamp, or false when it has none or is damaged.
func readStamp(typ uint8, body []byte) (stamp, bool) {
	s, ok := peekStamp(typ, body)
	return s, ok && intact(typ, body)
}

// peekStamp is readStamp without a look at the checksum.
func peekStamp(typ uint8, body []byte) (stamp, bool) {
	at := stampAt(typ)
	if len(body) < at+stampSize {
		return stamp{}, false
	}
	var b [stampBytes]byte
	if _, err := hex.Decode(b[:24], body[at:at+crcDigits]); err != nil || binary.BigEndian.Uint32(b[:]) != stampMagic {
		return stamp{}, false
	}
	return stamp{
		stream:   binary.BigEndian.Uint32(b[4:]),
		number:   binary.BigEndian.Uint32(b[8:]),
		sequence: binary.BigEndian.Uint32(b[12:]),
		sent:     int64(binary.BigEndian.Uint64(b[16:])),
	}, true
}

// intact compares the checksum of a body that has a stamp. The digits are
// compared, not their value: "A" for "a" is damage too.
func intact(typ uint8, body []byte) bool {
	at := stampAt(typ)
	var sum [4]byte
	var want [2 * len(sum)]byte
	binary.BigEndian.PutUint32(sum[:], checksum(at, body))
	hex.Encode(want[:], sum[:])
	return string(want[:]) == string(body[at+crcDigits:at+stampSize])
}

func checksum(at int, body []byte) uint32 {
	crc := crc32.Update(0, castagnoli, body[:at+crcDigits])
	return crc32.Update(crc, castagnoli, body[at+stampSize:])
}

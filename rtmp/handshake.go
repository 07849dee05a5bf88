// Package rtmp is the protocol: handshake, messages, commands and names.
// It turns bytes into values and values into bytes; it starts no goroutine,
// reads no clock and logs nothing. Conn, the client side, is the one type
// with a socket in it.
package rtmp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
)

// Sizes of the handshake (RTMP 1.0 §5.2). C0 and S0 are one byte.
const (
	HandshakeSize = 1536              // C1, C2, S1 and S2 each
	HelloSize     = 1 + HandshakeSize // C0 and C1 together
	Version       = 3                 // C0 and S0
)

// The digest handshake, which the specification does not describe: a digest
// hides at a place that four offset bytes tell, and the other side's answer
// proves that it knows a key. Flash players want it for H.264, librtmp and
// ffmpeg check it when they offer it.
const (
	digestSize   = sha256.Size
	blockSize    = 764                        // a digest block or a key block
	digestRoom   = blockSize - 4 - digestSize // offsets are taken modulo this
	firstBlock   = 8                          // behind time and version
	secondBlock  = firstBlock + blockSize     //
	signedSize   = HandshakeSize - digestSize // of S2 and C2
	fmsVersion   = 0x01000504                 // what S1 says with a digest
	clientKeyLen = len("Genuine Adobe Flash Player 001")
	serverKeyLen = len("Genuine Adobe Flash Media Server 001")
)

var keyTail = []byte{
	0xf0, 0xee, 0xc2, 0x4a, 0x80, 0x68, 0xbe, 0xe8, 0x2e, 0x00, 0xd0, 0xd1, 0x02, 0x9e, 0x7e, 0x57,
	0x6e, 0xec, 0x5d, 0x2d, 0x29, 0x80, 0x6f, 0xab, 0x93, 0xb8, 0xe6, 0x36, 0xcf, 0xeb, 0x31, 0xae,
}

var (
	clientKey = append([]byte("Genuine Adobe Flash Player 001"), keyTail...)
	serverKey = append([]byte("Genuine Adobe Flash Media Server 001"), keyTail...)
)

// ErrVersion says that the first byte of a connection is not RTMP's.
var ErrVersion = errors.New("rtmp: the first byte is not an RTMP version")

// AnswerHello makes S0, S1 and S2 for a client's C0 and C1. random fills what
// is random. digest tells whether the client offered a valid digest; without
// one the handshake is the plain one of the specification, as SRS does it.
func AnswerHello(hello []byte, uptime uint32, random io.Reader) (answer []byte, digest bool, err error) {
	if len(hello) != HelloSize || hello[0] != Version {
		return nil, false, ErrVersion
	}
	c1 := hello[1:]
	answer = make([]byte, 1+2*HandshakeSize)
	if _, err := io.ReadFull(random, answer); err != nil {
		return nil, false, err
	}
	answer[0] = Version
	s1, s2 := answer[1:1+HandshakeSize], answer[1+HandshakeSize:]
	binary.BigEndian.PutUint32(s1, uptime)
	for _, block := range []int{secondBlock, firstBlock} { // scheme 0, scheme 1
		at := digestAt(c1, block)
		if !hmac.Equal(c1[at:at+digestSize], digestOf(c1, at, clientKey[:clientKeyLen])) {
			continue
		}
		binary.BigEndian.PutUint32(s1[4:], fmsVersion)
		mine := digestAt(s1, block)
		copy(s1[mine:], digestOf(s1, mine, serverKey[:serverKeyLen]))
		sign(s2, c1[at:at+digestSize], serverKey)
		return answer, true, nil
	}
	clear(s1[4:8]) // no version: the client need not look for a digest
	copy(s2, c1)
	return answer, false, nil
}

// Hello makes a client's C0 and C1, with a digest where asked for (scheme 1).
func Hello(digest bool, random io.Reader) ([]byte, error) {
	hello := make([]byte, HelloSize)
	if _, err := io.ReadFull(random, hello); err != nil {
		return nil, err
	}
	hello[0] = Version
	c1 := hello[1:]
	clear(c1[:8])
	if digest {
		binary.BigEndian.PutUint32(c1[4:], 0x80000702) // a Flash player's version
		at := digestAt(c1, firstBlock)
		copy(c1[at:], digestOf(c1, at, clientKey[:clientKeyLen]))
	}
	return hello, nil
}

// ErrProof says that a server's answer does not prove that it knows the key.
var ErrProof = errors.New("rtmp: the server's handshake does not prove its key")

// AnswerServer makes C2 for a server's S0, S1 and S2. It checks the server's
// proof when hello carried a digest and the server claims to know digests.
func AnswerServer(hello, answer []byte) ([]byte, error) {
	if len(answer) != 1+2*HandshakeSize || answer[0] != Version {
		return nil, ErrVersion
	}
	c1, s1, s2 := hello[1:], answer[1:1+HandshakeSize], answer[1+HandshakeSize:]
	if binary.BigEndian.Uint32(c1[4:]) == 0 || binary.BigEndian.Uint32(s1[4:]) != fmsVersion {
		return bytes.Clone(s1), nil
	}
	mine := digestAt(c1, firstBlock)
	want := make([]byte, HandshakeSize)
	copy(want, s2)
	sign(want, c1[mine:mine+digestSize], serverKey)
	theirs := digestAt(s1, firstBlock)
	if !hmac.Equal(want, s2) || !hmac.Equal(s1[theirs:theirs+digestSize], digestOf(s1, theirs, serverKey[:serverKeyLen])) {
		return nil, ErrProof
	}
	c2 := bytes.Clone(s1)
	sign(c2, s1[theirs:theirs+digestSize], clientKey)
	return c2, nil
}

// digestAt returns where a digest block that begins at block has its digest.
func digestAt(message []byte, block int) int {
	sum := 0
	for _, b := range message[block : block+4] {
		sum += int(b)
	}
	return block + 4 + sum%digestRoom
}

// digestOf is the digest of everything in a C1 or S1 but the digest itself.
func digestOf(message []byte, at int, key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message[:at])
	h.Write(message[at+digestSize : HandshakeSize])
	return h.Sum(nil)
}

// sign ends a C2 or S2 with the proof that its sender has read digest.
func sign(message, digest, key []byte) {
	h := hmac.New(sha256.New, key)
	h.Write(digest)
	k := hmac.New(sha256.New, h.Sum(nil))
	k.Write(message[:signedSize])
	copy(message[signedSize:], k.Sum(nil))
}

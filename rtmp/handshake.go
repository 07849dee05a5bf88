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
	"hash"
	"io"
	"slices"
	"sync"
)

// Sizes of the handshake (RTMP 1.0 §5.2). C0 and S0 are one byte.
const (
	HandshakeSize = 1536              // C1, C2, S1 and S2 each
	HelloSize     = 1 + HandshakeSize // C0 and C1 together
	AnswerSize    = HelloSize + HandshakeSize
	Version       = 3 // C0 and S0
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

// AnswerHello adds S0, S1 and S2 for a client's C0 and C1. random fills what
// is random. digest tells whether the client offered a valid digest; without
// one the handshake is the plain one of the specification, as SRS does it.
func AnswerHello(dst, hello []byte, uptime uint32, random io.Reader) (_ []byte, digest bool, err error) {
	if len(hello) != HelloSize || hello[0] != Version {
		return dst, false, ErrVersion
	}
	c1 := hello[1:]
	dst = slices.Grow(dst, AnswerSize)
	all := dst[:len(dst)+AnswerSize]
	answer := all[len(dst):]
	if _, err := io.ReadFull(random, answer); err != nil {
		return dst, false, err
	}
	answer[0] = Version
	s1, s2 := answer[1:1+HandshakeSize], answer[1+HandshakeSize:]
	binary.BigEndian.PutUint32(s1, uptime)
	for _, block := range []int{secondBlock, firstBlock} { // scheme 0, scheme 1
		at := digestAt(c1, block)
		if !clientDigest.check(c1, at) {
			continue
		}
		binary.BigEndian.PutUint32(s1[4:], fmsVersion)
		mine := digestAt(s1, block)
		serverDigest.put(s1, mine)
		serverProof.sign(s2, c1[at:at+digestSize])
		return all, true, nil
	}
	clear(s1[4:8]) // no version: the client need not look for a digest
	copy(s2, c1)
	return all, false, nil
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
		clientDigest.put(c1, at)
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
	serverProof.sign(want, c1[mine:mine+digestSize])
	theirs := digestAt(s1, firstBlock)
	if !hmac.Equal(want, s2) || !serverDigest.check(s1, theirs) {
		return nil, ErrProof
	}
	c2 := bytes.Clone(s1)
	clientProof.sign(c2, s1[theirs:theirs+digestSize])
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

// signer makes digests with a fixed key. Making an HMAC costs as much as using
// it for a handshake, so they are kept.
type signer struct {
	key  []byte
	idle sync.Pool
}

var (
	clientDigest = signer{key: clientKey[:clientKeyLen]}
	serverDigest = signer{key: serverKey[:serverKeyLen]}
	clientProof  = signer{key: clientKey}
	serverProof  = signer{key: serverKey}
)

func (s *signer) sum(dst []byte, parts ...[]byte) []byte {
	h, _ := s.idle.Get().(hash.Hash)
	if h == nil {
		h = hmac.New(sha256.New, s.key)
	}
	for _, p := range parts {
		h.Write(p)
	}
	dst = h.Sum(dst)
	h.Reset()
	s.idle.Put(h)
	return dst
}

// digest is that of everything in a C1 or S1 but the digest itself.
func (s *signer) digest(dst, message []byte, at int) []byte {
	return s.sum(dst, message[:at], message[at+digestSize:HandshakeSize])
}

// put writes the digest to its place.
func (s *signer) put(message []byte, at int) { s.digest(message[at:at], message, at) }

// check says whether the digest in its place is right.
func (s *signer) check(message []byte, at int) bool {
	var room [digestSize]byte
	return hmac.Equal(message[at:at+digestSize], s.digest(room[:0], message, at))
}

// sign ends a C2 or S2 with the proof that its sender has read digest.
func (s *signer) sign(message, digest []byte) {
	var room [digestSize]byte
	k := hmac.New(sha256.New, s.sum(room[:0], digest))
	k.Write(message[:signedSize])
	k.Sum(message[signedSize:signedSize])
}

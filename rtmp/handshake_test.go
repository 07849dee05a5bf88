package rtmp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// chance gives random bytes, the same in every run.
func chance(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// proof is the digest written down once more, from the facts §5.1.
func proof(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// schemeHello is a client's C0 and C1 with the digest block at 772 (scheme 0)
// or 8 (scheme 1). forge spoils the digest.
func schemeHello(t *testing.T, seed byte, scheme int, forge bool) (hello, digest []byte) {
	t.Helper()
	hello = make([]byte, HelloSize)
	io.ReadFull(chance(seed), hello)
	hello[0] = Version
	c1 := hello[1:]
	copy(c1[4:], []byte{0x0a, 0, 0x2d, 2})
	block := []int{772, 8}[scheme]
	at := block + 4 + (int(c1[block])+int(c1[block+1])+int(c1[block+2])+int(c1[block+3]))%728
	digest = proof([]byte("Genuine Adobe Flash Player 001"), append(append([]byte(nil), c1[:at]...), c1[at+32:]...))
	copy(c1[at:], digest)
	if forge {
		c1[at+31] ^= 1
	}
	return hello, digest
}

func TestAnswerHelloDigest(t *testing.T) {
	for scheme, block := range []int{772, 8} {
		for seed := range byte(50) { // offsets differ
			hello, digest := schemeHello(t, seed, scheme, false)
			answer, ok, err := AnswerHello(nil, hello, 0x01020304, chance(seed+100))
			if err != nil || !ok || len(answer) != 3073 || answer[0] != 3 {
				t.Fatalf("scheme %d: %v, %v", scheme, ok, err)
			}
			s1, s2 := answer[1:1537], answer[1537:]
			if binary.BigEndian.Uint32(s1) != 0x01020304 || binary.BigEndian.Uint32(s1[4:]) != 0x01000504 {
				t.Fatalf("S1 begins with %x", s1[:8])
			}
			at := block + 4 + (int(s1[block])+int(s1[block+1])+int(s1[block+2])+int(s1[block+3]))%728
			want := proof([]byte("Genuine Adobe Flash Media Server 001"), append(append([]byte(nil), s1[:at]...), s1[at+32:]...))
			if !bytes.Equal(s1[at:at+32], want) {
				t.Fatalf("scheme %d: S1 has no digest at %d", scheme, at)
			}
			if !bytes.Equal(s2[1504:], proof(proof(serverKey, digest), s2[:1504])) {
				t.Fatalf("scheme %d: S2 proves nothing", scheme)
			}
		}
	}
	if len(clientKey) != 62 || len(serverKey) != 68 {
		t.Errorf("keys of %d and %d bytes", len(clientKey), len(serverKey))
	}
}

func TestAnswerHelloPlain(t *testing.T) {
	plain, err := Hello(false, chance(1))
	if err != nil {
		t.Fatal(err)
	}
	forged0, _ := schemeHello(t, 2, 0, true)
	forged1, _ := schemeHello(t, 3, 1, true)
	for name, hello := range map[string][]byte{
		"no version": plain, "wrong digest, scheme 0": forged0, "wrong digest, scheme 1": forged1,
		"zeros": append([]byte{3}, make([]byte, HandshakeSize)...),
	} {
		answer, digest, err := AnswerHello(nil, hello, 5, chance(4))
		if err != nil || digest || len(answer) != 3073 {
			t.Fatalf("%s: %v, %v", name, digest, err)
		}
		if !bytes.Equal(answer[1:9], []byte{0, 0, 0, 5, 0, 0, 0, 0}) {
			t.Errorf("%s: S1 begins with %x", name, answer[1:9])
		}
		if !bytes.Equal(answer[1537:], hello[1:]) {
			t.Errorf("%s: S2 is not C1", name)
		}
	}
}

func TestAnswerHelloRefuses(t *testing.T) {
	good, _ := Hello(true, chance(1))
	for name, hello := range map[string][]byte{
		"nothing": nil, "short": good[:HelloSize-1], "long": append(bytes.Clone(good), 0),
		"version 0": append([]byte{0}, good[1:]...), "RTMPE": append([]byte{6}, good[1:]...), "HTTP": append([]byte("G"), good[1:]...),
	} {
		if _, _, err := AnswerHello(nil, hello, 0, chance(1)); !errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := AnswerHello(nil, good, 0, bytes.NewReader(nil)); err == nil {
		t.Error("no random bytes and no error")
	}
	if _, err := Hello(true, bytes.NewReader(nil)); err == nil {
		t.Error("no random bytes and no error")
	}
}

// TestHandshakeBothWays: our client and our server, with and without digest.
func TestHandshakeBothWays(t *testing.T) {
	for _, digest := range []bool{true, false} {
		for seed := range byte(50) {
			hello, err := Hello(digest, chance(seed))
			if err != nil {
				t.Fatal(err)
			}
			answer, got, err := AnswerHello(nil, hello, 1, chance(seed+100))
			if err != nil || got != digest {
				t.Fatalf("digest %v: %v, %v", digest, got, err)
			}
			c2, err := AnswerServer(hello, answer)
			if err != nil || len(c2) != HandshakeSize {
				t.Fatalf("digest %v: C2 of %d bytes, %v", digest, len(c2), err)
			}
			s1 := answer[1 : 1+HandshakeSize]
			if !digest && !bytes.Equal(c2, s1) {
				t.Fatal("C2 is not S1")
			}
			if digest {
				at := digestAt(s1, firstBlock)
				if !bytes.Equal(c2[1504:], proof(proof(clientKey, s1[at:at+32]), c2[:1504])) {
					t.Fatal("C2 proves nothing")
				}
			}
		}
	}
}

func TestAnswerServerVerifies(t *testing.T) {
	hello, _ := Hello(true, chance(1))
	answer, _, _ := AnswerHello(nil, hello, 1, chance(2))
	other, _ := Hello(true, chance(3))
	if _, err := AnswerServer(other, answer); !errors.Is(err, ErrProof) {
		t.Errorf("an answer to somebody else: %v", err)
	}
	for name, at := range map[string]int{"S1": 100, "the digest": 1 + digestAt(answer[1:], firstBlock), "S2": 1600, "the proof": 3072} {
		forged := bytes.Clone(answer)
		forged[at] ^= 0x80
		if _, err := AnswerServer(hello, forged); !errors.Is(err, ErrProof) {
			t.Errorf("%s forged: %v", name, err)
		}
	}
	for name, bad := range map[string][]byte{"short": answer[:3072], "version": append([]byte{6}, answer[1:]...), "nothing": nil} {
		if _, err := AnswerServer(hello, bad); !errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := bytes.Clone(answer) // a server that claims no digest proves none
	clear(plain[5:9])
	if c2, err := AnswerServer(hello, plain); err != nil || !bytes.Equal(c2, plain[1:1537]) {
		t.Errorf("a plain server: %v", err)
	}
}

func FuzzHandshake(f *testing.F) {
	hello, _ := Hello(true, chance(1))
	f.Add(hello[1:])
	f.Add(make([]byte, HandshakeSize))
	f.Add(bytes.Repeat([]byte{0xff}, HandshakeSize))
	f.Fuzz(func(t *testing.T, c1 []byte) {
		hello := append([]byte{Version}, c1...)
		answer, _, err := AnswerHello(nil, hello, 0, chance(1))
		if (err == nil) != (len(c1) == HandshakeSize) {
			t.Fatalf("%d bytes: %v", len(c1), err)
		}
		if err == nil {
			AnswerServer(hello, answer)
		}
	})
}

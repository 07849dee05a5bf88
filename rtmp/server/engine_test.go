package server

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"testing"

	"srs/amf0"
	"srs/flv"
)

// TestEnginesAgree: what players get is the same with either engine, byte for
// byte: quick ones and ones whose sockets are full most of the time, more than
// one submission takes.
func TestEnginesAgree(t *testing.T) {
	var sums [][sha256.Size]byte
	eachEngine(t, func(t *testing.T) {
		s := start(t, "play { so_sndbuf 8192; }")
		end := bytes.Repeat([]byte("the end."), 100)
		const players = 80
		results := make(chan [sha256.Size]byte, players)
		for i := range players {
			c := s.shaken()
			if i%2 == 0 {
				c.(*net.TCPConn).SetReadBuffer(64 << 10)
			}
			b := append(connectCommand(), command("createStream", 2.0, amf0.Null{})...)
			c.Write(append(b, streamCommand("play", 0.0, amf0.Null{}, "x")...))
			go func() {
				var got []byte
				room := make([]byte, 1000+500*i)
				for !bytes.HasSuffix(got, end) {
					n, err := c.Read(room)
					if got = append(got, room[:n]...); err != nil {
						t.Errorf("player %d: %v after %d bytes", i, err, len(got))
						break
					}
				}
				_, media, _ := bytes.Cut(got, []byte("|RtmpSampleAccess")) // before it are ids
				results <- sha256.Sum256(media)
			}()
		}
		s.eventually(func() bool { return s.server.Counters().Players == players }, "not all play")
		p := s.publish("x")
		send(t, p, flv.TypeVideo, 0, videoHeader())
		send(t, p, flv.TypeAudio, 0, audioHeader())
		for n := range 100 {
			send(t, p, flv.TypeVideo, uint32(n)*40, numbered(n))
			send(t, p, flv.TypeAudio, uint32(n)*40+10, fmt.Append([]byte{0xaf, 1}, n))
			if n == 50 {
				send(t, p, flv.TypeVideo, uint32(n)*40+20, videoFrame(false, 1, 300_000)) // in several blocks' room
			}
		}
		send(t, p, flv.TypeVideo, 4000, append(videoFrame(false, 2, 6), end...))
		var one [][sha256.Size]byte
		for range players {
			one = append(one, <-results)
		}
		if len(slices.CompactFunc(one, func(a, b [sha256.Size]byte) bool { return a == b })) != 1 {
			t.Error("players got different bytes")
		}
		sums = append(sums, one[0])
	})
	if len(sums) != 2 || sums[0] != sums[1] {
		t.Errorf("the engines sent different bytes: %x", sums)
	}
}

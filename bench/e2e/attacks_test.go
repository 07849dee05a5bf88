package e2e

import (
	"bytes"
	"math/rand/v2"
	"strings"

	"srs/amf0"
	"srs/rtmp"
)

// An attack is what hostile clients do: each connection must end with one log
// line that gives the reason.
type attack struct {
	name   string
	stage  stage
	send   [][]byte
	reason string
	// stays says that the server must bear it: the client ends the connection
	// itself, once the server has answered a ping.
	stays bool
	times int // connections; 0: 1
}

// stage is how far a client goes before it turns hostile.
type stage int

const (
	afterTCP stage = iota
	afterHandshake
	afterConnect
	afterPublish
	afterPlay
)

// many concatenates n pieces.
func many(n int, piece func(i int) []byte) []byte {
	var b []byte
	for i := range n {
		b = append(b, piece(i)...)
	}
	return b
}

// nested is AMF0 that opens that many values inside each other.
func nested(open string, depth int) []byte { return bytes.Repeat([]byte(open), depth) }

// metadata is an onMetaData message's body with that value.
func metadata(value []byte) []byte { return append(amf0.Append(nil, "onMetaData"), value...) }

// noise is random, the same in every run, and begins with first.
func noise(n int, first byte) []byte {
	b := make([]byte, n)
	source := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(source.Uint32())
	}
	b[0] = first
	return b
}

const tenMiB = 10 << 20

// attacks are the cases of the catalogue that are told apart by bytes alone.
var attacks = []attack{
	{name: "noise", send: [][]byte{noise(64<<10, 0x47)}, reason: "hs.version"},
	{name: "HTTP", send: [][]byte{[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")}, reason: "hs.version"},
	{name: "proxy protocol", send: [][]byte{[]byte("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")}, reason: "hs.version"},
	{name: "SRS proxy header", send: [][]byte{{0xf3, 0, 4, 1, 2, 3, 4, 3}}, reason: "hs.proxy_denied"},
	{name: "noise behind the handshake", stage: afterHandshake, send: [][]byte{bytes.Repeat([]byte{0xff}, 4096)}, reason: "chunk.no_prev"},

	{name: "chunk size 0", stage: afterHandshake, send: [][]byte{setChunkSize(0)}, reason: "chunk.size_invalid"},
	{name: "chunk size 0 in a publish", stage: afterPublish, send: [][]byte{setChunkSize(0), announce(4, rtmp.TypeVideo, 1000),
		bytes.Repeat([]byte{0xc4}, 1<<20)}, reason: "chunk.size_invalid"},
	{name: "chunk size 1", stage: afterHandshake, send: [][]byte{setChunkSize(1)}, reason: "chunk.size_invalid"},
	{name: "chunk size with the top bit", stage: afterHandshake, send: [][]byte{setChunkSize(1 << 31)}, reason: "chunk.size_invalid"},
	{name: "largest chunk size", stage: afterPublish, send: [][]byte{setChunkSize(1<<31 - 1)}, stays: true},
	{name: "type 3 without a predecessor", stage: afterHandshake, send: [][]byte{{0xc5}}, reason: "chunk.no_prev"},
	{name: "type 2 without a predecessor", stage: afterPublish, send: [][]byte{{0x89, 0, 0, 0}}, reason: "chunk.no_prev"},
	{name: "a new header within a message", stage: afterPublish, send: [][]byte{announce(4, rtmp.TypeVideo, 1000),
		make([]byte, 128), announce(4, rtmp.TypeVideo, 500)}, reason: "chunk.header_change"},
	{name: "a shorter length within a message", stage: afterPublish, send: [][]byte{announce(4, rtmp.TypeVideo, 1000),
		make([]byte, 128), {0x44, 0, 0, 0, 0, 0, 100, 9}, make([]byte, 128)}, reason: "chunk.header_change"},
	{name: "control message without its body", stage: afterHandshake, send: [][]byte{announce(2, rtmp.TypeSetChunkSize, 0)}, reason: "chunk.ctrl_short"},

	{name: "16 MB announced on 60 chunk streams", stage: afterPublish, reason: "msg.too_big",
		send: [][]byte{many(60, func(i int) []byte { return announce(uint32(10+i), rtmp.TypeVideo, 0xffffff) })}},
	{name: "16 MB announced before connect", stage: afterHandshake, reason: "msg.too_big",
		send: [][]byte{announce(4, rtmp.TypeVideo, 0xffffff)}},
	{name: "10 MiB announced on 50 chunk streams, few bytes sent", stage: afterPublish, stays: true, times: 10,
		send: [][]byte{many(50, func(i int) []byte {
			return append(announce(uint32(10+i), rtmp.TypeVideo, tenMiB), make([]byte, 128)...)
		})}},
	{name: "unfinished messages beyond the bound", stage: afterPublish, reason: "msg.too_big",
		send: [][]byte{setChunkSize(1 << 20), many(15, func(i int) []byte {
			return append(announce(uint32(10+i), rtmp.TypeVideo, tenMiB), make([]byte, 1<<20)...)
		})}},
	{name: "one chunk stream too many before connect", stage: afterHandshake, reason: "chunk.csid_limit",
		send: [][]byte{many(300, func(i int) []byte { return append(announce(uint32(3+i), rtmp.TypeCommand, 200), make([]byte, 128)...) })}},
	{name: "one chunk stream too many in a publish", stage: afterPublish, reason: "chunk.csid_limit",
		send: [][]byte{many(70, func(i int) []byte {
			return append(announce(uint32(300+i), rtmp.TypeVideo, tenMiB), make([]byte, 128)...)
		})}},

	{name: "16,000 objects inside each other", stage: afterHandshake, reason: "amf.depth",
		send: [][]byte{message(3, rtmp.TypeCommand, append(amf0.Append(nil, "connect", 1.0), nested("\x03\x00\x01a", 16000)...))}},
	{name: "12,000 arrays inside each other", stage: afterHandshake, reason: "amf.depth",
		send: [][]byte{message(3, rtmp.TypeCommand, append(amf0.Append(nil, "connect", 1.0), nested("\x0a\x00\x00\x00\x01", 12000)...))}},
	{name: "100,000 objects inside each other", stage: afterHandshake, reason: "msg.too_big",
		send: [][]byte{message(3, rtmp.TypeCommand, nested("\x03\x00\x01a", 100000))}},
	{name: "100,000 objects inside each other in a publish", stage: afterPublish, reason: "msg.too_big",
		send: [][]byte{message(4, rtmp.TypeData, metadata(nested("\x03\x00\x01a", 100000)))}},
	{name: "80,000 objects inside each other as metadata", stage: afterPublish, stays: true,
		send: [][]byte{message(4, rtmp.TypeData, metadata(nested("\x03\x00\x00", 80000)))}},
	{name: "80,000 objects inside each other as a command", stage: afterPublish, reason: "amf.depth",
		send: [][]byte{message(4, rtmp.TypeCommand, append(amf0.Append(nil, "x", 1.0), nested("\x03\x00\x00", 80000)...))}},
	{name: "array of 4 billion", stage: afterHandshake, reason: "amf.truncated",
		send: [][]byte{message(3, rtmp.TypeCommand, append(amf0.Append(nil, "connect", 1.0), "\x0a\xff\xff\xff\xff\x05"...))}},
	{name: "string of 4 GiB", stage: afterHandshake, reason: "amf.truncated",
		send: [][]byte{message(3, rtmp.TypeCommand, append(amf0.Append(nil, "connect", 1.0), "\x0c\xff\xff\xff\xffa"...))}},

	{name: "publish before connect", stage: afterHandshake, send: [][]byte{cmdPublish("s")}, reason: "state.order"},
	{name: "connect twice", stage: afterConnect, send: [][]byte{cmdConnect("rtmp://127.0.0.1/live", "live")}, reason: "state.connect_twice"},
	{name: "media before publish", stage: afterConnect, send: [][]byte{message(6, rtmp.TypeVideo, avcHeader)}, reason: "state.order"},
	{name: "createStream over and over", stage: afterConnect, send: [][]byte{many(100, func(int) []byte { return cmdCreateStream() })}, reason: "state.streams"},
	{name: "a name with control characters", stage: afterConnect, reason: "name.invalid",
		send: [][]byte{cmdPublish("a\r\n[2026-01-01 00:00:00.000][error][1][1] fake\x1b[2J\x00")}},
	{name: "a name that leaves its folder", stage: afterConnect, send: [][]byte{cmdPublish("../../etc/passwd")}, reason: "name.invalid"},
	{name: "an endless name", stage: afterConnect, send: [][]byte{cmdPublish(strings.Repeat("a", 2000))}, reason: "name.too_long"},
	{name: "messages of no known type", stage: afterPublish, reason: "msg.unknown_flood",
		send: [][]byte{many(10000, func(int) []byte { return message(6, 99, []byte{1}) })}},

	{name: "10,000 messages of one byte", stage: afterPublish, stays: true,
		send: [][]byte{many(10000, func(i int) []byte { return message(6, rtmp.TypeAudio, []byte{byte(i)}) })}},
	{name: "10,000 messages of no byte", stage: afterPublish, stays: true,
		send: [][]byte{many(10000, func(int) []byte { return message(6, rtmp.TypeVideo, nil) })}},
	{name: "10,000 acknowledgements", stage: afterPlay, stays: true,
		send: [][]byte{many(10000, func(i int) []byte { return rtmp.AppendAck(nil, uint32(i)*7919) })}},
}

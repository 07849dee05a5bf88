package chunk

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

var testLimits = Limits{Streams: 64, Command: 256 << 10, Media: 10 << 20, Partial: 11 << 20}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readAll feeds wire in pieces of at most step bytes and returns copies of
// the messages.
func readAll(r *Reader, wire []byte, step func() int) ([]Message, error) {
	var got []Message
	for len(wire) > 0 {
		n := min(step(), len(wire))
		piece := bytes.Clone(wire[:n])
		r.Feed(piece)
		for {
			m, ok, err := r.Next()
			if err != nil {
				return got, err
			}
			if !ok {
				break
			}
			m.Body = bytes.Clone(m.Body)
			got = append(got, m)
		}
		clear(piece) // the Reader must not look at it again
		wire = wire[n:]
	}
	return got, nil
}

func atOnce() int { return 1 << 30 }

// vectors are messages and their bytes with headers of type 0, run both ways.
var vectors = []struct {
	name string
	msg  Message
	size int
	hex  string
}{
	{"csid of one byte", Message{CSID: 3, Type: 20, Timestamp: 1, Body: []byte("ab")}, 128,
		"03 000001 000002 14 00000000 6162"},
	{"message stream id is little-endian", Message{CSID: 4, Type: 9, StreamID: 1, Body: []byte("v")}, 128,
		"04 000000 000001 09 01000000 76"},
	{"last csid of one byte", Message{CSID: 63, Type: 8, Body: []byte("a")}, 128,
		"3f 000000 000001 08 00000000 61"},
	{"first csid of two bytes", Message{CSID: 64, Type: 8, Body: []byte("a")}, 128,
		"00 00 000000 000001 08 00000000 61"},
	{"last csid of two bytes", Message{CSID: 319, Type: 8, Body: []byte("a")}, 128,
		"00 ff 000000 000001 08 00000000 61"},
	{"first csid of three bytes", Message{CSID: 320, Type: 8, Body: []byte("a")}, 128,
		"01 0001 000000 000001 08 00000000 61"},
	{"last csid of three bytes", Message{CSID: 65599, Type: 8, Body: []byte("a")}, 128,
		"01 ffff 000000 000001 08 00000000 61"},
	{"largest plain timestamp", Message{CSID: 5, Type: 8, Timestamp: 0xfffffe, Body: []byte("a")}, 128,
		"05 fffffe 000001 08 00000000 61"},
	{"smallest extended timestamp", Message{CSID: 5, Type: 8, Timestamp: 0xffffff, Body: []byte("a")}, 128,
		"05 ffffff 000001 08 00000000 00ffffff 61"},
	{"largest timestamp", Message{CSID: 5, Type: 8, Timestamp: 0xffffffff, Body: []byte("a")}, 128,
		"05 ffffff 000001 08 00000000 ffffffff 61"},
	{"empty body", Message{CSID: 5, Type: 8, Body: []byte{}}, 128,
		"05 000000 000000 08 00000000"},
	{"exactly one chunk", Message{CSID: 5, Type: 8, Body: bytes.Repeat([]byte("x"), 128)}, 128,
		"05 000000 000080 08 00000000 " + strings.Repeat("78", 128)},
	{"one byte more than a chunk", Message{CSID: 5, Type: 8, Body: bytes.Repeat([]byte("x"), 129)}, 128,
		"05 000000 000081 08 00000000 " + strings.Repeat("78", 128) + "c5 78"},
	{"extended timestamp is repeated", Message{CSID: 5, Type: 8, Timestamp: 0x01000000, Body: bytes.Repeat([]byte("x"), 129)}, 128,
		"05 ffffff 000081 08 00000000 01000000 " + strings.Repeat("78", 128) + "c5 01000000 78"},
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.hex)
			if got := Append(nil, v.msg, v.size); !bytes.Equal(got, want) {
				t.Errorf("Append = %x, want %x", got, want)
			}
			if n := WireSize(v.msg.CSID, v.msg.Timestamp, len(v.msg.Body), v.size); n != len(want) {
				t.Errorf("WireSize = %d, want %d", n, len(want))
			}
			first, again := HeaderSize(v.msg.CSID, v.msg.Timestamp)
			if n := len(AppendHeader(nil, v.msg.CSID, v.msg.Type, 0, v.msg.Timestamp, 1)); n != first {
				t.Errorf("HeaderSize = %d, a header has %d", first, n)
			}
			if n := len(AppendContinuation(nil, v.msg.CSID, v.msg.Timestamp)); n != again {
				t.Errorf("HeaderSize continuation = %d, it has %d", again, n)
			}
			for step := range 5 {
				got, err := readAll(NewReader(testLimits), want, func() int { return step*step*step + 1 })
				if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], v.msg) {
					t.Errorf("in pieces of %d: %+v, %v", step*step*step+1, got, err)
				}
			}
		})
	}
}

// Headers that lean on the one before (RTMP 1.0 §5.3.1.2), times checked.
func TestRelativeHeaders(t *testing.T) {
	for _, v := range []struct {
		name  string
		hex   string
		times []uint32
	}{
		{"type 1 and 2 add a delta", "04 0003e8 000001 08 01000000 61 44 000014 000001 08 62 84 00000a 63", []uint32{1000, 1020, 1030}},
		{"type 3 repeats the delta", "04 0003e8 000001 08 01000000 61 84 000014 62 c4 63 c4 64", []uint32{1000, 1020, 1040, 1060}},
		{"type 3 behind type 0 adds its timestamp", "04 000017 000001 08 01000000 61 c4 62", []uint32{23, 46}},
		{"delta 0", "04 0003e8 000001 08 01000000 61 44 000000 000001 08 62 84 000000 63 c4 64", []uint32{1000, 1000, 1000, 1000}},
		{"extended delta is a delta", "04 000010 000001 08 01000000 61 84 ffffff 01000000 62", []uint32{16, 0x01000010}},
		{"extended delta repeated by type 3", "04 000010 000001 08 01000000 61 84 ffffff 01000000 62 c4 01000000 63", []uint32{16, 0x01000010, 0x02000010}},
		{"time wraps at 2^32", "04 ffffff 000001 08 01000000 ffffff00 61 84 000200 62", []uint32{0xffffff00, 0x100}},
		{"type 1 first on a chunk stream (librtmp's ping)", "42 000000 000006 04 000600000001", []uint32{0}},
	} {
		t.Run(v.name, func(t *testing.T) {
			for step := 1; step < 20; step++ {
				got, err := readAll(NewReader(testLimits), unhex(t, v.hex), func() int { return step })
				if err != nil {
					t.Fatal(err)
				}
				var times []uint32
				for _, m := range got {
					times = append(times, m.Timestamp)
				}
				if !reflect.DeepEqual(times, v.times) {
					t.Errorf("in pieces of %d: times %v, want %v", step, times, v.times)
				}
			}
		})
	}
}

// Both habits of senders with extended timestamps are read right, whichever
// way the bytes are cut: those that repeat the 4 bytes and those that do not.
func TestExtendedTimestampHabits(t *testing.T) {
	body := make([]byte, 128*3+2)
	for i := range body {
		body[i] = byte(i)
	}
	const time = 0x01020304
	for _, repeats := range []bool{true, false} {
		var wire []byte
		for range 3 {
			wire = AppendHeader(wire, 6, 9, 1, time, len(body))
			for i := 0; i < len(body); i += 128 {
				if i > 0 {
					wire = append(wire, 0xc6)
					if repeats {
						wire = binary.BigEndian.AppendUint32(wire, time)
					}
				}
				wire = append(wire, body[i:min(i+128, len(body))]...)
			}
		}
		for step := 1; step < 300; step++ {
			got, err := readAll(NewReader(testLimits), wire, func() int { return step })
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 3 {
				t.Fatalf("repeats %v, pieces of %d: %d messages", repeats, step, len(got))
			}
			for _, m := range got {
				if m.Timestamp != time || !bytes.Equal(m.Body, body) {
					t.Fatalf("repeats %v, pieces of %d: message damaged", repeats, step)
				}
			}
		}
	}
}

// A sender that does not repeat the timestamp, with so little left of the
// message that the bytes looked at reach into the next chunks.
func TestExtendedTimestampShortTail(t *testing.T) {
	body := bytes.Repeat([]byte{7}, 129)
	var wire []byte
	wire = AppendHeader(wire, 6, 9, 1, 0x01000000, len(body))
	wire = append(wire, body[:128]...)
	wire = append(wire, 0xc6, body[128])
	wire = Append(wire, Message{CSID: 4, Type: 8, StreamID: 1, Timestamp: 5, Body: []byte("audio")}, 128)
	for step := 1; step < len(wire); step++ {
		got, err := readAll(NewReader(testLimits), wire, func() int { return step })
		if err != nil || len(got) != 2 || !bytes.Equal(got[0].Body, body) || string(got[1].Body) != "audio" {
			t.Fatalf("pieces of %d: %d messages, %v", step, len(got), err)
		}
	}
}

func setChunkSize(n uint32) Message {
	return Message{CSID: 2, Type: TypeSetChunkSize, Body: binary.BigEndian.AppendUint32(nil, n)}
}

// Video, audio, data and pings interleaved chunk by chunk; the chunk size
// changes in the middle and holds for the next chunk of every message.
func TestInterleavedWithSizeChange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fill := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	pending := []Message{
		{CSID: 6, Type: 9, StreamID: 1, Timestamp: 40, Body: fill(300 << 10)},
		{CSID: 4, Type: 8, StreamID: 1, Timestamp: 23, Body: fill(700)},
		{CSID: 500, Type: 18, StreamID: 1, Body: fill(9000)},
		{CSID: 65599, Type: 9, StreamID: 1, Body: fill(20000)},
	}
	want := map[uint32][]byte{}
	for _, m := range pending {
		want[m.CSID] = m.Body
	}
	var wire []byte
	size := 128
	sent := make([]int, len(pending))
	for round := 0; ; round++ {
		done := true
		if round == 3 {
			size = 4096
			wire = Append(wire, setChunkSize(4096), 128)
		}
		wire = Append(wire, Message{CSID: 2, Type: TypeUserControl, Body: []byte{0, 6, 0, 0, 0, 1}}, 128)
		for i, m := range pending {
			if sent[i] == len(m.Body) {
				continue
			}
			if sent[i] == 0 {
				wire = AppendHeader(wire, m.CSID, m.Type, m.StreamID, m.Timestamp, len(m.Body))
			} else {
				wire = AppendContinuation(wire, m.CSID, m.Timestamp)
			}
			end := min(sent[i]+size, len(m.Body))
			wire = append(wire, m.Body[sent[i]:end]...)
			sent[i] = end
			done = done && end == len(m.Body)
		}
		if done {
			break
		}
	}
	got, err := readAll(NewReader(testLimits), wire, func() int { return 1 + rng.IntN(3000) })
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got {
		if m.Type == TypeUserControl || m.Type == TypeSetChunkSize {
			continue
		}
		if !bytes.Equal(m.Body, want[m.CSID]) {
			t.Errorf("chunk stream %d: body damaged", m.CSID)
		}
		delete(want, m.CSID)
	}
	if len(want) != 0 {
		t.Errorf("%d messages missing", len(want))
	}
}

func TestErrors(t *testing.T) {
	half := string(AppendHeader(nil, 4, 9, 1, 0, 1000)) + strings.Repeat("x", 128)
	for _, v := range []struct {
		name   string
		wire   string
		reason string
	}{
		{"Set Chunk Size 0", string(Append(nil, setChunkSize(0), 128)), ReasonSize},
		{"Set Chunk Size 1", string(Append(nil, setChunkSize(1), 128)), ReasonSize},
		{"Set Chunk Size 127", string(Append(nil, setChunkSize(127), 128)), ReasonSize},
		{"Set Chunk Size with the top bit", string(Append(nil, setChunkSize(1<<31), 128)), ReasonSize},
		{"Set Chunk Size 2^32-1", string(Append(nil, setChunkSize(1<<32-1), 128)), ReasonSize},
		{"Set Chunk Size of 3 bytes", string(Append(nil, Message{CSID: 2, Type: 1, Body: []byte("abc")}, 128)), ReasonShortControl},
		{"Abort of 2 bytes", string(Append(nil, Message{CSID: 2, Type: 2, Body: []byte("ab")}, 128)), ReasonShortControl},
		{"Ack, empty", string(Append(nil, Message{CSID: 2, Type: 3}, 128)), ReasonShortControl},
		{"user control of 1 byte", string(Append(nil, Message{CSID: 2, Type: 4, Body: []byte("a")}, 128)), ReasonShortControl},
		{"window ack, empty", string(Append(nil, Message{CSID: 2, Type: 5}, 128)), ReasonShortControl},
		{"peer bandwidth of 4 bytes", string(Append(nil, Message{CSID: 2, Type: 6, Body: []byte("abcd")}, 128)), ReasonShortControl},
		{"type 3 first", "\xc5", ReasonNoPrevious},
		{"type 2 first", "\x85\x00\x00\x00", ReasonNoPrevious},
		{"new message inside one, other length", half + string(AppendHeader(nil, 4, 9, 1, 0, 500)), ReasonHeaderChange},
		{"new message inside one, same length", half + string(AppendHeader(nil, 4, 9, 1, 0, 1000)), ReasonHeaderChange},
		{"type 1 inside a message, shorter", half + "\x44\x00\x00\x00\x00\x00\x64\x09", ReasonHeaderChange},
		{"type 1 inside a message, other type", half + "\x44\x00\x00\x00\x00\x03\xe8\x08", ReasonHeaderChange},
		{"command too long", string(AppendHeader(nil, 4, 20, 0, 0, 256<<10+1)), ReasonTooBig},
		{"media too long", string(AppendHeader(nil, 4, 9, 0, 0, 10<<20+1)), ReasonTooBig},
		{"longest length there is", string(AppendHeader(nil, 4, 8, 0, 0, 0xffffff)), ReasonTooBig},
	} {
		t.Run(v.name, func(t *testing.T) {
			for _, step := range []int{1, 7, 1 << 20} {
				_, err := readAll(NewReader(testLimits), []byte(v.wire), func() int { return step })
				var e *Error
				if !errors.As(err, &e) || e.Reason != v.reason {
					t.Errorf("pieces of %d: %v, want reason %s", step, err, v.reason)
				}
			}
		})
	}
}

func TestSetChunkSizeIsClamped(t *testing.T) {
	for _, n := range []uint32{128, 0xffffff, 0x1000000, 0x7fffffff} {
		body := bytes.Repeat([]byte("y"), 100_000)
		r := NewReader(testLimits)
		wire := Append(nil, setChunkSize(n), 128)
		wire = Append(wire, Message{CSID: 6, Type: 9, Body: body}, int(n))
		got, err := readAll(r, wire, atOnce)
		if err != nil || len(got) != 2 || !bytes.Equal(got[1].Body, body) {
			t.Errorf("chunk size %d: %d messages, %v", n, len(got), err)
		}
	}
}

func TestAbortForgetsTheMessage(t *testing.T) {
	var wire []byte
	abort := func(csid uint32) {
		wire = Append(wire, Message{CSID: 2, Type: TypeAbort, Body: binary.BigEndian.AppendUint32(nil, csid)}, 128)
	}
	abort(99999) // one that was never used
	wire = AppendHeader(wire, 6, 9, 1, 0, 1000)
	wire = append(wire, make([]byte, 128)...)
	abort(6)
	abort(6)
	wire = Append(wire, Message{CSID: 6, Type: 9, StreamID: 1, Timestamp: 7, Body: []byte("new")}, 128)
	r := NewReader(testLimits)
	got, err := readAll(r, wire, func() int { return 11 })
	if err != nil {
		t.Fatal(err)
	}
	last := got[len(got)-1]
	if string(last.Body) != "new" || last.Timestamp != 7 || r.Partial() != 0 {
		t.Errorf("last message %+v, %d bytes still held", last, r.Partial())
	}
	if len(r.streams) != 2 {
		t.Errorf("%d chunk streams: an abort must not make one", len(r.streams))
	}
}

func TestStreamLimit(t *testing.T) {
	r := NewReader(testLimits)
	// A first chunk of each message: the messages stay unfinished.
	var err error
	for csid := uint32(2); csid < 2+65; csid++ {
		b := AppendHeader(nil, csid*7, 9, 1, 0, 1000)
		b = append(b, make([]byte, 128)...)
		if _, err = readAll(r, b, atOnce); err != nil {
			break
		}
	}
	var e *Error
	if !errors.As(err, &e) || e.Reason != ReasonStreams || len(r.streams) != 64 {
		t.Errorf("after %d chunk streams: %v", len(r.streams), err)
	}
}

// Memory follows the bytes that arrived, not the lengths that were announced.
func TestAnnouncedLengthCostsNothing(t *testing.T) {
	r := NewReader(testLimits)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for csid := uint32(2); csid < 62; csid++ {
		b := AppendHeader(nil, csid, 9, 1, 0, 10<<20)
		b = append(b, make([]byte, 128)...)
		if _, err := readAll(r, b, atOnce); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
		t.Errorf("600 MiB announced, 7,680 bytes sent: %d bytes allocated", n)
	}
}

func TestUnfinishedMessagesAreBounded(t *testing.T) {
	limits := testLimits
	limits.Partial = 10_000
	r := NewReader(limits)
	var err error
	var sent int
	for csid := uint32(2); csid < 60 && err == nil; csid++ {
		b := Append(nil, setChunkSize(4096), 128)
		if csid > 2 {
			b = AppendHeader(nil, csid, 9, 1, 0, 5000)
			b = append(b, make([]byte, 4096)...)
			sent += 4096
		}
		_, err = readAll(r, b, atOnce)
	}
	var e *Error
	if !errors.As(err, &e) || e.Reason != ReasonTooBig || sent > 3*4096 {
		t.Errorf("%d bytes sent: %v", sent, err)
	}
}

// One recorded stream, cut in a thousand ways, gives the same messages.
func TestSplitInvariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var wire []byte
	size := 128
	for i := range 200 {
		if i == 50 {
			wire = Append(wire, setChunkSize(1024), size)
			size = 1024
		}
		m := Message{CSID: []uint32{4, 6, 100, 400}[i%4], Type: []uint8{8, 9, 18, 20}[i%4], StreamID: 1,
			Timestamp: uint32(i) * 0x20000, Body: make([]byte, rng.IntN(3000))}
		for j := range m.Body {
			m.Body[j] = byte(rng.Uint32())
		}
		wire = Append(wire, m, size)
	}
	want, err := readAll(NewReader(testLimits), wire, atOnce)
	if err != nil || len(want) != 201 {
		t.Fatal(len(want), err)
	}
	for range 1000 {
		got, err := readAll(NewReader(testLimits), wire, func() int { return 1 + rng.IntN(1460) })
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal("messages differ")
		}
	}
}

func TestReadingAllocatesNothing(t *testing.T) {
	var wire []byte
	for range 10 {
		wire = Append(wire, Message{CSID: 4, Type: 8, StreamID: 1, Timestamp: 5, Body: make([]byte, 400)}, 128)
		wire = Append(wire, Message{CSID: 6, Type: 9, StreamID: 1, Timestamp: 5, Body: make([]byte, 3000)}, 128)
	}
	r := NewReader(testLimits)
	read := func() {
		for piece := range inPieces(wire, 1000) {
			r.Feed(piece)
			for {
				_, ok, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
			}
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func inPieces(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for i := 0; i < len(b); i += n {
			if !yield(b[i:min(i+n, len(b))]) {
				return
			}
		}
	}
}

func TestReleaseReturnsBuffers(t *testing.T) {
	r := NewReader(testLimits)
	b := AppendHeader(nil, 600, 9, 1, 0, 100_000)
	for range 700 { // 128-byte chunks, not finished
		b = append(b, make([]byte, 128)...)
		b = AppendContinuation(b, 600, 0)
	}
	if _, err := readAll(r, b, atOnce); err != nil {
		t.Fatal(err)
	}
	r.Release()
	if r.Partial() != 0 || r.find(600).gather.n != 0 || len(r.find(600).gather.pieces) != 0 {
		t.Error("bytes still held")
	}
}

// Messages around the sizes at which they are gathered otherwise.
func TestGatherSizes(t *testing.T) {
	for _, size := range []int{1, 128, keepSmall - 1, keepSmall, keepSmall + 1, pieceSize - 1, pieceSize, pieceSize + 1,
		2 * pieceSize, 3*pieceSize + 7, wholeSize, wholeSize + 1, 3 << 20} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i * 7 >> 3)
		}
		r := NewReader(testLimits)
		for _, chunkSize := range []int{128, 5000} {
			var wire []byte
			if chunkSize != 128 {
				wire = Append(wire, setChunkSize(uint32(chunkSize)), 128)
			}
			wire = Append(wire, Message{CSID: 6, Type: 9, Body: body}, chunkSize)
			wire = Append(wire, Message{CSID: 6, Type: 9, Body: body[:1]}, chunkSize)
			step := 0
			got, err := readAll(r, wire, func() int { step++; return 1 + step*977%4000 })
			if err != nil || !bytes.Equal(got[len(got)-2].Body, body) || !bytes.Equal(got[len(got)-1].Body, body[:1]) {
				t.Errorf("%d bytes in chunks of %d: damaged, %v", size, chunkSize, err)
			}
			if r.Partial() != 0 {
				t.Errorf("%d bytes: %d count as unfinished", size, r.Partial())
			}
		}
	}
}

// FuzzReader: no panic, the same messages however the input is cut, memory
// bounded by the input.
func FuzzReader(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.hex), uint8(3))
	}
	f.Add(unhex(f, "02 000000 000004 01 00000000 00001000"), uint8(1))
	f.Add(unhex(f, "04 ffffff 000100 09 01000000 01000000"+strings.Repeat("00", 128)+"c4 01000000"), uint8(5))
	f.Fuzz(func(t *testing.T, wire []byte, step uint8) {
		limits := Limits{Streams: 64, Command: 4 << 10, Media: 64 << 10, Partial: 128 << 10}
		whole, err1 := readAll(NewReader(limits), wire, atOnce)
		cut, err2 := readAll(NewReader(limits), wire, func() int { return int(step) + 1 })
		if fmt.Sprint(err1) != fmt.Sprint(err2) || !reflect.DeepEqual(whole, cut) {
			t.Fatalf("pieces of %d differ:\n%v %v\n%v %v", int(step)+1, whole, err1, cut, err2)
		}
		total := 0
		for _, m := range whole {
			total += len(m.Body)
		}
		if total > len(wire) {
			t.Fatalf("%d bytes of bodies from %d bytes", total, len(wire))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	var wire []byte
	for range 64 {
		wire = Append(wire, Message{CSID: 6, Type: 9, StreamID: 1, Timestamp: 5, Body: make([]byte, 900)}, 4096)
	}
	r := NewReader(testLimits)
	r.size = 4096
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		r.Feed(wire)
		for {
			_, ok, err := r.Next()
			if err != nil {
				b.Fatal(err)
			}
			if !ok {
				break
			}
		}
	}
}

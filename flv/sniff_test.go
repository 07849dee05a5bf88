package flv

import (
	"bytes"
	"fmt"
	"testing"

	"srs/amf0"
)

// big is a body of n bytes of which the first are given.
func big(n int, head ...byte) []byte { return append(head, make([]byte, n-len(head))...) }

// enhanced joins the pieces of an Enhanced RTMP header.
func enhanced(pieces ...any) []byte {
	var b []byte
	for _, p := range pieces {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, p...)
		}
	}
	return b
}

const (
	sv = VideoFrame
	kv = VideoFrame | Keyframe
)

var sniffTests = []struct {
	name  string
	typ   uint8
	body  []byte
	want  Info
	track uint8
}{
	// Legacy video, E.4.3.1: frame type, codec id.
	{"h263 key", TypeVideo, []byte{0x12, 1, 2}, kv, 0},
	{"h263 inter", TypeVideo, []byte{0x22, 1, 2}, sv, 0},
	{"h263 disposable", TypeVideo, []byte{0x32, 1, 2}, sv, 0},
	{"vp6 key", TypeVideo, []byte{0x14, 0}, kv, 0},
	{"avc header", TypeVideo, []byte{0x17, 0, 0, 0, 0, 1}, VideoHeader, 0},
	{"avc header in an inter frame", TypeVideo, []byte{0x27, 0, 0, 0, 0, 1}, VideoHeader, 0},
	{"avc key", TypeVideo, []byte{0x17, 1, 0, 0, 0, 9}, kv, 0},
	{"avc inter", TypeVideo, []byte{0x27, 1, 0, 0, 0, 9}, sv, 0},
	{"avc end of sequence", TypeVideo, []byte{0x17, 2, 0, 0, 0}, 0, 0},
	{"avc cut short", TypeVideo, []byte{0x17}, 0, 0},
	{"avc command", TypeVideo, []byte{0x57, 0}, 0, 0},
	{"hevc 12 header", TypeVideo, []byte{0x1c, 0, 0, 0, 0}, VideoHeader, 0},
	{"hevc 12 key", TypeVideo, []byte{0x1c, 1, 0, 0, 0}, kv, 0},
	{"hevc 12 inter", TypeVideo, []byte{0x2c, 1, 0, 0, 0}, sv, 0},
	{"av1 13 header", TypeVideo, []byte{0x1d, 0, 0, 0, 0}, VideoHeader, 0},
	{"unknown codec key", TypeVideo, []byte{0x1e, 0}, kv, 0},
	{"command frame", TypeVideo, []byte{0x52, 0}, 0, 0},
	{"empty video", TypeVideo, nil, 0, 0},

	// Legacy audio, E.4.2.1: sound format in the high bits.
	{"aac header", TypeAudio, []byte{0xaf, 0, 0x12, 0x10}, AudioHeader, 0},
	{"aac frame", TypeAudio, []byte{0xaf, 1, 0x21}, AudioFrame, 0},
	{"aac cut short", TypeAudio, []byte{0xaf}, 0, 0},
	{"mp3", TypeAudio, []byte{0x2f, 0xff}, AudioFrame, 0},
	{"mp3 one byte", TypeAudio, []byte{0x2f}, AudioFrame, 0},
	{"speex", TypeAudio, []byte{0xb2, 0}, AudioFrame, 0},
	{"pcm", TypeAudio, []byte{0x3e, 0}, AudioFrame, 0},
	{"empty audio", TypeAudio, nil, 0, 0},

	// Enhanced RTMP v2 video.
	{"hvc1 header", TypeVideo, enhanced(0x90, "hvc1"), VideoHeader, 0},
	{"hvc1 key", TypeVideo, enhanced(0x91, "hvc1", 0, 0, 0, 7), kv, 0},
	{"hvc1 key X", TypeVideo, enhanced(0x93, "hvc1", 7), kv, 0},
	{"hvc1 inter X", TypeVideo, enhanced(0xa3, "hvc1", 7), sv, 0},
	{"hvc1 end", TypeVideo, enhanced(0x92, "hvc1"), 0, 0},
	{"av01 header", TypeVideo, enhanced(0x90, "av01", 0x81), VideoHeader, 0},
	{"av01 ts header", TypeVideo, enhanced(0x95, "av01", 0x81), VideoHeader, 0},
	{"vp09 inter", TypeVideo, enhanced(0xa1, "vp09"), sv, 0},
	{"unknown fourcc key", TypeVideo, enhanced(0x91, "zzzz"), kv, 0},
	{"colour info", TypeVideo, enhanced(0x94, "hvc1", 2, 0, 9, "colorInfo"), Setup, 0},
	{"enhanced command", TypeVideo, enhanced(0xd1, 0), 0, 0},
	{"unknown packet type", TypeVideo, enhanced(0x9a, "hvc1"), sv, 0},
	{"modex then header", TypeVideo, enhanced(0x97, 2, 1, 2, 3, 0x00, "hvc1"), VideoHeader, 0},
	{"modex then key", TypeVideo, enhanced(0x97, 2, 1, 2, 3, 0x01, "hvc1"), kv, 0},
	{"two modex then key", TypeVideo, enhanced(0x97, 0, 1, 0x07, 0, 1, 0x03, "hvc1"), kv, 0},
	{"modex with 16 bit size", TypeVideo, append(big(4+257, 0x97, 255, 1, 0), 0x00, 'h'), VideoHeader, 0},
	{"modex cut short", TypeVideo, enhanced(0x97, 9, 1, 2), sv, 0},
	{"modex 16 bit cut short", TypeVideo, enhanced(0x97, 255, 1), sv, 0},
	{"modex alone", TypeVideo, enhanced(0x97), sv, 0},
	{"endless modex", TypeVideo, append([]byte{0x97}, bytes.Repeat([]byte{0, 0, 0x07}, 100)...), sv, 0},
	{"multitrack header", TypeVideo, enhanced(0x96, 0x00, "hvc1", 3, 1), VideoHeader, 3},
	{"multitrack key", TypeVideo, enhanced(0x96, 0x01, "hvc1", 0, 0, 0, 0), kv, 0},
	{"multitrack key of another track", TypeVideo, enhanced(0x96, 0x01, "hvc1", 4, 0, 0, 0), sv, 4},
	{"many tracks key", TypeVideo, enhanced(0x96, 0x11, "hvc1", 4, 0, 0, 1), kv, 0},
	{"multitrack cut before the id", TypeVideo, enhanced(0x96, 0x01, "hvc1"), kv, 0},
	{"multitrack cut short", TypeVideo, enhanced(0x96), sv, 0},
	{"modex then multitrack", TypeVideo, enhanced(0x97, 0, 1, 0x06, 0x00, "hvc1", 2), VideoHeader, 2},

	// Enhanced RTMP v2 audio.
	{"opus header", TypeAudio, enhanced(0x90, "Opus"), AudioHeader, 0},
	{"opus frame", TypeAudio, enhanced(0x91, "Opus", 1), AudioFrame, 0},
	{"opus end", TypeAudio, enhanced(0x92, "Opus"), 0, 0},
	{"multichannel config", TypeAudio, enhanced(0x94, "Opus", 1, 2), Setup, 0},
	{"audio multitrack header", TypeAudio, enhanced(0x95, 0x00, "mp4a", 1), AudioHeader, 1},
	{"audio multitrack frame", TypeAudio, enhanced(0x95, 0x01, "mp4a", 1, 9), AudioFrame, 1},
	{"audio modex frame", TypeAudio, enhanced(0x97, 0, 1, 0x01, "Opus"), AudioFrame, 0},
	{"audio modex cut short", TypeAudio, enhanced(0x97), AudioFrame, 0},

	// Script data.
	{"metadata", TypeScript, []byte("\x02\x00\x0aonMetaData\x08"), Metadata, 0},
	{"metadata name only", TypeScript, []byte("\x02\x00\x0aonMetaData"), Metadata, 0},
	{"metadata cut short", TypeScript, []byte("\x02\x00\x0aonMetaDat"), 0, 0},
	{"other data", TypeScript, []byte("\x02\x00\x0aonTextData\x08"), 0, 0},
	{"empty data", TypeScript, nil, 0, 0},
	{"unknown type", 22, []byte{0x17, 1}, 0, 0},
}

func TestSniff(t *testing.T) {
	for _, c := range sniffTests {
		if got := Sniff(c.typ, c.body); got != c.want {
			t.Errorf("%s: Sniff = %06b, want %06b", c.name, got, c.want)
		}
		if got := Track(c.typ, c.body); got != c.track {
			t.Errorf("%s: Track = %d, want %d", c.name, got, c.track)
		}
	}
}

func TestToldCodecs(t *testing.T) {
	for name, c := range map[string]struct {
		video, audio any
		want         [2]uint32
	}{
		"as a file says":   {7.0, 10.0, [2]uint32{Codec(TypeAudio, []byte{0xaf, 1}), Codec(TypeVideo, []byte{0x17, 1})}},
		"FourCC":           {float64(0x68766331), float64(0x4f707573), [2]uint32{Codec(TypeAudio, []byte("\x91Opus")), Codec(TypeVideo, []byte("\x91hvc1"))}},
		"none":             {0.0, 0.0, [2]uint32{}},
		"text and no text": {"avc1", nil, [2]uint32{}},
		"no codec":         {-1.0, 1e99, [2]uint32{}},
	} {
		body := amf0.Append(nil, "onMetaData", amf0.ECMAArray{{Key: "videocodecid", Value: c.video}, {Key: "audiocodecid", Value: c.audio}})
		if got := ToldCodecs(body); got != c.want {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
	}
	if got := ToldCodecs(nil); got != [2]uint32{} {
		t.Errorf("nothing tells %x", got)
	}
}

func TestHeader(t *testing.T) {
	for info, want := range map[Info]bool{
		VideoHeader: true, AudioHeader: true, Metadata: false, Setup: false, VideoFrame | Keyframe: false, AudioFrame: false, 0: false,
	} {
		if info.Header() != want {
			t.Errorf("Info(%06b).Header() = %v", info, !want)
		}
	}
}

// TestSniffShort goes through every body of up to two bytes, and every first
// two bytes with two more of the values that matter.
func TestSniffShort(t *testing.T) {
	seen := map[Info]int{}
	tail := []byte{0, 7, 0xff}
	for _, typ := range []uint8{TypeAudio, TypeVideo, TypeScript} {
		try := func(body ...byte) {
			info := Sniff(typ, body)
			Track(typ, body)
			seen[info]++
			checkInfo(t, typ, body, info)
		}
		try()
		for a := range 256 {
			try(byte(a))
			for b := range 256 {
				try(byte(a), byte(b))
				for _, c := range tail {
					try(byte(a), byte(b), c)
					for _, d := range tail {
						try(byte(a), byte(b), c, d)
					}
				}
			}
		}
	}
	for _, want := range []Info{0, VideoHeader, AudioHeader, VideoFrame, kv, AudioFrame} {
		if seen[want] == 0 {
			t.Errorf("no short body is %06b", want)
		}
	}
}

// checkInfo states what holds of every answer.
func checkInfo(t *testing.T, typ uint8, body []byte, info Info) {
	t.Helper()
	var allowed Info
	switch typ {
	case TypeVideo:
		allowed = VideoHeader | VideoFrame | Keyframe | Setup
	case TypeAudio:
		allowed = AudioHeader | AudioFrame | Setup
	case TypeScript:
		allowed = Metadata
	}
	switch {
	case info&^allowed != 0,
		len(body) == 0 && info != 0,
		info&(VideoHeader|AudioHeader|Setup) != 0 && info&(info-1) != 0,
		info&Keyframe != 0 && info&VideoFrame == 0:
		t.Fatalf("Sniff(%d, % x) = %06b", typ, body, info)
	}
}

func FuzzSniff(f *testing.F) {
	for _, c := range sniffTests {
		f.Add(c.typ, c.body)
	}
	f.Fuzz(func(t *testing.T, typ uint8, body []byte) {
		checkInfo(t, typ, body, Sniff(typ, body))
		Track(typ, body)
	})
}

func BenchmarkSniff(b *testing.B) {
	body := []byte{0x27, 1, 0, 0, 0, 9}
	for b.Loop() {
		if Sniff(TypeVideo, body) != sv {
			b.Fatal(fmt.Sprint(body))
		}
	}
}

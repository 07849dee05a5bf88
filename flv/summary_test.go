package flv

import (
	"bytes"
	"testing"
	"time"
)

func TestSummary(t *testing.T) {
	mp3 := func(ts uint32) Tag { return Tag{Type: TypeAudio, Timestamp: ts, Data: []byte{0x2f}} }
	picture := func(first byte, ts uint32) Tag { return Tag{Type: TypeVideo, Timestamp: ts, Data: []byte{first, 1}} }
	key := func(ts uint32) Tag { return picture(0x17, ts) }
	inter := func(ts uint32) Tag { return picture(0x27, ts) }
	sound := func(from, to uint32) (tags []Tag) {
		for at := from; at < to; at += 20 {
			tags = append(tags, mp3(at))
		}
		return tags
	}
	for _, c := range []struct {
		name                    string
		tags                    []Tag
		frames, keyframes, gaps int
		duration                time.Duration
	}{
		{"nothing", nil, 0, 0, 0, 0},
		{"headers", []Tag{{Type: TypeVideo, Data: []byte{0x17, 0}}, {Type: TypeAudio, Data: []byte{0xaf, 0}}}, 0, 0, 0, 0},
		{"one frame", []Tag{key(0)}, 1, 1, 0, 40 * time.Millisecond},
		{"one of each", []Tag{key(20), mp3(20)}, 2, 1, 0, 40 * time.Millisecond},
		{"one each 3 s", []Tag{key(0), key(3000), key(6000)}, 3, 3, 2, 9 * time.Second},
		{"two, 3 s apart", []Tag{key(0), key(3000)}, 2, 2, 1, 6 * time.Second},
		{"a pause at the end", []Tag{key(0), inter(40), inter(80), inter(12_080)}, 4, 1, 1, 12_120 * time.Millisecond},
		{"a pause in the middle", []Tag{key(0), inter(40), inter(12_040), inter(12_080)}, 4, 1, 1, 12_120 * time.Millisecond},
		{"a pause at the beginning", []Tag{key(0), inter(12_000), inter(12_040)}, 3, 1, 1, 12_080 * time.Millisecond},
		{"a longer pause in a slow stream", []Tag{key(0), key(3000), key(30_000)}, 3, 3, 2, 33 * time.Second},
		{"25 a second", []Tag{key(0), inter(40), inter(80)}, 3, 1, 0, 120 * time.Millisecond},
		{"audio ends later", []Tag{key(0), mp3(0), inter(40), mp3(26), mp3(52), mp3(78)}, 6, 1, 0, 104 * time.Millisecond},
		{"video ends later", []Tag{key(0), mp3(0), mp3(26), inter(40)}, 4, 1, 0, 80 * time.Millisecond},
		{"a pause is no frame's length", []Tag{mp3(0), mp3(26), mp3(5000)}, 3, 0, 1, 5026 * time.Millisecond},
		{"pictures slower than the sound", []Tag{key(0), mp3(900), mp3(1800), key(2700)}, 4, 2, 0, 3700 * time.Millisecond},
		{"slides beside sound", append([]Tag{key(0), key(16_000)}, sound(0, 18_000)...), 902, 2, 1, 18 * time.Second},
		{"a slide where the sound ends", append(sound(0, 16_000), key(0), key(16_000)), 802, 2, 0, 17 * time.Second},
		{"a slide far behind the sound", append(sound(0, 2000), key(0), key(16_000)), 102, 2, 1, 17 * time.Second},
		{"sound of another rate beside pictures", []Tag{key(0), mp3(0), inter(40), mp3(5000), inter(5000), inter(5040)}, 6, 1, 1, 6 * time.Second},
		{"back in time", []Tag{mp3(100), mp3(126), mp3(50)}, 3, 0, 0, 52 * time.Millisecond},
		{"a keyframe of another track", []Tag{key(0), {Type: TypeVideo, Timestamp: 40, Data: []byte("\x96\x01hvc1\x01")}}, 2, 1, 0, 80 * time.Millisecond},
		{"not at 0", []Tag{mp3(10_000), mp3(10_026)}, 2, 0, 0, 52 * time.Millisecond},
	} {
		var s Summary
		for _, tag := range c.tags {
			s.Add(tag, 0)
		}
		if s.Frames != c.frames || s.Keyframes != c.keyframes || s.Gaps != c.gaps || s.Duration() != c.duration {
			t.Errorf("%s: %+v, %v", c.name, s, s.Duration())
		}
	}
}

// TestSummaryWrap: times go on where the 32 bits of the tags wrap: in duration and
// index, also of a file that is repaired, and of one that is continued.
func TestSummaryWrap(t *testing.T) {
	const first = 1<<32 - 6000
	start := uint32(first)
	b := AppendHeader(nil, true, true)
	b = AppendTag(b, Tag{Type: TypeScript, Data: NewFileMetadata(nil, 40, "", "").Body})
	for i := range uint32(30) {
		b = AppendTag(b, Tag{Type: TypeVideo, Timestamp: start + i*1000, Data: []byte{0x17, 1}})
		b = AppendTag(b, Tag{Type: TypeAudio, Timestamp: start + i*1000 - 300, Data: []byte{0x2f}}) // the first one is earlier
	}
	_, b = repair(t, b)
	rep, err := Scan(bytes.NewReader(b))
	if err != nil || !rep.Whole() || rep.Duration() != 30*time.Second || rep.Gaps != 0 || rep.Last != first+29_000 {
		t.Errorf("%v, %q, %v, %d gaps, last %d", err, rep.Flaw(), rep.Duration(), rep.Gaps, rep.Last)
	}
	index := ReadIndex(b[HeaderSize+TagHeader:][:len(rep.metadata.Body)])
	if len(index) != 30 || index[29].Time != first+29_000 {
		t.Errorf("index %v", index)
	}
	res, err := Resume(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	res.Add(Tag{Type: TypeVideo, Timestamp: 24_000, Data: []byte{0x17, 1}}, int64(len(b)))
	if index := res.Index(40); res.First != first || res.Last != first+30_000 || res.Duration() < 30*time.Second || len(index) != 31 || index[30].Time != first+30_000 {
		t.Errorf("continued: %+v", res.Summary)
	}
}

package dvr

import (
	"testing"
	"time"

	"srs/flv"
)

func TestSummary(t *testing.T) {
	mp3 := func(ts uint32) flv.Tag { return flv.Tag{Type: flv.TypeAudio, Timestamp: ts, Data: []byte{0x2f}} }
	for _, c := range []struct {
		name     string
		tags     []flv.Tag
		frames   int
		duration time.Duration
	}{
		{"nothing", nil, 0, 0},
		{"headers", []flv.Tag{videoHeader, audioHeader}, 0, 0},
		{"one frame", []flv.Tag{key(0)}, 1, 0},
		{"25 a second", []flv.Tag{key(0), inter(40), inter(80)}, 3, 120 * time.Millisecond},
		{"audio ends later", []flv.Tag{key(0), mp3(0), inter(40), mp3(26), mp3(52), mp3(78)}, 6, 104 * time.Millisecond},
		{"video ends later", []flv.Tag{key(0), mp3(0), mp3(26), inter(40)}, 4, 80 * time.Millisecond},
		{"a pause is no frame's length", []flv.Tag{mp3(0), mp3(26), mp3(5000)}, 3, 5026 * time.Millisecond},
		{"back in time", []flv.Tag{mp3(100), mp3(126), mp3(50)}, 3, 52 * time.Millisecond},
		{"not at 0", []flv.Tag{mp3(10_000), mp3(10_026)}, 2, 52 * time.Millisecond},
	} {
		var s summary
		for _, tag := range c.tags {
			s.add(tag)
		}
		if s.frames != c.frames || s.duration() != c.duration {
			t.Errorf("%s: %d frames, %v", c.name, s.frames, s.duration())
		}
	}
}

func TestCountFrames(t *testing.T) {
	b := flv.AppendTag(nil, videoHeader)
	b = flv.AppendTag(b, key(0))
	b = flv.AppendTag(b, audio(0))
	if n := countFrames(b); n != 2 {
		t.Errorf("%d frames", n)
	}
	if n := countFrames(b[:len(b)-1]); n != 1 {
		t.Errorf("%d frames in front of a torn tag", n)
	}
}

// TestDue states when a file wants to be looked after.
func TestDue(t *testing.T) {
	f, err := openFile(t.TempDir(), place{"", "x.flv"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.os.Close()
	start := time.Now()
	want := func(when string, after time.Duration) {
		t.Helper()
		due := f.due()
		if after == 0 && !due.IsZero() || after != 0 && !due.Equal(start.Add(after)) {
			t.Errorf("%s: due %v", when, due.Sub(start))
		}
	}
	step := func(after time.Duration) {
		t.Helper()
		if err := f.step(start.Add(after)); err != nil {
			t.Fatal(err)
		}
	}
	want("at first", 0)
	f.append(key(0), start)
	f.append(inter(40), start.Add(40*time.Millisecond))
	want("with something in the buffer", flushAfter)
	step(flushAfter)
	want("with something in the kernel", syncAfter)
	f.append(inter(80), start.Add(time.Second))
	want("with both", time.Second+flushAfter)
	f.append(inter(120), start.Add(syncAfter-time.Millisecond))
	step(time.Second + flushAfter)
	f.append(inter(160), start.Add(syncAfter-time.Millisecond))
	want("with the sync first", syncAfter)
	step(syncAfter)
	want("at last", 0)
}

// TestAppendSaysFull: the buffer does not grow for ever between two steps, and
// does not stay large.
func TestAppendSaysFull(t *testing.T) {
	f, err := openFile(t.TempDir(), place{"", "x.flv"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.os.Close()
	tag := key(0)
	tag.Data = append(tag.Data, make([]byte, 1000)...)
	n := 0
	for !f.append(tag, time.Now()) {
		n++
	}
	if n > writeSize/1000 || len(f.buf) < writeSize {
		t.Errorf("full after %d tags", n)
	}
	tag.Data = append(tag.Data, make([]byte, 1<<20)...)
	f.append(tag, time.Now())
	if err := f.flush(); err != nil || cap(f.buf) > keepBuffer {
		t.Errorf("%v, %d bytes kept", err, cap(f.buf))
	}
}

func TestClock(t *testing.T) {
	for _, c := range []struct {
		base     uint32
		at, want []uint32
	}{
		{1000, []uint32{1000, 990, 1010, 1023}, []uint32{0, 0, 10, 23}},
		{0xfffffff0, []uint32{0xfffffff0, 0x10, 0x40}, []uint32{0, 0x20, 0x50}},
		{0, []uint32{0x40000000, 0x80000000, 0xc0000000, 0xfffffff0}, []uint32{0x40000000, 0x80000000, 0xc0000000, 0xfffffff0}},
	} {
		clock := clock{last: c.base}
		for i, at := range c.at {
			if got := clock.at(at); got != c.want[i] {
				t.Errorf("from %d: at(%d) = %d, want %d", c.base, at, got, c.want[i])
			}
		}
	}
}

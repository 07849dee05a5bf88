package dvr

import (
	"testing"
	"time"

	"srs/flv"
)

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

const testSync = 4 * time.Second

// openTestFile makes x.flv.tmp.
func openTestFile(t *testing.T, dir string) *file {
	t.Helper()
	f, err := openFile(dir, place{"", "x.flv"}, flv.NewFileMetadata(nil, 10, "", ""), testSync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.os.Close() })
	return f
}

// TestStep: what was appended goes to the kernel at each step, and to the disk
// when it has waited for long enough.
func TestStep(t *testing.T) {
	f := openTestFile(t, t.TempDir())
	start := time.Now()
	for _, c := range []struct {
		at       time.Duration
		add      bool
		unsynced time.Duration // since when; negative: everything is synced
	}{
		{0, false, -1},
		{time.Second, true, time.Second},
		{2 * time.Second, true, time.Second},
		{testSync, false, time.Second},
		{time.Second + testSync, true, -1},
		{2*time.Second + testSync, true, 2*time.Second + testSync},
	} {
		now := start.Add(c.at)
		if c.add {
			f.append(key(0), now)
		}
		if err := f.step(now); err != nil {
			t.Fatal(err)
		}
		info, err := f.os.Stat()
		if err != nil || len(f.buf) > 0 || info.Size() != f.size {
			t.Errorf("at %v: %d bytes in the buffer, %v", c.at, len(f.buf), err)
		}
		if c.unsynced < 0 && !f.unsynced.IsZero() || c.unsynced >= 0 && !f.unsynced.Equal(start.Add(c.unsynced)) {
			t.Errorf("at %v: not synced since %v, want %v", c.at, f.unsynced.Sub(start), c.unsynced)
		}
	}
}

// TestAppendSaysFull: the buffer does not grow for ever between two steps, and
// does not stay large.
func TestAppendSaysFull(t *testing.T) {
	f := openTestFile(t, t.TempDir())
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

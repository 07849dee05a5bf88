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
	f, err := openFile(dir, place{"", "x.flv"}, flv.NewFileMetadata(nil, 10, ""), testSync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.os.Close() })
	return f
}

// TestDue states when a file wants to be looked after.
func TestDue(t *testing.T) {
	f := openTestFile(t, t.TempDir())
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
	want("with something in the kernel", testSync)
	f.append(inter(80), start.Add(time.Second))
	want("with both", time.Second+flushAfter)
	f.append(inter(120), start.Add(testSync-time.Millisecond))
	step(time.Second + flushAfter)
	f.append(inter(160), start.Add(testSync-time.Millisecond))
	want("with the sync first", testSync)
	step(testSync)
	want("at last", 0)
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

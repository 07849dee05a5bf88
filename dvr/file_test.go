package dvr

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

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

// TestRoom: a large file has room in front of it on its disk while it grows, and none when
// it is complete, whoever completes it.
func TestRoom(t *testing.T) {
	fat := func(i int) flv.Tag {
		return flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(i * 40), Data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, 50_000)...)}
	}
	blocks := func(path string) (bytes, size int64) {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512, st.Size
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		f := s.start("x")
		for i := range 20 {
			f.send(fat(i))
			time.Sleep(flushAfter) // of the bubble
		}
		synctest.Wait()
		path := s.cwd + "/rec/live/x.flv"
		if have, size := blocks(path + tmp); have < size+firstRoom {
			t.Errorf("%d bytes on the disk while it grows, for %d", have, size)
		}
		b, err := os.ReadFile(path + tmp)
		if err != nil {
			t.Fatal(err)
		}
		f.unpublish()
		if have, size := blocks(path); have > size+firstRoom {
			t.Errorf("%d bytes on the disk for %d", have, size)
		}
		n := again(t, t.TempDir())
		write(t, n.cwd+"/rec/live/x.flv"+tmp, string(b))
		left, err := os.OpenFile(n.cwd+"/rec/live/x.flv"+tmp, os.O_RDWR, 0)
		if err == nil {
			err = errors.Join(unix.Fallocate(int(left.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 2*roomAhead), left.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		n.run()
		time.Sleep(time.Second)
		synctest.Wait()
		if have, size := blocks(n.cwd + "/rec/live/x.flv"); have > size+firstRoom {
			t.Errorf("%d bytes on the disk for a repaired one of %d", have, size)
		}
	})
}

const testSync = 4 * time.Second

// openTestFile makes x.flv.tmp.
func openTestFile(t *testing.T, dir string) *file {
	t.Helper()
	f, err := openFile(dir, place{"", "x.flv"}, flv.NewFileMetadata(nil, 10, "", ""), testSync)
	if err != nil {
		t.Fatal(err)
	}
	f.aside = aside
	t.Cleanup(func() { f.os.Close() })
	return f
}

// aside is Recorder.aside of files that have none.
func aside(call func()) { go call() }

// TestStep: what was appended goes to the kernel at each step, and to the disk
// when it has waited for long enough.
func TestStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
			{time.Second + testSync - flushAfter, true, time.Second}, // it begins
			{time.Second + testSync, true, time.Second + testSync},
			{2*time.Second + testSync, false, time.Second + testSync},
			{2*time.Second + 2*testSync, false, time.Second + testSync},
			{3*time.Second + 2*testSync, false, -1},
		} {
			time.Sleep(time.Until(start.Add(c.at))) // of the bubble
			f.look(time.Now())
			if c.add {
				f.append(key(0), time.Now())
			}
			if err := f.step(time.Now()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			info, err := f.os.Stat()
			if err != nil || len(f.buf) > 0 || info.Size() != f.size {
				t.Errorf("at %v: %d bytes in the buffer, %v", c.at, len(f.buf), err)
			}
			if c.unsynced < 0 && !f.unsynced.IsZero() || c.unsynced >= 0 && !f.unsynced.Equal(start.Add(c.unsynced)) {
				t.Errorf("at %v: not synced since %v, want %v", c.at, f.unsynced.Sub(start), c.unsynced)
			}
		}
	})
}

// TestSlowSync: however long the disk takes, a recording goes on giving the kernel
// what comes: a killed server does not lose it. It is synced again then, and a
// failure costs the file.
func TestSlowSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := openTestFile(t, t.TempDir())
		calls, answers := 0, make(chan struct{})
		f.aside = func(call func()) {
			calls++
			go func() { <-answers; call() }()
		}
		for range 20 * time.Second / flushAfter {
			f.look(time.Now())
			f.append(key(0), time.Now())
			begun := time.Now()
			if err := f.step(time.Now()); err != nil {
				t.Fatal(err)
			}
			if info, err := f.os.Stat(); err != nil || len(f.buf) > 0 || info.Size() != f.size || time.Since(begun) > 0 {
				t.Fatalf("the kernel lacks %d bytes, step took %v, %v", len(f.buf), time.Since(begun), err)
			}
			time.Sleep(flushAfter)
		}
		if calls != 1 || f.anchored {
			t.Errorf("%d syncs at a time, anchored %v", calls, f.anchored)
		}
		answers <- struct{}{}
		synctest.Wait()
		lookAt(t, f)
		if calls != 2 || !f.anchored || time.Since(f.unsynced) < 15*time.Second {
			t.Errorf("%d syncs, anchored %v, not synced for %v", calls, f.anchored, time.Since(f.unsynced))
		}
		f.own.running = nil
		f.own.begin(aside, func() error { return unix.EIO })
		synctest.Wait()
		f.look(time.Now())
		if err := f.step(time.Now()); !errors.Is(err, unix.EIO) || !errors.Is(f.err, unix.EIO) {
			t.Errorf("%v, %v", err, f.err)
		}
		close(answers)
		synctest.Wait()
	})
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

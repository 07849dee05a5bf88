package dvr

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
)

// inCrowd makes n files that are in a crowd of their own.
func inCrowd(t *testing.T, n int, sync func(*os.File) error) []*file {
	t.Helper()
	c := &crowd{able: true, sync: sync, aside: aside, files: n}
	dir := t.TempDir()
	var files []*file
	for i := range n {
		f, err := openFile(dir, place{"", fmt.Sprintf("%d.flv", i)}, flv.NewFileMetadata(nil, 10, "", ""), testSync)
		if err != nil {
			t.Fatal(err)
		}
		f.crowd, f.aside = c, aside
		t.Cleanup(func() { f.os.Close() })
		files = append(files, f)
	}
	return files
}

// lookAt does what a recording does each time it looks at its stream.
func lookAt(t *testing.T, f *file) {
	t.Helper()
	f.look(time.Now())
	f.append(key(0), time.Now())
	if err := f.step(time.Now()); err != nil {
		t.Fatal(err)
	}
}

// TestTogether: one sync is that of all files of a crowd, and none waits for
// longer than it may.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		synced := 0
		files := inCrowd(t, syncCrowd, func(*os.File) error { synced++; return nil })
		for range 20 * time.Second / flushAfter {
			for i, f := range files {
				lookAt(t, f)
				if late := time.Since(f.unsynced); !f.unsynced.IsZero() && late > testSync {
					t.Errorf("file %d was not synced for %v", i, late)
				}
			}
			time.Sleep(flushAfter)
		}
		if synced < 4 || synced > 5 {
			t.Errorf("%d syncs in 20 s", synced)
		}
		// A file that is gone is noticed as with a sync of its own.
		if err := os.Remove(files[3].os.Name()); err != nil {
			t.Fatal(err)
		}
		var err error
		for range 2 * testSync / flushAfter {
			for _, f := range files {
				f.look(time.Now())
				f.append(key(0), time.Now())
				if e := f.step(time.Now()); f == files[3] && err == nil {
					err = e
				}
			}
			time.Sleep(flushAfter)
		}
		if err == nil {
			t.Error("a file that was removed is not missed")
		}
	})
}

// TestTogetherFails: where the common sync fails or takes long, each file syncs
// itself and learns what became of it; a few files do so anyway.
func TestTogetherFails(t *testing.T) {
	for name, c := range map[string]struct {
		files  int
		sync   func(*os.File) error
		synced int // in 20 s
	}{
		"error": {syncCrowd, func(*os.File) error { return unix.EIO }, 1},
		"slow":  {syncCrowd, func(*os.File) error { time.Sleep(2 * syncWait); return nil }, 1},
		"few":   {syncCrowd - 1, func(*os.File) error { return nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				synced := 0
				files := inCrowd(t, c.files, func(f *os.File) error { synced++; return c.sync(f) })
				for range 20 * time.Second / flushAfter {
					for i, f := range files {
						lookAt(t, f)
						if late := time.Since(f.unsynced); !f.unsynced.IsZero() && late > testSync+2*syncWait {
							t.Errorf("file %d was not synced for %v", i, late)
						}
					}
					time.Sleep(flushAfter)
				}
				if synced != c.synced {
					t.Errorf("%d syncs in 20 s, want %d", synced, c.synced)
				}
				for i, f := range files {
					if !f.anchored {
						t.Errorf("file %d was never synced", i)
					}
				}
			})
		})
	}
}

// TestTogetherWaits: while the common sync is under way nobody stops writing, nor
// does the one who began it; others wait for it with theirs, but not for ever.
func TestTogetherWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := inCrowd(t, syncCrowd, func(*os.File) error { time.Sleep(2 * syncWait); return nil })
		for _, f := range files {
			lookAt(t, f)
		}
		time.Sleep(testSync)
		begun := time.Now()
		for _, f := range files[:2] {
			lookAt(t, f)
			if len(f.buf) != 0 || time.Since(begun) > 0 || f.own.running != nil {
				t.Errorf("%d bytes not written, after %v", len(f.buf), time.Since(begun))
			}
		}
		time.Sleep(syncWait)
		lookAt(t, files[1])
		synctest.Wait()
		if lookAt(t, files[1]); !files[1].anchored {
			t.Error("a file waited for longer than it may")
		}
		time.Sleep(syncWait)
		synctest.Wait()
		for _, f := range []*file{files[0], files[2]} {
			f.look(time.Now())
			if !f.covered || !f.unsynced.IsZero() {
				t.Error("a file is not covered by a sync that took long and ended well")
			}
		}
	})
}

// TestCrowd: files of one file system are one crowd, whatever their folders are.
func TestCrowd(t *testing.T) {
	r := New(Options{})
	dir := t.TempDir()
	a, b := openTestFile(t, dir), openTestFile(t, dir+"/deeper")
	ours := r.enterCrowd(a.os)
	if ours == nil || r.enterCrowd(b.os) != ours || ours.files != 2 {
		t.Errorf("%+v", ours)
	}
	if shm, err := os.CreateTemp("/dev/shm", "dvr"); err == nil {
		defer os.Remove(shm.Name())
		defer shm.Close()
		if other := r.enterCrowd(shm); other == ours || other.able {
			t.Errorf("memory is synced like a disk")
		}
	}
	ours.leave()
	if ours.files != 1 {
		t.Errorf("%d files", ours.files)
	}
}

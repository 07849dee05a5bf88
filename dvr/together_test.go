package dvr

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
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
		t.Cleanup(func() {
			f.own.wait()
			f.os.Close()
		})
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

// A modelDisk knows which of a file's writes no sync has covered.
type modelDisk struct {
	mu     sync.Mutex
	writes []time.Time
}

// wrote is told of a write.
func (m *modelDisk) wrote() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes = append(m.writes, time.Now())
}

// during makes a call that is a sync, which takes a while.
func (m *modelDisk) during(takes time.Duration, sync func() error) error {
	begun := time.Now()
	time.Sleep(takes) // of the bubble
	err := sync()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.writes = slices.DeleteFunc(m.writes, func(at time.Time) bool { return !at.After(begun) })
	}
	return err
}

// check looks whether the disk lacks something for longer than it may, or what
// the file believes to be there.
func (m *modelDisk) check(t *testing.T, f *file, most time.Duration) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.writes) == 0 {
		return
	}
	if late := time.Since(m.writes[0]); late > most {
		t.Errorf("the disk has lacked something for %v", late)
	}
	if f.unsynced.IsZero() || m.writes[0].Before(f.unsynced) {
		t.Errorf("the disk lacks what came %v ago; the file says %v", time.Since(m.writes[0]), f.unsynced)
	}
}

// TestOutOfStep: one sync of the crowd begins and ends in all places among the
// looks and writes of a file, and the others leave then. The file is synced in
// time, and believes nothing that is not so.
func TestOutOfStep(t *testing.T) {
	const write = 100 * time.Millisecond // behind the look
	place := func(n int) time.Duration { // between look and write, and write and look
		return time.Duration(n/2)*flushAfter + []time.Duration{write / 2, 2 * write}[n%2]
	}
	for begins := range 22 {
		for ends := begins + 1; ends < begins+4; ends++ {
			synctest.Test(t, func(t *testing.T) {
				disk := &modelDisk{}
				over := place(ends) - place(begins)
				files := inCrowd(t, syncCrowd, func(*os.File) error {
					return disk.during(over, func() error { return nil })
				})
				f, other := files[0], files[1]
				f.aside = func(call func()) { go disk.during(0, func() error { call(); return nil }) }
				born := time.Now()
				go func() {
					time.Sleep(place(begins))
					f.crowd.due(other.os, f.crowd.newest(), time.Now())
					time.Sleep(over)
					synctest.Wait()
					for range files[1:] {
						f.crowd.leave()
					}
				}()
				for time.Since(born) < 5*testSync {
					f.look(time.Now())
					f.append(key(0), time.Now())
					disk.check(t, f, testSync+flushAfter)
					time.Sleep(write)
					disk.wrote()
					if err := f.step(time.Now()); err != nil {
						t.Fatal(err)
					}
					time.Sleep(flushAfter - write)
				}
			})
		}
	}
}

// TestCrowdAtRandom: a crowd comes and goes, its syncs take what they like, or
// fail, and begin and end anywhere among the looks and writes of its files.
func TestCrowdAtRandom(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			upTo := func(random *rand.Rand, most time.Duration) time.Duration {
				return time.Duration(random.Int64N(int64(most)))
			}
			var disks [4]modelDisk
			ofCrowd := rand.New(rand.NewPCG(seed, 100))
			files := inCrowd(t, len(disks), func(*os.File) error {
				var err error
				if ofCrowd.IntN(4) == 0 {
					err = unix.EIO
				}
				var all sync.WaitGroup
				takes := upTo(ofCrowd, time.Second)
				for i := range disks {
					all.Go(func() { disks[i].during(takes, func() error { return err }) })
				}
				all.Wait()
				return err
			})
			var all sync.WaitGroup
			for i, f := range files {
				disk, random := &disks[i], rand.New(rand.NewPCG(seed, uint64(i)))
				f.aside = func(call func()) { go disk.during(50*time.Millisecond, func() error { call(); return nil }) }
				all.Go(func() {
					for begun := time.Now(); time.Since(begun) < time.Minute; {
						f.look(time.Now())
						disk.check(t, f, testSync+2*flushAfter)
						f.append(key(0), time.Now())
						write := upTo(random, flushAfter/2)
						time.Sleep(write)
						disk.wrote()
						if err := f.step(time.Now()); err != nil {
							t.Error(err)
						}
						f.crowd.mu.Lock()
						f.crowd.files, f.crowd.pause = random.IntN(2*syncCrowd), time.Time{}
						f.crowd.mu.Unlock()
						time.Sleep(flushAfter - write)
					}
				})
			}
			all.Wait()
			time.Sleep(time.Second) // the last sync
		})
	}
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

package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// small gives a journal a disk of so many bytes; the spare file is beside them.
func (w *owner) small(dir string, capacity int64) {
	var lent uint64 // the file that is, or was, the spare one
	var lentBytes int64
	w.Journal.put = func(f *os.File, b []byte, at int64) (int, error) {
		if ino, bytes := inodeOf(spare(dir)); bytes > 0 {
			lent, lentBytes = ino, bytes
		}
		files, _ := filepath.Glob(dir + "/*.journal")
		room := capacity
		for _, name := range files {
			if info, err := os.Stat(name); err == nil {
				room -= info.Size()
			}
		}
		if ino, _ := inodeOf(f.Name()); ino == lent && at+int64(len(b)) <= lentBytes {
			return f.WriteAt(b, at)
		}
		if int64(len(b)) <= room {
			return f.WriteAt(b, at)
		}
		n, _ := f.WriteAt(b[:max(room, 0)], at)
		return n, syscall.ENOSPC
	}
}

// inodeOf tells which file has a name, and what the disk keeps for it.
func inodeOf(path string) (ino uint64, bytes int64) {
	var s syscall.Stat_t
	if syscall.Stat(path, &s) != nil {
		return 0, 0
	}
	return s.Ino, s.Blocks * 512
}

// A journal that has filled its own disk goes on as soon as its owner needs nothing
// of it any more, although the records that say so found no room; and a large
// segment's worth of them gets there in pieces.
func TestFullOfItself(t *testing.T) {
	for _, capacity := range []int64{10 << 20, 64 << 10} {
		t.Run(fmt.Sprint(capacity), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := open(t, dir)
			w.small(dir, capacity)
			w.Start()
			size := int(capacity / 500)
			var all []*Entry
			full := func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.trouble) > 0 }
			for n := 0; n < 2000 && (n < 600 || !full()); n++ {
				e := &Entry{Kind: 1, Payload: make([]byte, size), Hold: true}
				all = append(all, e)
				w.Append(e)
			}
			w.await(t, "full", func() bool { return len(w.trouble) > 0 })
			w.mu.Lock()
			if !errors.Is(w.trouble[0], syscall.ENOSPC) {
				t.Errorf("told %v", w.trouble)
			}
			stored := make(map[*Entry]bool)
			for _, e := range w.stored {
				stored[e] = true
			}
			w.mu.Unlock()
			late := make(map[*Entry]bool) // on their way
			for _, e := range all {
				switch {
				case stored[e]:
					w.Release(e.Place())
				case w.Cancel(e):
					continue
				default:
					late[e] = true
				}
				w.Append(&Entry{Kind: 2, Payload: []byte("done")})
			}
			last := &Entry{Kind: 2, Payload: []byte("last")}
			w.Append(last)
			w.await(t, "written again", func() bool {
				for _, e := range w.stored[len(stored):] {
					if late[e] {
						w.Release(e.Place())
						delete(late, e)
					}
				}
				return len(w.trouble) == 2 && w.trouble[1] == nil && w.stored[len(w.stored)-1] == last
			})
			kept := int64(0)
			for _, name := range segmentsOf(t, dir) {
				info, err := os.Stat(name)
				if err != nil {
					t.Fatal(err)
				}
				kept += info.Size()
			}
			if kept > capacity*9/10 {
				t.Errorf("%d bytes are left of %d", kept, capacity)
			}
		})
	}
}

// What is needed is not removed with the file that was given up, as long as it is
// nowhere else, and is found once when it is.
func TestOnlyCopyIsKept(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	fail := false
	w.flush = func(f *os.File) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if fail {
			return syscall.EIO
		}
		return fdatasync(f)
	}
	w.Start()
	w.put(t, "let go")
	w.mu.Lock()
	fail = true
	w.mu.Unlock()
	needed := &Entry{Kind: 1, Payload: []byte("needed"), Hold: true}
	w.Append(needed)
	w.await(t, "trouble", func() bool { return len(w.trouble) == 1 })
	w.Release(w.stored[0].Place())
	w.Append(&Entry{Kind: 1, Payload: []byte("more"), Hold: true})
	again := func() bool { return len(segmentsOf(t, dir)) >= 3 } // it was tried once more, and once more
	if w.await(t, "tried again", again); len(w.stored) != 1 {
		t.Fatal("stored")
	}
	if _, err := os.Stat(segmentsOf(t, dir)[0]); err != nil || !strings.HasSuffix(segmentsOf(t, dir)[0], "0000000001.journal") {
		t.Errorf("files %q", segmentsOf(t, dir))
	}
	w.mu.Lock()
	fail = false
	w.mu.Unlock()
	w.await(t, "stored", func() bool { return len(w.stored) == 3 })
	w.await(t, "removed", func() bool { return len(segmentsOf(t, dir)) == 1 })
	w.close(t)
	if got := open(t, dir).text(); got != "needed more" {
		t.Errorf("found %q", got)
	}
}

// One record that stays needed, in the oldest file, does not keep a journal that has
// filled its own disk from going on: it moves to the spare file, at no time on disk nowhere.
func TestFullBehindOneNeeded(t *testing.T) {
	for _, segments := range []int{1, 3} {
		t.Run(fmt.Sprint(segments), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := open(t, dir)
			capacity := int64(segments-1)*segmentBytes + 200<<10
			w.small(dir, capacity)
			needed := &Entry{Kind: 1, Payload: []byte("needed"), Hold: true}
			moved := needed
			w.o.Needed = func(numbers []uint32) []*Entry {
				w.mu.Lock()
				defer w.mu.Unlock()
				if !slices.Contains(numbers, moved.Place().Segment) {
					return nil
				}
				payload, err := w.Read(moved.Place())
				if err != nil {
					t.Error(err)
				}
				return []*Entry{{Kind: 1, Seq: needed.Seq, Payload: payload, Hold: true, Owner: needed}}
			}
			letGo := 0
			w.o.Stored = func(all []*Entry) { // and delivered at once
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, e := range all {
					switch {
					case e == needed:
						letGo++
					case e.Owner == needed:
						w.Release(moved.Place())
						moved = e
					default:
						w.Release(e.Place())
						letGo++
					}
				}
			}
			w.Start()
			w.Append(needed)
			size := int(capacity / 400)
			for n := 1; n < 1200; n += 40 { // three times the disk
				w.await(t, "stored", func() bool { return letGo >= n })
				for range 40 {
					w.Append(&Entry{Kind: 1, Payload: make([]byte, size), Hold: true})
				}
			}
			w.await(t, "stored", func() bool { return letGo == 1201 })
			w.mu.Lock()
			if moved == needed {
				t.Error("nothing was moved")
			}
			if len(w.trouble) > 0 {
				t.Errorf("told %v", w.trouble)
			}
			w.mu.Unlock()
			w.close(t)
			next := open(t, dir)
			if next.found[needed.Seq] != "needed" {
				t.Error("what is needed is not found again")
			}
			if info, err := os.Stat(spare(dir)); err != nil || info.Size() != 0 {
				t.Errorf("there is no spare file for the next time: %v", err)
			}
		})
	}
}

// A spare file that was made while the disk had little room grows when there is more.
func TestSpareGrows(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(spare(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, 2*minSpare); err != nil {
		t.Fatal(err)
	}
	w := open(t, dir)
	if _, bytes := inodeOf(spare(dir)); bytes < maxSpare || w.spare != maxSpare {
		t.Errorf("%d bytes, %d counted on", bytes, w.spare)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("%v, %v", info, err)
	}
	w.Start()
}

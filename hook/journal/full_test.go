package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// small gives a journal a disk of so many bytes.
func (w *owner) small(dir string, capacity int64) {
	w.Journal.put = func(f *os.File, b []byte, at int64) (int, error) {
		files, _ := filepath.Glob(dir + "/*.journal")
		room := capacity
		for _, name := range files {
			if info, err := os.Stat(name); err == nil {
				room -= info.Size()
			}
		}
		if int64(len(b)) <= room {
			return f.WriteAt(b, at)
		}
		n, _ := f.WriteAt(b[:max(room, 0)], at)
		return n, syscall.ENOSPC
	}
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

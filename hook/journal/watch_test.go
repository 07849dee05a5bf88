package journal

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Whatever of the journal's work hangs is told of, what waits may be taken back
// meanwhile, and that the disk answers again is told, too, where nothing is left to
// be written.
func TestWhateverHangs(t *testing.T) {
	for name, begin := range map[string]func(w *owner, hang func()){
		"unlink": func(w *owner, hang func()) {
			w.unlink = func(path string) error { hang(); return os.Remove(path) }
			w.Start()
			w.put(t, "x")
			w.Journal.fail(nil, false) // its file is not the journal's last any more
			w.Release(w.stored[0].Place())
		},
		"the owner's reads": func(w *owner, hang func()) {
			w.o.Stored = func([]*Entry) { hang() }
			w.Start()
			w.Append(&Entry{Payload: []byte("x")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, filepath.Join(t.TempDir(), "hooks"))
			answers, asked := make(chan struct{}), make(chan struct{}, 100)
			begin(w, func() { asked <- struct{}{}; <-answers })
			<-asked
			e := &Entry{Payload: []byte("y"), Hold: true}
			w.Append(e)
			w.await(t, "told of", func() bool { return len(w.trouble) == 1 && w.trouble[0] != nil })
			w.Cancel(e)
			close(answers)
			w.await(t, "told to be over", func() bool { return len(w.trouble) == 2 && w.trouble[1] == nil })
		})
	}
}

// TestLastWriteHangs: that the disk hangs is told of also where nothing more comes to be
// written, and the write began a while after the look at it was set.
func TestLastWriteHangs(t *testing.T) {
	w := open(t, filepath.Join(t.TempDir(), "hooks"))
	begun, first, answers := make(chan struct{}), make(chan struct{}), make(chan struct{})
	calls := 0
	w.Journal.put = func(f *os.File, b []byte, at int64) (int, error) {
		switch calls++; calls { // the header of the file, x, y
		case 2:
			close(begun)
			<-first
		case 3:
			<-answers
		}
		return f.WriteAt(b, at)
	}
	w.Start()
	w.Append(&Entry{Payload: []byte("x")})
	<-begun
	w.Append(&Entry{Payload: []byte("y")})
	time.AfterFunc(stallAfter/4, func() { close(first) })
	w.await(t, "told of", func() bool { return len(w.trouble) == 1 && w.trouble[0] != nil })
	close(answers)
	w.await(t, "told to be over", func() bool { return len(w.trouble) == 2 && w.trouble[1] == nil })
}

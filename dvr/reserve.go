package dvr

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// reserved is how many descriptors are kept for recordings that begin or end
// when clients have taken all others: a file, its root, and folders on the way.
const reserved = 64

// spare is the process's, as descriptors are. The caretaker fills it.
var spare reserve

// A reserve keeps descriptors, to give them up when they are needed.
type reserve struct {
	mu   sync.Mutex
	kept []*os.File
}

// fill takes what is missing, as far as it goes.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.kept) < reserved {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return
		}
		r.kept = append(r.kept, f)
	}
}

// yield gives up so many, and says whether there were any.
func (r *reserve) yield(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = min(n, len(r.kept))
	for _, f := range r.kept[len(r.kept)-n:] {
		f.Close()
	}
	r.kept = r.kept[:len(r.kept)-n]
	return n > 0
}

// atOnce is how many descriptors one call takes at most, names of many folders
// aside.
const atOnce = 8

// with makes a call again that has found no free descriptor, with some of the
// reserve.
func (r *reserve) with(call func() error) error {
	for {
		err := call()
		if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) || !r.yield(atOnce) {
			return err
		}
	}
}

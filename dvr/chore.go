package dvr

import (
	"slices"
	"sync/atomic"
	"time"
)

// A chore is work beside the recordings, for one directory of them. One goroutine
// does it, one at a time of each kind: a disk that hangs keeps its own chores
// waiting, and those of no other, and they do not pile up.
type chore struct{ dir, kind string }

// Kinds of chores.
const (
	repairing = "repairing leftovers"
	unmarking = "removing marks"
	mending   = "completing recordings"
	cleaning  = "removing old recordings"
)

// A sign is when a chore was seen alive last.
type sign struct{ at atomic.Int64 }

func (s *sign) give()           { s.at.Store(time.Now().UnixNano()) }
func (s *sign) last() time.Time { return time.Unix(0, s.at.Load()) }

// beside has a goroutine do what is no recording. Close waits a moment for it.
func (r *Recorder) beside(work func()) {
	r.cares.Add(1)
	go func() {
		defer r.cares.Add(-1)
		work()
	}()
}

// tend does a chore. It returns at once, with what is closed when the chore is
// done; nil when the one before is still under way.
func (r *Recorder) tend(c chore, work func(alive func())) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chores[c] != nil {
		return nil
	}
	s := &sign{}
	s.give()
	r.chores[c] = s
	over := make(chan struct{})
	r.beside(func() {
		defer close(over)
		defer func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.chores, c)
		}()
		work(s.give)
	})
	return over
}

// each has work done for those of a list that are due, as a chore of each
// directory. The list is guarded by mu.
func each[T any](r *Recorder, kind string, list *[]T, due func(T) (dir string, now bool), work func(one T, alive func())) (under []<-chan struct{}) {
	dirs := map[string]bool{}
	r.mu.Lock()
	for _, one := range *list {
		dir, now := due(one)
		dirs[dir] = dirs[dir] || now
	}
	r.mu.Unlock()
	for dir, some := range dirs {
		if !some {
			continue
		}
		over := r.tend(chore{dir, kind}, func(alive func()) {
			for _, one := range take(r, list, func(one T) bool { its, now := due(one); return now && its == dir }) {
				work(one, alive)
				alive()
			}
		})
		if over != nil {
			under = append(under, over)
		}
	}
	return under
}

// take takes those of a list that are wanted.
func take[T any](r *Recorder, list *[]T, wanted func(T) bool) (taken []T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*list = slices.DeleteFunc(*list, func(one T) bool {
		if wanted(one) {
			taken = append(taken, one)
			return true
		}
		return false
	})
	return taken
}

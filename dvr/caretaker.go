package dvr

import (
	"errors"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"srs/hook"
)

// Bounds of what is done beside the recordings.
const (
	careEvery   = time.Second
	maxUnmended = 10_000 // files that wait for their next try, likewise marks; the others wait for the next start
)

// Start begins what is done beside the recordings, until Close: files that a
// killed server has left are repaired and announced, files that could not be
// completed are tried again, old ones are removed. It returns at once.
func (r *Recorder) Start() {
	spare.fill()
	for _, work := range []func(){r.repairAll, r.care, r.clean} {
		r.beside(work)
	}
}

// care has done what is due, each second.
func (r *Recorder) care() {
	tick := time.NewTicker(careEvery)
	defer tick.Stop()
	hung := map[string]hang{}
	mended := time.Now()
	for looked := mended; ; {
		spare.fill()
		select {
		case <-r.closing:
			return
		case now := <-tick.C:
			r.unmark(now)
			if now.Sub(mended) >= retryAfter {
				mended = now
				r.mendAgain()
				r.rememberAgain()
			}
			if now.Sub(looked) >= lookEvery {
				looked = now
				r.lookAgain()
			}
			r.tellHung(hung, now)
		}
	}
}

// Settle removes what stays behind for the time in which announcements may get
// lost. It is called when on_dvr of all files is delivered or in the journal, as far
// as it comes to that; the next start announces the others again. It does not wait
// for a disk that hangs either.
func (r *Recorder) Settle() {
	enough := time.NewTimer(closeGrace)
	defer enough.Stop()
	for _, done := range r.unmark(time.Now().Add(retryAfter)) {
		select {
		case <-done:
		case <-enough.C:
			return
		}
	}
}

// A pendingMark is a mark whose file has been announced.
type pendingMark struct {
	file  markFile
	kept  *atomic.Bool // on_dvr survives a crash
	clean func() error // what else is to be done then, or nil
	next  time.Time    // not to be tried before
}

// unmark removes the marks that are not needed any more.
func (r *Recorder) unmark(now time.Time) (under []<-chan struct{}) {
	due := func(m pendingMark) (string, bool) { return m.file.dir, m.kept.Load() && !m.next.After(now) }
	return each(r, unmarking, &r.marks, due, func(m pendingMark, _ func()) {
		var err error
		r.disk(m.file.dir, func() {
			if m.clean != nil {
				if err = m.clean(); err != nil && !gone(err) {
					return
				}
				m.clean = nil
			}
			err = m.file.remove()
		})
		switch {
		case ignore(err, fs.ErrNotExist) == nil:
			r.disown(&m.file)
		default:
			m.next = time.Now().Add(retryAfter)
			r.unmarkLater(m)
		}
	})
}

// unmarkLater has a mark removed when that may be. Too many stay until the next
// start, which announces their files once more; and of many some are not locked.
func (r *Recorder) unmarkLater(m pendingMark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.marks) >= maxLocked {
		m.file.unlock()
	}
	if len(r.marks) < maxUnmended {
		r.marks = append(r.marks, m)
	} else {
		delete(r.owned, m.file.path())
	}
}

// own notes that a mark is this process's: it sees to the announcement, and nobody
// else who finds the mark. It says whether that is new.
func (r *Recorder) own(a *markFile) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := a.path()
	fresh = !r.owned[path]
	r.owned[path] = true
	return fresh
}

func (r *Recorder) disown(a *markFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owned, a.path())
}

// leave lets others see to a mark.
func (r *Recorder) leave(a *markFile) {
	a.unlock()
	r.disown(a)
}

// drop takes away the mark of what is not to be announced.
func (r *Recorder) drop(a *markFile) {
	if a.name == "" {
		return
	}
	r.disk(a.dir, func() { a.remove() })
	r.leave(a)
}

// announce tells of a file, and has its mark removed when that cannot get lost any
// more.
func (r *Recorder) announce(a markFile, ev hook.Event, clean func() error) {
	kept := new(atomic.Bool)
	r.Tell(ev, func() { kept.Store(true) })
	if a.name != "" {
		r.unmarkLater(pendingMark{file: a, kept: kept, clean: clean})
	}
}

// An unmended file is one whose recording could not be completed, or which may be
// another program's.
type unmended struct {
	pattern pattern
	name    string
	known   *mark     // nil: nobody knows what it is
	due     time.Time // not to be tried before
}

// mendLater has a file completed that is still ".tmp".
func (r *Recorder) mendLater(u unmended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unmended) < maxUnmended {
		r.unmended = append(r.unmended, u)
		r.promised[u.path()] = u.known != nil
	} else {
		delete(r.promised, u.path())
	}
}

// promise keeps a file from the lookout while its recording completes it.
func (r *Recorder) promise(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.promised[path] = true
}

// release ends that.
func (r *Recorder) release(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.promised, path)
}

func (u *unmended) path() string { return filepath.Join(u.pattern.dir, u.name) }

// isPromised says whether a file is to be completed by mendAgain, and whether it is
// known what it is.
func (r *Recorder) isPromised(p *pattern, name string) (promised, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, promised = r.promised[filepath.Join(p.dir, name)]
	return promised, known
}

// mendAgain tries those that are due.
func (r *Recorder) mendAgain() {
	now := time.Now()
	due := func(u unmended) (string, bool) { return u.pattern.dir, !u.due.After(now) }
	each(r, mending, &r.unmended, due, func(u unmended, alive func()) {
		u.pattern.alive = alive
		switch err := r.mend(&u.pattern, u.name, u.known, nil); {
		case errors.Is(err, errForeign):
			u.due = now.Add(restFor)
			r.mendLater(u)
		case err != nil && u.known != nil:
			r.mendLater(u)
		default:
			r.release(u.path())
			if err != nil && !errors.Is(err, errLocked) {
				r.doubt(u.pattern.dir) // the lookout says what is wrong, and tries again
			}
		}
	})
}

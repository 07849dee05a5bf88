package dvr

import (
	"errors"
	"path/filepath"
	"time"
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
			r.tellHeld(now, false)
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
	if u.known != nil {
		u.known.file.unlock() // as long as the file is there, nobody announces it
	}
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
			r.notLate(u.known)
			if err != nil && !errors.Is(err, errLocked) {
				r.doubt(u.pattern.dir) // the lookout says what is wrong, and tries again
			}
		}
	})
}

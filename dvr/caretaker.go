package dvr

import (
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"srs/hook"
)

// Bounds of what is done beside the recordings.
const (
	careEvery   = time.Second
	markHold    = time.Second // a mark stays behind its on_dvr, until that is in the journal
	maxUnmended = 10_000      // files that wait for their next try, likewise marks; the others wait for the next start
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
	hung := map[string]bool{}
	mended := time.Now()
	for looked := mended; ; {
		spare.fill()
		select {
		case <-r.closing:
			return
		case now := <-tick.C:
			r.unmark(now.Add(-markHold))
			if now.Sub(mended) >= retryAfter {
				mended = now
				r.mendAgain()
				r.rememberAgain()
			}
			if now.Sub(looked) >= lookEvery {
				looked = now
				r.lookAgain()
			}
			r.tellHung(hung)
		}
	}
}

// Settle removes what stays behind for the time in which announcements may get
// lost. It is called when on_dvr of all files is delivered or in the journal. A
// disk that hangs is not waited for: the next start announces its files again.
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

// unmark removes marks set before a time.
func (r *Recorder) unmark(before time.Time) (under []<-chan struct{}) {
	due := func(m pendingMark) (string, bool) { return m.claim.dir, !m.at.After(before) }
	return each(r, unmarking, &r.marks, due, func(m pendingMark, _ func()) {
		var err error
		r.disk(m.claim.dir, func() { err = m.claim.unmark() })
		if ignore(err, fs.ErrNotExist) == nil || !r.unmarkLater(pendingMark{m.claim, time.Now().Add(retryAfter - markHold)}) {
			r.disown(m.claim)
		}
	})
}

// unmarkLater has a mark removed some time later, if not too many wait for that.
func (r *Recorder) unmarkLater(m pendingMark) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.marks) >= maxUnmended {
		return false
	}
	r.marks = append(r.marks, m)
	return true
}

// A markName is where a mark is.
type markName struct{ dir, name string }

// own notes that a claim's mark is this process's: it sees to the announcement,
// and nobody else who finds the mark. It says whether that is new.
func (r *Recorder) own(c claim) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := markName{c.dir, c.name()}
	fresh = !r.owned[name]
	r.owned[name] = true
	return fresh
}

func (r *Recorder) disown(c claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owned, markName{c.dir, c.name()})
}

// announce tells of a file, and has its mark removed some time later.
func (r *Recorder) announce(c claim, ev hook.Event) {
	r.Tell(ev)
	r.mu.Lock() // also where nobody is told any more: there may be a mark of before
	defer r.mu.Unlock()
	r.owned[markName{c.dir, c.name()}] = true
	r.marks = append(r.marks, pendingMark{c, time.Now()})
}

// A pendingMark is a mark whose file has been announced.
type pendingMark struct {
	claim claim
	at    time.Time
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
		switch err := r.mend(&u.pattern, u.name, u.known); {
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

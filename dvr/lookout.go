package dvr

import (
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// lookEvery is how often it is looked whether a disk has been mounted.
const lookEvery = time.Minute

// A lookout is for a disk that is mounted after the start, with what a killed
// server has left on it: then a directory is there that was not, or another one.
type lookout struct {
	pattern pattern     // static
	away    atomic.Bool // the directory was not there

	// Owned by the chore of repairing in the directory.
	seen   os.FileInfo // which one has been looked into
	failed string      // why it could not be
}

func lookoutsOf(list []pattern) (looks []*lookout) {
	for _, p := range list {
		looks = append(looks, &lookout{pattern: p})
	}
	return looks
}

// look says whether the directory is one that has not been looked into.
func (l *lookout) look() (fresh bool, err error) {
	info, err := os.Stat(l.pattern.dir)
	l.away.Store(err != nil)
	if err != nil {
		l.seen = nil
		return false, err
	}
	fresh = l.seen == nil || !os.SameFile(l.seen, info)
	l.seen = info
	return fresh, nil
}

// fails notes an error and says whether it is another one than before.
func (l *lookout) fails(err error) (other bool) {
	text := err.Error()
	other, l.failed = text != l.failed, text
	return other
}

// lookFrom has a directory looked at now and then from now on.
func (r *Recorder) lookFrom(dir string, looks []*lookout) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookouts[dir] = append(r.lookouts[dir], looks...)
}

// lookAgain repairs what is on disks that have been mounted since the last time.
func (r *Recorder) lookAgain() {
	r.mu.Lock()
	dirs := make(map[string][]*lookout, len(r.lookouts))
	for dir, looks := range r.lookouts {
		dirs[dir] = slices.Clone(looks)
	}
	r.mu.Unlock()
	for dir, looks := range dirs {
		r.tend(chore{dir, repairing}, func(alive func()) { r.repairDir(&repairs{}, looks, alive) })
	}
}

// tellAway says of places that were recorded to, and where more may be to be done,
// which are not there.
func (r *Recorder) tellAway(list []origin) {
	told := map[string]bool{}
	for _, o := range list {
		dir := r.patternOf(o).dir
		if told[dir] {
			continue
		}
		r.mu.Lock()
		away := slices.ContainsFunc(r.lookouts[dir], func(l *lookout) bool { return l.away.Load() })
		r.mu.Unlock()
		if told[dir] = true; away {
			r.Log.Info("a directory of recordings is not there; what was left in it is looked for when it is", "path", dir, "retry", lookEvery.String())
		}
	}
}

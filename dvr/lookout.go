package dvr

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"
)

// Bounds of looking for leftovers.
const (
	lookEvery   = time.Minute // what could not be looked into or repaired, and disks that may have been mounted
	lookRest    = 60          // times as long as a look took that was of no use, until it is repeated
	maxLookRest = 30 * time.Minute
	maxSearches = 4096
)

// A verdict is what a look has come to, for one pattern.
type verdict uint8

const (
	unlooked verdict = iota
	away             // the directory is not there: a disk that is not mounted, perhaps
	bare             // nothing of ours is in it: likewise
	undone           // not all of it could be looked into, or repaired
	settled          // nothing is left to be done
)

// A lookout is for the leftovers in a directory. Once it has seen to all of them it
// looks again when there is another directory, because a disk has been mounted, or
// a recording has lost its file there: the disk may have been away for a moment.
type lookout struct {
	// Guarded by the Recorder's mu.
	searches []*search // may become more
	doubted  bool      // there may be a leftover again
}

// A search is for the leftovers of one pattern.
type search struct {
	pattern pattern // static
	verdict verdict // written by the chore, with the Recorder's mu

	// Owned by the chore of repairing in the directory.
	seen   os.FileInfo       // the directory that has been looked through
	again  bool              // and is to be once more
	rests  time.Time         // but not before
	failed map[string]string // files and folders that could not be seen to then, and why
}

// searchFor adds searches for patterns that have none, and says in which directories.
func (r *Recorder) searchFor(list []pattern) (dirs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range list {
		l := r.lookouts[p.dir]
		switch {
		case l != nil && slices.ContainsFunc(l.searches, func(s *search) bool { return s.pattern.same(p) }):
			continue
		case r.searches >= maxSearches:
			if r.searches == maxSearches {
				r.Log.Error("too many values of dvr_path since the start; leftovers of further ones are looked for by the next", "path", p.root, "max", maxSearches)
				r.searches++
			}
			continue
		case l == nil:
			l = &lookout{}
			r.lookouts[p.dir] = l
		}
		l.searches = append(l.searches, &search{pattern: p})
		r.searches++
		dirs = append(dirs, p.dir)
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// verdictOf is what the last look for leftovers of a pattern has come to.
func (r *Recorder) verdictOf(p pattern) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lookouts[p.dir]; l != nil {
		for _, s := range l.searches {
			if s.pattern.same(p) {
				return s.verdict
			}
		}
	}
	return unlooked
}

// doubt has a directory looked through once more.
func (r *Recorder) doubt(dir string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.lookouts[dir]; l != nil {
		l.doubted = true
	}
}

// lookAgain sees to what has changed since the last time, and to where dvr_path
// leads since a reload.
func (r *Recorder) lookAgain() {
	r.searchFor(r.patterns())
	r.mu.Lock()
	looks := maps.Clone(r.lookouts)
	r.mu.Unlock()
	for dir, l := range looks {
		r.tend(chore{dir, repairing}, func(alive func()) { r.look(l, alive) })
	}
}

// look sees to the leftovers of a directory.
func (r *Recorder) look(l *lookout, alive func()) {
	r.mu.Lock()
	searches, doubted := slices.Clone(l.searches), l.doubted
	l.doubted = false
	r.mu.Unlock()
	begun := time.Now()
	t := &look{recorder: r, searches: searches}
	for _, s := range searches {
		if doubted {
			s.seen = nil
		}
		t.pattern = s.pattern
		t.pattern.alive = alive
		v := t.through(s)
		r.mu.Lock()
		s.verdict = v
		r.mu.Unlock()
	}
	if t.done > 0 {
		r.Log.Info("leftovers looked at", "path", t.pattern.root, "files", t.done, "took", time.Since(begun).Round(time.Millisecond).String())
	}
}

// restAfter is how long a look that took so long, and has seen to so many files, is
// not repeated although there is more to be done.
func restAfter(took time.Duration, files int) time.Duration {
	if files > 0 {
		return 0
	}
	return min(lookRest*min(took, maxLookRest), maxLookRest)
}

// A look is one through a directory.
type look struct {
	recorder *Recorder
	searches []*search
	done     int // files that were seen to

	// Of the present search.
	pattern pattern
	marks   map[string][]string // of those that have been found, by recording
	later   []found             // marks of recordings that are to be completed first
	failed  map[string]string
	undone  bool // there is something to be done
	again   bool // and the next look may do it
}

// through looks for the leftovers of one pattern, in the order in which they were
// left, and sees to them.
func (t *look) through(s *search) verdict {
	begun, before := time.Now(), t.done
	info, err := os.Stat(s.pattern.dir)
	if err == nil && s.seen != nil && os.SameFile(s.seen, info) && (!s.again || begun.Before(s.rests)) {
		return s.verdict
	}
	s.seen, t.undone, t.again, t.failed = nil, false, false, map[string]string{}
	defer func() { s.failed = t.failed }()
	ours := false
	var last found
	for more := err == nil; more; {
		var list []found
		var some bool
		list, more, some, err = t.pattern.leftovers(last, t.recorder.closing, t.blind)
		ours = ours || some
		t.marks, t.later = map[string][]string{}, nil
		for _, f := range list {
			if f.isMark() {
				t.marks[f.name] = append(t.marks[f.name], f.name+f.suffix)
			}
		}
		for _, last = range list {
			if !t.see(last) {
				return undone
			}
		}
		for _, f := range t.later {
			if _, waits := t.recorder.announceAgain(&t.pattern, f.name, f.name+f.suffix); waits {
				t.undone, t.again = true, true
			}
		}
	}
	switch {
	case errors.Is(err, errStopped):
		return undone
	case errors.Is(err, fs.ErrNotExist):
		return away
	case err != nil:
		t.blind(".", err)
	}
	s.seen, s.again = info, t.again || !ours // one may be mounted below it
	s.rests = time.Now().Add(restAfter(time.Since(begun), t.done-before))
	switch {
	case t.undone:
		return undone
	case !ours:
		return bare
	}
	return settled
}

// see sees to one leftover. It says whether to go on.
func (t *look) see(f found) bool {
	r, p := t.recorder, &t.pattern
	select {
	case <-r.closing:
		return false
	default:
	}
	if f.isMark() {
		name := f.name + f.suffix
		if err := p.openable(name); err != nil && passing(err) && !gone(err) {
			if t.fails(name, err) {
				r.Log.Error("a finished recording is not announced yet, its mark cannot be read", "path", p.root+name, "uid", os.Getuid(),
					"error", err.Error(), "retry", retryOf(err))
			}
			return true
		}
		switch told, waits := r.announceAgain(p, f.name, name); {
		case told:
			t.done++
		case waits:
			t.later = append(t.later, f)
		}
		return true
	}
	if promised, _ := r.isPromised(p, f.name); promised {
		t.undone = true
		return true
	}
	file := p.root + f.name + tmp
	switch err := r.mend(p, f.name, nil, t.marks[f.name]); {
	case err == nil:
		t.done++
	case errors.Is(err, errStopped):
		return false
	case gone(err): // somebody else has seen to it
	case errors.Is(err, errLocked):
		t.undone = true
	case errors.Is(err, errForeign):
		if t.fails(f.name, err) {
			r.Log.Info("left alone for now, another program may be writing it", "path", file, "retry", restFor.String())
		}
		r.mendLater(unmended{pattern: *p, name: f.name, due: time.Now().Add(restFor)})
	case t.fails(f.name, err):
		who := p.publisher(f.name)
		r.Log.Error("recording not repaired; it is left as it is", "vhost", who.Vhost, "app", who.App, "stream", who.Stream,
			"path", file, "uid", os.Getuid(), "error", err.Error(), "retry", retryOf(err))
	}
	return true
}

// blind notes a file or folder that cannot be looked into.
func (t *look) blind(name string, err error) {
	if name == "lost+found" && errors.Is(err, fs.ErrPermission) {
		return // of the file system
	}
	if t.again = true; t.fails(name, err) {
		at := t.pattern.root
		if name != "." {
			at += name
		}
		t.recorder.Log.Error("leftovers cannot be looked for", "path", at, "uid", os.Getuid(), "error", err.Error(), "retry", lookEvery.String())
	}
}

// fails notes why a file or folder could not be seen to, and says whether that is
// to be told.
func (t *look) fails(name string, err error) (news bool) {
	t.undone, t.again = true, t.again || passing(err)
	if len(t.failed) >= maxUnmended {
		return false
	}
	text := err.Error()
	t.failed[name] = text
	return !slices.ContainsFunc(t.searches, func(s *search) bool { return s.failed[name] == text })
}

// passing errors are the system's, not those of what is in the file: the next try
// may do better.
func passing(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno)
}

func retryOf(err error) string {
	if passing(err) {
		return lookEvery.String()
	}
	return "with the next start"
}

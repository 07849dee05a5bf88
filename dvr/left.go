package dvr

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"time"
)

// Bounds of ours.
const (
	maxLeftLines = 20            // recordings that have a line of their own when Close leaves them
	nothing      = math.MaxInt64 // of what is in memory: since never
)

var errLeft = errors.New("the server has stopped meanwhile")

// A stand is what Close tells of a recording that its disk keeps waiting:
//
//	             goes(naming)               named
//	runs ──────────────────────→ naming ───────────→ runs
//	 │ left                         │ left
//	 └→ nothing is completed        └→ the file gets its name, and is
//	    any more, nor told             told of; nothing else is
//
// So a file is either announced or told of as left, however late its disk answers.
type stand struct {
	turn   turn // the present one
	log    *slog.Logger
	next   *turn  // that waits for the end of the file before
	path   string // of its file; empty: it has none
	naming bool   // all of that is on its way to its name
	left   bool   // by Close
}

// goes says that Close has not left the recording; naming: the file gets its name now,
// with all that has come for it, so Close has nothing to tell of it any more.
func (r *recording) goes(naming bool) bool {
	if naming && r.since.Load() != nothing {
		r.secure(r.now.UnixNano())
	}
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	r.stand.naming = r.stand.naming || naming && !r.stand.left
	return !r.stand.left
}

// always is goes of a file that is no recording's yet.
func always(bool) bool { return true }

// stands notes what the recording is about: a file, or none any more.
func (r *recording) stands(path string) {
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	r.stand.turn, r.stand.next, r.stand.log, r.stand.path, r.stand.naming = r.turn, nil, r.log, path, false
}

// secure notes that what came until a time is in a file, if so it is, or told of.
func (r *recording) secure(at int64) {
	if r.trouble.untold.frames == 0 && r.trouble.waits.since.IsZero() && (r.file == nil || len(r.file.buf) == 0) {
		r.since.Store(at)
	}
}

// drained notes how far the stream has been read, as far as the kernel has what came.
func (r *recording) drained(more, ended bool) {
	switch {
	case ended:
		r.secure(nothing)
	case !more:
		r.secure(r.now.UnixNano())
	}
}

// A waiter is a publish whose recording waits for its disk when Close has no more time.
type waiter struct {
	stand
	since int64 // what came then is in memory
}

// waits makes a waiter of a publish of which nothing was read.
func (r *Recorder) waits(t turn) waiter {
	return waiter{stand{turn: t, log: r.logOf(t.publisher)}, t.begun.UnixNano()}
}

// giveUp tells of the recordings that still wait for their disks, and says how many there
// are. What is in their files the next start completes; what is in memory is lost.
func (r *Recorder) giveUp() int {
	var all []waiter
	var unread []turn
	r.mu.Lock()
	for rec := range r.active {
		rec.stand.left = true
		all = append(all, waiter{rec.stand, rec.since.Load()})
		if next := rec.stand.next; next != nil {
			all = append(all, r.waits(*next))
		}
		unread = append(unread, rec.next...)
		rec.next = nil
	}
	n := len(r.active)
	r.mu.Unlock()
	for _, t := range unread {
		t.source.Close()
		all = append(all, r.waits(t))
	}
	for i, w := range all {
		next := r.wanted(w.turn).path()
		args := []any{"path", next}
		if w.path != "" {
			args = []any{"path", w.path + tmp, "retry", "the next start completes what is in the file"}
		}
		if w.since != nothing {
			at := time.Unix(0, w.since).Format(time.DateTime)
			args = append(args, "lost_since", at)
			ev := factsOf(w.turn.publisher).event()
			ev.Cwd, ev.File = r.Cwd, cmp.Or(w.path, next)
			if w.naming {
				ev.File = next
			}
			ev.Error = "the disk did not answer when the server stopped: what came since " + at + " is lost, but for what the next start finds of it"
			r.announce(news{event: ev})
		}
		if i < maxLeftLines {
			w.log.Error("recording not completed, its disk does not answer", args...)
		}
	}
	if more := len(all) - maxLeftLines; more > 0 {
		r.Log.Error("further recordings are not completed, their disks do not answer", "recordings", more, "retry", "the next start completes what is in their files")
	}
	return n
}

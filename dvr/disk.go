package dvr

import (
	"maps"
	"sync/atomic"
	"time"
)

// Bounds of ours.
const (
	diskCalls  = 16               // under way at a time, per directory of a template
	fileCalls  = 2                // of them, those that complete and open files: a crowd that does so at once waits in line
	silentFor  = 5 * time.Second  // recordings wait for a disk and none has had an answer, until that is said
	answersFor = 2 * silentFor    // since the last such silence, until it is said that the disk answers again
	hungAfter  = 30 * time.Second // likewise of what takes long: a sync, and a chore that gives no sign of life
)

// A disk is that of a directory of recordings, as far as it is known. A hung one
// does not cost one thread per stream, and no other disk.
type disk struct {
	calls chan struct{} // diskCalls tokens
	syncs chan struct{} // likewise, for those who only bring to the disk what is written
	files chan struct{} // fileCalls tokens

	recordings traffic // that write, begin or end a file
	bringing   traffic // syncs beside them
}

// diskOf gives the disk of a directory.
func (r *Recorder) diskOf(dir string) *disk {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.disks[dir]
	if d == nil {
		d = &disk{calls: make(chan struct{}, diskCalls), syncs: make(chan struct{}, diskCalls), files: make(chan struct{}, fileCalls)}
		r.disks[dir] = d
	}
	return d
}

// disk runs a function of a chore that may block on the disk of a directory.
func (r *Recorder) disk(dir string, call func()) { r.diskOf(dir).run(call) }

// run makes a call when there are less than diskCalls.
func (d *disk) run(call func()) {
	d.calls <- struct{}{}
	defer func() { <-d.calls }()
	call()
}

// write is disk for a recording.
func (r *Recorder) write(dir string, call func()) {
	d := r.diskOf(dir)
	d.recordings.count(func() { d.run(call) })
}

// turnover is write for a file that begins or ends. Many at once would keep the
// processors from the players; while they wait, the stream keeps their frames.
// When the server stops there is no time for that.
func (r *Recorder) turnover(dir string, call func()) {
	d := r.diskOf(dir)
	d.recordings.count(func() {
		select {
		case d.files <- struct{}{}:
			defer func() { <-d.files }()
		case <-r.closing:
		}
		d.run(call)
	})
}

// aside is write in a goroutine, for what may take long: bringing to the disk what
// is written. It takes no call from those who write.
func (r *Recorder) aside(dir string, call func()) {
	d := r.diskOf(dir)
	r.beside(func() {
		d.bringing.count(func() {
			d.syncs <- struct{}{}
			defer func() { <-d.syncs }()
			call()
		})
	})
}

// Traffic is the calls to a disk: how many have not come back, those that wait for
// their turn, too, and how many have.
type traffic struct {
	under, back atomic.Int64

	// Owned by the caretaker.
	seen int64     // of back, at the last look
	last time.Time // when a call was seen to come back, or none was under way
}

func (t *traffic) count(call func()) {
	t.under.Add(1)
	defer func() {
		t.back.Add(1)
		t.under.Add(-1)
	}()
	call()
}

// silent says for how long calls have waited and none has come back. It looks; between
// two looks calls may come and go.
func (t *traffic) silent(now time.Time) time.Duration {
	if under, back := t.under.Load(), t.back.Load(); under == 0 || back != t.seen || t.last.IsZero() {
		t.seen, t.last = back, now
	}
	return now.Sub(t.last)
}

// A hang is a time in which a directory does not answer.
type hang struct{ since, seen time.Time }

// tellHung says once of each directory that it does not answer, and once that it
// does so again. One that does so now and then has not begun to.
func (r *Recorder) tellHung(told map[string]hang, now time.Time) {
	r.mu.Lock()
	chores, disks := maps.Clone(r.chores), maps.Clone(r.disks)
	r.mu.Unlock()
	hung := func(dir string, silent time.Duration) (news bool) {
		h, known := told[dir]
		if !known {
			h.since = now.Add(-silent)
		}
		h.seen = now
		told[dir] = h
		return !known
	}
	for dir, d := range disks {
		if silent := d.recordings.silent(now); silent >= silentFor && hung(dir, silent) {
			r.Log.Warn("a directory of recordings does not answer; what is recorded there stays in memory, as much as there is room for, others do not wait for it",
				"path", dir, "recordings", d.recordings.under.Load(), "since", silent.Round(time.Second).String())
		}
		if silent := d.bringing.silent(now); silent >= hungAfter && hung(dir, silent) {
			r.Log.Warn("a directory of recordings does not answer; what is recorded there is written, and a power cut would take it",
				"path", dir, "recordings", d.bringing.under.Load(), "since", silent.Round(time.Second).String())
		}
	}
	for c, s := range chores {
		if silent := now.Sub(s.last()); silent > hungAfter && hung(c.dir, silent) {
			r.Log.Error("a directory of recordings does not answer; what is to be done there waits for it, others do not",
				"path", c.dir, "waits", c.kind, "since", silent.Round(time.Second).String())
		}
	}
	for dir, h := range told {
		if now.Sub(h.seen) > answersFor {
			delete(told, dir)
			r.Log.Info("a directory of recordings answers again", "path", dir, "after", h.seen.Sub(h.since).Round(time.Second).String())
		}
	}
}

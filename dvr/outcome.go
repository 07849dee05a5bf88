package dvr

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
)

// sessionKeyframes is the room in the index of a file that may last for ever:
// an hour with a keyframe every two seconds; later it is thinned. A segment has
// room for a keyframe each second and some more.
const (
	sessionKeyframes = 1800
	segmentSpare     = 32
)

// trouble is what disk errors cost, between the first and the next success.
type trouble struct {
	errors  int
	frames  int       // lost
	missed  int       // of them, those that no file and no on_dvr has told of
	since   time.Time // when the first of these came
	last    string
	path    string
	failed  time.Time // the newest
	retryAt time.Time
	retry   string // what was said of that
}

// open begins a file at a time of the stream, with metadata and sequence
// headers, video first, all at time 0. It says whether there is one.
func (r *recording) open(at uint32) bool {
	now := time.Now()
	if now.Before(r.trouble.retryAt) {
		r.miss()
		return false
	}
	p, s := r.turn.publisher, r.turn.settings
	want := expand(s.Path, subject{vhost: p.Vhost, app: p.App, stream: p.Stream, at: r.recorder.Now()})
	room := sessionKeyframes
	if seconds := int(s.Duration / time.Second); s.Plan == planSegment && seconds > 0 {
		room = min(room, seconds+segmentSpare)
	}
	who := factsOf(p)
	if r.trouble.missed > 0 {
		who.Lost = lostBefore(r.trouble.last, r.trouble.missed)
	}
	r.prologue.begin()
	var f *file
	var err error
	dir := r.recorder.dir(want.root)
	r.recorder.remember(p.Vhost, s.Path)
	r.recorder.turnover(dir, func() {
		if s.Plan == planAppend {
			f, err = continueFile(dir, want, r.fits, who, s.Sync)
		}
		if f == nil && err == nil {
			f, err = openFile(dir, want, flv.NewFileMetadata(r.prologue.metadata, room, who.note(), who.owner()), s.Sync)
		}
	})
	if err != nil {
		if r.failed(want.path(), err, "at once"); r.last {
			r.miss()
		} else {
			r.source.Unread() // a next try begins with it
		}
		return false
	}
	f.crowd, f.aside = r.recorder.enterCrowd(f.os), func(call func()) { r.recorder.aside(dir, call) }
	f.missed, f.missedFor, f.since = r.trouble.missed, r.trouble.last, now
	if f.missed > 0 {
		f.since = r.trouble.since
	}
	r.trouble.missed = 0
	r.file, r.unsaid = f, [2]bool{}
	r.plan.begin()
	r.clock = clock{last: at, elapsed: r.lead}
	r.lead = 0
	if f.continued > 0 { // it goes on where it ended, and has its headers
		r.clock.elapsed = int64(f.sum.End())
		r.plan.pictures, r.plan.joined = f.sum.Video, true
		return true
	}
	for _, typ := range []uint8{flv.TypeVideo, flv.TypeAudio} {
		for _, h := range r.headers(typ) {
			f.append(h, r.now)
		}
	}
	return true
}

// miss notes frames that no file has, the first of which came at a time.
func (t *trouble) miss(frames int, since time.Time) {
	if frames > 0 && (t.missed == 0 || since.Before(t.since)) {
		t.since = since
	}
	t.missed += frames
}

// miss counts a frame that no file takes.
func (r *recording) miss() {
	r.trouble.frames++
	r.trouble.miss(1, time.Now())
	r.waitKey, r.lead = r.turn.settings.WaitKeyframe, 0
}

// disk makes a call to the disk of the file. Its error ends the file.
func (r *recording) disk(call func() error) {
	var err error
	r.recorder.disk(r.file.claim.dir, func() { err = call() })
	if err != nil {
		r.failed(r.pathOfFile(), err, withNext)
		r.end()
		return
	}
	if !r.file.grown() {
		return
	}
	if r.file.continued > 0 && !r.file.said {
		r.file.said = true
		r.log.Info("recording goes on", "path", r.pathOfFile())
	}
	if r.trouble.errors > 0 {
		r.log.Info("recording again", "path", r.pathOfFile(), "errors", r.trouble.errors, "lost", r.trouble.frames)
		if r.trouble.missed > 0 { // pictures that waited for a keyframe while there was sound
			r.file.missed, r.file.missedFor = r.file.missed+r.trouble.missed, r.trouble.last
		}
		r.trouble = trouble{}
	}
}

// withNext is when the next file begins, unless its keyframe is there already.
const withNext = "with the next keyframe or sound"

// failed notes an error of the disk. After the first one the next file begins as
// soon as it may; when that fails too, or there is no point in it, the next try
// is in a while. A repeated error is one line.
func (r *recording) failed(path string, err error, soon string) {
	now := time.Now()
	wait, retry := retryAfter, "in "+retryAfter.String()
	if now.Sub(r.trouble.failed) > retryAfter && !lasting(err) {
		wait, retry = 0, soon
	}
	if r.last {
		retry = "with the next publish"
	}
	r.trouble.errors++
	r.trouble.path, r.trouble.failed, r.trouble.retryAt, r.trouble.retry = path, now, now.Add(wait), retry
	r.complain(err)
}

// complain is the line of an error.
func (r *recording) complain(err error) {
	if text := cause(err); text != r.trouble.last {
		r.trouble.last = text
		r.log.Error("recording failed", "path", r.trouble.path, "uid", os.Getuid(), "error", err.Error(), "retry", r.trouble.retry,
			"hint", "under systemd see ReadWritePaths=")
	}
}

// lasting errors are not over a moment later.
func lasting(err error) bool {
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM, unix.ENOTDIR, unix.EFBIG, unix.ENAMETOOLONG} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// cause is what an error says without the paths, which differ from file to file.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			inner = several.Unwrap()[0]
		}
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// end completes the file, if there is one, and announces it.
func (r *recording) end() {
	f := r.file
	if f == nil {
		return
	}
	before, who := f.err, factsOf(r.turn.publisher)
	heard := r.recorder.heard(who.Vhost)
	var to place
	var err error
	r.recorder.own(f.claim)
	r.recorder.turnover(f.claim.dir, func() { to, err = f.complete(who, heard) })
	if to.name == "" || !f.grown() {
		defer r.recorder.disown(f.claim)
	}
	if all := errors.Join(err, f.err); all != nil && (gone(all) || !lasting(all)) {
		r.recorder.doubt(f.claim.dir) // the file may be back with its disk
	}
	if err == nil && f.err != nil && before == nil {
		err = f.err // of the last bytes or of the disk: the file is there
	}
	switch {
	case err == nil:
	case before == nil:
		r.failed(r.pathOfFile(), err, withNext)
	default: // what failed before has ended it, and the next try is settled
		r.complain(err)
	}
	r.trouble.frames += f.lost
	path := r.pathOfFile()
	r.file, r.waitKey = nil, r.turn.settings.WaitKeyframe
	m := f.mark(who, heard)
	switch {
	case to.name != "" && !f.grown(): // it is as it was announced
		r.trouble.miss(f.lost+f.missed, f.since)
	case to.name != "":
		log := r.log
		if m.Error != "" {
			log = log.With("reason", m.Error)
		}
		key := "frames"
		if f.continued > 0 { // nobody has counted those of before
			key = "added"
		}
		log.Info("recorded", "path", to.path(), "duration", m.Duration, "size", m.Size, key, f.sum.Frames-f.continued)
		r.recorder.announce(f.claim, m.event(r.recorder.Cwd, to))
	case f.sum.Frames == 0 || gone(err):
		r.trouble.frames += f.sum.Frames
		r.trouble.miss(f.sum.Frames+f.lost+f.missed, f.since)
	default: // it has everything but its name, and the next one may do better
		r.trouble.retryAt = time.Time{}
		r.log.Warn("recording is to be completed later", "path", path, "retry", retryAfter)
		settings := r.turn.settings
		r.recorder.mendLater(unmended{pattern: newPattern(who.Vhost, settings.Path, f.claim.dir), name: f.claim.name(), known: &m})
	}
}

// unrecorded tells of frames that are in no file, when the publish ends so. No file
// says so then.
func (r *recording) unrecorded() {
	if r.trouble.missed == 0 {
		return
	}
	r.log.Error("frames are in no recording", "path", strings.TrimSuffix(r.trouble.path, tmp), "frames", r.trouble.missed,
		"since", r.trouble.since.Format(time.DateTime), "error", r.trouble.last)
	ev := factsOf(r.turn.publisher).event()
	ev.Cwd, ev.File = r.recorder.Cwd, strings.TrimSuffix(r.trouble.path, tmp)
	ev.Error = framesLost(r.trouble.last, r.trouble.missed)
	r.recorder.Tell(ev)
	r.trouble = trouble{}
}

func framesLost(why string, frames int) string { return fmt.Sprintf("%s: %d frames lost", why, frames) }

func lostBefore(why string, frames int) string { return "before it: " + framesLost(why, frames) }

func (r *recording) pathOfFile() string {
	return r.file.claim.want.numbered(r.file.claim.number).path() + tmp
}

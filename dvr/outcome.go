package dvr

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	frames  int  // lost
	untold  loss // of them, those that no file and no on_dvr has told of
	waits   loss // no frames yet: those that could not be taken, of which some may be
	fresh   bool // they were to begin a file, though the plan is append
	last    string
	failed  time.Time // the newest
	retryAt time.Time
	retry   string // what was said of that
}

// A loss is frames that are in no file.
type loss struct {
	frames int
	since  time.Time // when the first of them came
	at     place     // where it was to be
}

// add adds others; of both the first ones say since when and where.
func (l *loss) add(o loss) {
	if o.frames > 0 && (l.frames == 0 || o.since.Before(l.since)) {
		l.since, l.at = o.since, o.at
	}
	l.at = cmp.Or(l.at, o.at)
	l.frames += o.frames
}

// open begins a file at a time of the stream, with metadata and sequence
// headers, video first, all at time 0. It says whether there is one.
func (r *recording) open(at uint32) bool {
	now := time.Now()
	if now.Before(r.trouble.retryAt) {
		r.miss(1)
		return false
	}
	p, s, want := r.turn.publisher, r.turn.settings, r.want()
	room := sessionKeyframes
	if seconds := int(s.Duration / time.Second); s.Plan == planSegment && seconds > 0 {
		room = min(room, seconds+segmentSpare)
	}
	who := factsOf(p)
	if n := r.trouble.untold.frames; n > 0 {
		who.Lost = framesLost(r.trouble.last, n)
	}
	r.prologue.begin()
	var f *file
	var res *flv.Resumed
	var why string // no file is continued
	to, fresh := want, true
	var err error
	dir := r.recorder.dir(want.root)
	r.recorder.remember(p.Vhost, s.Path)
	r.recorder.turnover(dir, func() {
		if s.Plan == planAppend && !r.anew {
			unfit := func(found *flv.Resumed) string {
				res = found
				return r.unfit(res, at)
			}
			f, to, why, err = continueFile(dir, want, unfit, who, s.Sync)
			fresh = f == nil && err == nil
		}
		if fresh {
			to = want
			if who.Lost != "" {
				who.Lost = before + who.Lost
			}
			f, err = openFile(dir, want, flv.NewFileMetadata(r.prologue.metadata, room, who.note(), who.owner()), s.Sync)
		}
	})
	if err != nil {
		if s.Plan == planAppend {
			r.recorder.doubt(dir) // one that was to be continued may be left
		}
		if r.trouble.waits.since.IsZero() {
			r.trouble.waits = loss{since: r.now, at: to}
		}
		r.trouble.fresh = fresh
		if r.failed(to.path(), err, "at once, then every 10s"); r.last {
			r.miss(1)
		} else {
			r.source.Unread() // a next try begins with it
		}
		return false
	}
	r.stands(f.claim.path())
	f.goes = r.goes
	f.crowd, f.aside = r.recorder.enterCrowd(f.os), func(call func()) { r.recorder.aside(dir, call) }
	if why != "" && !r.refused {
		r.refused = true
		r.log.Warn("no recording is continued", "reason", why, "path", f.claim.path())
	}
	f.publisher, f.log, r.joins = p, r.log, false
	r.anew = false
	f.missed, f.missedFor, f.begun = r.trouble.untold, r.trouble.last, r.now
	r.trouble.untold, r.trouble.waits = loss{}, loss{}
	r.file, r.unsaid = f, [2]bool{}
	r.plan.begin()
	r.clock = clock{last: at, elapsed: r.lead}
	r.lead = 0
	if f.continued > 0 { // it goes on where it ended, and has its headers
		end := f.sum.End()
		if f.sum.Shown() > f.sum.Last {
			end = max(end, f.sum.Last+int64(rejoin(&f.sum, f.sum.Last)))
		}
		r.clock.elapsed, r.clock.newest, r.clock.least, r.clock.real = end, end, end, end
		r.plan.join(mediaOf(res))
		r.prologue.inherit(res.Headers)
		return true
	}
	for _, typ := range []uint8{flv.TypeVideo, flv.TypeAudio} {
		for _, h := range r.headers(typ) {
			f.append(h, r.now)
		}
	}
	return true
}

// want is where the next file is to be.
func (r *recording) want() place { return r.recorder.wanted(r.turn) }

func (r *Recorder) wanted(t turn) place {
	p := t.publisher
	return expand(t.settings.Path, subject{vhost: p.Vhost, app: p.App, stream: p.Stream, at: r.Now()})
}

// miss counts frames that no file takes; they may have waited for one for a while.
func (r *recording) miss(frames int) {
	lost := r.trouble.waits
	if lost.since.IsZero() {
		lost.since = r.now
	}
	lost.frames = frames
	r.trouble.frames += frames
	r.trouble.untold.add(lost)
	r.skipTo(r.trouble.last)
}

// skipTo has pictures wait for a keyframe because of some trouble.
func (r *recording) skipTo(why string) {
	r.waitKey, r.waitsFor, r.lead = r.turn.settings.WaitKeyframe, why, 0
}

// missHeld counts a picture that waits for a keyframe because of some trouble. Beside
// it there may be sound in a file.
func (r *recording) missHeld() {
	f := r.file
	switch {
	case f == nil:
		r.miss(1)
		return
	case f.gaps > 0: // then the last one is why
		f.skipped++
	default:
		f.missed.add(loss{frames: 1, since: r.now, at: f.claim.place()})
		f.missedFor = cmp.Or(f.missedFor, r.waitsFor)
	}
	if r.trouble.errors > 0 {
		r.trouble.frames++
	}
}

// disk makes a call to the disk of the file. Its error ends the file.
func (r *recording) disk(call func() error) {
	var err error
	r.recorder.write(r.file.claim.dir, func() { err = call() })
	if err != nil && !r.goes(false) {
		return
	}
	if err != nil {
		r.failed(r.pathOfFile(), err, withNext)
		r.end()
		return
	}
	if !r.file.grown() {
		return
	}
	if len(r.file.buf) == 0 && !r.joins {
		switch {
		case r.file.unsaid:
			r.file.log.Info("recording goes on", "path", r.pathOfFile())
		case !r.said && r.trouble.errors == 0:
			r.file.log.Info("recording begins", "path", r.pathOfFile())
		}
		r.said, r.file.unsaid = true, false
	}
	if r.trouble.errors > 0 {
		r.file.log.Info("recording again", "path", r.pathOfFile(), "errors", r.trouble.errors, "lost", r.trouble.frames)
	}
	r.trouble = trouble{}
}

// withNext is when the next file begins, unless its keyframe is there already.
const withNext = "with the next keyframe or sound, then every 10s"

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
	r.trouble.failed, r.trouble.retryAt, r.trouble.retry = now, now.Add(wait), retry
	r.complain(path, err)
}

// complain is the line of an error, that of the file if one is open.
func (r *recording) complain(path string, err error) {
	log := r.log
	if r.file != nil {
		log = r.file.log
	}
	if text := cause(err); text != r.trouble.last {
		r.trouble.last = text
		args := []any{"path", path, "uid", os.Getuid(), "error", err.Error(), "retry", r.trouble.retry}
		if hint := hintFor(err); hint != "" {
			args = append(args, "hint", hint)
		}
		log.Error("recording failed", args...)
	}
}

// hintFor says what an owner may do about an error.
func hintFor(err error) string {
	m, meddled := errors.AsType[meddling](err)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return "under systemd see ReadWritePaths="
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "dvr_min_free and dvr_max_size remove old recordings in time"
	case meddled && m.cut:
		return "what is being recorded cannot make room; remove complete recordings, dvr_min_free and dvr_max_size do so in time"
	case errors.Is(err, errMoved):
		return "srs dvr repair FILE completes a .tmp that was moved; once it is back in its place the server does, at the latest with its next start"
	case strings.Contains(err.Error(), "path escapes from parent"): // os.Root has no error value for it
		return "a symbolic link leads out of the part of dvr_path that has no variables; it is followed within that part only"
	}
	return ""
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
	failed, who := f.err, factsOf(f.publisher)
	who.Mode = f.claim.mode
	heard := r.recorder.heard(who.Vhost)
	var to place
	var err error
	f.ends()
	its := f.marked
	r.recorder.own(&its)
	promised := filepath.Join(f.claim.dir, f.claim.name())
	r.recorder.promise(promised)
	later := false
	defer func() {
		if !later {
			r.recorder.release(promised)
		}
	}()
	r.recorder.turnover(f.claim.dir, func() { to, err = f.complete(who, heard) })
	if err == errLeft {
		r.file = nil
		return
	}
	if f.marked.name == "" {
		r.recorder.disown(&its)
	}
	if all := errors.Join(err, f.err); all != nil && (gone(all) || !lasting(all)) {
		r.recorder.doubt(f.claim.dir) // the file may be back with its disk
	}
	if err == nil && f.err != nil && failed == nil {
		err = f.err // of the last bytes or of the disk: the file is there
	}
	switch {
	case err == nil:
	case failed == nil:
		r.failed(r.pathOfFile(), err, withNext)
	default: // what failed before has ended it, and the next try is settled
		r.complain(r.pathOfFile(), err)
	}
	r.trouble.frames += f.lost
	path := r.pathOfFile()
	r.file = nil
	defer r.stands("")
	r.skipTo(r.trouble.last)
	unsaid := func(own int) { // of the file's own frames, and those that it would have told of
		r.trouble.frames += own + f.skipped
		r.trouble.untold.add(f.missed)
		r.trouble.untold.add(loss{frames: own + f.lost + f.skipped, since: f.begun, at: f.claim.place()})
	}
	m := f.mark(who, heard)
	switch {
	case to.name != "" && !f.grown(): // it is as it was announced
		unsaid(0)
	case to.name != "":
		log := f.log
		if m.Error != "" {
			log = log.With("reason", m.Error)
		}
		if f.cut != "" {
			log = log.With("ends", f.cut)
		}
		key := "frames"
		if f.continued > 0 { // nobody has counted those of before
			key = "frames_added"
		}
		log.Info("recorded", "path", to.path(), "duration", m.Duration, "size", m.Size, key, f.sum.Frames-f.continued)
		r.recorder.announce(news{file: f.marked, event: m.event(r.recorder.Cwd, to)})
	case f.sum.Frames == 0 || gone(err):
		r.recorder.drop(&f.marked)
		unsaid(f.sum.Frames - f.continued)
	default: // it has everything but its name, and the next one may do better
		r.trouble.retryAt = time.Time{}
		f.log.Warn("recording is to be completed later", "path", path, "retry", retryAfter)
		settings := r.turn.settings
		later = true
		r.recorder.comesLate(&m)
		r.recorder.mendLater(unmended{pattern: newPattern(who.Vhost, settings.Path, f.claim.dir), name: f.claim.name(), known: &m})
	}
}

// unrecorded tells of frames that are in no file, when the publish ends so. No file
// says so then.
func (r *recording) unrecorded() {
	lost := r.trouble.untold
	if lost.frames == 0 || !r.goes(false) {
		return
	}
	lost.at = cmp.Or(lost.at, r.want())
	who := factsOf(r.turn.publisher)
	ev := who.event()
	if r.turn.settings.Plan == planAppend && !r.trouble.fresh && !r.anew { // the file that was to go on may be there
		dir := r.recorder.dir(lost.at.root)
		r.recorder.disk(dir, func() { lost.at, ev.Duration, ev.Size = standing(dir, lost.at, who) })
	}
	r.log.Error("frames are in no recording", "path", lost.at.path(), "frames", lost.frames,
		"since", lost.since.Format(time.DateTime), "error", r.trouble.last)
	ev.Cwd, ev.File = r.recorder.Cwd, lost.at.path()
	ev.Error = framesLost(r.trouble.last, lost.frames)
	r.recorder.announce(news{event: ev})
	r.trouble = trouble{}
}

func framesLost(why string, frames int) string { return fmt.Sprintf("%s: %d frames lost", why, frames) }

// before is what a file lacks in front of it.
const before = "before it: "

func (r *recording) pathOfFile() string { return r.file.claim.path() + tmp }

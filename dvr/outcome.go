package dvr

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
	"srs/hook"
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
	frames  int // lost
	missed  int // of them, those that came while there was no file
	last    string
	path    string
	failed  time.Time // the newest
	retryAt time.Time
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
	note := note(p)
	var f *file
	var err error
	dir := r.recorder.dir(want.root)
	r.recorder.disk(dir, func() {
		if s.Plan == planAppend {
			f, err = continueFile(dir, want, r.prologue.fits, note, s.Sync)
		}
		if f == nil && err == nil {
			f, err = openFile(dir, want, flv.NewFileMetadata(r.prologue.metadata, room, note), s.Sync)
		}
	})
	if err != nil {
		r.failed(want.path(), err)
		r.miss()
		return false
	}
	f.missed, f.missedFor = r.trouble.missed, r.trouble.last
	r.trouble.missed = 0
	r.file, r.gaps, r.unsaid = f, 0, [2]bool{}
	r.plan.begin()
	r.clock = clock{last: at, elapsed: r.lead}
	r.lead = 0
	if f.sum.Frames > 0 { // it goes on where it ended, and has its headers
		r.clock.elapsed = int64(f.sum.End())
		r.plan.pictures, r.plan.joined = f.sum.Video, true
		r.log.Info("recording goes on", "path", r.pathOfFile())
		return true
	}
	for _, typ := range []uint8{flv.TypeVideo, flv.TypeAudio} {
		for _, h := range r.prologue.of(typ) {
			f.append(h, now)
		}
	}
	return true
}

// miss counts a frame that no file takes.
func (r *recording) miss() {
	r.trouble.frames++
	r.trouble.missed++
	r.waitKey, r.lead = r.turn.settings.WaitKeyframe, 0
}

// disk makes a call to the disk of the file. Its error ends the file.
func (r *recording) disk(call func() error) {
	var err error
	r.recorder.disk(r.file.claim.dir, func() { err = call() })
	if err != nil {
		r.failed(r.pathOfFile(), err)
		r.end()
	} else if r.trouble.errors > 0 && r.file.sum.Frames > 0 {
		r.log.Info("recording again", "path", r.pathOfFile(), "errors", r.trouble.errors, "lost", r.trouble.frames)
		r.trouble = trouble{missed: r.trouble.missed}
	}
}

// failed notes an error of the disk. After the first one the next keyframe
// begins another file; when that fails too, or there is no point in it, the next
// try is in a while. A repeated error is one line.
func (r *recording) failed(path string, err error) {
	now := time.Now()
	wait := retryAfter
	if now.Sub(r.trouble.failed) > retryAfter && !lasting(err) {
		wait = 0
	}
	if text := cause(err); text != r.trouble.last {
		r.trouble.last = text
		r.log.Error("recording failed", "path", path, "uid", os.Getuid(), "error", err.Error(), "retry", wait,
			"hint", "under systemd see ReadWritePaths=")
	}
	r.trouble.errors++
	r.trouble.path, r.trouble.failed, r.trouble.retryAt = path, now, now.Add(wait)
}

// lasting errors are not over a moment later.
func lasting(err error) bool {
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM, unix.ENOTDIR, unix.EFBIG} {
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
	before := f.err
	var to place
	var err error
	r.recorder.disk(f.claim.dir, func() { to, err = f.complete() })
	if err == nil && f.err != nil && before == nil {
		err = f.err // of the last bytes or of the disk: the file is there
	}
	if err != nil {
		r.failed(r.pathOfFile(), err)
	}
	r.trouble.frames += f.lost
	r.file, r.waitKey = nil, r.turn.settings.WaitKeyframe
	if to.name == "" {
		r.trouble.frames += f.sum.Frames
		r.trouble.missed += f.sum.Frames + f.lost + f.missed
		return
	}
	duration, lost := f.sum.Duration(), f.shortfall(r.gaps)
	log := r.log
	if lost != "" {
		log = log.With("reason", lost)
	}
	log.Info("recorded", "path", to.path(), "duration", duration, "size", f.size, "frames", f.sum.Frames)
	r.tell(hook.Event{File: to.path(), Duration: duration, Size: f.size, Error: lost})
}

// unrecorded tells of frames that are in no file, when the publish ends so.
func (r *recording) unrecorded() {
	if r.trouble.missed == 0 {
		return
	}
	r.tell(hook.Event{File: strings.TrimSuffix(r.trouble.path, tmp), Error: framesLost(r.trouble.last, r.trouble.missed)})
	r.trouble = trouble{}
}

// tell sends on_dvr with what is known of the publisher.
func (r *recording) tell(ev hook.Event) {
	p := r.turn.publisher
	ev.Action, ev.Cwd = hook.OnDVR, r.recorder.Cwd
	ev.ClientID, ev.IP, ev.Vhost, ev.App, ev.Stream, ev.TcURL, ev.Param = p.ClientID, p.IP, p.Vhost, p.App, p.Stream, p.TcURL, p.Param
	r.recorder.Tell(ev)
}

// shortfall says what a file lacks, empty for nothing.
func (f *file) shortfall(gaps int) string {
	var what []string
	if f.missed > 0 {
		what = append(what, "before it: "+framesLost(f.missedFor, f.missed))
	}
	if f.err != nil && f.lost > 0 {
		what = append(what, framesLost(cause(f.err), f.lost))
	} else if f.err != nil {
		what = append(what, cause(f.err))
	}
	if gaps > 0 {
		what = append(what, fmt.Sprintf("slow disk: %d gaps", gaps))
	}
	return strings.Join(what, "; ")
}

func framesLost(why string, frames int) string { return fmt.Sprintf("%s: %d frames lost", why, frames) }

func (r *recording) pathOfFile() string {
	return r.file.claim.want.numbered(r.file.claim.number).path() + tmp
}

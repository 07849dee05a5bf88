package dvr

import (
	"cmp"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/rtmp/live"
)

// A recording turns a publish into files, and further ones of its name where
// these may continue a file (turn.go). Where a file ends is the plan's (plan.go),
// what becomes of it is in outcome.go.
//
// The stream is looked at now and then, not at each frame: what has come since is
// one write. The way of a frame, in take:
//
//	remember metadata and headers → hold back video until a keyframe
//	→ the plan's cut → open a file if there is none → time → append
type recording struct {
	// Static after construction.
	recorder *Recorder
	name     string        // of the publishes that may follow, see turn.name
	arrived  chan struct{} // capacity 1: next has grown
	phase    time.Duration // when it looks at its stream

	// Guarded by recorder.mu.
	next  []turn
	stand stand

	since atomic.Int64 // Unix ns: what came until then is in a file, or told of

	// Owned by run, of the present turn.
	turn   turn
	source source
	log    *slog.Logger

	// Owned by run.
	prologue prologue
	plan     plan
	line     *live.Timeline
	lineAt   uint32 // the newest time it gave
	streamAt uint32 // and the stream's own at that tag
	bridge   bridge
	clock    clock
	lead     int64  // ms: the next file begins this much before its first frame
	waitKey  bool   // video is held back
	waitsFor string // because of this
	shown    bool   // the publish has had its first keyframe: what is held back is lost
	early    int    // pictures that came before it and are in no file
	said     bool   // that this publish is recorded
	forced   bool   // and that its segments begin without a keyframe
	held     bool   // a picture was, the last one at this time
	heldAt   uint32
	heldFor  int64   // ms; no step counts for more than maxPause
	unsaid   [2]bool // by media type: the file lacks the newest headers
	file     *file   // nil: none is open
	joins    bool    // it has no frame of the present turn
	anew     bool    // the next one is to continue none
	refused  bool    // it has been said why this turn continues none
	trouble  trouble
	last     bool      // the publish is over, or the server stops: nothing is waited for
	now      time.Time // when it began to look at its stream
}

// groups is how many groups of recordings look at their streams together.
const groups = 4

// newRecording makes the n-th recording.
func newRecording(r *Recorder, name string, n int) *recording {
	return &recording{recorder: r, name: name, arrived: make(chan struct{}, 1), phase: time.Duration(n%groups) * flushAfter / groups}
}

// timeMode is how the time line of a recording is made. The clock of each file
// subtracts its base, so that is all there is to do for zero.
func timeMode(j conf.Jitter) live.TimeMode {
	if j == conf.JitterFull {
		return live.TimeFull
	}
	return live.TimeOff
}

// read records until the publish ends or Close has no more time.
func (r *recording) read() {
	wait, closing, over, stopped, last := flushAfter, r.recorder.closing, r.source.Over(), r.recorder.ctx.Done(), false
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-closing:
			wait, closing = closingPoll, nil
			r.hurry()
		case <-over:
			over = nil
			r.hurry()
		case <-stopped:
			stopped, last = nil, true
			r.hurry()
		}
		r.now = time.Now()
		if r.file != nil {
			r.file.look(r.now)
		}
		more, ended := r.drain()
		r.drained(more, ended)
		if r.file != nil && !r.file.idle() {
			r.disk(func() error { return r.file.step(time.Now()) })
			r.drained(more, ended)
		}
		if ended || last && !more {
			return
		}
		if more {
			timer.Reset(0)
		} else {
			// Recordings look together, in a few groups: a server that wakes up
			// for one has work for many, and yet not for all at once.
			timer.Reset(wait - (time.Since(r.recorder.born)+r.phase)%wait)
		}
	}
}

// hurry ends the waiting for a disk: there is one more try, at once.
func (r *recording) hurry() {
	r.last = true
	if r.file == nil {
		r.trouble.retryAt = time.Time{}
	}
}

// waits says whether the next try of a file is in a while. Frames stay where they
// are meanwhile, the newest keyframe and what follows it.
func (r *recording) waits() bool {
	return r.file == nil && !r.last && !r.trouble.retryAt.IsZero() && time.Now().Before(r.trouble.retryAt)
}

// drain takes the frames that have come. It stops now and then although there
// are more, or says that the publish has ended.
func (r *recording) drain() (more, ended bool) {
	if r.waits() {
		r.source.Wait()
		return false, false
	}
	for range maxDrain {
		f, ok, err := r.source.Poll()
		switch {
		case err == io.EOF:
			if f.Gap {
				r.slow(f.Skipped)
			}
			return false, true
		case err != nil: // a reader has no other errors
			r.log.Error("recording ends", "reason", err)
			return false, true
		case !ok:
			return false, false
		}
		if r.take(f); r.waits() {
			return false, false
		}
	}
	return true, false
}

// take is the way of one frame. Nothing of f.Data is kept.
func (r *recording) take(f live.Frame) {
	if f.Gap {
		r.gap(f)
	}
	if f.Type == flv.TypeScript {
		r.prologue.script(f)
		if r.file != nil && r.plan.joined {
			r.plan.change = cmp.Or(r.differ(r.plan.former), r.plan.change)
		}
		return
	}
	if len(f.Data) == 0 || len(f.Data) > flv.MaxData {
		return
	}
	r.plan.watch(f)
	at := r.line.Next(f.Type, f.Raw, f.Info)
	r.lineAt, r.streamAt = at, f.Timestamp
	frame := f.Info&(flv.VideoFrame|flv.AudioFrame) != 0
	switch mended := r.turn.settings.TimeJitter == conf.JitterFull; {
	case mended:
	case frame:
		var jumped bool
		at, jumped = r.bridge.frame(f.Type, at)
		if jumped && r.plan.change == "" {
			r.plan.change = timeBack
		}
	default:
		at += r.bridge.shift[f.Type&1]
	}
	if f.Info.Header() || f.Info&flv.Setup != 0 {
		if r.prologue.remember(f) {
			r.plan.header()
		}
		if r.file != nil && (r.plan.change != "" || r.joins) {
			r.unsaid[f.Type&1] = true // the next file may begin with it, or a frame gives its time
			return
		}
	}
	if frame && f.Type == flv.TypeVideo && r.heldBack(f, at) {
		if r.shown {
			r.missHeld()
		} else {
			r.early++
		}
		return
	}
	if frame && f.Type == flv.TypeVideo {
		r.shown = true
		r.sayEarly()
	}
	if r.file != nil && frame && r.plan.cuts(f, r.clock.elapsedAt(at), r.clock.realAt(at)) {
		r.cut(f, at)
	}
	if r.file == nil {
		if !frame {
			return // headers are written when there is a frame to go with them
		}
		begins := r.bridge.begin(f.Type, at, r.turn.settings.TimeJitter == conf.JitterOff)
		r.heldAt += begins - at
		if at = begins; !r.open(at) {
			return
		}
	}
	if frame && f.Type == flv.TypeVideo {
		r.waitKey = false
		r.plan.pictures = true
	}
	if !frame && r.turn.settings.TimeJitter == conf.JitterZero && !r.clock.near(at) {
		at = r.clock.last // encoders send headers with any time
	}
	since := r.clock.at(at)
	if r.turn.settings.TimeJitter != conf.JitterOff {
		at = since
	}
	if frame && r.joins {
		r.joins = false
		r.file.pass(r.turn.publisher, r.log)
		r.say(flv.TypeVideo, at)
		r.say(flv.TypeAudio, at)
	}
	if frame {
		r.say(f.Type, at)
	}
	if full := r.file.append(flv.Tag{Type: f.Type, Timestamp: at, Data: f.Data}, r.now); full {
		r.disk(r.file.flush)
	}
}

// say writes the newest headers of a media type where the file lacks them.
func (r *recording) say(typ uint8, at uint32) {
	if !r.unsaid[typ&1] {
		return
	}
	r.unsaid[typ&1] = false
	for _, h := range r.headers(typ) {
		h.Timestamp = at
		r.file.append(h, r.now)
	}
}

// heldBack says whether a picture has to wait for a keyframe. Some streams have
// none but their first, so after a while it need not.
func (r *recording) heldBack(f live.Frame, at uint32) bool {
	if !r.waitKey || f.Info&flv.Keyframe != 0 {
		r.held = false
		return false
	}
	if !r.held {
		r.held, r.heldAt, r.heldFor = true, at, 0
	}
	r.heldFor += min(max(0, int64(int32(at-r.heldAt))), maxPause)
	r.heldAt = at
	return r.heldFor < maxHold
}

// sayEarly is the line of pictures that had no keyframe in front of them.
func (r *recording) sayEarly() {
	if r.early > 0 {
		r.log.Warn("pictures before the first keyframe are not recorded", "pictures", r.early, "hint", "dvr_wait_keyframe off records them")
		r.early = 0
	}
}

// cut ends the file in front of a frame that begins the next one. Sound that
// belongs to the time before a picture and comes behind it is to keep its time, so
// the next file begins where the sound goes on, if this publish has any.
func (r *recording) cut(first live.Frame, at uint32) {
	f, waits, why := r.file, r.waitKey, r.waitsFor
	if !r.forced && r.plan.pictures && first.Info&flv.Keyframe == 0 {
		r.forced = true
		r.log.Warn("segments begin without a keyframe, for none comes", "path", r.pathOfFile(), "waited", maxHold*time.Millisecond)
	}
	r.anew, f.cut = r.plan.change != "", r.plan.change
	r.end()
	r.waitKey, r.waitsFor = waits, why // a cut skips nothing
	r.lead = 0
	sound, ok := f.sum.Next(flv.TypeAudio)
	if lead := r.clock.elapsedAt(at) - sound; ok && first.Type == flv.TypeVideo && r.plan.came[flv.TypeAudio&1] && r.turn.settings.TimeJitter != conf.JitterOff {
		r.lead = max(0, min(lead, maxLead))
	}
}

// slow notes that the disk was so slow that frames were skipped.
func (r *recording) slow(skipped int) {
	if r.file == nil { // that could not be opened
		r.trouble.last = cmp.Or(r.trouble.last, slowDisk)
		r.miss(skipped)
		return
	}
	r.skipTo(slowDisk)
	r.file.skipped += skipped
	if r.file.gaps++; r.file.gaps == 1 {
		r.log.Warn("recording has a gap", "reason", "the disk is slower than the stream", "path", r.pathOfFile())
	}
}

// gap goes on behind frames that were skipped: video at a keyframe, time as it
// did in the stream.
func (r *recording) gap(f live.Frame) {
	r.slow(f.Skipped)
	r.shown = true // if its first keyframe has not come it may have been among them
	if mode := timeMode(r.turn.settings.TimeJitter); mode == live.TimeFull {
		// A step of more than ten seconds is no jump of the encoder here.
		r.line = live.NewTimeline(mode, r.lineAt+uint32(max(0, int32(f.Timestamp-r.streamAt))))
	}
}

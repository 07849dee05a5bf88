package dvr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/hook"
	"srs/rtmp/live"
)

// Bounds of what is kept for the start of the next file.
const (
	maxHeaders    = 16      // sequence headers and the like: one of a kind for each track
	maxHeaderSize = 1 << 20 // bytes of one, and of the metadata
)

// sessionKeyframes is the room in the index of a file that may last for ever:
// an hour with a keyframe every two seconds; later it is thinned.
const sessionKeyframes = 1800

// A recording turns one publish into files. The plan (directive dvr_plan) says
// how many: "session" makes one, and a new one only after a disk error.
//
// The way of a frame, in take:
//
//	remember metadata and headers → hold back video until a keyframe
//	→ open a file if there is none → the plan's cut → time → append
type recording struct {
	// Static after construction.
	recorder  *Recorder
	publisher live.Publisher
	settings  conf.DVR
	source    source
	log       *slog.Logger

	// Owned by run.
	metadata []byte    // the newest body that can be read
	headers  []flv.Tag // the newest of each track and kind, in the order they came
	line     *live.Timeline
	lineAt   uint32 // the newest time it gave
	streamAt uint32 // and the stream's own at that tag
	clock    clock
	waitKey  bool // video is held back
	file     *file
	gaps     int // in the file
	trouble  trouble
}

// trouble counts what disk errors cost, between the first and the next success.
type trouble struct {
	errors  int
	frames  int // that came while there was no file
	last    string
	retryAt time.Time
}

func newRecording(r *Recorder, p live.Publisher, settings conf.DVR, s source) *recording {
	return &recording{
		recorder:  r,
		publisher: p,
		settings:  settings,
		source:    s,
		log:       r.Log.With("client", p.ClientID, "vhost", p.Vhost, "app", p.App, "stream", p.Stream, "ip", p.IP),
		line:      live.NewTimeline(timeMode(settings.TimeJitter), 0),
		waitKey:   settings.WaitKeyframe,
	}
}

func timeMode(j conf.Jitter) live.TimeMode {
	switch j {
	case conf.JitterZero:
		return live.TimeZero
	case conf.JitterOff:
		return live.TimeOff
	}
	return live.TimeFull
}

// run records until the publish ends or ctx does. While a file has something to
// write, it waits for the next frame no longer than until that is due.
func (r *recording) run(ctx context.Context) {
	defer r.source.Close()
	var due alarm
	defer due.off()
	for {
		f, err := r.source.Next(due.set(ctx, r.due()))
		switch {
		case ctx.Err() != nil, err == io.EOF:
			r.end()
			return
		case err == nil:
			r.take(f)
		case errors.Is(err, context.DeadlineExceeded):
			// Time to write; the stream pauses.
		default: // a reader has no other errors
			r.log.Error("recording ends", "reason", err)
			r.end()
			return
		}
		if now := time.Now(); r.file != nil && due.rings(now) {
			r.disk(func() error { return r.file.step(now) })
		}
	}
}

func (r *recording) due() time.Time {
	if r.file == nil {
		return time.Time{}
	}
	return r.file.due()
}

// take is the way of one frame. Nothing of f.Data is kept.
func (r *recording) take(f live.Frame) {
	if f.Gap {
		r.gap(f)
	}
	if f.Type == flv.TypeScript {
		// A file has one onMetaData, its first tag: one that comes later counts
		// for the next file. Other data messages are not recorded, as in SRS.
		if f.Info&flv.Metadata != 0 && len(f.Data) <= maxHeaderSize {
			if _, err := flv.ParseMetadata(f.Data); err == nil {
				r.metadata = bytes.Clone(f.Data)
			}
		}
		return
	}
	if len(f.Data) == 0 || len(f.Data) > flv.MaxData {
		return
	}
	at := r.line.Next(f.Type, f.Raw, f.Info)
	r.lineAt, r.streamAt = at, f.Timestamp
	if f.Info.Header() || f.Info&flv.Setup != 0 {
		r.remember(f)
	}
	frame := f.Info&(flv.VideoFrame|flv.AudioFrame) != 0
	if frame && f.Type == flv.TypeVideo && r.waitKey && f.Info&flv.Keyframe == 0 {
		return
	}
	// Plans that cut do it here: the file ends, and this frame begins the next.
	if r.file == nil {
		if !frame || !r.open() {
			return // headers are written when there is a frame to go with them
		}
		r.clock = clock{last: at}
	}
	if frame && f.Type == flv.TypeVideo {
		r.waitKey = false
	}
	if r.settings.TimeJitter != conf.JitterOff {
		at = r.clock.at(at)
	}
	full := r.file.append(flv.Tag{Type: f.Type, Timestamp: at, Data: f.Data}, time.Now())
	if full {
		r.disk(r.file.flush)
	}
}

// gap notes that the disk was so slow that frames were skipped. Video goes on at
// a keyframe; time goes on as it did in the stream.
func (r *recording) gap(f live.Frame) {
	if r.file != nil {
		if r.gaps++; r.gaps == 1 {
			r.log.Warn("recording has a gap", "reason", "the disk is slower than the stream", "path", r.pathOfFile())
		}
	}
	r.waitKey = r.settings.WaitKeyframe
	if mode := timeMode(r.settings.TimeJitter); mode == live.TimeFull {
		// A step of more than ten seconds is no jump of the encoder here.
		r.line = live.NewTimeline(mode, r.lineAt+uint32(max(0, int32(f.Timestamp-r.streamAt))))
	}
}

// remember keeps a sequence header, or what belongs beside one, for the start of
// the next file.
func (r *recording) remember(f live.Frame) {
	if len(f.Data) > maxHeaderSize {
		return
	}
	track := flv.Track(f.Type, f.Data)
	for i, h := range r.headers {
		if h.Type == f.Type && flv.Track(h.Type, h.Data) == track && flv.Sniff(h.Type, h.Data) == f.Info {
			if !bytes.Equal(h.Data, f.Data) {
				r.headers[i].Data = bytes.Clone(f.Data)
			}
			return
		}
	}
	if len(r.headers) < maxHeaders {
		r.headers = append(r.headers, flv.Tag{Type: f.Type, Data: bytes.Clone(f.Data)})
	}
}

// open begins a file with metadata and sequence headers, video first, all at
// time 0. It says whether there is one.
func (r *recording) open() bool {
	now := time.Now()
	if now.Before(r.trouble.retryAt) {
		r.trouble.frames++
		return false
	}
	want := expand(r.settings.Path, subject{
		vhost: r.publisher.Vhost, app: r.publisher.App, stream: r.publisher.Stream, at: r.recorder.Now(),
	})
	var f *file
	var err error
	dir := r.recorder.dir(want.root)
	metadata := flv.NewFileMetadata(r.metadata, sessionKeyframes, "")
	r.recorder.disk(dir, func() { f, err = openFile(dir, want, metadata, r.settings.Sync) })
	if err != nil {
		r.failed(want.path(), err)
		r.trouble.frames++
		return false
	}
	r.file, r.gaps = f, 0
	for _, typ := range []uint8{flv.TypeVideo, flv.TypeAudio} {
		for _, h := range r.headers {
			if h.Type == typ {
				f.append(h, now)
			}
		}
	}
	return true
}

// disk makes a call to the disk of the file. Its error ends the file.
func (r *recording) disk(call func() error) {
	var err error
	r.recorder.disk(r.file.claim.dir, func() { err = call() })
	if err != nil {
		r.failed(r.pathOfFile(), err)
		r.end()
	} else if r.trouble.errors > 0 {
		r.log.Info("recording again", "path", r.pathOfFile(), "errors", r.trouble.errors, "lost", r.trouble.frames)
		r.trouble = trouble{}
	}
}

// failed notes an error of the disk; the next file is tried in a while. A
// repeated error is one line.
func (r *recording) failed(path string, err error) {
	if text := cause(err); text != r.trouble.last {
		r.trouble.last = text
		r.log.Error("recording failed", "path", path, "uid", os.Getuid(), "error", err.Error(), "retry", retryAfter)
	}
	r.trouble.errors++
	r.trouble.retryAt = time.Now().Add(retryAfter)
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
	if to.name == "" {
		r.trouble.frames += f.sum.Frames
	}
	r.file, r.waitKey = nil, r.settings.WaitKeyframe
	if to.name == "" {
		return
	}
	duration, lost := f.sum.Duration(), r.lost(f)
	log := r.log
	if lost != "" {
		log = log.With("reason", lost)
	}
	log.Info("recorded", "path", to.path(), "duration", duration, "size", f.size, "frames", f.sum.Frames)
	p := r.publisher
	r.recorder.Tell(hook.Event{
		Action:   hook.OnDVR,
		ClientID: p.ClientID, IP: p.IP, Vhost: p.Vhost, App: p.App, Stream: p.Stream, TcURL: p.TcURL, Param: p.Param,
		Cwd: r.recorder.Cwd, File: to.path(),
		Duration: duration, Size: f.size,
		Error: lost,
	})
}

// lost says what a file lacks, empty for nothing.
func (r *recording) lost(f *file) string {
	var what []string
	if f.err != nil {
		text := cause(f.err)
		if f.lost > 0 {
			text = fmt.Sprintf("%s: %d frames lost", text, f.lost)
		}
		what = append(what, text)
	}
	if r.gaps > 0 {
		what = append(what, fmt.Sprintf("slow disk: %d gaps", r.gaps))
	}
	return strings.Join(what, "; ")
}

func (r *recording) pathOfFile() string {
	if r.file == nil {
		return ""
	}
	return r.file.claim.want.numbered(r.file.claim.number).path() + tmp
}

// A clock makes a file begin at 0. Times before that are 0, and the 32 bits of
// the stream's time may wrap.
type clock struct {
	last    uint32
	elapsed int64
}

func (c *clock) at(t uint32) uint32 {
	c.elapsed += int64(int32(t - c.last))
	c.last = t
	return uint32(max(0, c.elapsed))
}

// An alarm is a context that ends at a time, used for as many waits as fit.
type alarm struct {
	at     time.Time // zero: never
	ctx    context.Context
	cancel context.CancelFunc
}

// set gives the context that ends at a time, or its parent when there is none.
func (a *alarm) set(parent context.Context, at time.Time) context.Context {
	if a.ctx == nil || !at.Equal(a.at) || a.ctx.Err() != nil {
		a.off()
		a.at, a.ctx = at, parent
		if !at.IsZero() {
			a.ctx, a.cancel = context.WithDeadline(parent, at)
		}
	}
	return a.ctx
}

func (a *alarm) rings(now time.Time) bool { return !a.at.IsZero() && !now.Before(a.at) }

func (a *alarm) off() {
	if a.cancel != nil {
		a.cancel()
	}
	a.cancel = nil
}

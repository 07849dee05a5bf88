package dvr

import (
	"log/slog"
	"reflect"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/rtmp/live"
)

// A turn is one publish to be recorded.
type turn struct {
	publisher live.Publisher
	settings  conf.DVR
	source    source
	begun     time.Time
}

// maxTurns bounds the publishes of one name that wait for the one before.
const maxTurns = 16

// rejoinStep lies between the last tag of one publish and the first of the next
// that continues its file, milliseconds: as for players that stay. Where a picture of
// the one is shown later than that, it lies between their pictures.
const rejoinStep = 40

// maxReordered is how much later than it comes a picture may be shown, milliseconds:
// some seconds at one picture a second.
const maxReordered = 5000

// rejoin is how long after the newest frame of a file, at a time of it, another publish
// goes on.
func rejoin(s *flv.Summary, newest int64) uint32 {
	return uint32(rejoinStep + min(max(0, s.Shown()-newest), maxReordered))
}

// name is what publishes have in common that may continue a file; empty where
// each has its own.
func (t turn) name() string {
	if t.settings.ReconnectGrace == 0 && t.settings.Plan != planAppend {
		return ""
	}
	// No name has a line break in it.
	return t.publisher.Vhost + "\n" + t.publisher.App + "\n" + t.publisher.Stream
}

// enter gives a turn to the recording of its name, or makes one. It says whether
// that is new, and is to be run.
func (r *Recorder) enter(t turn) (*recording, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := t.name()
	if rec := r.byName[name]; rec != nil && len(rec.next) < maxTurns {
		rec.next = append(rec.next, t)
		select {
		case rec.arrived <- struct{}{}:
		default:
		}
		return rec, false
	}
	rec := newRecording(r, name, len(r.active))
	r.active[rec] = true
	if name != "" && r.byName[name] == nil {
		r.byName[name] = rec
	}
	return rec, true
}

// next takes the turn that waits for a recording. When there is none and the
// recording is about to leave, it is forgotten.
func (r *Recorder) next(rec *recording, leave bool) (turn, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(rec.next) > 0 {
		t := rec.next[0]
		rec.next = rec.next[1:]
		return t, true
	}
	if leave && r.byName[rec.name] == rec {
		delete(r.byName, rec.name)
	}
	return turn{}, false
}

// run records a turn, and those of its name that follow.
func (r *recording) run(t turn) {
	for more := true; more; t, more = r.follow() {
		r.begin(t)
		r.read()
		r.sayEarly()
		r.source.Close()
	}
}

// begin prepares for a publish. It continues the file that is open, if there is
// one; the time line goes on then.
func (r *recording) begin(t turn) {
	if r.file != nil && !sameFiles(t.settings, r.turn.settings) {
		r.file.cut = otherSettings
		r.recorder.mu.Lock()
		r.stand.next = &t
		r.recorder.mu.Unlock()
		r.end()
	}
	start := uint32(0)
	if r.file != nil {
		step := rejoin(&r.file.sum, r.clock.newest)
		start = r.line.Newest() + step
		r.clock.least = r.clock.newest
		r.plan.join(newMedia(r.plan.newest(), &r.file.sum, r.prologue.metadata))
		r.plan.codecs = [2]uint32{}
		r.prologue.former()
		r.bridge.joined, r.bridge.own, r.bridge.rejoin = t.settings.TimeJitter != conf.JitterFull, t.settings.TimeJitter == conf.JitterOff, step
	} else {
		r.prologue, r.plan, r.bridge = prologue{}, plan{}, bridge{}
	}
	p := t.publisher
	r.joins, r.anew, r.refused = r.file != nil, false, false
	r.turn, r.source, r.plan.settings = t, t.source, t.settings
	r.plan.came, r.last = [2]bool{}, false
	r.log = r.recorder.logOf(p)
	if r.secure(t.begun.UnixNano()); r.file != nil {
		r.stands(r.file.claim.path())
	} else {
		r.stands("")
	}
	r.line = live.NewTimeline(timeMode(t.settings.TimeJitter), start)
	r.lineAt, r.streamAt = start, 0
	r.waitKey, r.held, r.shown = t.settings.WaitKeyframe, false, false
	r.early, r.said, r.forced = 0, false, false
}

func (r *Recorder) logOf(p live.Publisher) *slog.Logger {
	return r.Log.With("client", p.ClientID, "vhost", p.Vhost, "app", p.App, "stream", p.Stream, "ip", p.IP)
}

// sameFiles says whether two settings make the same of a stream. Others say what is
// recorded at all, how long is waited, and what is kept of it.
func sameFiles(a, b conf.DVR) bool {
	for _, d := range []*conf.DVR{&a, &b} {
		d.Apply, d.ReconnectGrace, d.MaxAge, d.MaxSize, d.MinFree = nil, 0, 0, 0, 0
	}
	return reflect.DeepEqual(a, b)
}

// follow gives the publish that continues, waiting for it as long as the
// settings say (dvr_reconnect_grace). When none comes the file is completed.
func (r *recording) follow() (turn, bool) {
	if t, ok := r.recorder.next(r, false); ok {
		return t, true
	}
	if grace := r.turn.settings.ReconnectGrace; r.file != nil && grace > 0 {
		if r.disk(r.file.settle); r.file != nil {
			if t, ok := r.wait(grace); ok {
				return t, true
			}
		}
	}
	r.end()
	r.unrecorded()
	return r.recorder.next(r, true)
}

// askEvery is how often the settings in force are asked for while a file waits.
const askEvery = time.Second

// wait waits for the next turn, as long as the settings in force say: a reload may
// end it.
func (r *recording) wait(grace time.Duration) (turn, bool) {
	r.file.log.Info("recording waits for its publisher", "path", r.pathOfFile(), "for", grace)
	timer, since := time.NewTimer(min(grace, askEvery)), time.Now()
	defer timer.Stop()
	for {
		select {
		case <-r.arrived: // perhaps of a turn that was taken without waiting
			if t, ok := r.recorder.next(r, false); ok {
				return t, true
			}
		case <-timer.C:
			left := grace - time.Since(since)
			if s, ok := r.recorder.settings(r.turn.publisher); !ok {
				r.file.cut, left = otherSettings, 0
			} else {
				left = min(left, s.ReconnectGrace-time.Since(since))
			}
			if left <= 0 {
				return turn{}, false
			}
			timer.Reset(min(left, askEvery))
		case <-r.recorder.closing:
			return turn{}, false
		}
	}
}

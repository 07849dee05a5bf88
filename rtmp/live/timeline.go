package live

import "srs/flv"

// TimeMode is how a stream's time is made from its publisher's.
type TimeMode uint8

const (
	// TimeFull subtracts the base and replaces jumps by the last normal step.
	TimeFull TimeMode = iota
	// TimeZero subtracts the base.
	TimeZero
	// TimeOff leaves the publisher's time alone.
	TimeOff
)

// A step of one media type outside these bounds is a jump of the encoder's
// clock, unless the other type has been where the step leads; what is smaller,
// pauses included, is real time. Milliseconds.
const (
	maxStepBack    = 1000
	maxStepForward = 10000
	firstStep      = 40  // stands for the last normal step where none is known
	someFrames     = 500 // by so much steps may differ that are about the same
)

// Timeline turns a publisher's times into the stream's: it begins at start
// with the first audio or video frame, and both media types are corrected by
// one common offset, so that they stay in step. Headers and script tags never
// set the base.
type Timeline struct {
	mode   TimeMode
	start  int64
	based  bool
	offset uint32 // line = raw + offset, modulo 2^32
	newest int64
	tracks [2]track
}

type track struct {
	seen bool
	last int64 // on the line, before the base too
	step int64 // last normal step

	// A jump of the other type moves the line, and with it what still comes of this type
	// from before the jump: by so much. 0: it did not.
	moved int64 // the line, since the last frame
	ahead int64 // this type, until it comes from behind the jump, too
}

// NewTimeline returns a time line that begins at start.
func NewTimeline(mode TimeMode, start uint32) *Timeline {
	return &Timeline{mode: mode, start: int64(start), newest: int64(start)}
}

// Newest returns the latest time given out.
func (t *Timeline) Newest() uint32 { return uint32(t.newest) }

// Next returns the time of a tag on the line.
func (t *Timeline) Next(typ uint8, raw uint32, info flv.Info) uint32 {
	if t.mode == TimeOff {
		t.newest = int64(raw)
		return raw
	}
	frame := info&(flv.AudioFrame|flv.VideoFrame) != 0
	if !frame && (!t.based || typ == flv.TypeScript) {
		return uint32(t.newest)
	}
	if !t.based {
		t.based = true
		t.offset = uint32(t.start) - raw
	}
	// The 32-bit time nearest to the newest one gives the line's 64 bits.
	line := t.newest + int64(int32(raw+t.offset-uint32(t.newest)))
	if !frame {
		// A header in midstream: its time is kept where it makes sense.
		if !normal(line - t.newest) {
			return uint32(t.newest)
		}
		return uint32(max(line, t.start))
	}
	k, other := &t.tracks[0], &t.tracks[1]
	if typ == flv.TypeVideo {
		k, other = other, k
	}
	if t.mode == TimeFull {
		line = t.correct(k, other, line)
	}
	k.seen, k.last = true, line // not the clamped one: steps before the base are normal too
	line = max(line, t.start)
	t.newest = max(t.newest, line)
	if t.mode == TimeZero {
		t.newest = line
	}
	return uint32(line)
}

// correct replaces a jump of the clock and moves the common offset, so that
// the other type's next frame is already right. A media type that comes back
// after a long pause has not jumped: it leads nowhere that the other, which
// went on, has not been (a muted microphone, slides with a new picture now and
// then; ffmpeg sends the sound far ahead of such slides). Nor has one that comes
// back to the other from where that one's jump had put its late frames.
func (t *Timeline) correct(k, other *track, line int64) int64 {
	if !k.seen {
		k.step = firstStep
		return line
	}
	step := line - k.last
	was := k.ahead
	if k.moved != 0 {
		if k.ahead = 0; alike(step-k.step, k.moved) {
			k.ahead = k.moved
		}
		k.moved = 0
	}
	switch {
	case normal(step) && k.ahead != was && k.ahead != 0: // no step of its own
		return line
	case normal(step):
		if step > 0 {
			k.step = step
		}
		return line
	case step > 0 && line <= t.newest+maxStepForward:
		return line
	case other.seen && normal(line-other.last) && (step > 0 || alike(step-k.step, -k.ahead)):
		k.ahead = 0
		return line
	}
	fixed := k.last + k.step
	t.offset += uint32(fixed - line)
	other.moved, k.ahead = other.moved+fixed-line, 0
	return fixed
}

// alike reports whether two steps are about the same.
func alike(a, b int64) bool { return -someFrames < a-b && a-b < someFrames }

// normal reports whether a step is no jump.
func normal(step int64) bool { return step >= -maxStepBack && step <= maxStepForward }

package main

import (
	"bytes"
	"sync/atomic"
	"time"

	"srs/flv"
)

// A window is a span of sending times, ns since 1970. What is sent in it is
// measured; both ends of a stream decide by the stamp, so they agree.
type window struct{ from, to int64 }

// A tally adds up what verifiers find. It is safe for concurrent use.
type tally struct {
	window  *atomic.Pointer[window] // of what is measured; nil: nothing is. Set before use
	latency histogram               // of frames sent in the window, and live
	sample  uint                    // one checksum in so many is compared; 0 or 1: all. Set before use

	// Frames sent in the window that arrived intact and once, and the bytes of
	// their bodies.
	delivered, bytes atomic.Int64

	// Damage, in the window and outside of it.
	lost       atomic.Int64 // frames that are missing between others
	gaps       atomic.Int64 // places where some are
	outOfOrder atomic.Int64 // came behind a later frame
	duplicates atomic.Int64
	corrupt    atomic.Int64 // no stamp, a wrong checksum, another stream's
	timeBack   atomic.Int64 // an RTMP timestamp below the one before
	badStart   atomic.Int64 // a frame before its header, before metadata or before a keyframe
	restarts   atomic.Int64 // another publisher took over; no damage
}

// damage is the number of faults found.
func (t *tally) damage() int64 {
	return t.lost.Load() + t.outOfOrder.Load() + t.duplicates.Load() + t.corrupt.Load() + t.timeBack.Load() + t.badStart.Load()
}

// counters are all of a tally.
func (t *tally) counters() []*atomic.Int64 {
	return []*atomic.Int64{&t.delivered, &t.bytes, &t.lost, &t.gaps, &t.outOfOrder, &t.duplicates, &t.corrupt, &t.timeBack, &t.badStart, &t.restarts}
}

// merge adds what another one counted.
func (t *tally) merge(other *tally) {
	t.latency.merge(&other.latency)
	counters := t.counters()
	for i, n := range other.counters() {
		counters[i].Add(n.Load())
	}
}

func (t *tally) measures(sent int64) bool {
	if t.window == nil {
		return false
	}
	w := t.window.Load()
	return w != nil && sent >= w.from && sent < w.to
}

// recent is how many sequence numbers back a late frame is told from a
// repeated one.
const recent = 512

// A verifier checks the messages of one stream as one player receives them.
// One goroutine feeds it.
//
// Frames count from the first keyframe on. From there each must carry the next
// sequence number.
type verifier struct {
	tally  *tally
	stream uint32 // whose frames are right; 0: those of whoever publishes
	since  int64  // frames sent before (from a GOP cache) say nothing of latency, ns since 1970

	skipped   uint     // checksums since the last one compared
	seen      flv.Info // kinds of message that came
	badStart  bool     // counted once for each publisher
	current   uint32   // the stream that the sequence belongs to
	first     uint32   // sequence number of the first keyframe
	intact    int64    // frames without a fault
	lost      int64    // frames that never came, between others
	timestamp uint32
	newest    int64               // when the last frame in the sequence was sent, ns since 1970
	history   [recent / 64]uint64 // a bit for each of the recent sequence numbers
	started   atomic.Bool         // a keyframe was seen
	next      atomic.Uint32       // the sequence number that is due, 0 before the start
}

// newVerifier makes a verifier that takes the frames of that stream only, or
// of whichever is published if it is 0.
func newVerifier(t *tally, stream uint32) *verifier { return &verifier{tally: t, stream: stream} }

// message checks the next message of the stream, which arrived at now (ns since
// 1970). It keeps nothing of the body.
func (v *verifier) message(typ uint8, timestamp uint32, body []byte, now int64) {
	info := flv.Sniff(typ, body)
	switch typ {
	case flv.TypeScript:
		v.seen |= info & flv.Metadata
		return
	case flv.TypeAudio, flv.TypeVideo:
	default:
		return
	}
	// Modulo 2^32, as RTMP has it; what stands before the first keyframe, headers
	// mostly, has no place in time.
	if v.started.Load() && int32(timestamp-v.timestamp) < 0 {
		v.tally.timeBack.Add(1)
	}
	v.timestamp = timestamp
	if info.Header() {
		v.header(info, body)
		return
	}
	s, ok := peekStamp(typ, body)
	if v.skipped++; ok && v.skipped >= v.tally.sample {
		v.skipped = 0
		ok = intact(typ, body)
	}
	if !ok || v.stream != 0 && s.stream != v.stream {
		v.tally.corrupt.Add(1)
		return
	}
	if v.current != s.stream {
		v.restart(s.stream)
	}
	if !v.start(info, s) {
		return
	}
	if v.sequence(s.sequence) {
		v.intact++
		v.newest = max(v.newest, s.sent)
		if v.tally.measures(s.sent) {
			v.tally.delivered.Add(1)
			v.tally.bytes.Add(int64(len(body)))
			if s.sent >= v.since {
				v.tally.latency.add(time.Duration(now - s.sent))
			}
		}
	}
}

func (v *verifier) header(info flv.Info, body []byte) {
	want := avcHeader
	if info&flv.AudioHeader != 0 {
		want = aacHeader
	}
	if !bytes.Equal(body, want) {
		v.tally.corrupt.Add(1)
		return
	}
	v.seen |= info
}

// restart begins with a new publisher, whose first keyframe is awaited. Its
// headers may already have come: they bear no stamp.
func (v *verifier) restart(stream uint32) {
	if v.current != 0 {
		v.tally.restarts.Add(1)
		v.started.Store(false)
		v.badStart = false
	}
	v.current = stream
}

// start reports whether the stream has begun: with metadata, headers and a
// keyframe. Sound that comes before the picture is not at fault.
func (v *verifier) start(info flv.Info, s stamp) bool {
	need := flv.Metadata | flv.AudioHeader
	if info&flv.VideoFrame != 0 {
		need = flv.Metadata | flv.VideoHeader
	}
	begins := !v.started.Load() && info&flv.Keyframe != 0
	early := info&flv.VideoFrame != 0 && !begins && !v.started.Load()
	if (v.seen&need != need || early) && !v.badStart {
		v.badStart = true
		v.tally.badStart.Add(1)
	}
	if begins {
		v.first = s.sequence
		v.history = [len(v.history)]uint64{}
		v.next.Store(s.sequence)
		v.started.Store(true)
	}
	return v.started.Load()
}

// sequence counts what is wrong with a frame's place and reports whether it
// came for the first time. A frame that is late was counted as lost when the
// later one came, which is then taken back.
func (v *verifier) sequence(n uint32) bool {
	next := v.next.Load()
	ahead := int32(n - next)
	switch {
	case ahead >= 0:
		if ahead > 0 {
			v.tally.gaps.Add(1)
			v.tally.lost.Add(int64(ahead))
			v.lost += int64(ahead)
		}
		for i := n - min(uint32(ahead), recent); i != n; i++ {
			v.mark(i, false)
		}
		v.mark(n, true)
		v.next.Store(n + 1)
		return true
	case -ahead > recent || int32(n-v.first) < 0:
		v.tally.outOfOrder.Add(1)
		return false
	case v.marked(n):
		v.tally.duplicates.Add(1)
		return false
	}
	v.mark(n, true)
	v.tally.outOfOrder.Add(1)
	v.tally.lost.Add(-1)
	v.lost--
	return true
}

func (v *verifier) mark(n uint32, came bool) {
	i, bit := n%recent/64, uint64(1)<<(n%64)
	v.history[i] &^= bit
	if came {
		v.history[i] |= bit
	}
}

func (v *verifier) marked(n uint32) bool { return v.history[n%recent/64]>>(n%64)&1 != 0 }

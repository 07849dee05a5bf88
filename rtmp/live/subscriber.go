package live

import (
	"sync/atomic"
	"time"

	"srs/flv"
	"srs/rtmp/chunk"
)

// Bounds of a player.
const (
	maxRun      = 128 << 10 // bytes handed out at once; paces the burst of a join
	minLagBytes = 4 << 20   // a player may lag this much at any rate
	maxLagBytes = 32 << 20  // beyond it a player is moved even without a keyframe
	maxKeyWait  = 10_000    // milliseconds of stream time to wait for a keyframe
)

// Subscriber is one player's place in a stream. Its methods belong to the
// player's goroutine.
//
// Next hands out runs of wire bytes that end at a message end; they stay
// valid until the following call of Next, Skip, Pause or Close. When there is
// nothing, Wait arms a wake-up.
type Subscriber struct {
	stream   *Stream
	listener *listener
	maxLag   int32  // milliseconds
	lagged   func() // static: called by the pump while the player lags too far

	pos       position
	paused    bool
	runEnd    uint32    // entry behind the run that was handed out
	runStart  uint32    // its first entry
	headers   *prologue // to be sent before the next run
	wait      waiting
	waitLine  uint32 // time of the first entry that was passed over
	waited    bool
	metaFrom  uint64 // metadata before this entry was in the prologue
	told      int    // chunk size the player knows
	buf       []byte // prologue and unsent rests; nil when not in use
	audio     bool
	video     bool
	lastEpoch uint64

	// Where the player is, for the pump.
	seq   atomic.Uint64 // behind the run that was handed out
	bytes atomic.Uint64 // before that run
	line  atomic.Uint32 // of its first entry
	idle  atomic.Bool   // everything has been handed out
}

// waiting is what a player waits for that is not sent from here on.
type waiting uint8

const (
	waitNothing waiting = iota
	waitVideo           // video waits for a keyframe, audio goes on
	waitAll             // everything waits for a keyframe
)

// Subscribe makes a player of a stream, which need not exist. chunkSize is
// what the player was told; lagged is called by another goroutine, about once
// a second, while the player is so far behind that it should Skip.
func (r *Registry) Subscribe(key Key, queueLength time.Duration, chunkSize int, lagged func()) *Subscriber {
	s := r.open(key)
	p := &Subscriber{
		stream: s, maxLag: int32(min(queueLength.Milliseconds(), 1<<30)), lagged: lagged,
		told: chunkSize, audio: true, video: true,
	}
	p.listener = newListener(true, p.sweep)
	s.mu.Lock()
	p.startLocked()
	s.mu.Unlock()
	s.listeners.add(p.listener)
	return p
}

// Notify has f called instead of the channel that Wait returns, by another
// goroutine. It must not block, and is set before the first Wait.
func (p *Subscriber) Notify(f func()) { p.listener.notify = f }

func (p *Subscriber) startLocked() {
	var key bool
	p.pos, p.headers, key = p.stream.startLocked()
	p.waitFor(key)
	p.runStart, p.runEnd = p.pos.entry, p.pos.entry
	p.metaFrom = p.stream.newestSeq.Load()
	p.lastEpoch = p.pos.block.epoch
	p.note()
}

// waitFor makes the player wait for a keyframe, or not. One that takes no
// video has none to wait for.
func (p *Subscriber) waitFor(key bool) {
	p.wait, p.waited = waitNothing, false
	if key && p.video {
		p.wait = waitAll
	}
}

// Close ends the subscription.
func (p *Subscriber) Close() {
	p.stream.listeners.remove(p.listener)
	p.letGo()
	p.stream.registry.close(p.stream)
}

func (p *Subscriber) letGo() {
	if p.pos.block != nil {
		p.pos.block.release()
		p.pos.block = nil
	}
}

// Receive says which media the player wants (receiveAudio, receiveVideo).
// Video that comes back begins at a keyframe; audio goes on meanwhile.
func (p *Subscriber) Receive(audio, video bool) {
	switch {
	case !video:
		p.wait = waitNothing
	case !p.video:
		p.wait, p.waited = waitVideo, false
	}
	p.audio, p.video = audio, video
}

// Next takes the run handed out before as sent and returns the next one, or
// nil when there is none. A chunk size above 0 instead says that the player
// must be told it before more can follow.
func (p *Subscriber) Next() (run []byte, chunkSize int) {
	if p.paused {
		return nil, 0
	}
	p.pos.entry = p.runEnd
	for p.pos.step() {
		b := p.pos.block
		if b.epoch != p.lastEpoch {
			p.lastEpoch = b.epoch
			p.headers, p.wait, p.metaFrom = nil, waitNothing, 0
		}
		if !p.wanted(b, p.pos.entry) {
			p.pos.entry++
			continue
		}
		if b.chunkSize != p.told {
			p.told = b.chunkSize
			p.runStart, p.runEnd = p.pos.entry, p.pos.entry
			return nil, p.told
		}
		if p.headers != nil {
			p.buf = p.headers.append(p.buf[:0], b.index[p.pos.entry].line, p.told)
			p.headers = nil
			p.runStart, p.runEnd = p.pos.entry, p.pos.entry
			if len(p.buf) > 0 {
				p.note()
				return p.buf, 0
			}
		}
		p.buf = nil
		return p.run(b), 0
	}
	p.runStart, p.runEnd = p.pos.entry, p.pos.entry
	p.note()
	return nil, 0
}

// run gathers entries from the position on, as far as they are wanted.
func (p *Subscriber) run(b *block) []byte {
	from, end := b.start(p.pos.entry), p.pos.entry+1
	count := b.count.Load()
	for end < count && b.index[end].end-from <= maxRun && p.wanted(b, end) {
		end++
	}
	p.runStart, p.runEnd = p.pos.entry, end
	p.note()
	return b.buf[from:b.index[end-1].end]
}

// wanted says whether an entry is for this player. It may end its waiting for
// a keyframe.
func (p *Subscriber) wanted(b *block, i uint32) bool {
	e := &b.index[i]
	if e.info&flv.Metadata != 0 && b.firstSeq+uint64(i) < p.metaFrom {
		return false
	}
	switch e.typ {
	case flv.TypeAudio:
		if !p.audio && !kept(e.info) {
			return false
		}
	case flv.TypeVideo:
		if !p.video && !kept(e.info) {
			return false
		}
	}
	if p.wait == waitNothing || e.info&flv.Keyframe != 0 {
		p.wait = waitNothing
		return true
	}
	if p.wait == waitVideo && (e.typ != flv.TypeVideo || kept(e.info)) {
		return true
	}
	if !p.waited {
		p.waited, p.waitLine = true, e.line
	}
	if kept(e.info) {
		p.headers = p.headers.with(e.typ, e.info, b.appendPayload(nil, i))
		return false
	}
	if int32(e.line-p.waitLine) >= maxKeyWait {
		p.wait = waitNothing
		return true
	}
	return false
}

// append encodes the prologue with the time of the tag that follows it.
func (h *prologue) append(dst []byte, line uint32, chunkSize int) []byte {
	add := func(typ uint8, time uint32, body []byte) {
		dst = chunk.Append(dst, chunk.Message{
			CSID: csidOf(typ), Type: typ, StreamID: messageStream, Timestamp: time, Body: body,
		}, chunkSize)
	}
	if h.metadata != nil {
		add(flv.TypeScript, 0, h.metadata) // as in the ring: see wireTime
	}
	for _, t := range h.headers {
		add(t.typ, line, t.body)
	}
	return dst
}

// Wait arms the wake-up and returns its channel, or nil when something has
// come meanwhile and Next is due at once.
func (p *Subscriber) Wait() <-chan struct{} {
	if p.paused {
		return p.listener.woken
	}
	p.listener.waiting.Store(true)
	if p.pos.entry < p.pos.block.count.Load() || p.pos.block.next.Load() != nil {
		p.listener.waiting.Store(false)
		return nil
	}
	return p.listener.woken
}

// note stores where the player is.
func (p *Subscriber) note() {
	b := p.pos.block
	p.seq.Store(b.firstSeq + uint64(p.runEnd))
	p.bytes.Store(p.pos.bytes())
	if p.pos.entry < b.count.Load() {
		p.line.Store(b.index[p.pos.entry].line)
		p.idle.Store(false)
		return
	}
	p.idle.Store(true)
}

// Lagging reports whether the player is so far behind that it should Skip.
// Any goroutine may ask.
func (p *Subscriber) Lagging() bool {
	if p.idle.Load() {
		return false
	}
	s, at := p.stream, p.bytes.Load()
	newest, key := s.newestBytes.Load(), s.keyBytes.Load()
	lag := int64(newest - at)
	if lag > maxLagBytes {
		return true
	}
	if s.keySeq.Load() <= p.seq.Load() {
		return false // no newer keyframe to go to
	}
	bound := max(minLagBytes, int64(newest-key))
	return lag > bound || int32(s.newestLine.Load()-p.line.Load()) > p.maxLag
}

func (p *Subscriber) sweep() {
	if p.Lagging() {
		p.lagged()
	}
}

// Skip gives up what the player has not been sent and goes to the newest
// keyframe. Of the run handed out last, sent bytes are out: the rest of the
// message they end in is returned, a copy, and must be written before
// anything else. skipped is the number of messages passed over; 0 means that
// there was no better place and the run goes on as it was.
func (p *Subscriber) Skip(sent int) (rest []byte, skipped uint64) {
	s := p.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.active || p.paused || p.runEnd == p.runStart {
		return nil, 0
	}
	b := p.pos.block
	end := b.firstSeq + uint64(p.runEnd)
	// The first message that is not begun, and the bytes of the one before it.
	upTo := b.start(p.runStart) + uint32(sent)
	i := p.runStart
	for i < p.runEnd && b.start(i) < upTo {
		i++
	}
	if i > 0 && b.index[i-1].end > upTo {
		rest = append([]byte(nil), b.buf[upTo:b.index[i-1].end]...)
	}
	from := b.firstSeq + uint64(i)
	to, headers, key := position{block: s.tail, entry: s.tail.count.Load()}, s.current, s.keyed
	lag := int64(s.newestBytes.Load() - p.bytes.Load())
	switch m := &s.mark; {
	case m.block != nil && m.seq >= end:
		to, headers, key = position{block: m.block, entry: m.entry}, m.headers, false
	case lag > maxLagBytes:
	case m.block == nil && s.keySeq.Load() >= end: // and the run behind it is not kept
	default:
		return nil, 0
	}
	if to.seq() < end || to.seq() == from {
		return nil, 0 // the caller's run stays as it was
	}
	to.block.retain()
	p.pos.block.release()
	p.pos, p.headers = to, headers
	p.waitFor(key)
	p.runStart, p.runEnd = to.entry, to.entry
	p.lastEpoch = to.block.epoch
	p.note()
	return rest, to.seq() - from
}

// Pause stops the player and lets go of its block. What was handed out must
// be sent in full before.
func (p *Subscriber) Pause() {
	if p.paused {
		return
	}
	p.pos.entry = p.runEnd
	p.paused = true
	p.note()
	p.idle.Store(true)
	p.letGo()
}

// Resume goes on where the player was paused, or where a new player would
// start if that is later.
func (p *Subscriber) Resume() {
	if !p.paused {
		return
	}
	p.paused = false
	was, epoch := p.seq.Load(), p.lastEpoch
	headers, wait, waited, metaFrom := p.headers, p.wait, p.waited, p.metaFrom
	s := p.stream
	s.mu.Lock()
	p.startLocked()
	s.mu.Unlock()
	if p.lastEpoch != epoch || p.pos.seq() > was {
		return
	}
	// All that comes after the pause is there: it goes on as it was.
	p.headers, p.wait, p.waited, p.metaFrom = headers, wait, waited, metaFrom
	for p.pos.seq() < was && p.pos.step() {
		p.pos.entry++
	}
	p.runStart, p.runEnd = p.pos.entry, p.pos.entry
	p.note()
}

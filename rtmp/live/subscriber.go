package live

import (
	"encoding/binary"
	"time"

	"srs/flv"
	"srs/rtmp/chunk"
)

// Bounds of a player.
const (
	maxKeyWait  = 10_000   // milliseconds of stream without a keyframe, then it is started anyway
	minLagBytes = 4 << 20  // a lag of less is never too many bytes
	maxLagBytes = 32 << 20 // a lag of more always is, also without a newer keyframe
)

// Subscriber is a player's place in a stream. All of it belongs to one
// goroutine.
//
// Gather finds what the player lacks, as pieces of the ring that all players
// share; Took says how much of that the socket has taken, be it in the middle
// of a message. So a player holds one reference on the block where it stands,
// and no bytes.
type Subscriber struct {
	stream *Stream
	maxLag int32 // milliseconds

	pos    position
	off    uint32 // bytes of the message at pos that are out
	paused bool
	was    uint64 // paused: the sequence number to go on with

	headers  *prologue // to be sent before what follows
	wait     waiting
	waitLine uint32 // time of the first entry that was passed over
	waited   bool
	metaFrom uint64 // metadata before this entry was in the prologue
	told     int    // chunk size the player knows
	audio    bool
	video    bool
	epoch    uint64 // of pos, as far as it was looked at
}

// waiting is what a player waits for that is not sent from here on.
type waiting uint8

const (
	waitNothing waiting = iota
	waitVideo           // video waits for a keyframe, audio goes on
	waitAll             // everything waits for a keyframe
)

// Subscribe makes a player of a stream, which need not exist. chunkSize is
// what the player was told.
func (r *Registry) Subscribe(key Key, queueLength time.Duration, chunkSize int) *Subscriber {
	s := r.open(key)
	p := &Subscriber{
		stream: s, maxLag: int32(min(queueLength.Milliseconds(), 1<<30)),
		told: chunkSize, audio: true, video: true,
	}
	s.mu.Lock()
	p.startLocked()
	s.players++
	s.mu.Unlock()
	return p
}

// Stream returns what the player listens to.
func (p *Subscriber) Stream() *Stream { return p.stream }

// ChunkSize returns what the player was told last.
func (p *Subscriber) ChunkSize() int { return p.told }

func (p *Subscriber) startLocked() {
	var key bool
	p.pos, p.headers, key = p.stream.startLocked()
	p.off = 0
	p.waitFor(key)
	p.metaFrom = p.stream.newestSeq.Load()
	p.epoch = p.pos.block.epoch
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
	s := p.stream
	s.mu.Lock()
	s.players--
	s.mu.Unlock()
	p.letGo()
	s.registry.close(s)
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

func appendSetChunkSize(dst []byte, size int) []byte {
	body := binary.BigEndian.AppendUint32(nil, uint32(size))
	return chunk.Append(dst, chunk.Message{CSID: csidControl, Type: chunk.TypeSetChunkSize, Body: body}, chunk.DefaultSize)
}

// mostLag is how many bytes a player may lag behind at all.
func (s *Stream) mostLag() int64 {
	if s.registry.memory.tight.Load() {
		return tightLag
	}
	return maxLagBytes
}

// Lagging reports whether the player is so far behind that it should Skip.
func (p *Subscriber) Lagging() bool {
	if p.paused || !p.pos.step() {
		return false
	}
	s := p.stream
	newest, key := s.newestBytes.Load(), s.keyBytes.Load()
	lag := int64(newest - p.pos.bytes())
	if lag > s.mostLag() {
		return true
	}
	if s.keySeq.Load() <= p.pos.seq() {
		return false // no newer keyframe to go to
	}
	bound := max(minLagBytes, int64(newest-key))
	behind := int32(s.newestLine.Load() - p.pos.block.index[p.pos.entry].line)
	if merged := s.merged.Load(); merged > 0 && behind <= 2*merged {
		return false // its turn may not have come
	}
	return lag > bound || behind > p.maxLag
}

// Skip gives up what the player has not been sent and goes to the newest
// keyframe. The rest of a message that was begun is appended to own, to be
// sent before anything else. skipped is the number of messages passed over;
// 0 means that there was no better place.
func (p *Subscriber) Skip(own []byte) (_ []byte, skipped uint64) {
	s := p.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.active || p.paused {
		return own, 0
	}
	from := p.pos.seq() // of the first message that is not begun
	if p.off > 0 {
		from++
	}
	to, headers, key := position{block: s.tail, entry: s.tail.count.Load()}, s.current, s.keyed
	lag := int64(s.newestBytes.Load() - p.pos.bytes())
	switch m := &s.mark; {
	case m.block != nil && m.seq >= from:
		to, headers, key = position{block: m.block, entry: m.entry}, m.headers, false
	case lag > s.mostLag():
	case m.block == nil && s.keySeq.Load() > from: // and the run behind it is not kept
	default:
		return own, 0
	}
	if to.seq() <= from {
		return own, 0
	}
	if b := p.pos.block; p.off > 0 {
		own = append(own, b.buf[b.start(p.pos.entry)+p.off:b.index[p.pos.entry].end]...)
	}
	to.block.retain()
	p.pos.block.release()
	p.pos, p.off, p.headers = to, 0, headers
	p.waitFor(key)
	p.epoch = to.block.epoch
	return own, to.seq() - from
}

// Pause stops the player and lets go of its block. No message may be midway.
func (p *Subscriber) Pause() {
	if p.paused {
		return
	}
	p.paused, p.was = true, p.pos.seq()
	p.letGo()
}

// Resume goes on where the player was paused, or where a new player would
// start if that is later.
func (p *Subscriber) Resume() {
	if !p.paused {
		return
	}
	p.paused = false
	epoch := p.epoch
	headers, wait, waited, metaFrom := p.headers, p.wait, p.waited, p.metaFrom
	s := p.stream
	s.mu.Lock()
	p.startLocked()
	s.mu.Unlock()
	if p.epoch != epoch || p.pos.seq() > p.was {
		return
	}
	// All that comes after the pause is there: it goes on as it was.
	p.headers, p.wait, p.waited, p.metaFrom = headers, wait, waited, metaFrom
	for p.pos.seq() < p.was && p.pos.step() {
		p.pos.entry++
	}
}

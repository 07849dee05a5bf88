package live

import (
	"srs/flv"
	"srs/rtmp/chunk"
)

// Publisher is what is known of the client that publishes. It never changes.
type Publisher struct {
	ClientID                  uint64
	IP                        string
	Vhost, App, Stream, Param string // Vhost is the configuration's block name
	TcURL                     string
}

// Settings say how a publication is relayed; they hold until its end.
type Settings struct {
	ChunkSize int // of the bytes for players
	Time      TimeMode
	GopCache  bool
	MaxFrames int   // of the run behind the bookmark; 0: no limit
	Flush     Flush // when players are told
}

// Bounds of the run behind the bookmark, beside Settings.MaxFrames.
const (
	maxMarkBytes = 32 << 20
	maxMarkTime  = 60_000 // milliseconds
)

// rejoinStep lies between the last tag of one publication and the first of
// the next while players stay, milliseconds.
const rejoinStep = 40

// Publication is one publisher's turn at a stream. Write and Close belong to
// the publisher's goroutine.
type Publication struct {
	stream    *Stream
	publisher Publisher
	settings  Settings
	epoch     uint64

	// Owned by the publisher.
	line      *Timeline
	tail      *block // Stream.tail, without a reference of its own
	seq       uint64
	bytes     uint64
	class     int    // usual block size
	blockLine uint32 // time of the tail's first entry
	frames    int    // behind the bookmark
	closed    bool

	over chan struct{} // closed by Close
}

// Start begins the publication of a reserved name. The watchers have seen it
// when Start returns.
func (v *Reservation) Start(who Publisher, settings Settings) *Publication {
	s := v.stream
	s.mu.Lock()
	start := uint32(0)
	if s.players > 0 && s.epoch > 0 {
		start = s.lastLine + rejoinStep
	}
	s.epoch++
	s.active, s.keyed = true, false
	s.current = nil
	s.merged.Store(int32(settings.Flush.Every.Milliseconds()))
	p := &Publication{
		stream: s, publisher: who, settings: settings, epoch: s.epoch,
		line: NewTimeline(settings.Time, start), tail: s.tail,
		seq: s.newestSeq.Load(), bytes: s.newestBytes.Load(), class: minBlock,
		over: make(chan struct{}),
	}
	s.mu.Unlock()
	for _, w := range s.registry.watchers {
		w.Published(p)
	}
	return p
}

// Publisher returns who publishes.
func (p *Publication) Publisher() Publisher { return p.publisher }

// Write appends one tag. Data is copied and stays the caller's.
//
// The way of a tag: sniff, time, room in the tail block, one copy, one store
// that publishes it, prologue or bookmark where it is one, bells.
func (p *Publication) Write(tag flv.Tag) {
	info := flv.Sniff(tag.Type, tag.Data)
	e := entry{typ: tag.Type, info: info, raw: tag.Timestamp}
	e.line = p.line.Next(tag.Type, tag.Timestamp, info)
	size := chunk.WireSize(csidOf(tag.Type), e.wireTime(), len(tag.Data), p.settings.ChunkSize)
	if p.tail.epoch != p.epoch || !p.tail.room(size) {
		p.extend(size, e.line)
	}
	if kept(info) || info&flv.Keyframe != 0 {
		p.appendNoted(e, tag.Data, size)
	} else {
		p.append(e, tag.Data, size)
	}
	p.stream.strike(p.settings.Flush.due(info))
}

// appendNoted adds a header, metadata or a keyframe. Who joins sees both, the
// message and what follows from it, or neither.
func (p *Publication) appendNoted(e entry, body []byte, size int) {
	s := p.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	at := position{block: p.tail, entry: uint32(p.tail.n)}
	p.append(e, body, size)
	if kept(e.info) {
		s.current = s.current.with(e.typ, e.info, body)
	}
	if e.info&flv.Keyframe != 0 {
		p.markLocked(at, e)
	}
}

// append adds a message to the tail, which has room, and counts it.
func (p *Publication) append(e entry, body []byte, size int) {
	s := p.stream
	p.tail.append(e, body)
	p.seq++
	p.bytes += uint64(size)
	p.frames++
	s.newestSeq.Store(p.seq)
	s.newestBytes.Store(p.bytes)
	s.newestLine.Store(e.line)
}

// extend closes the tail and goes on in a new block.
func (p *Publication) extend(size int, line uint32) {
	s := p.stream
	if p.tail.epoch == p.epoch && p.tail.n > 0 {
		switch took := line - p.blockLine; {
		case took < growBelow && p.class < maxBlock:
			p.class <<= 1
		case took > shrinkOver && took < 1<<31 && p.class > minBlock:
			p.class >>= 1
		}
	}
	b := newBlock(&s.registry.memory, max(size, p.class))
	b.epoch, b.chunkSize = p.epoch, p.settings.ChunkSize
	p.link(b)
	p.blockLine = line
	s.mu.Lock()
	p.boundMarkLocked(line)
	for _, r := range s.readers {
		r.sweepLocked(p.bytes)
	}
	s.mu.Unlock()
	s.registry.watch()
}

// link makes b the stream's tail. The old tail keeps a reference on it.
func (p *Publication) link(b *block) {
	s := p.stream
	b.firstSeq, b.base = p.seq, p.bytes
	s.mu.Lock()
	old := s.tail
	s.tail = b
	b.retain() // the predecessor's
	old.next.Store(b)
	s.mu.Unlock()
	old.release()
	p.tail = b
}

// markLocked moves the bookmark to a keyframe.
func (p *Publication) markLocked(at position, e entry) {
	s := p.stream
	s.keyed = true
	s.keySeq.Store(at.seq())
	s.keyBytes.Store(at.bytes())
	s.dropMarkLocked()
	p.frames = 1
	if !p.settings.GopCache {
		return
	}
	s.mark = bookmark{block: at.block.retain(), entry: at.entry, seq: at.seq(), bytes: at.bytes(), line: e.line, headers: s.current}
	if s.mark.headers == nil {
		s.mark.headers = &prologue{}
	}
}

// boundMarkLocked drops a bookmark whose run has become too long to be sent
// to anybody who joins.
func (p *Publication) boundMarkLocked(line uint32) {
	m := &p.stream.mark
	if m.block == nil {
		return
	}
	if limit := p.settings.MaxFrames; limit > 0 && p.frames > limit || p.bytes-m.bytes > maxMarkBytes || int32(line-m.line) > maxMarkTime {
		p.stream.dropMarkLocked()
	}
}

// Close ends the publication and frees the name. Readers get what is left and
// then io.EOF; players stay and wait for the next publisher.
func (p *Publication) Close() {
	if p.closed {
		return
	}
	p.closed = true
	s := p.stream
	s.mu.Lock()
	s.dropMarkLocked()
	s.active, s.current = false, nil
	s.lastLine = p.line.Newest()
	s.mu.Unlock()
	end := newBlock(&s.registry.memory, 0)
	end.epoch = p.epoch + 1
	p.link(end)
	close(p.over)
	s.strike(Due{})
	s.mu.Lock()
	s.reserved = false
	s.mu.Unlock()
	s.registry.close(s)
}

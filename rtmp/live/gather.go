package live

import "srs/flv"

// maxPieces bounds what one Gather returns.
const maxPieces = 16

// Midway says that a message was begun and is not out.
func (p *Subscriber) Midway() bool { return p.off > 0 }

// Runs are what a player lacks. They are scratch: a sender has few, for the
// players that it serves at the moment.
type Runs struct {
	Pieces [][]byte // wire bytes in their order; valid until Took
	Bytes  int      // of all of them
	More   bool     // Gather should be called again when they are out
	spans  []span   // where each piece lies
	room   [maxPieces][]byte
	places [maxPieces]span
}

// span is entries of a block, the first perhaps from its middle on.
type span struct {
	block       *block
	first, last uint32 // last: the one behind
	from        uint32 // in block.buf
}

// Clear empties them.
func (r *Runs) Clear() { r.Pieces, r.spans, r.Bytes, r.More = r.room[:0], r.places[:0], 0, false }

func (r *Runs) add(b *block, first, last, from uint32) {
	piece := b.buf[from:b.index[last-1].end]
	r.Pieces = append(r.Pieces, piece)
	r.spans = append(r.spans, span{b, first, last, from})
	r.Bytes += len(piece)
}

// Gather finds what the player lacks, about limit bytes at most, and appends
// to own what must be sent before that: headers, a new chunk size. With limit
// 0 it finds no more than the rest of the message that was begun.
func (p *Subscriber) Gather(r *Runs, own []byte, limit int) []byte {
	r.Clear()
	if p.paused {
		return own
	}
	at := p.pos // walks ahead, held by the reference of p.pos
	if p.off > 0 {
		b := at.block
		r.add(b, at.entry, at.entry+1, b.start(at.entry)+p.off)
		at.entry++
		p.follow(r, at, limit)
		return own
	}
	if limit <= 0 {
		return own
	}
	// Up to the first message that is sent, the player itself moves.
	for p.pos.step() {
		b := p.pos.block
		if b.epoch != p.epoch {
			p.epoch = b.epoch
			p.headers, p.wait, p.metaFrom = nil, waitNothing, 0
		}
		v := p.judge(b, p.pos.entry)
		if v == pass {
			p.passOver(b, p.pos.entry)
			p.pos.entry++
			continue
		}
		if v == takeAndGoOn {
			p.wait = waitNothing
		}
		if b.chunkSize != p.told {
			p.told = b.chunkSize
			own = appendSetChunkSize(own, p.told)
		}
		if p.headers != nil {
			own = p.headers.append(own, b.index[p.pos.entry].line, p.told)
			p.headers = nil
		}
		p.follow(r, p.pos, limit)
		return own
	}
	return own
}

// follow adds what comes from a place on, as far as it can be sent without
// the player changing.
func (p *Subscriber) follow(r *Runs, at position, limit int) {
	r.More = true
	for r.Bytes < limit && len(r.spans) < maxPieces {
		next := at.block.next.Load() // before count: after it, count is final
		count := at.block.count.Load()
		if at.entry == count {
			if next == nil {
				r.More = false
				return
			}
			if next.epoch != p.epoch {
				return
			}
			at = position{block: next}
			continue
		}
		b, first := at.block, at.entry
		var v verdict
		at.entry, v = p.reach(b, first, count, limit-r.Bytes)
		if at.entry > first {
			r.add(b, first, at.entry, b.start(first))
		}
		if v == pass && p.wait == waitNothing {
			at.entry++
		} else if v != take {
			return
		}
	}
}

// reach returns how far entries from first on are to be sent, and what is to
// be done with the one where that ends; take if it is only the limit.
func (p *Subscriber) reach(b *block, first, count uint32, limit int) (uint32, verdict) {
	from := b.start(first)
	if p.wait == waitNothing && p.audio && p.video && b.firstSeq+uint64(first) >= p.metaFrom &&
		int(b.index[count-1].end-from) <= limit {
		return count, take
	}
	for i := first; i < count; i++ {
		if i > first && int(b.index[i].end-from) > limit {
			return i, take
		}
		if v := p.judge(b, i); v != take {
			return i, v
		}
	}
	return count, take
}

// verdict is what becomes of a message.
type verdict uint8

const (
	take        verdict = iota
	pass                // it is not sent
	takeAndGoOn         // the waiting ends with it
)

// judge says whether an entry is for this player. It changes nothing.
func (p *Subscriber) judge(b *block, i uint32) verdict {
	e := &b.index[i]
	if e.info&flv.Metadata != 0 && b.firstSeq+uint64(i) < p.metaFrom {
		return pass
	}
	switch e.typ {
	case flv.TypeAudio:
		if !p.audio && !kept(e.info) {
			return pass
		}
	case flv.TypeVideo:
		if !p.video && !kept(e.info) {
			return pass
		}
	}
	switch {
	case p.wait == waitNothing:
		return take
	case e.info&flv.Keyframe != 0:
		return takeAndGoOn
	case p.wait == waitVideo && (e.typ != flv.TypeVideo || kept(e.info)):
		return take
	case !kept(e.info) && p.waited && int32(e.line-p.waitLine) >= maxKeyWait:
		return takeAndGoOn
	}
	return pass
}

// passOver notes what an entry that is not sent means for what follows.
func (p *Subscriber) passOver(b *block, i uint32) {
	e := &b.index[i]
	if p.wait == waitNothing || e.info&flv.Metadata != 0 && b.firstSeq+uint64(i) < p.metaFrom {
		return
	}
	if (e.typ == flv.TypeAudio && !p.audio || e.typ == flv.TypeVideo && !p.video) && !kept(e.info) {
		return
	}
	if !p.waited {
		p.waited, p.waitLine = true, e.line
	}
	if kept(e.info) {
		p.headers = p.headers.with(e.typ, e.info, b.appendPayload(nil, i))
	}
}

// Took moves the player on by n bytes of what Gather found.
func (p *Subscriber) Took(r *Runs, n int) {
	at, off := p.pos, p.off
	for _, s := range r.spans {
		size := s.block.index[s.last-1].end - s.from
		if n >= int(size) {
			at, off = position{s.block, s.last}, 0
			n -= int(size)
			continue
		}
		if n > 0 || s.from > s.block.start(s.first) { // else it ends with the span before
			upTo := s.from + uint32(n)
			i := s.first
			for s.block.index[i].end <= upTo {
				i++
			}
			at, off = position{s.block, i}, upTo-s.block.start(i)
		}
		break
	}
	if at.block != p.pos.block {
		at.block.retain()
		p.pos.block.release()
	}
	p.pos, p.off = at, off
}

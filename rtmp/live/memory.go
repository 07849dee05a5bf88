package live

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Block sizes. A stream begins with small blocks and doubles them while they
// fill faster than growBelow, so that a thousand slow streams stay small.
const (
	minBlock   = 4 << 10
	maxBlock   = 64 << 10 // of a stream's usual blocks
	maxPooled  = 1 << 20  // a larger block, for one large message, is garbage afterwards
	growBelow  = 500      // milliseconds of stream time in a block
	shrinkOver = 4000     // likewise
	indexRatio = 256      // bytes of block per index entry
)

// blockPools holds free blocks by size: class i has minBlock << i bytes.
var blockPools [9]sync.Pool

// blocksAlive counts the blocks that somebody holds: a leak shows here.
var blocksAlive atomic.Int64

// newBlock returns an empty block for at least size bytes, with one reference.
// Size 0 gives a block without room, the end of a chain nobody writes to yet.
func newBlock(m *memory, size int) *block {
	blocksAlive.Add(1)
	if size == 0 {
		b := &block{class: -1, memory: m}
		b.refs.Store(1)
		return b
	}
	class, room := 0, minBlock
	for room < size && room < maxPooled {
		class, room = class+1, room<<1
	}
	if room < size {
		b := &block{class: -1, memory: m, buf: make([]byte, size), index: make([]entry, 1)}
		m.held.Add(int64(size))
		b.refs.Store(1)
		return b
	}
	b, _ := blockPools[class].Get().(*block)
	if b == nil {
		b = &block{class: class, buf: make([]byte, room), index: make([]entry, max(16, room/indexRatio))}
	}
	b.memory = m
	m.held.Add(int64(room))
	b.refs.Store(1)
	return b
}

func (b *block) free() {
	blocksAlive.Add(-1)
	b.memory.held.Add(-int64(len(b.buf)))
	b.memory = nil
	poison(b.buf)
	b.next.Store(nil)
	b.count.Store(0)
	if b.class >= 0 {
		b.used, b.n = 0, 0
		blockPools[b.class].Put(b)
	}
}

// memory counts what the blocks of a registry's streams take, and bounds it.
//
// Beyond the limit the longest bookmarks go first: players of those streams
// start at the next keyframe. What is held then is held by players that lag:
// while memory is tight they are moved on when they lack more than tightLag.
// Publishers never wait.
type memory struct {
	limit atomic.Int64 // bytes; 0: none
	held  atomic.Int64 // bytes of blocks that somebody holds
	tight atomic.Bool
	next  atomic.Int64 // when it is looked at again, ns since 1970
	told  func(held int64)
}

const (
	tightLag    = 1 << 20                // bytes a player may lag while memory is tight
	reliefEvery = 100 * time.Millisecond // at most
)

// Bound limits the bytes that all streams keep. tell is called now and then
// while they would be more; it must not block.
func (r *Registry) Bound(limit int64, tell func(held int64)) {
	r.memory.told = tell
	r.memory.limit.Store(limit)
}

// Held returns how many bytes the streams keep.
func (r *Registry) Held() int64 { return r.memory.held.Load() }

// watch is called by publishers that take a block.
func (r *Registry) watch() {
	m := &r.memory
	limit := m.limit.Load()
	held := m.held.Load()
	if limit == 0 || held <= limit && !m.tight.Load() {
		return
	}
	now := time.Now().UnixNano()
	if next := m.next.Load(); now < next || !m.next.CompareAndSwap(next, now+int64(reliefEvery)) {
		return
	}
	if held > limit {
		r.relieve(held - limit*3/4)
		m.told(held)
	}
	m.tight.Store(m.held.Load() > limit*3/4)
}

// relieve drops the longest bookmarks, which keep so many bytes.
func (r *Registry) relieve(excess int64) {
	type kept struct {
		stream *Stream
		bytes  int64
	}
	var all []kept
	r.mu.Lock()
	for _, s := range r.streams {
		s.mu.Lock()
		if s.mark.block != nil {
			all = append(all, kept{s, int64(s.newestBytes.Load() - s.mark.bytes)})
		}
		s.mu.Unlock()
	}
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, k := range all {
		if excess <= 0 {
			return
		}
		k.stream.mu.Lock()
		k.stream.dropMarkLocked()
		k.stream.mu.Unlock()
		excess -= k.bytes
	}
}

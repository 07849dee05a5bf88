package hook

import "time"

// Our own choices for what waits. What only the memory has is bounded by the
// first two: without a journal that is everything, with one what the disk does
// not take at the moment. The others bound one endpoint. Beyond, the oldest goes.
const (
	maxLoose      = 100_000
	maxLooseBytes = 64 << 20
	maxPending    = 1_000_000
	maxBytes      = 256 << 20
	itemOverhead  = 512 // bytes a notice costs besides its payload, about

	maxKept = 2 << 20 // bytes of payloads that are on disk and in memory too

	dropLogEvery = time.Second
)

// boundLocked drops the oldest of what waits too much for an endpoint.
func (e *Engine) boundLocked(ep *endpoint) {
	for drop := ep.oldest; drop != nil && (ep.pending > e.maxPending || ep.bytes > maxBytes); {
		next := drop.newer
		if !drop.running() {
			e.finishLocked(drop, Dropped)
			e.droppedLocked(1)
		}
		drop = next
	}
}

func (it *item) running() bool { return it.line.first == it && it.line.state == lineRunning }

func (e *Engine) dropOldestLooseLocked() bool {
	for el := e.loose.Front(); el != nil; el = el.Next() {
		if it := el.Value.(*item); !it.running() {
			e.finishLocked(it, Dropped)
			e.droppedLocked(1)
			return true
		}
	}
	return false
}

// tightenLocked ends the counting of what the memory has of an item.
func (e *Engine) tightenLocked(it *item) {
	switch f := it.fresh; {
	case f == nil:
	case it.stored:
		e.kept -= int(it.size)
	case f.loose != nil:
		e.loose.Remove(f.loose)
		f.loose = nil
		e.looseBytes -= int(it.size) + itemOverhead
		e.roomLocked()
	}
}

// droppedLocked counts what was dropped, for one line a second.
func (e *Engine) droppedLocked(n int) {
	e.dropsUnlogged += n
	if e.dropTimer == nil && !e.closed {
		e.dropTimer = time.AfterFunc(max(0, dropLogEvery-time.Since(e.dropLogged)), e.logDrops)
	}
}

func (e *Engine) logDrops() {
	e.mu.Lock()
	n, waiting, bytes := e.dropsUnlogged, e.loose.Len(), e.looseBytes
	e.dropsUnlogged, e.dropTimer, e.dropLogged = 0, nil, time.Now()
	e.mu.Unlock()
	if n > 0 {
		e.log.Warn("http hook notices dropped: too many wait for an endpoint, the oldest go", "count", n, "waiting", waiting, "bytes", bytes)
	}
}

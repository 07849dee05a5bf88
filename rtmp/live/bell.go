package live

import (
	"sync/atomic"
	"time"

	"srs/flv"
)

// Flush says when those who listen to a stream are told of what was written.
type Flush struct {
	Immediate bool          // of every message at once (min_latency)
	Every     time.Duration // merged: at most this often (mw_latency); 0: see holdAudio
}

// holdAudio is how long audio waits for the next video message, which then
// takes it along in the same write.
const holdAudio = 25 * time.Millisecond

// due says when a message is to be passed on.
func (f Flush) due(info flv.Info) Due {
	switch {
	case f.Immediate:
		return Due{}
	case f.Every > 0:
		return Due{After: f.Every, Merged: true}
	case info&flv.VideoFrame != 0:
		return Due{}
	}
	return Due{After: holdAudio}
}

// Due is when something new is to be passed on: at once, or after a time in
// which more may come.
type Due struct {
	After  time.Duration
	Merged bool // it is the merging that the configuration asks for
}

// Bell tells one listener of a stream, for all its players there, that there is
// something new. It is rung by the publisher, and only while it is armed:
//
//	silent --Arm--> armed --something for later--> held --something at once--> silent
//	                  '--------------something at once----------------------------'
//
// So it costs the publisher one load for each message while its listener is
// busy, however many players there are. A listener arms its bell before it
// looks for what is new; then nothing is missed.
type Bell struct {
	ring  func(Due) // static; must not block
	state atomic.Uint32
}

const (
	bellSilent uint32 = iota
	bellArmed
	bellHeld // its listener knows, and passes it on when it is due
)

// NewBell returns a silent bell. ring is called by publishers.
func NewBell(ring func(Due)) *Bell { return &Bell{ring: ring} }

// Arm has the next message ring.
func (b *Bell) Arm() { b.state.Store(bellArmed) }

// Hold has it ring only for what is to be passed on at once: the listener will
// look by itself for the rest.
func (b *Bell) Hold() { b.state.Store(bellHeld) }

func (b *Bell) strike(d Due) {
	state := b.state.Load()
	switch {
	case state == bellSilent:
	case d.After == 0:
		if b.state.Swap(bellSilent) != bellSilent {
			b.ring(d)
		}
	case state == bellArmed:
		if b.state.CompareAndSwap(bellArmed, bellHeld) {
			b.ring(d)
		}
	}
}

// Hang has a bell rung for what is published.
func (s *Stream) Hang(b *Bell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setBellsLocked(append(s.bellsLocked(), b))
}

// TakeDown ends that. The bell may be ringing meanwhile.
func (s *Stream) TakeDown(b *Bell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bells := s.bellsLocked()
	for i := range bells {
		if bells[i] == b {
			bells = append(bells[:i], bells[i+1:]...)
			break
		}
	}
	s.setBellsLocked(bells)
}

// bellsLocked returns a copy of the list; publishers read it without a lock.
func (s *Stream) bellsLocked() []*Bell {
	if l := s.bells.Load(); l != nil {
		return append(make([]*Bell, 0, len(*l)+1), *l...)
	}
	return nil
}

func (s *Stream) setBellsLocked(bells []*Bell) {
	if len(bells) == 0 {
		s.bells.Store(nil)
		return
	}
	s.bells.Store(&bells)
}

// strike rings all bells.
func (s *Stream) strike(d Due) {
	l := s.bells.Load()
	if l == nil {
		return
	}
	for _, b := range *l {
		b.strike(d)
	}
}

// Heard says whether anybody is told when something is published.
func (p *Publication) Heard() bool {
	bells := p.stream.bells.Load()
	return bells != nil && len(*bells) > 0
}

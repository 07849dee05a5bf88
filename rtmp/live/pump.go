package live

import (
	"sync"
	"sync/atomic"
	"time"

	"srs/flv"
)

// Flush says when the players of a stream are woken for what was written.
type Flush struct {
	Immediate bool          // at every message (min_latency)
	Every     time.Duration // merged: at most this often (mw_latency); 0: see holdAudio
}

const (
	// holdAudio is how long audio waits for the next video message, which then
	// takes it along in the same write.
	holdAudio = 25 * time.Millisecond
	// sweepEvery is how often players are looked at that lag behind.
	sweepEvery = time.Second
)

// pump wakes a stream's listeners, so that the publisher never does more per
// message than raise a flag. It runs from Start to Close of a publication.
type pump struct {
	stream *Stream
	flush  Flush
	now    chan struct{} // capacity 1: wake at once
	soon   chan struct{} // capacity 1: wake within the hold
	quit   chan struct{} // closed by stop
	done   chan struct{} // closed by run
}

func startPump(s *Stream, f Flush) *pump {
	p := &pump{
		stream: s, flush: f,
		now: make(chan struct{}, 1), soon: make(chan struct{}, 1),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go p.run()
	return p
}

// wrote tells the pump of a message. It does not block.
func (p *pump) wrote(info flv.Info) {
	c := p.soon
	if p.flush.Immediate || p.flush.Every <= 0 && info&flv.VideoFrame != 0 {
		c = p.now
	}
	select {
	case c <- struct{}{}:
	default:
	}
}

// stop wakes everybody a last time and waits until the pump has ended.
func (p *pump) stop() {
	close(p.quit)
	<-p.done
}

func (p *pump) run() {
	defer close(p.done)
	hold := holdAudio
	if p.flush.Every > 0 {
		hold = p.flush.Every
	}
	timer := time.NewTimer(hold)
	timer.Stop()
	defer timer.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	holding := false
	for {
		select {
		case <-p.now:
			holding = false
			timer.Stop()
			p.stream.listeners.wake()
		case <-p.soon:
			if !holding {
				holding = true
				timer.Reset(hold)
			}
		case <-timer.C:
			holding = false
			p.stream.listeners.wake()
		case <-sweep.C:
			p.stream.listeners.sweep()
		case <-p.quit:
			p.stream.listeners.wake()
			return
		}
	}
}

// listener is one subscriber's side of being woken.
type listener struct {
	woken   chan struct{} // capacity 1
	notify  func()        // instead of woken where set, before the first wait; must not block
	waiting atomic.Bool
	sweep   func() // called once a second by the pump; must not block
	player  bool

	slot int // guarded by listeners.mu
}

func newListener(player bool, sweep func()) *listener {
	return &listener{woken: make(chan struct{}, 1), player: player, sweep: sweep}
}

// listeners are those who read a stream.
type listeners struct {
	mu      sync.Mutex
	list    []*listener
	nplayer int
}

func (l *listeners) add(x *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.slot = len(l.list)
	l.list = append(l.list, x)
	if x.player {
		l.nplayer++
	}
}

func (l *listeners) remove(x *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := len(l.list) - 1
	l.list[x.slot] = l.list[last]
	l.list[x.slot].slot = x.slot
	l.list[last] = nil
	l.list = l.list[:last]
	if x.player {
		l.nplayer--
	}
}

func (l *listeners) players() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nplayer
}

func (l *listeners) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.list {
		if x.waiting.Load() && x.waiting.CompareAndSwap(true, false) {
			if x.notify != nil {
				x.notify()
				continue
			}
			select {
			case x.woken <- struct{}{}:
			default:
			}
		}
	}
}

func (l *listeners) sweep() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.list {
		x.sweep()
	}
}

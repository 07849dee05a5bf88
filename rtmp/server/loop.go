package server

import (
	"context"
	crypto "crypto/rand"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"srs/rtmp/live"
)

// Bounds of a loop's round.
const (
	roundBytes = 128 << 10        // sent to one player in a round; paces the burst of a join
	roundJoins = 16               // players that get such a burst before others are looked at again
	roundMail  = 64               // sessions taken in before others are looked at again
	roundSends = 128              // players of a group sent to before others are looked at again
	yieldAfter = time.Millisecond // of work, so that others get the processor
	sweepEvery = time.Second      // sockets that do not take what they get are looked at
	maxEvents  = 256
	maxScratch = 64 << 10 // kept for the next player
)

// loop runs many sessions in one goroutine. It owns them: it alone reads, writes
// and closes their sockets, with an epoll set of its own, and acts on what they
// send. What may take time (callbacks) happens elsewhere and comes back by
// mail; so do new connections and kicks. Publishers ring the bells of its
// groups of players (group.go).
//
// A round does a bounded share of each, so that nothing waits for long:
//
//  1. the mailbox, and streams with something new
//  2. what is due: timeouts, and groups of players whose time to be sent to has come
//  3. groups that are sent to: one non-blocking send for each player; a full
//     socket waits for EPOLLOUT and nobody waits for it
//  4. players that lack more than a round's share: those who joined
//  5. what clients send, and sockets that have room again
//
// Socket calls are raw: they cannot block, and Go's scheduler need not know.
type loop struct {
	// Static after construction.
	server *Server
	poller *poller
	bell   int // eventfd: ends the loop's wait
	done   chan struct{}

	asleep atomic.Bool

	mu    sync.Mutex
	mail  []*session // new, kicked, or with an answer to their gate
	rings []ring     // streams that have something new
	quit  bool

	// Owned by the loop's goroutine.
	slots   []slot
	free    []int32
	groups  map[*live.Stream]*group
	times   timetable
	inbox   []*session // taken from mail, not looked at yet
	work    queue[*group]
	again   queue[*session] // have more than fits into a round
	moves   []*session      // to other loops
	events  [maxEvents]unix.EpollEvent
	n       int // of them
	pace    pace
	swept   time.Time
	now     time.Time
	worked  time.Time // since when it has not let others run
	runs    live.Runs
	scratch []byte // for what a client gets beside them
	room    []byte // for the answers of the session whose turn it is
	out     output
	batch   *batch         // nil: each send is a call
	in      [64 << 10]byte // what was read last
	random  *rand.ChaCha8  // for handshakes
}

// slot is a place for a session. The generation tells an event for the one
// that is there from one for a session that was.
type slot struct {
	session    *session
	generation int32
}

// bellSlot is the slot number of the eventfd.
const bellSlot = -1

func newLoop(s *Server) (*loop, error) {
	poller, err := newPoller()
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil { // at every ring, which need not be read therefore
		err = poller.control(unix.EPOLL_CTL_ADD, bell, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: bellSlot})
	}
	if err != nil {
		poller.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	x := &loop{
		server: s, poller: poller,
		bell: bell, done: make(chan struct{}), groups: make(map[*live.Stream]*group),
	}
	var seed [32]byte
	crypto.Read(seed[:])
	x.random = rand.NewChaCha8(seed)
	if x.batch, err = newBatch(s.Engine); err != nil && !s.engineTold {
		s.engineTold = true
		s.Log.Log(context.Background(), s.engineLevel(), "io_uring is not available, players are sent to with a call each",
			"send_engine", s.Engine, "with_io_uring", len(s.loops), "error", err.Error())
	}
	runtime.AddCleanup(x, func(bell int) { unix.Close(bell) }, bell) // not before the last who may ring is through
	go x.run()
	return x, nil
}

// stop ends the loop once it has no sessions, and waits.
func (x *loop) stop() {
	x.mu.Lock()
	x.quit = true
	x.mu.Unlock()
	x.rouse()
	<-x.done
}

// post has the loop look at a session.
func (x *loop) post(c *session) {
	x.mu.Lock()
	x.mail = append(x.mail, c)
	x.mu.Unlock()
	x.rouse()
}

// ring says that a group's stream has something new.
func (x *loop) ring(g *group, d live.Due) {
	x.mu.Lock()
	x.rings = append(x.rings, ring{g, d})
	x.mu.Unlock()
	x.rouse()
}

// rouse ends the loop's wait, if it waits.
func (x *loop) rouse() {
	if x.asleep.Load() && x.asleep.CompareAndSwap(true, false) {
		rawRing(x.bell)
	}
}

func (x *loop) run() {
	defer close(x.done)
	defer x.poller.close()
	defer func() {
		if x.batch != nil {
			x.batch.ring.close()
		}
	}()
	var mail []*session
	var rings []ring
	for {
		x.mu.Lock()
		mail, x.mail = x.mail, mail[:0]
		rings, x.rings = x.rings, rings[:0]
		quit := x.quit
		x.mu.Unlock()
		x.now = time.Now()
		x.inbox = append(x.inbox, mail...)
		clear(mail)
		for _, r := range rings {
			x.answer(r)
		}
		clear(rings)
		x.round()
		if quit && len(x.inbox) == 0 && len(x.slots) == len(x.free) {
			return
		}
		x.wait()
		x.yield()
	}
}

// round does a share of what there is to do.
func (x *loop) round() {
	n := min(len(x.inbox), roundMail)
	for _, c := range x.inbox[:n] {
		x.look(c)
	}
	rest := copy(x.inbox, x.inbox[n:])
	clear(x.inbox[rest:])
	x.inbox = x.inbox[:rest]
	for a := x.times.due(x.now); a != nil; a = x.times.due(x.now) {
		if a.group != nil {
			x.tick(a.group)
		} else {
			x.expire(a.session)
		}
	}
	for sends := roundSends; sends > 0 && x.work.len() > 0; {
		g := x.work.take()
		if sends -= x.flush(g, sends); g.working {
			x.work.add(g)
		}
	}
	for range min(x.again.len(), roundJoins) {
		c := x.again.take()
		c.queued = false
		x.push(c)
	}
	x.move()
	if x.now.Sub(x.swept) >= sweepEvery {
		x.swept = x.now
		x.server.memory.saw(x.server.Registry.Held())
		x.sweep()
	}
}

func (x *loop) busy() bool {
	return len(x.moves) > 0 || x.work.len() > 0 || x.again.len() > 0 || len(x.inbox) > 0
}

// wait takes socket events, and waits for something to do if there is nothing.
func (x *loop) wait() {
	if x.busy() {
		x.n = x.poller.look(x.events[:])
	} else {
		x.idle()
		x.now = time.Now()
	}
	media, others := 0, 0
	for _, e := range x.events[:x.n] {
		if e.Fd == bellSlot {
			continue
		}
		s := x.slots[e.Fd]
		if s.session == nil || s.generation != e.Pad {
			continue
		}
		switch p := s.session.publish; {
		case p != nil && !p.relay.Heard():
			media++
		case s.session.state < statePublishing:
			x.pace.hurry(x.now)
		default:
			others++
		}
		if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			x.attend(s.session)
		}
		if e.Events&unix.EPOLLOUT != 0 && s.session.slot >= 0 && s.session.blocked {
			x.unblock(s.session)
		}
	}
	x.pace.note(x.now, media, others, x.n < len(x.events))
}

// idle waits until sockets are ready, somebody rouses the loop or a time has
// come; or it rests.
func (x *loop) idle() {
	var due time.Time
	if len(x.slots) > len(x.free) {
		due = x.swept.Add(sweepEvery)
	}
	if t := x.times.next(); !t.IsZero() && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if x.pace.rest {
		// Who rests has sessions, and so a time that is due.
		x.n = x.poller.rest(x.events[:], min(restTime, due.Sub(x.now)))
		x.worked = time.Now()
		return
	}
	x.asleep.Store(true)
	x.mu.Lock()
	idle := len(x.mail) == 0 && len(x.rings) == 0 && !x.quit
	x.mu.Unlock()
	if x.n = 0; idle {
		var slept bool
		if x.n, slept = x.poller.wait(x.events[:], x.now, due); slept {
			x.worked = time.Now()
		}
	}
	x.asleep.Store(false)
}

// yield lets others run from time to time: callbacks, recordings.
func (x *loop) yield() {
	if x.now.Sub(x.worked) >= yieldAfter {
		runtime.Gosched()
		x.worked = time.Now()
	}
}

// enter takes a session in.
func (x *loop) enter(c *session) {
	if n := len(x.free); n > 0 {
		c.slot = x.free[n-1]
		x.free = x.free[:n-1]
	} else {
		c.slot = int32(len(x.slots))
		x.slots = append(x.slots, slot{})
	}
	s := &x.slots[c.slot]
	s.session = c
	s.generation++
	c.progress = x.now
	if err := x.control(c, unix.EPOLL_CTL_ADD); err != nil {
		x.end(c, &ending{reason: reasonReset, text: "epoll: " + err.Error(), expected: true})
	}
}

// forsake takes a session out: its socket is looked at no longer.
func (x *loop) forsake(c *session) {
	x.poller.remove(c.fd)
	x.times.cancel(&c.appointment)
	x.slots[c.slot].session = nil
	x.free = append(x.free, c.slot)
	c.slot = -1
}

// control tells epoll what to look for.
func (x *loop) control(c *session, op int) error {
	e := unix.EpollEvent{Fd: c.slot, Pad: x.slots[c.slot].generation}
	e.Events = unix.EPOLLRDHUP // the client has left
	if !c.deaf {
		e.Events |= unix.EPOLLIN
	}
	if c.blocked {
		e.Events |= unix.EPOLLOUT
	}
	return x.poller.control(op, c.fd, e)
}

// sweep ends sessions whose client has not taken a byte for long, and moves
// players on that lag too far behind.
func (x *loop) sweep() {
	for i := range x.slots {
		c := x.slots[i].session
		if c == nil {
			continue
		}
		if c.blocked {
			// The socket has room again only when much of its buffer is free; a slow
			// reader is known by what the kernel has left to send.
			if n, err := unix.IoctlGetInt(c.fd, unix.SIOCOUTQ); err == nil && n < c.unsent {
				c.unsent, c.progress = n, x.now
			}
			if x.now.Sub(c.progress) >= stallTime {
				x.end(c, c.stalled())
				continue
			}
		}
		if p := c.player; p != nil && p.sub.Lagging() {
			if !c.blocked && !c.queued {
				x.push(c) // it is the server that is late
				continue
			}
			p.skip()
		}
	}
}

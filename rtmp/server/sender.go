package server

import (
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"srs/rtmp/live"
)

// Bounds of a sender.
const (
	roundBytes = 128 << 10        // sent to one player in a round; paces the burst of a join
	roundJoins = 16               // players that get such a burst before others are looked at again
	roundMail  = 64               // players taken in before others are looked at again
	roundSends = 128              // players of a group sent to before others are looked at again
	yieldAfter = time.Millisecond // of work, so that others get the processor
	sweepEvery = time.Second      // players that do not take what they get are looked at
	maxEvents  = 256
	maxScratch = 64 << 10 // kept for the next player
)

// sender sends to many players from one goroutine. It owns their sockets: it
// alone reads, writes and closes them, with an epoll set of its own, and the
// subscribers too. Others put players into its mailbox, and publishers ring
// the bells of its groups (group.go).
//
// A round does a bounded share of each, so that nothing waits for long:
//
//  1. the mailbox: players that join or were kicked, streams with something new
//  2. groups that are due: one non-blocking send for each player; a full socket
//     waits for EPOLLOUT and nobody waits for it
//  3. players that lack more than a round's share: those who joined
//  4. what players send, and sockets that have room again
//
// Socket calls are raw: they cannot block, and Go's scheduler need not know.
// Waiting is Go's: on a channel, while a second goroutine watches the epoll set.
type sender struct {
	// Static after construction.
	server *Server
	epoll  int
	set    *os.File      // the epoll set, for Go's poller
	bell   chan struct{} // capacity 1: ends the sender's wait
	watch  chan struct{} // capacity 1: the watcher is to say when a socket is ready
	ready  chan struct{} // capacity 1: it says so
	done   chan struct{}

	asleep atomic.Bool

	mu    sync.Mutex
	mail  []*player // joined or kicked
	rings []ring    // streams that have something new
	quit  bool

	// Owned by the sender's goroutine.
	slots    []slot
	free     []int32
	groups   map[*live.Stream]*group
	times    timetable
	inbox    []*player // taken from mail, not looked at yet
	work     queue[*group]
	again    queue[*player] // have more than fits into a round
	events   [maxEvents]unix.EpollEvent
	watching bool
	timer    *time.Timer
	alarm    time.Time // what timer is set to; zero: it is not
	swept    time.Time
	now      time.Time
	worked   time.Time // since when it has not let others run
	runs     live.Runs
	scratch  []byte // for what a player gets beside them
	out      output
}

// slot is a place for a player. The generation tells an event for the player
// that is there from one for a player that was.
type slot struct {
	player     *player
	generation int32
}

func newSender(s *Server) (*sender, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	unix.SetNonblock(epoll, true) // or Go's poller does not take it
	x := &sender{
		server: s, epoll: epoll, set: os.NewFile(uintptr(epoll), "epoll"),
		bell: make(chan struct{}, 1), watch: make(chan struct{}, 1), ready: make(chan struct{}, 1), done: make(chan struct{}),
		groups: make(map[*live.Stream]*group), timer: time.NewTimer(time.Hour),
	}
	x.timer.Stop()
	raw, err := x.set.SyscallConn()
	if err != nil {
		x.set.Close()
		return nil, os.NewSyscallError("epoll", err)
	}
	go x.watchSockets(raw)
	go x.run()
	return x, nil
}

// stop ends the sender once it has no players, and waits.
func (x *sender) stop() {
	x.mu.Lock()
	x.quit = true
	x.mu.Unlock()
	x.rouse()
	<-x.done
}

// post has the sender look at a player: one that joins, or was kicked.
func (x *sender) post(p *player) {
	x.mu.Lock()
	x.mail = append(x.mail, p)
	x.mu.Unlock()
	x.rouse()
}

// ring says that a group's stream has something new.
func (x *sender) ring(g *group, d live.Due) {
	x.mu.Lock()
	x.rings = append(x.rings, ring{g, d})
	x.mu.Unlock()
	x.rouse()
}

// rouse ends the sender's wait, if it waits.
func (x *sender) rouse() {
	if x.asleep.Load() && x.asleep.CompareAndSwap(true, false) {
		select {
		case x.bell <- struct{}{}:
		default: // one that it has not heard yet does as well
		}
	}
}

func (x *sender) run() {
	defer close(x.done)
	defer x.set.Close() // ends the watcher, too
	defer close(x.watch)
	var mail []*player
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
func (x *sender) round() {
	n := min(len(x.inbox), roundMail)
	for _, p := range x.inbox[:n] {
		x.look(p)
	}
	x.inbox = x.inbox[:copy(x.inbox, x.inbox[n:])]
	clear(x.inbox[len(x.inbox) : len(x.inbox)+n])
	for g := x.times.due(x.now); g != nil; g = x.times.due(x.now) {
		x.tick(g)
	}
	for sends := roundSends; sends > 0 && x.work.len() > 0; {
		g := x.work.take()
		if sends -= x.flush(g, sends); g.working {
			x.work.add(g)
		}
	}
	for range min(x.again.len(), roundJoins) {
		p := x.again.take()
		p.queued = false
		x.push(p)
	}
	if x.now.Sub(x.swept) >= sweepEvery {
		x.swept = x.now
		x.sweep()
	}
}

func (x *sender) busy() bool { return x.work.len() > 0 || x.again.len() > 0 || len(x.inbox) > 0 }

// wait takes socket events, and waits for something to do if there is nothing.
func (x *sender) wait() {
	n := rawEpoll(x.epoll, x.events[:])
	if n == 0 && !x.busy() {
		x.asleep.Store(true)
		x.mu.Lock()
		idle := len(x.mail) == 0 && len(x.rings) == 0
		x.mu.Unlock()
		if idle {
			x.park()
			n = rawEpoll(x.epoll, x.events[:])
		}
		x.asleep.Store(false)
		x.now = time.Now()
	}
	for _, e := range x.events[:n] {
		s := x.slots[e.Fd]
		if s.player == nil || s.generation != e.Pad {
			continue
		}
		if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			x.read(s.player)
		}
		if e.Events&unix.EPOLLOUT != 0 && s.player.slot >= 0 && s.player.blocked {
			x.unblock(s.player)
		}
	}
}

// park waits until somebody rouses the sender, a socket is ready or a time has come.
func (x *sender) park() {
	if !x.watching {
		x.watching = true
		x.watch <- struct{}{}
	}
	var due time.Time
	if len(x.slots) > len(x.free) {
		due = x.swept.Add(sweepEvery)
	}
	if t := x.times.next(); !t.IsZero() && (due.IsZero() || t.Before(due)) {
		due = t
	}
	if due != x.alarm {
		if x.alarm = due; due.IsZero() {
			x.timer.Stop()
		} else {
			x.timer.Reset(max(0, time.Until(due)))
		}
	}
	select {
	case <-x.bell:
	case <-x.ready:
		x.watching = false
	case <-x.timer.C:
		x.alarm = time.Time{}
	}
	x.worked = time.Now()
}

// watchSockets tells the sender, each time it asks for that, that a socket of
// its set is ready.
func (x *sender) watchSockets(raw syscall.RawConn) {
	var one [1]unix.EpollEvent
	for range x.watch {
		if raw.Read(func(uintptr) bool { return rawEpoll(x.epoll, one[:]) > 0 }) != nil {
			return // the set is closed
		}
		x.ready <- struct{}{}
	}
}

// yield lets others run from time to time: handshakes, callbacks.
func (x *sender) yield() {
	if x.now.Sub(x.worked) >= yieldAfter {
		runtime.Gosched()
		x.worked = time.Now()
	}
}

// push sends a player what there is for it, up to a round's share.
func (x *sender) push(p *player) {
	if p.slot < 0 || p.blocked || p.queued {
		return
	}
	for {
		own, whole := p.gather(&x.runs, x.scratch[:0])
		if x.scratch = own; cap(own) > maxScratch {
			x.scratch = nil
		}
		total := len(own) + x.runs.Bytes
		if total == 0 {
			break
		}
		n, err := x.out.send(p.fd, own, x.runs.Pieces)
		if n > 0 {
			p.progress = x.now
			p.session.sent.Add(uint64(n))
		}
		p.took(&x.runs, own, n)
		switch {
		case err == unix.EINTR:
		case err != 0 && err != unix.EAGAIN:
			x.leave(p, &ending{reason: reasonReset, text: "the connection broke: " + err.Error(), expected: true})
			return
		case n < total: // the socket is full
			p.blocked, p.unsent = true, math.MaxInt
			x.control(p, unix.EPOLL_CTL_MOD)
			return
		case !whole:
		case x.runs.More:
			p.queued = true
			x.again.add(p)
			return
		default:
			x.settle(p)
			return
		}
	}
	x.settle(p)
}

// settle is for a player that has all there is for it.
func (x *sender) settle(p *player) {
	if p.leaving {
		x.leave(p, nil)
		return
	}
	if !p.joined && p.nagle {
		// Not before: the end of the first picture would wait for the
		// client's delayed acknowledgement.
		setNagle(p.fd)
	}
	p.joined = true
}

// unblock goes on with a player whose socket has room again.
func (x *sender) unblock(p *player) {
	p.blocked = false
	x.control(p, unix.EPOLL_CTL_MOD)
	if p.sub.Lagging() {
		p.skip()
	}
	x.push(p)
}

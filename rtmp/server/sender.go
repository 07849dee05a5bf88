package server

import (
	"io"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bounds of a sender.
const (
	roundBytes = 128 << 10        // sent to one player in a round; paces the burst of a join
	yieldAfter = time.Millisecond // of writing, so that others get the processor
	sweepEvery = time.Second      // players that do not take what they get are looked at
	maxEvents  = 256
)

// sender sends to many players from one goroutine. It owns their sockets: it
// alone reads, writes and closes them, with an epoll set of its own, and the
// subscribers too. Others put players into its mailbox.
//
// A round:
//
//  1. the mailbox: players that join, that were kicked, that have something new
//  2. one or a few non-blocking writes for each player with something new;
//     a full socket waits for EPOLLOUT and nobody waits for it
//  3. what players send, and sockets that have room again
//
// Socket calls are raw: they cannot block, and Go's scheduler need not know.
type sender struct {
	// Static after construction.
	server *Server
	epoll  int
	event  int // eventfd: wakes a sender that waits
	done   chan struct{}

	asleep atomic.Bool

	mu    sync.Mutex
	mail  []*player // joined or kicked
	ready []*player // their streams have something new
	quit  bool

	// Owned by the sender's goroutine.
	slots  []slot
	free   []int32
	again  []*player // have more than fits into a round
	events [maxEvents]unix.EpollEvent
	swept  time.Time
	now    time.Time
	worked time.Time // since when it has not let others run
}

// slot is a place for a player. The generation tells an event for the player
// that is there from one for a player that was.
type slot struct {
	player     *player
	generation int32
}

// eventSlot is the slot number of the eventfd.
const eventSlot = -1

func newSender(s *Server) (*sender, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, event, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: eventSlot})
	}
	if err != nil {
		unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	x := &sender{server: s, epoll: epoll, event: event, done: make(chan struct{})}
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

// wake says that a player's stream has something new.
func (x *sender) wake(p *player) {
	x.mu.Lock()
	x.ready = append(x.ready, p)
	x.mu.Unlock()
	x.rouse()
}

// rouse ends the sender's wait, if it waits.
func (x *sender) rouse() {
	if x.asleep.Load() && x.asleep.CompareAndSwap(true, false) {
		one := [8]byte{1}
		unix.Write(x.event, one[:])
	}
}

func (x *sender) run() {
	defer close(x.done)
	defer unix.Close(x.epoll)
	defer unix.Close(x.event)
	var mail, ready []*player
	for {
		x.mu.Lock()
		mail, x.mail = x.mail, mail[:0]
		ready, x.ready = x.ready, ready[:0]
		quit := x.quit
		x.mu.Unlock()
		x.now = time.Now()
		for _, p := range mail {
			x.look(p)
		}
		for _, p := range ready {
			x.push(p)
		}
		again := x.again
		x.again = nil
		for _, p := range again {
			p.queued = false
			x.push(p)
		}
		if x.now.Sub(x.swept) >= sweepEvery {
			x.swept = x.now
			x.sweep()
		}
		if quit && len(x.slots) == len(x.free) {
			return
		}
		clear(mail)
		clear(ready)
		x.wait()
	}
}

// wait takes socket events. It looks without waiting first: a busy sender has
// always some, and a call that may block is dear.
func (x *sender) wait() {
	n := x.poll()
	if n == 0 && len(x.again) == 0 {
		x.asleep.Store(true)
		x.mu.Lock()
		idle := len(x.mail) == 0 && len(x.ready) == 0
		x.mu.Unlock()
		if idle {
			timeout := int(sweepEvery / time.Millisecond)
			if len(x.slots) == len(x.free) {
				timeout = -1
			}
			n, _ = unix.EpollWait(x.epoll, x.events[:], timeout)
			x.worked = time.Now()
		}
		x.asleep.Store(false)
	}
	for _, e := range x.events[:max(n, 0)] {
		if e.Fd == eventSlot {
			var b [8]byte
			unix.Read(x.event, b[:])
			continue
		}
		s := x.slots[e.Fd]
		if s.player == nil || s.generation != e.Pad {
			continue
		}
		if e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			x.read(s.player)
		}
		if e.Events&unix.EPOLLOUT != 0 && s.player.slot >= 0 && s.player.blocked {
			s.player.blocked = false
			x.watch(s.player, unix.EPOLL_CTL_MOD)
			x.push(s.player)
		}
	}
}

// poll looks for events without waiting.
func (x *sender) poll() int {
	n, _, _ := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(x.epoll), uintptr(unsafe.Pointer(&x.events[0])), maxEvents, 0, 0, 0)
	return int(n)
}

// yield lets others run from time to time: handshakes, callbacks.
func (x *sender) yield() {
	if x.now = time.Now(); x.now.Sub(x.worked) >= yieldAfter {
		runtime.Gosched()
		x.worked = time.Now()
	}
}

// look takes a player in, or ends one that was kicked.
func (x *sender) look(p *player) {
	if p.slot < 0 && !p.gone {
		x.join(p)
	}
	if e := p.session.kicked.Load(); e != nil && p.slot >= 0 {
		x.leave(p, e)
	}
}

func (x *sender) join(p *player) {
	if n := len(x.free); n > 0 {
		p.slot = x.free[n-1]
		x.free = x.free[:n-1]
	} else {
		p.slot = int32(len(x.slots))
		x.slots = append(x.slots, slot{})
	}
	s := &x.slots[p.slot]
	s.player = p
	s.generation++
	p.progress = x.now
	if err := x.watch(p, unix.EPOLL_CTL_ADD); err != nil {
		x.leave(p, &ending{reason: reasonReset, text: "epoll: " + err.Error(), expected: true})
		return
	}
	b := p.session.pending // what came behind the play command
	p.session.pending = nil
	x.consume(p, b)
}

// watch tells epoll what to look for.
func (x *sender) watch(p *player, op int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: p.slot, Pad: x.slots[p.slot].generation}
	if p.blocked {
		e.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(x.epoll, op, p.fd, &e)
}

// leave lets go of a player. Its session goes on in a goroutine of its own:
// to its end because of err, or without one to what the client does next.
func (x *sender) leave(p *player, err error) {
	unix.EpollCtl(x.epoll, unix.EPOLL_CTL_DEL, p.fd, nil)
	x.slots[p.slot].player = nil
	x.free = append(x.free, p.slot)
	p.slot, p.gone = -1, true
	go p.session.comeBack(p.fd, err)
}

// push sends a player what there is for it, up to a round's share.
func (x *sender) push(p *player) {
	if p.slot < 0 || p.blocked || p.queued {
		return
	}
	for budget := roundBytes; ; {
		if len(p.rest) == 0 && !p.fill() {
			break
		}
		n, err := rawWrite(p.fd, p.rest)
		if n > 0 {
			p.progress = x.now
			p.session.sent.Add(uint64(n))
			p.sent += n
			p.rest = p.rest[n:]
			budget -= n
		}
		switch {
		case err == unix.EAGAIN:
			p.blocked, p.progress, p.unsent = true, x.now, math.MaxInt
			x.watch(p, unix.EPOLL_CTL_MOD)
			return
		case err == unix.EINTR:
		case err != 0:
			x.leave(p, &ending{reason: reasonReset, text: "the connection broke: " + err.Error(), expected: true})
			return
		case budget <= 0:
			p.queued = true
			x.again = append(x.again, p)
			x.yield()
			return
		}
	}
	x.yield()
	if p.leaving {
		x.leave(p, nil)
	}
}

// read takes what a player has sent and acts on it.
func (x *sender) read(p *player) {
	c := p.session
	b := buffers.get()
	defer buffers.put(b)
	n, err := rawRead(p.fd, b[:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != 0:
		x.leave(p, readEnding(err))
		return
	case n == 0:
		x.leave(p, readEnding(io.EOF))
		return
	}
	c.took(n)
	x.consume(p, b[:n])
}

// consume acts on what a player has sent, and sends it what there is for it.
func (x *sender) consume(p *player, b []byte) {
	c := p.session
	c.reader.Feed(b)
	for !p.leaving {
		m, ok, err := c.reader.Next()
		if err == nil && ok {
			err = c.handle(m)
		}
		if err != nil {
			x.leave(p, err)
			return
		}
		if !ok {
			break
		}
		if len(p.answers) > maxInject/2 || len(p.orders) > maxOrders/2 {
			if x.push(p); p.slot < 0 { // a burst is no flood while the answers are taken
				return
			}
		}
	}
	if p.leaving { // the session goes on with the rest
		c.pending = append(c.pending, c.reader.Rest()...)
		c.reader.Feed(nil)
		p.flood = p.flood || len(c.pending) > maxPendingInput
	}
	if p.flood {
		x.leave(p, end(reasonFlood, "the client asks faster than it takes the answers"))
		return
	}
	x.push(p)
}

// sweep ends players that have not taken a byte for long, and moves on those
// that lag too far behind.
func (x *sender) sweep() {
	for i := range x.slots {
		p := x.slots[i].player
		if p == nil || !p.blocked {
			continue
		}
		// The socket has room again only when much of its buffer is free; a slow
		// reader is known by what the kernel has left to send.
		if n, err := unix.IoctlGetInt(p.fd, unix.SIOCOUTQ); err == nil && n < p.unsent {
			p.unsent, p.progress = n, x.now
		}
		if x.now.Sub(p.progress) >= stallTime {
			x.leave(p, end(reasonStalled, "the player took nothing for "+stallTime.String()))
			continue
		}
		if p.isRun && p.sub.Lagging() {
			p.skip()
		}
	}
}

// rawWrite writes to a non-blocking socket.
func rawWrite(fd int, b []byte) (int, unix.Errno) {
	n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if err != 0 {
		return 0, err
	}
	return int(n), 0
}

func rawRead(fd int, b []byte) (int, unix.Errno) {
	n, _, err := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if err != 0 {
		return 0, err
	}
	return int(n), 0
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"srs/rtmp"
)

// A crowd drives all players of a run, or all publishers: one goroutine, one
// epoll set, one buffer to read into. A goroutine with a buffer for each of
// 20,000 players would cost more than most servers take to serve them.
//
// While nothing is ready, the loop is parked on Go's poller with the epoll set's
// own descriptor: blocking in epoll_wait would keep the other crowd waiting for a
// thread when there is but one CPU.
type crowd struct {
	// Static after construction.
	epoll *epoll
	park  *os.File // the epoll set's descriptor, once more
	hello []byte   // C0 and C1 of all clients
	done  chan struct{}

	rested  atomic.Int64 // ns the loop had nothing to do
	resting atomic.Int64 // since when it has nothing to do, ns since 1970; 0: it works

	// Guarded by mu.
	mu      sync.Mutex
	tasks   []func()
	leaving bool

	// Owned by the loop.
	clients []*client // by descriptor
	times   timetable
	closing bool // nobody is let in any more
	in      []byte
	opened  int // connections so far
	batch   []unix.EpollEvent
}

// crowdRead is how many bytes are read in one go.
const crowdRead = 256 << 10

// newCrowd starts the loop, which ends with leave.
func newCrowd() (*crowd, error) {
	c := &crowd{done: make(chan struct{}), in: make([]byte, crowdRead)}
	var err error
	if c.hello, err = rtmp.Hello(true, rand.Reader); err != nil {
		return nil, err
	}
	if c.epoll, err = newEpoll(); err != nil {
		return nil, err
	}
	unix.SetNonblock(c.epoll.fd, true) // or Go's poller does not take it
	fd, err := unix.FcntlInt(uintptr(c.epoll.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		c.epoll.close()
		return nil, err
	}
	c.park = os.NewFile(uintptr(fd), "epoll")
	wait, err := c.park.SyscallConn()
	if err != nil {
		c.park.Close()
		c.epoll.close()
		return nil, err
	}
	go c.loop(wait)
	return c, nil
}

// do has the loop call a function soon. One goroutine may call do, and leave
// when it has no more to be done.
func (c *crowd) do(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tasks = append(c.tasks, f); len(c.tasks) == 1 {
		c.epoll.ring()
	}
}

// join lets a client in.
func (c *crowd) join(p *client) { c.do(func() { c.open(p) }) }

// joinAt lets a client in at a time (ns since 1970). The loop calls it, and only
// while the crowd is not closing.
func (c *crowd) joinAt(p *client, at int64) {
	p.crowd = c
	p.wakeAt(at)
}

// A guest is a role that takes its leave when it is asked to; asked again, it is
// about to.
type guest interface{ dismiss(now int64) error }

// dismiss has all guests take their leave that have come so far, and waits until
// they have: each has a deadline of its own.
func (c *crowd) dismiss(ctx context.Context) {
	begun := time.Now()
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	left := make(chan int, 1)
	for {
		c.do(func() {
			n, now := 0, time.Now().UnixNano()
			for _, p := range c.clients {
				if p == nil || p.begun.After(begun) {
					continue
				}
				g, ok := p.role.(guest)
				if !ok {
					continue
				}
				if err := g.dismiss(now); err != nil {
					c.end(p, err)
				} else {
					n++
				}
			}
			left <- n
		})
		if <-left == 0 {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// leave ends all clients. It may be called again.
func (c *crowd) leave() {
	c.mu.Lock()
	if !c.leaving { // or the bell may be gone
		c.leaving = true
		c.epoll.ring()
	}
	c.mu.Unlock()
	<-c.done
}

func (c *crowd) loop(wait syscall.RawConn) {
	defer func() {
		c.park.Close()
		c.epoll.close()
		close(c.done)
	}()
	look := func(uintptr) bool {
		c.batch = c.epoll.ready()
		return len(c.batch) > 0
	}
	for {
		if !look(0) {
			c.rest(wait, look)
		}
		rung := false
		for i := range c.batch {
			// An event ends no client but its own: none that is left belongs to
			// a descriptor's owner before.
			if fd := int(c.batch[i].Fd); fd == c.epoll.bell {
				rung = true
			} else if p := c.clients[fd]; p != nil {
				if err := p.ready(c.batch[i].Events, c.in); err != nil {
					c.end(p, err)
				}
			}
		}
		if rung && !c.bell() {
			return
		}
		c.tick()
		runtime.Gosched() // the other crowd may have only this thread
	}
}

// rest waits until something is ready or somebody is to be woken.
func (c *crowd) rest(wait syscall.RawConn, look func(uintptr) bool) {
	var deadline time.Time
	if next := c.times.next(); next != 0 {
		deadline = time.Unix(0, next)
	}
	c.park.SetReadDeadline(deadline)
	begun := time.Now().UnixNano()
	c.resting.Store(begun)
	if err := wait.Read(look); err != nil { // the deadline
		c.batch = nil
	}
	c.resting.Store(0)
	c.rested.Add(time.Now().UnixNano() - begun)
}

// tick wakes those whose time has come.
func (c *crowd) tick() {
	now := time.Now().UnixNano()
	for next := c.times.next(); next != 0 && next <= now; next = c.times.next() {
		p := c.times[0]
		c.times.set(p, 0)
		if err := p.tick(now); err != nil {
			c.end(p, err)
		}
	}
}

// idle is how long the loop had nothing to do so far.
func (c *crowd) idle() time.Duration {
	idle := c.rested.Load()
	if since := c.resting.Load(); since != 0 {
		idle += time.Now().UnixNano() - since
	}
	return time.Duration(idle)
}

// bell does what is to be done. It reports false when all have left.
func (c *crowd) bell() bool {
	c.epoll.hear()
	c.mu.Lock()
	tasks, leaving := c.tasks, c.leaving
	c.tasks = nil
	c.mu.Unlock()
	for _, task := range tasks {
		task()
	}
	if leaving {
		c.closing = true
		for _, p := range c.clients {
			if p != nil {
				c.end(p, nil)
			}
		}
		for len(c.times) > 0 { // those that were to come
			p := c.times[0]
			p.wakeAt(0)
			p.state = clientGone
			p.ended(nil)
		}
	}
	return !leaving
}

// perSource is how many connections come from one address of the loopback. A
// free port is soon found while less than half of the 28,232 there are is taken:
// the kernel looks at one in two first, and with 14,116 connections each further
// one costs a millisecond.
const perSource = 10_000

// open begins to connect. Where ports run out, the next source address is taken.
func (c *crowd) open(p *client) {
	p.crowd, p.begun, p.state = c, time.Now(), clientConnecting
	source := func() byte { return byte(1 + c.opened/perSource%maxSources) }
	fd, pending, err := p.request.dial(source(), p.buffer)
	for tries := 1; errors.Is(err, unix.EADDRNOTAVAIL) && p.request.loopback && tries < maxSources; tries++ {
		c.opened += perSource
		fd, pending, err = p.request.dial(source(), p.buffer)
	}
	c.opened++
	if err != nil {
		p.state = clientGone
		p.ended(fmt.Errorf("%s: %w", p.request.name, err))
		return
	}
	p.fd = fd
	if fd >= len(c.clients) {
		c.clients = append(c.clients, make([]*client, fd+1-len(c.clients))...)
	}
	c.clients[fd] = p
	p.wakeAt(p.begun.Add(dialTimeout).UnixNano())
	p.watched = unix.EPOLLOUT
	if err = c.epoll.add(fd, unix.EPOLLOUT); err == nil && !pending {
		err = p.ready(unix.EPOLLOUT, c.in)
	}
	if err != nil {
		c.end(p, err)
	}
}

// end closes a client.
func (c *crowd) end(p *client, err error) {
	switch {
	case p.state == clientLeaving, errors.Is(err, errDone):
		err = nil
	case err != nil && p.state == clientWorking:
		err = fmt.Errorf("%s: %s: %w", p.request.name, p.role.after(), err)
	case err != nil:
		err = fmt.Errorf("%s: %w", p.request.name, err)
	}
	p.state = clientGone
	p.wakeAt(0)
	c.clients[p.fd] = nil
	unix.Close(p.fd)
	if p.reader != nil {
		p.reader.Release()
		p.reader = nil
	}
	p.out = nil
	p.ended(err)
}

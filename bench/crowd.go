package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"srs/rtmp"
)

// A crowd drives all players of a run: one goroutine, one epoll set, one
// buffer to read into. A goroutine with a buffer for each of 20,000 players
// would cost more than most servers take to serve them.
//
// While nothing is ready, the loop is parked on Go's poller with the epoll set's
// own descriptor: blocking in epoll_wait would keep publishers waiting for a
// thread when there is but one CPU.
type crowd struct {
	// Static after construction.
	party *party
	epoll *epoll
	park  *os.File // the epoll set's descriptor, once more
	hello []byte   // C0 and C1 of all players
	done  chan struct{}

	joined  uint         // by the one who calls join
	rested  atomic.Int64 // ns the loop had nothing to do
	resting atomic.Int64 // since when it has nothing to do, ns since 1970; 0: it works

	// Guarded by mu.
	mu      sync.Mutex
	joining []*player
	leaving bool

	// Owned by the loop.
	players []*player // by descriptor
	opening []*player // since begun not yet playing, the eldest first
	in      []byte
	source  byte // of 127.0.0.x, where connections come from
	batch   []unix.EpollEvent
}

// crowdRead is how many bytes are read in one go.
const crowdRead = 256 << 10

// newCrowd starts the loop, which ends with leave.
func newCrowd(g *party) (*crowd, error) {
	c := &crowd{party: g, done: make(chan struct{}), in: make([]byte, crowdRead), source: 1}
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

// join adds a player of a stream, of any that is published if it is 0. ended is
// called once, by the loop. One goroutine may call join, and leave when it has
// joined all.
func (c *crowd) join(r *playRequest, stream uint32, ended func(error)) *player {
	p := &player{request: r, check: newVerifier(&c.party.tally, stream), party: c.party, ended: ended}
	p.check.skipped = c.joined
	c.joined++
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joining = append(c.joining, p)
	c.epoll.ring()
	return p
}

// leave ends all players. It may be called again.
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
			if fd := int(c.batch[i].Fd); fd == c.epoll.bell {
				rung = true
			} else if p := c.players[fd]; p != nil {
				c.attend(p)
			}
		}
		if rung && !c.bell() {
			return
		}
		c.expire()
		runtime.Gosched() // publishers may have only this thread
	}
}

// rest waits until something is ready, or an opening player's time is over.
func (c *crowd) rest(wait syscall.RawConn, look func(uintptr) bool) {
	var deadline time.Time
	if len(c.opening) > 0 {
		deadline = c.opening[0].begun.Add(dialTimeout)
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

// idle is how long the loop had nothing to do so far.
func (c *crowd) idle() time.Duration {
	idle := c.rested.Load()
	if since := c.resting.Load(); since != 0 {
		idle += time.Now().UnixNano() - since
	}
	return time.Duration(idle)
}

// bell lets players in. It reports false when all have left.
func (c *crowd) bell() bool {
	c.epoll.hear()
	c.mu.Lock()
	joining, leaving := c.joining, c.leaving
	c.joining = nil
	c.mu.Unlock()
	for _, p := range joining {
		if leaving {
			p.ended(nil)
		} else {
			c.open(p)
		}
	}
	if leaving {
		for _, p := range c.players {
			if p != nil {
				c.end(p, nil)
			}
		}
	}
	return !leaving
}

// open begins to connect. Where ports run out, the next source address is taken.
func (c *crowd) open(p *player) {
	p.begun = time.Now()
	fd, pending, err := p.request.dial(c.source)
	for errors.Is(err, unix.EADDRNOTAVAIL) && p.request.loopback && c.source < maxSources {
		c.source++
		fd, pending, err = p.request.dial(c.source)
	}
	if err != nil {
		p.state = playerGone
		p.ended(fmt.Errorf("player %s: %w", p.request.url, err))
		return
	}
	p.fd = fd
	if fd >= len(c.players) {
		c.players = append(c.players, make([]*player, fd+1-len(c.players))...)
	}
	c.players[fd] = p
	c.opening = append(c.opening, p)
	if err := c.epoll.add(fd, unix.EPOLLOUT); err != nil {
		c.end(p, err)
	} else if !pending {
		c.attend(p)
	}
}

// attend does what a player's socket is ready for.
func (c *crowd) attend(p *player) {
	if p.state == playerConnecting {
		err := p.connected(c.hello)
		if err == nil {
			err = c.epoll.modify(p.fd, unix.EPOLLIN)
		}
		if err != nil {
			c.end(p, err)
		}
		return
	}
	n, errno := readNow(p.fd, c.in)
	var err error
	switch {
	case errno != 0 && later(errno):
		return
	case errno != 0:
		err = fmt.Errorf("read: %w", errno)
	case n == 0:
		err = io.EOF
	default:
		err = p.take(c.in[:n], c.hello, time.Now().UnixNano())
	}
	if err != nil {
		c.end(p, err)
	}
}

// errSlow says that a server took too long to accept a player.
var errSlow = fmt.Errorf("not accepted within %v", dialTimeout)

// expire ends players that wait too long to be accepted.
func (c *crowd) expire() {
	n := 0
	for _, p := range c.opening {
		if p.state < playerPlaying {
			if time.Since(p.begun) < dialTimeout {
				break
			}
			c.end(p, errSlow)
		}
		n++
	}
	if n > 0 {
		c.opening = c.opening[:copy(c.opening, c.opening[n:])]
	}
}

// end closes a player.
func (c *crowd) end(p *player, err error) {
	if err != nil {
		after := ""
		if p.state == playerPlaying {
			after = fmt.Sprintf("after %d frames: ", p.check.intact)
		}
		err = fmt.Errorf("player %s: %s%w", p.request.url, after, err)
	}
	p.state = playerGone
	c.players[p.fd] = nil
	unix.Close(p.fd)
	if p.reader != nil {
		p.reader.Release()
		p.reader = nil
	}
	p.ended(err)
}

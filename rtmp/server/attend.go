package server

import (
	"io"

	"golang.org/x/sys/unix"
)

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
	x.enroll(p)
	if err := x.control(p, unix.EPOLL_CTL_ADD); err != nil {
		x.leave(p, &ending{reason: reasonReset, text: "epoll: " + err.Error(), expected: true})
		return
	}
	b := p.session.pending // what came behind the play command
	p.session.pending = nil
	x.consume(p, b)
}

// control tells epoll what to look for.
func (x *sender) control(p *player, op int) error {
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
	x.dismiss(p)
	x.slots[p.slot].player = nil
	x.free = append(x.free, p.slot)
	p.slot, p.gone = -1, true
	go p.session.comeBack(p.fd, err)
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
		if p == nil {
			continue
		}
		if p.blocked {
			// The socket has room again only when much of its buffer is free; a slow
			// reader is known by what the kernel has left to send.
			if n, err := unix.IoctlGetInt(p.fd, unix.SIOCOUTQ); err == nil && n < p.unsent {
				p.unsent, p.progress = n, x.now
			}
			if x.now.Sub(p.progress) >= stallTime {
				x.leave(p, end(reasonStalled, "the player took nothing for "+stallTime.String()))
				continue
			}
		}
		if p.sub.Lagging() {
			p.skip()
		}
	}
}

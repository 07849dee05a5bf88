package server

import (
	"io"
	"math"
	"time"

	"golang.org/x/sys/unix"

	"srs/rtmp/live"
)

// look at a session that came by mail: it is new, was kicked, or has an answer
// to its gate.
func (x *loop) look(c *session) {
	c.mu.Lock()
	mine := c.loop == x
	c.mu.Unlock()
	if !mine {
		return // another loop has it now, or it is over
	}
	x.pace.hurry(x.now)
	if c.slot < 0 && !c.gone {
		x.enter(c)
		x.settleDown(c)
	}
	if g := c.gate; g != nil {
		select {
		case refusal := <-g.answer:
			x.decided(c, g, refusal)
		default:
		}
	}
	switch {
	case c.gone && c.gate != nil && c.isOusted():
		c.gate.cancel() // nobody waits for its answer any more, but somebody for the name
	case c.slot < 0:
	case c.cut.Load():
		x.close(c)
	case c.kicked.Load() == nil && !c.isOusted(), c.state == stateClosing:
	case c.gate != nil:
		c.gate.cancel() // its answer comes
	case c.kicked.Load() != nil:
		x.end(c, c.kicked.Load())
	default:
		x.end(c, c.refusePublish(errOusted))
	}
}

// settleDown begins, or goes on, with a session that was taken in.
func (x *loop) settleDown(c *session) {
	if c.slot < 0 {
		return
	}
	if c.player != nil {
		x.enroll(c.player)
	}
	x.resume(c)
}

// resume acts on what came while the session could not.
func (x *loop) resume(c *session) {
	b := c.pending
	c.pending = nil
	if c.deaf && c.gate == nil {
		c.deaf = false
		x.control(c, unix.EPOLL_CTL_MOD)
	}
	x.consume(c, b)
}

// attend takes what a client has sent and acts on it.
func (x *loop) attend(c *session) {
	if c.deaf && c.gate != nil {
		x.end(c, readEnding(io.EOF))
		return
	}
	if c.deaf { // the connection broke while a publisher was left alone
		c.deaf, c.readAt = false, time.Time{}
		x.control(c, unix.EPOLL_CTL_MOD)
	}
	n, errno := rawRecv(c.fd, x.in[:])
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0 || n == 0:
		var err error = errno
		if errno == 0 {
			err = io.EOF
		}
		x.end(c, c.lost(err))
		return
	}
	if c.state == stateClosing {
		if c.linger -= n; c.linger <= 0 {
			x.close(c)
		}
		return
	}
	if c.state < statePublishing {
		quickAck(c.fd)
	}
	c.took(n)
	x.consume(c, x.in[:n])
	// While there is more it goes on: what waits longer falls behind.
	if p := c.publish; p != nil && p.mergeRead > 0 && c.slot >= 0 && n < len(x.in) {
		x.rest(c, p.mergeRead)
	}
}

// lend gives a session room for its answers. Most are out a moment later, and
// the room is another's.
func (x *loop) lend(c *session) {
	if c.out == nil {
		c.out, x.room = x.room, nil
	}
}

// reclaim takes the room back when there is nothing in it.
func (x *loop) reclaim(c *session) {
	if len(c.out) > 0 || c.out == nil {
		return
	}
	if cap(c.out) <= maxScratch {
		x.room = c.out
	}
	c.out = nil
}

// consume acts on what a client has sent, and sends it what there is for it.
func (x *loop) consume(c *session, b []byte) {
	x.lend(c)
	if c.state == stateHandshake {
		var err error
		if b, err = c.shakeHands(b, x.random); err != nil {
			x.end(c, err)
			return
		}
	}
	if c.state > stateHandshake {
		if c.waits() {
			c.pending = append(c.pending, b...)
		} else if !x.messages(c, b) {
			return
		}
		if len(c.pending) > maxPendingInput {
			if c.gate == nil {
				x.end(c, end(reasonFlood, "the client asks faster than it takes the answers"))
				return
			}
			c.deaf = true // until the gate is decided
			x.control(c, unix.EPOLL_CTL_MOD)
		}
	}
	x.appoint(c)
	x.push(c)
	x.reclaim(c)
}

// messages handles those that are whole. What is behind one that must be
// waited for is kept. It reports false when the session is over.
func (x *loop) messages(c *session, b []byte) bool {
	c.reader.Feed(b)
	for !c.waits() {
		m, ok, err := c.reader.Next()
		if err == nil && ok {
			err = c.handle(m)
		}
		if err != nil {
			x.end(c, err)
			return false
		}
		if !ok {
			break
		}
		if c.player != nil && c.player.group == nil && c.home == nil {
			x.seat(c)
		}
		if c.asksMuch() {
			x.push(c) // a burst is no flood while the answers are taken
			if c.slot < 0 {
				return false
			}
			if c.asksTooMuch() {
				x.end(c, end(reasonFlood, "the client asks faster than it takes the answers"))
				return false
			}
		}
	}
	if c.publish != nil {
		c.publish.progress(x.now)
	}
	if c.waits() {
		c.pending = append(c.pending, c.reader.Rest()...)
		c.reader.Feed(nil)
	}
	return true
}

// seat finds the right loop for a new player: this one, or it is moved there
// when this round has come to it.
func (x *loop) seat(c *session) {
	if home := x.server.loopFor(c.player.sub.Stream()); home != x {
		c.home = home
		x.moves = append(x.moves, c)
		return
	}
	x.enroll(c.player)
}

// move sends sessions off to the loops that are to have them.
func (x *loop) move() {
	later := x.moves[:0]
	for _, c := range x.moves {
		switch {
		case c.slot < 0, c.home == nil: // it is over
		case c.queued:
			later = append(later, c)
		default:
			home := c.home
			x.forsake(c)
			c.home = nil
			c.mu.Lock()
			c.loop = home
			c.mu.Unlock()
			home.post(c)
		}
	}
	clear(x.moves[len(later):])
	x.moves = later
}

// appoint sees to it that the session is looked at when its time is over.
func (x *loop) appoint(c *session) {
	due := c.deadline
	if !c.readAt.IsZero() && (due.IsZero() || c.readAt.Before(due)) {
		due = c.readAt
	}
	switch {
	case due == c.appointment.due:
	case due.IsZero():
		x.times.cancel(&c.appointment)
	default:
		x.times.set(&c.appointment, due)
	}
}

// rest has a publisher's socket left alone for a while (mr_latency).
func (x *loop) rest(c *session, d time.Duration) {
	c.deaf, c.readAt = true, x.now.Add(d)
	x.control(c, unix.EPOLL_CTL_MOD)
	x.appoint(c)
}

// expire is for a session whose time has come.
func (x *loop) expire(c *session) {
	if !c.readAt.IsZero() && !x.now.Before(c.readAt) {
		c.readAt, c.deaf = time.Time{}, false
		x.control(c, unix.EPOLL_CTL_MOD)
	}
	if !c.deadline.IsZero() && !x.now.Before(c.deadline) {
		if err := c.expired(x.now); err != nil {
			x.end(c, err)
			return
		}
	}
	x.appoint(c)
}

// push sends a client what there is for it, up to a round's share.
func (x *loop) push(c *session) {
	for !x.still(c) {
		own, whole := c.gather(&x.runs, x.scratch[:0])
		x.reclaim(c)
		if x.scratch = own; cap(own) > maxScratch {
			x.scratch = nil
		}
		if len(own)+x.runs.Bytes == 0 {
			x.settle(c)
			return
		}
		n, err := x.out.send(c.fd, own, x.runs.Pieces)
		if x.sent(c, &x.runs, own, n, err) && whole {
			return
		}
	}
}

// still says that nothing is to be sent to a client now.
func (x *loop) still(c *session) bool {
	return c.slot < 0 || c.blocked || c.queued || c.quiet()
}

// sent notes what a send has come to. It reports false when there is more to
// come at once.
func (x *loop) sent(c *session, r *live.Runs, own []byte, n int, err unix.Errno) bool {
	if n > 0 {
		c.progress = x.now
		c.sent.Add(uint64(n))
	}
	c.gave(r, own, n)
	switch {
	case err == unix.EINTR:
		return false
	case err != 0 && err != unix.EAGAIN:
		x.end(c, &ending{reason: reasonReset, text: "the connection broke: " + err.Error(), expected: true})
	case n < len(own)+r.Bytes: // the socket is full
		c.blocked, c.unsent = true, math.MaxInt
		x.control(c, unix.EPOLL_CTL_MOD)
	case r.More:
		x.later(c)
	case c.leaving || c.state == stateClosing || c.player != nil && !c.player.joined:
		return false // settle, when gather finds nothing
	}
	return true
}

// later has more sent to a client when others have had their turn.
func (x *loop) later(c *session) {
	if !c.queued {
		c.queued = true
		x.again.add(c)
	}
}

// settle is for a client that has all there is for it.
func (x *loop) settle(c *session) {
	if c.state == stateClosing {
		if c.linger == 0 {
			c.linger = lingerBytes
			unix.Shutdown(c.fd, unix.SHUT_WR)
		}
		return
	}
	if c.leaving {
		c.leaving = false
		if c.player != nil {
			x.dismiss(c.player)
			setNoDelay(c.fd, true)
			c.endPlay(nil)
		}
		c.state, c.created = stateConnected, 0
		c.setDeadline(x.now.Add(againTime))
		x.resume(c)
		return
	}
	if p := c.player; p != nil && !p.joined {
		x.server.memory.add(joinBytes)
		if p.joined = true; p.nagle {
			// Not before: the end of the first picture would wait for the
			// client's delayed acknowledgement.
			setNoDelay(c.fd, false)
		}
	}
}

// unblock goes on with a client whose socket has room again.
func (x *loop) unblock(c *session) {
	c.blocked = false
	x.control(c, unix.EPOLL_CTL_MOD)
	if c.player != nil && c.player.sub.Lagging() {
		c.player.skip()
	}
	x.push(c)
}

// end is the end of a session because of err. One whose gate is pending is over
// when that is decided; one that is to hear why lingers for a moment.
func (x *loop) end(c *session, err error) {
	if c.state == stateClosing {
		x.close(c)
		return
	}
	if g := c.gate; g != nil {
		// The client is gone. The endpoint has a moment to answer, so that what it
		// knows and what we tell it go together.
		g.left = err
		c.hooks.Leave()
		g.grace = time.AfterFunc(leftGrace, g.cancel)
		x.forsake(c)
		c.gone = true
		return
	}
	c.home = nil
	if c.player != nil && c.player.group != nil {
		x.dismiss(c.player)
	}
	if c.player != nil && c.player.sub.Midway() {
		c.own, c.out = nil, nil // nothing can be said within a message
	}
	c.finish(err)
	if c.slot < 0 {
		x.close(c)
		return
	}
	switch reasonOf(err) {
	case reasonClosed, reasonReset, reasonWrite, reasonStalled, reasonHSEOF, reasonHSReset:
		x.close(c)
		return
	}
	c.state, c.leaving, c.linger = stateClosing, false, 0
	c.deadline, c.readAt = x.now.Add(lingerTime), time.Time{}
	if c.deaf {
		c.deaf = false
		x.control(c, unix.EPOLL_CTL_MOD)
	}
	x.appoint(c)
	if !c.blocked {
		x.push(c)
	}
}

// close closes a socket, the last thing that happens to a session.
func (x *loop) close(c *session) {
	if c.slot >= 0 {
		x.forsake(c)
	}
	c.gone = true
	c.mu.Lock()
	c.loop = nil
	c.mu.Unlock()
	unix.Close(c.fd)
	c.release()
	x.server.forget(c)
}

package server

import (
	"bytes"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errHandedOver says that the session has no goroutine any more.
var errHandedOver = errors.New("server: handed over to a sender")

// handOver has the session given to a sender, as soon as its goroutine is
// through with it. The sender gets a descriptor of its own; when the first is
// closed Go's poller forgets the socket, which lives on.
func (c *session) handOver(p *player) error {
	fd, err := duplicate(c.conn)
	if err != nil {
		return &ending{reason: reasonReset, text: "the socket cannot be handed over: " + err.Error(), expected: true}
	}
	p.fd, p.sender = fd, c.server.senderFor(p.sub.Stream())
	// What was read during the gate comes behind what the reader has left.
	c.pending = append(bytes.Clone(c.reader.Rest()), c.pending...)
	c.reader.Feed(nil)
	c.input.release()
	return errHandedOver
}

// comeBack gives the session a goroutine again: this one. err is why it ends;
// without one the play is over and the connection goes on.
func (c *session) comeBack(fd int, err error) {
	conn, connErr := adopt(fd)
	if connErr != nil {
		conn = closedConn
		if err == nil {
			err = &ending{reason: reasonReset, text: connErr.Error(), expected: true}
		}
	}
	c.mu.Lock()
	c.conn, c.with = conn, nil
	if c.kicked.Load() != nil {
		conn.SetDeadline(longAgo)
	}
	c.mu.Unlock()
	c.input = newInput(conn)
	setNoDelay(conn)
	if err == nil {
		c.endPlay(nil)
		c.state, c.created = stateConnected, 0
		c.setDeadline(time.Now().Add(againTime))
		err = c.messages()
	}
	c.goOn(err)
}

var errNotASocket = errors.New("the connection has no descriptor")

// duplicate returns a second descriptor of a connection's socket. It stays
// open, and the connection with it, when the first is closed.
func duplicate(conn net.Conn) (int, error) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return -1, errNotASocket
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, dupErr
}

// adopt makes a connection of a descriptor, which it takes.
func adopt(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "rtmp")
	defer f.Close() // FileConn has its own copy
	return net.FileConn(f)
}

// closedConn stands for a connection that is lost.
var closedConn net.Conn = func() net.Conn {
	c, d := net.Pipe()
	c.Close()
	d.Close()
	return c
}()

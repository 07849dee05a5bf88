package server

import (
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Socket settings.
const (
	keepAliveIdle  = 15 * time.Second
	keepAliveEvery = 5 * time.Second
	keepAliveCount = 3
	// userTimeout is how long sent bytes may stay unacknowledged: it finds
	// peers that have vanished.
	userTimeout = 30 * time.Second
	// lingerTime and lingerBytes bound what is read and thrown away after the
	// last reply, so that closing sends FIN and not RST, which would make the
	// client lose the reply.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20
)

func tuneSocket(conn net.Conn) {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAliveIdle, Interval: keepAliveEvery, Count: keepAliveCount})
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
		})
	}
}

// quickAck has the kernel acknowledge at once what was read. Clients send their
// commands as small writes and let Nagle's algorithm hold each back until the
// one before is acknowledged: without this every step of a connect costs them
// the 40 ms of a delayed acknowledgement. The kernel forgets the setting, so
// it is set again after each read.
func (in *input) quickAck() {
	if in.raw != nil {
		in.raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		})
	}
}

// setNoDelay switches Nagle's algorithm off, for what is said between two plays.
func setNoDelay(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		c.SetNoDelay(true)
	}
}

// lingerClose ends the sending side, reads a little of what still comes and
// closes.
func lingerClose(conn net.Conn) {
	defer conn.Close()
	c, ok := conn.(*net.TCPConn)
	if !ok || c.CloseWrite() != nil {
		return
	}
	conn.SetReadDeadline(time.Now().Add(lingerTime))
	b := buffers.get()
	defer buffers.put(b)
	for left := lingerBytes; left > 0; {
		n, err := conn.Read(b[:])
		if err != nil {
			return
		}
		left -= n
	}
}

// setNagle switches Nagle's algorithm on, on a descriptor.
func setNagle(fd int) { unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 0) }

func peerIP(conn net.Conn) string {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().String()
	}
	return ""
}

func localIP(conn net.Conn) string {
	if a, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().String()
	}
	return ""
}

// input reads a connection into borrowed buffers: while it waits for bytes it
// holds none. It belongs to one goroutine.
type input struct {
	conn     net.Conn
	raw      syscall.RawConn // nil: conn is no plain socket
	try      func(fd uintptr) bool
	borrowed *buffer
	n        int
	err      error
}

func newInput(conn net.Conn) *input {
	in := &input{conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		in.raw, _ = c.SyscallConn()
	}
	in.try = in.tryRead
	return in
}

// read returns what has arrived, at least one byte. It is valid until the
// next read or release.
func (in *input) read() ([]byte, error) {
	in.release()
	if in.raw == nil {
		in.borrowed = buffers.get()
		n, err := in.conn.Read(in.borrowed[:])
		if n > 0 {
			return in.borrowed[:n], nil
		}
		in.release()
		return nil, err
	}
	if err := in.raw.Read(in.try); err != nil {
		return nil, err
	}
	if in.n > 0 {
		return in.borrowed[:in.n], nil
	}
	in.release()
	return nil, in.err
}

// tryRead is called by the runtime when the socket may have bytes. The read is
// raw: it cannot block, and one that Go's scheduler sees after a pause wakes the
// thread that watches for blocked calls, which costs more than the read.
func (in *input) tryRead(fd uintptr) bool {
	b := buffers.get()
	n, errno := rawRead(int(fd), b[:])
	for errno == unix.EINTR {
		n, errno = rawRead(int(fd), b[:])
	}
	if errno == unix.EAGAIN {
		buffers.put(b)
		return false
	}
	in.borrowed, in.n, in.err = b, n, nil
	switch {
	case errno != 0:
		in.err = errno
	case n == 0:
		in.err = io.EOF
	}
	return true
}

func (in *input) release() {
	if in.borrowed != nil {
		buffers.put(in.borrowed)
		in.borrowed = nil
	}
}

package server

import (
	"net/netip"
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

// tuneListener sets what accepted connections inherit.
func tuneListener(fd int) {
	for _, o := range []struct{ level, option, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveIdle.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveEvery.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds())},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		unix.SetsockoptInt(fd, o.level, o.option, o.value)
	}
}

// quickAck has the kernel acknowledge at once what was read. Clients send their
// commands as small writes and let Nagle's algorithm hold each back until the
// one before is acknowledged: without this every step of a connect costs them
// the 40 ms of a delayed acknowledgement. The kernel forgets the setting, so
// it is set again after each read.
func quickAck(fd int) { rawOption(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }

// setNoDelay switches Nagle's algorithm off or on.
func setNoDelay(fd int, on bool) {
	value := int32(0)
	if on {
		value = 1
	}
	rawOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, value)
}

// addressOf is the text of a socket's address, without the port.
func addressOf(a unix.Sockaddr) string {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr).String()
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr).Unmap().String()
	}
	return ""
}

func localIP(fd int) string {
	a, err := unix.Getsockname(fd)
	if err != nil {
		return ""
	}
	return addressOf(a)
}

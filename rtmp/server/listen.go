package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listen opens all addresses, or none.
func Listen(addresses []string) ([]net.Listener, error) {
	var open []net.Listener
	for _, a := range addresses {
		ln, err := net.Listen("tcp", a)
		if err != nil {
			for _, ln := range open {
				ln.Close()
			}
			return nil, fmt.Errorf("listen %s: %w", a, err)
		}
		open = append(open, ln)
	}
	return open, nil
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("server: closed")

// Bounds of the accept loop's patience when descriptors run out.
const (
	minAcceptWait = 10 * time.Millisecond
	maxAcceptWait = time.Second
)

// Serve accepts connections until Shutdown. The listener is TCP.
func (s *Server) Serve(ln net.Listener) error {
	door, raw, err := open(ln)
	if err != nil {
		ln.Close()
		return fmt.Errorf("listen %s: %w", ln.Addr(), err)
	}
	defer door.Close()
	defer ln.Close()
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.doors[door] = ln
	s.mu.Unlock()
	var wait time.Duration
	for {
		fd, peer, err := accept(raw)
		switch {
		case err == nil:
			wait = 0
			s.accept(fd, addressOf(peer))
		case errors.Is(err, ErrClosed):
			return ErrClosed
		default:
			// Out of descriptors, or a connection that was reset before it was
			// accepted: neither is a reason to stop.
			wait = min(max(2*wait, minAcceptWait), maxAcceptWait)
			if errors.Is(err, syscall.ECONNABORTED) {
				wait = 0
			}
			s.lines.warn("accept.error", "accept failed", "error", err.Error(), "retry_in", wait.String())
			select {
			case <-time.After(wait):
			case <-s.gates.Done():
			}
		}
	}
}

// open makes a file of a listener, to accept plain descriptors from: sessions
// belong to our loops, and the runtime need not know of them.
func open(ln net.Listener) (*os.File, syscall.RawConn, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, nil, errors.New("no TCP listener")
	}
	door, err := tcp.File()
	if err != nil {
		return nil, nil, err
	}
	raw, err := door.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { tuneListener(int(fd)) })
	}
	if err != nil {
		door.Close()
		return nil, nil, err
	}
	return door, raw, nil
}

// accept waits for a connection.
func accept(raw syscall.RawConn) (fd int, peer unix.Sockaddr, err error) {
	closed := raw.Read(func(door uintptr) bool {
		for {
			fd, peer, err = unix.Accept4(int(door), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	})
	if closed != nil {
		return -1, nil, ErrClosed // nothing else is wrong with a file
	}
	return fd, peer, err
}

// accept starts a session, unless the server is full or closing.
func (s *Server) accept(fd int, ip string) {
	limit := s.Conf().MaxConnections
	s.mu.Lock()
	n, closing := len(s.sessions), s.closing
	if closing || n >= limit {
		s.mu.Unlock()
		unix.Close(fd)
		if !closing {
			s.counts.refused.Add(1)
			s.lines.warn("server.full", "connection closed: max_connections reached",
				"ip", ip, "connections", n, "max_connections", limit, "reason", "server.full")
		}
		return
	}
	c := newSession(s, fd, ip, s.ids.Add(1))
	c.loop = s.loops[s.turn.Add(1)%uint64(len(s.loops))]
	s.sessions[c] = struct{}{}
	s.sessionWG.Add(1)
	s.mu.Unlock()
	s.counts.accepted.Add(1)
	c.nudge()
}

// spareDescriptors are kept for recordings, callbacks and the log.
const spareDescriptors = 256

// CheckDescriptors refuses a number of connections that cannot be had.
func CheckDescriptors(connections int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil // unknown: accept will say so
	}
	if need := uint64(connections + spareDescriptors); limit.Cur < need {
		return fmt.Errorf("max_connections %d needs %d file descriptors, the limit is %d: raise it (ulimit -n %d, LimitNOFILE=) or lower max_connections",
			connections, need, limit.Cur, need)
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An epoll is a set of sockets, each reported for as long as it is ready
// (level-triggered). Beside them it has a bell, which any goroutine may ring.
// All else is for one goroutine.
//
// Looking for what is ready is a system call that the scheduler does not see;
// it costs a fraction of one that it does. So are readNow and writeNow, which
// are for sockets that never block.
type epoll struct {
	fd, bell int
	alone    bool // no other goroutine needs this thread: see wait
	events   [256]unix.EpollEvent
}

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	e := &epoll{fd: fd, bell: bell}
	if err := e.add(bell, unix.EPOLLIN); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *epoll) close() {
	unix.Close(e.fd)
	unix.Close(e.bell)
}

// ring makes the bell's descriptor ready until hear is called.
func (e *epoll) ring() { unix.Write(e.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (e *epoll) hear() {
	var count [8]byte
	unix.Read(e.bell, count[:])
}

func (e *epoll) add(fd int, events uint32) error    { return e.control(unix.EPOLL_CTL_ADD, fd, events) }
func (e *epoll) modify(fd int, events uint32) error { return e.control(unix.EPOLL_CTL_MOD, fd, events) }

func (e *epoll) control(op, fd int, events uint32) error {
	if err := unix.EpollCtl(e.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

// ready returns what is ready now. It is valid until the next call.
func (e *epoll) ready() []unix.EpollEvent { return e.look(0) }

// look waits for so many milliseconds, unseen by the scheduler.
func (e *epoll) look(ms int) []unix.EpollEvent {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd), uintptr(unsafe.Pointer(&e.events)), uintptr(len(e.events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return nil // EINTR: the next call tells
	}
	return e.events[:n]
}

// wait returns what is ready; if nothing is, it blocks the thread, at most
// for timeout (below 0: without end). If it is alone, the scheduler does not
// see that either, which saves it two context switches; its preemption signal
// ends the wait 100 times a second, so that others still get their turn.
func (e *epoll) wait(timeout time.Duration) ([]unix.EpollEvent, error) {
	if !e.alone || timeout == 0 {
		if events := e.ready(); len(events) > 0 || timeout == 0 {
			return events, nil
		}
	}
	ms := -1
	if timeout > 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	if e.alone {
		return e.look(ms), nil
	}
	n, err := unix.EpollWait(e.fd, e.events[:], ms)
	if err != nil && err != unix.EINTR {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return e.events[:max(n, 0)], nil
}

// readNow reads from a socket that never blocks; no bytes and no error are its
// end. recvfrom and sendto spare the way through the file layer that read and
// write take.
func readNow(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// writeNow writes as much of b as a socket that never blocks takes.
func writeNow(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// writeBothNow is writeNow for two pieces.
func writeBothNow(fd int, a, b []byte) (int, syscall.Errno) {
	n, err := unix.Writev(fd, [][]byte{a, b})
	if err != nil {
		errno, _ := err.(syscall.Errno)
		return 0, errno
	}
	return n, 0
}

// later says that a call on a socket is to be repeated when it is ready.
func later(errno syscall.Errno) bool { return errno == unix.EAGAIN || errno == unix.EINTR }

// listenNow opens a listening socket that never blocks.
func listenNow(ctx context.Context, address string) (int, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return -1, err
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	// A copy of our own, which Go's poller knows nothing of.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetNonblock(fd, true)
}

package server

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// output writes to sockets that never block, with one call for all that a
// player lacks. send(2) and sendmsg(2) spare the way through the file layer
// that write(2) takes, a tenth of the whole.
type output struct {
	parts [maxParts]unix.Iovec
	head  unix.Msghdr
}

const (
	maxParts  = 24
	sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
)

// send writes own and the pieces behind it, and returns how many bytes the
// socket has taken.
func (o *output) send(fd int, own []byte, pieces [][]byte) (int, unix.Errno) {
	if o.fill(own, pieces) == 1 {
		p := &o.parts[0]
		return result(unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(p.Base)), uintptr(p.Len), sendFlags, 0, 0))
	}
	return result(unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.head)), sendFlags))
}

// fill prepares a call and returns how many parts it has.
func (o *output) fill(own []byte, pieces [][]byte) int {
	n := 0
	if len(own) > 0 {
		o.set(n, own)
		n++
	}
	for _, b := range pieces[:min(len(pieces), maxParts-n)] {
		o.set(n, b)
		n++
	}
	o.head.Iov = &o.parts[0]
	o.head.SetIovlen(n)
	return n
}

func (o *output) set(i int, b []byte) {
	o.parts[i].Base = &b[0]
	o.parts[i].SetLen(len(b))
}

// rawRecv reads from a socket that never blocks.
func rawRecv(fd int, b []byte) (int, unix.Errno) {
	return result(unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0))
}

// rawOption sets an option of a socket; one that cannot be set is none the less.
func rawOption(fd, level, option int, value int32) {
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option), uintptr(unsafe.Pointer(&value)), unsafe.Sizeof(value), 0)
}

// rawRing writes to an eventfd.
func rawRing(fd int) {
	one := uint64(1)
	unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

func result(n, _ uintptr, err unix.Errno) (int, unix.Errno) {
	if err != 0 {
		return 0, err
	}
	return int(n), 0
}

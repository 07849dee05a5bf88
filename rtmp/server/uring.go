package server

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// uring submits many sends to the kernel in one call (io_uring, Linux 5.6): one
// way into the kernel for all of them is what makes it cheaper. The sends do
// not wait (MSG_DONTWAIT), so that all are over when the call returns: what they
// send from, and their sockets, need be held no longer than that.
type uring struct {
	fd              int
	rings, entries  []byte // mapped
	head, tail      *uint32
	mask            uint32
	array           []uint32
	sqes            []sqe
	done, completed *uint32
	doneMask        uint32
	cqes            []cqe
}

// sqe is a submission (struct io_uring_sqe).
type sqe struct {
	op, flags uint8
	ioprio    uint16
	fd        int32
	off       uint64
	addr      uint64
	len       uint32
	msgFlags  uint32
	userData  uint64
	pad       [3]uint64
}

// cqe is a completion (struct io_uring_cqe).
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

type uringOffsets struct {
	head, tail, mask, entries, flags, dropped, array, resv1 uint32
	user                                                    uint64
}

type uringCompletionOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, resv1 uint32
	user                                                    uint64
}

type uringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	resv                                                 [3]uint32
	sq                                                   uringOffsets
	cq                                                   uringCompletionOffsets
}

// Of linux/io_uring.h.
const (
	uringOpSendmsg   = 9
	uringOpSend      = 26
	uringEnterEvents = 1
	uringSingleMmap  = 1
	uringOffSQEs     = 0x10000000
	uringSize        = 64
)

func newUring() (*uring, error) {
	var p uringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uringSize, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	u := &uring{fd: int(fd)}
	if p.features&uringSingleMmap == 0 {
		unix.Close(u.fd)
		return nil, unix.ENOSYS
	}
	size := max(int(p.sq.array+p.sqEntries*4), int(p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{}))))
	var err error
	if u.rings, err = unix.Mmap(u.fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err == nil {
		u.entries, err = unix.Mmap(u.fd, uringOffSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	}
	if err != nil {
		u.close()
		return nil, os.NewSyscallError("mmap", err)
	}
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&u.rings[off])) }
	u.head, u.tail, u.mask = at(p.sq.head), at(p.sq.tail), *at(p.sq.mask)
	u.array = unsafe.Slice(at(p.sq.array), p.sqEntries)
	u.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&u.entries[0])), p.sqEntries)
	u.done, u.completed, u.doneMask = at(p.cq.head), at(p.cq.tail), *at(p.cq.mask)
	u.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&u.rings[p.cq.cqes])), p.cqEntries)
	if err := u.probe(); err != nil {
		u.close()
		return nil, os.NewSyscallError("io_uring", err)
	}
	return u, nil
}

func (u *uring) close() {
	if u.rings != nil {
		unix.Munmap(u.rings)
	}
	if u.entries != nil {
		unix.Munmap(u.entries)
	}
	unix.Close(u.fd)
}

// send prepares submission i.
func (u *uring) send(i int, fd int, o *output, n int) {
	tail := *u.tail + uint32(i)
	at := tail & u.mask
	e := &u.sqes[at]
	*e = sqe{fd: int32(fd), msgFlags: sendFlags, userData: uint64(i)}
	if n == 1 {
		e.op = uringOpSend
		e.addr = uint64(uintptr(unsafe.Pointer(o.parts[0].Base)))
		e.len = uint32(o.parts[0].Len)
	} else {
		e.op = uringOpSendmsg
		e.addr = uint64(uintptr(unsafe.Pointer(&o.head)))
		e.len = 1
	}
	u.array[at] = at
}

// submit has the first n submissions carried out and gives each its result.
// After an error those without a result were not begun.
func (u *uring) submit(n int, result func(i int, res int32)) unix.Errno {
	atomic.StoreUint32(u.tail, *u.tail+uint32(n))
	for left := n; left > 0; {
		_, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), uintptr(left), uintptr(left), uringEnterEvents, 0, 0)
		head, tail := *u.done, atomic.LoadUint32(u.completed)
		for ; head != tail; head++ {
			c := u.cqes[head&u.doneMask]
			result(int(c.userData), c.res)
			left--
		}
		atomic.StoreUint32(u.done, head)
		if errno != 0 && errno != unix.EINTR && left > 0 {
			return errno
		}
	}
	return 0
}

// probe sends something both ways that are used: a kernel may know io_uring and
// not them.
func (u *uring) probe() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	var one, two output
	u.send(0, pair[0], &one, one.fill([]byte("a"), nil))
	u.send(1, pair[0], &two, two.fill([]byte("b"), [][]byte{[]byte("c")}))
	wrong := unix.Errno(0)
	if errno := u.submit(2, func(i int, res int32) {
		if res != int32(i+1) {
			wrong = unix.Errno(max(int32(unix.EOPNOTSUPP), -res))
		}
	}); errno != 0 {
		return errno
	}
	if wrong != 0 {
		return wrong
	}
	var got [4]byte
	if n, _ := unix.Read(pair[1], got[:]); string(got[:max(n, 0)]) != "abc" {
		return unix.EOPNOTSUPP
	}
	return nil
}

package server

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is a loop's epoll set, and how the loop waits for it.
//
// Looking is a raw call that cannot block. Waiting is Go's: a descriptor that
// becomes readable when the set has something is known to Go's poller. That
// cannot be the set itself, or each packet would wake a thread also while the
// loop is at work or rests. So it is a second set, with the first one in it,
// which is armed for one event before each wait.
type poller struct {
	set   int
	outer *os.File
	raw   syscall.RawConn // of outer
	fd    int             // of outer
	armed bool
	alarm time.Time // the read deadline of outer; zero: there is none

	// Of the wait under way.
	check  func(uintptr) bool // ready
	events []unix.EpollEvent
	n      int
	slept  bool
}

func newPoller() (*poller, error) {
	p := &poller{set: -1}
	p.check = p.ready
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	unix.SetNonblock(fd, true) // or Go's poller does not take it
	p.outer, p.fd = os.NewFile(uintptr(fd), "epoll"), fd
	if p.set, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		p.close()
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, p.set, &unix.EpollEvent{Events: unix.EPOLLONESHOT}); err == nil {
		p.raw, err = p.outer.SyscallConn()
	}
	if err != nil {
		p.close()
		return nil, os.NewSyscallError("epoll", err)
	}
	return p, nil
}

func (p *poller) close() {
	p.outer.Close()
	if p.set >= 0 {
		unix.Close(p.set)
	}
}

// control adds a descriptor, or says anew what to look for.
func (p *poller) control(op, fd int, e unix.EpollEvent) error {
	return unix.EpollCtl(p.set, op, fd, &e)
}

func (p *poller) remove(fd int) { unix.EpollCtl(p.set, unix.EPOLL_CTL_DEL, fd, nil) }

// look takes what is ready, without waiting.
func (p *poller) look(events []unix.EpollEvent) int { return rawEpoll(p.set, events) }

// wait waits until something is ready, or until the time due, if there is one.
// slept says whether that took any time.
func (p *poller) wait(events []unix.EpollEvent, now, due time.Time) (n int, slept bool) {
	// A deadline that is earlier than it need be only makes the loop look once more.
	if due.IsZero() != p.alarm.IsZero() || due.Before(p.alarm) || !p.alarm.IsZero() && !now.Before(p.alarm) {
		p.alarm = due
		p.outer.SetReadDeadline(due)
	}
	p.events, p.n, p.slept = events, 0, false
	p.raw.Read(p.check) // an error is the deadline's
	p.events = nil
	p.disarm()
	return p.n, p.slept
}

// ready looks for Go's poller whether the wait is over.
func (p *poller) ready(uintptr) bool {
	p.disarm()
	if p.n = p.look(p.events); p.n > 0 {
		return true
	}
	p.arm()
	p.slept = true
	return false
}

// rest lets a time pass.
func (p *poller) rest(events []unix.EpollEvent, d time.Duration) int {
	time.Sleep(d)
	p.disarm()
	return p.look(events)
}

// arm has the set wake who waits, once. Should it have become ready meanwhile,
// that is now.
func (p *poller) arm() {
	if !p.armed {
		p.armed = true
		rawControl(p.fd, unix.EPOLL_CTL_MOD, p.set, unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT})
	}
}

// disarm takes the event that the set was armed for. When there is none yet it
// stays armed.
func (p *poller) disarm() {
	if p.armed {
		var taken [1]unix.EpollEvent
		p.armed = rawEpoll(p.fd, taken[:]) == 0
	}
}

// rawEpoll takes what is ready of an epoll set.
func rawEpoll(fd int, events []unix.EpollEvent) int {
	n, _ := result(unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(fd), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0))
	return n
}

func rawControl(set, op, fd int, e unix.EpollEvent) {
	unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(set), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
}

// When a loop rests before it looks at its sockets again.
const (
	restTime   = time.Millisecond
	restMedia  = 2                    // reads of publishers in that time
	restOthers = 8                    // and so many times fewer other events
	restAfter  = 5 * time.Millisecond // somebody has come or said what he wants
)

// pace finds out when a loop should rest.
//
// Thousands of publishers that nobody plays send a packet here and one there. A
// look for each costs as much as reading it. So while that is nearly all there
// is, and it is much, the loop looks once a millisecond. Players, and those who
// join or want an answer, are not made to wait.
type pace struct {
	since         time.Time
	media, others int // events since then
	rest          bool
	hurried       time.Time
}

// hurry is for those who come: each of their steps would wait.
func (p *pace) hurry(now time.Time) {
	p.rest, p.hurried = false, now
}

// note counts the events of a look. all says that it has taken what there was.
func (p *pace) note(now time.Time, media, others int, all bool) {
	p.media, p.others = p.media+media, p.others+others
	took := now.Sub(p.since)
	if took < restTime {
		return
	}
	p.rest = all && p.media >= restMedia*int(took/restTime) && p.others*restOthers <= p.media &&
		now.Sub(p.hurried) >= restAfter
	p.since, p.media, p.others = now, 0, 0
}

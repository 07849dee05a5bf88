package server

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPollerLosesNothing: whenever the event comes, before the wait, while it
// begins or while it lasts, the wait ends with it.
func TestPollerLosesNothing(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := p.control(unix.EPOLL_CTL_ADD, fd, unix.EpollEvent{Events: unix.EPOLLIN, Fd: 7}); err != nil {
		t.Fatal(err)
	}
	begin, asleep := make(chan int), 0
	defer close(begin)
	go func() {
		for n := range begin {
			for range n {
				unix.Getpid() // a moment
			}
			rawRing(fd)
		}
	}()
	var events [4]unix.EpollEvent
	var count [8]byte
	for i := range 3000 {
		begin <- i % 300
		now := time.Now()
		n, slept := p.wait(events[:], now, now.Add(20*time.Second))
		if n != 1 || events[0].Fd != 7 || time.Since(now) > 10*time.Second {
			t.Fatalf("wait %d: %d events after %v", i, n, time.Since(now))
		}
		if slept {
			asleep++
		}
		unix.Read(fd, count[:])
		switch i % 5 {
		case 1: // an event that is taken by a look, with no wait
			rawRing(fd)
			if n := p.look(events[:]); n != 1 {
				t.Fatalf("look %d: %d events", i, n)
			}
			unix.Read(fd, count[:])
		case 2: // a wait that nothing comes to: the next one's event must not be lost
			if n, _ := p.wait(events[:], now, time.Now().Add(100*time.Microsecond)); n != 0 {
				t.Fatalf("wait %d for nothing: %d events", i, n)
			}
		case 3: // one that comes while the loop rests
			rawRing(fd)
			if n := p.rest(events[:], time.Microsecond); n != 1 {
				t.Fatalf("rest %d: %d events", i, n)
			}
			unix.Read(fd, count[:])
		}
	}
	if asleep == 0 {
		t.Error("no wait had to wait")
	}
}

// TestPace: a loop rests while there is little but publishers that nobody plays.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name          string
		media, others int // each tenth of a millisecond
		all, rest     bool
	}{
		{"nothing", 0, 0, true, false},
		{"many publishers", 5, 0, true, true},
		{"and some who join", 8, 1, true, true},
		{"and many", 7, 1, true, false},
		{"only players", 0, 5, true, false},
		{"more than a look can take", 256, 0, false, false},
	} {
		var p pace
		now := time.Unix(1, 0)
		p.note(now, 0, 0, true)
		for range 20 {
			now = now.Add(restTime / 10)
			p.note(now, c.media, c.others, c.all)
		}
		if p.rest != c.rest {
			t.Errorf("%s: rest %v", c.name, p.rest)
		}
		p.note(now.Add(time.Second), 1, 0, true)
		if p.rest {
			t.Errorf("%s: rests when it has become quiet", c.name)
		}
	}
}

// TestPaceHurry: the steps of one who comes are not waited with.
func TestPaceHurry(t *testing.T) {
	var p pace
	now := time.Unix(1, 0)
	pass := func(d time.Duration) {
		for ; d > 0; d -= restTime {
			now = now.Add(restTime)
			p.note(now, 50, 0, true)
		}
	}
	pass(restAfter)
	p.hurry(now)
	if p.rest {
		t.Error("rests at once")
	}
	if pass(restAfter - restTime); p.rest {
		t.Error("rests before the next step can have come")
	}
	if pass(restTime); !p.rest {
		t.Error("does not rest any more")
	}
}

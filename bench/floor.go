package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A floor is the yardstick: the least that a program can do which really hands
// every byte to every player. It is one thread, and no server: who is allowed
// what, who is gone, what comes late, it does not ask.
//
//  1. what is ready: connections are accepted, what clients send is read
//  2. a publisher's messages go into its stream's log, once (floor_stream.go)
//  3. each player of the stream gets what it lacks with one write; one whose
//     socket is full is left until it has room
//
// Nothing is allocated for a message.
type floor struct {
	// Static after construction.
	coalesce time.Duration // between two sendings of a stream; 0: at once
	discard  bool          // what publishers send is read, and that is all
	epoll    *epoll
	listener int

	clients  []*floorClient // by descriptor
	streams  map[string]*floorStream
	in       []byte         // what was just read
	unsent   []*floorStream // got something since the last round
	resting  []*floorStream // were sent less than coalesce ago, the eldest first
	accepted uint64
}

const floorRead = 64 << 10 // bytes of one read

// floorCommand is the subcommand that runs the yardstick until it is interrupted.
func floorCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("floor", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:1935", "`address` to listen on")
	coalesce := fs.Duration("coalesce", 0, "send what came in this `time` at once; 0: at once what comes")
	discard := fs.Bool("discard", false, "only read what publishers send: the yardstick of publish; players get nothing")
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	if *coalesce < 0 {
		return fmt.Errorf("%w: -coalesce must not be below 0", errUsage)
	}
	if err := raiseFiles(0); err != nil {
		return err
	}
	f, err := newFloor(ctx, *listen, *coalesce)
	if err != nil {
		return err
	}
	f.discard, f.epoll.alone = *discard, true
	fmt.Fprintf(stdout, "floor listens on %s\n", *listen)
	return f.serve(ctx)
}

func newFloor(ctx context.Context, address string, coalesce time.Duration) (*floor, error) {
	f := &floor{coalesce: coalesce, streams: make(map[string]*floorStream), in: make([]byte, floorRead)}
	var err error
	if f.listener, err = listenNow(ctx, address); err != nil {
		return nil, err
	}
	if f.epoll, err = newEpoll(); err == nil {
		err = f.epoll.add(f.listener, unix.EPOLLIN)
	}
	if err != nil {
		unix.Close(f.listener)
		return nil, err
	}
	return f, nil
}

// serve is the loop. It ends with ctx, which is no error.
func (f *floor) serve(ctx context.Context) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { f.epoll.ring(); close(rung) })
	defer func() {
		if !stop() {
			<-rung // it is done with the bell
		}
		for _, c := range f.clients {
			if c != nil {
				f.drop(c)
			}
		}
		unix.Close(f.listener)
		f.epoll.close()
	}()
	for {
		events, err := f.epoll.wait(f.rest())
		if err != nil {
			return err
		}
		for i := range events {
			switch fd := int(events[i].Fd); fd {
			case f.epoll.bell:
				return nil
			case f.listener:
				f.accept()
			default:
				// Of a client that was closed in this round the event may be
				// left; another one with its descriptor has nothing to read yet.
				if c := f.clients[fd]; c != nil {
					f.attend(c, events[i].Events)
				}
			}
		}
		f.sendAll()
	}
}

// maxAccepts is how many connections are accepted in one go.
const maxAccepts = 64

func (f *floor) accept() {
	for range maxAccepts {
		fd, _, err := unix.Accept4(f.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		if fd >= len(f.clients) {
			f.clients = append(f.clients, make([]*floorClient, fd+1-len(f.clients))...)
		}
		f.clients[fd] = &floorClient{fd: fd}
		f.accepted++
		if err := f.epoll.add(fd, unix.EPOLLIN); err != nil {
			f.drop(f.clients[fd])
		}
	}
}

// touch notes that a stream has something to send.
func (f *floor) touch(s *floorStream) {
	if !s.unsent {
		s.unsent = true
		f.unsent = append(f.unsent, s)
	}
}

// sendAll gives the players of all streams what they lack, unless their stream
// rests: then that is done when it has rested.
func (f *floor) sendAll() {
	var now time.Time
	if f.coalesce > 0 {
		now = time.Now()
		n := 0
		for _, s := range f.resting {
			if now.Before(s.until) {
				break
			}
			n++
			if s.until = (time.Time{}); s.waiting {
				s.waiting = false
				f.touch(s)
			}
		}
		f.resting = f.resting[:copy(f.resting, f.resting[n:])]
	}
	for _, s := range f.unsent {
		if s.unsent = false; !s.until.IsZero() {
			s.waiting = true
			continue
		}
		for i := len(s.players) - 1; i >= 0; i-- { // one that is dropped gives its place to the last
			if c := s.players[i]; !c.full {
				f.send(c)
			}
		}
		if f.coalesce > 0 {
			s.until = now.Add(f.coalesce)
			f.resting = append(f.resting, s)
		}
	}
	f.unsent = f.unsent[:0]
}

// rest is how long there is nothing to do but what comes.
func (f *floor) rest() time.Duration {
	for _, s := range f.resting {
		if s.waiting {
			return max(0, time.Until(s.until))
		}
	}
	return math.MinInt64
}

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// How clients talk to the server.
const (
	dialTimeout  = 10 * time.Second // connect, handshake, commands
	closeTimeout = time.Second      // for the server to close after a publisher
	chunkSize    = 4096             // bytes, of what we send
	maxUnsent    = 64 << 10         // replies that the server has not read yet
)

// clientState is what a client waits for:
//
//	new -> connecting -> shaking -> connected -> created -> accepted -> working -> leaving -> gone
type clientState uint8

const (
	clientNew        clientState = iota // its time to come
	clientConnecting                    // TCP
	clientShaking                       // S0, S1 and S2
	clientConnected                     // the answer to connect
	clientCreated                       // the answer to createStream
	clientAccepted                      // the answer to play or publish
	clientWorking                       // it plays or publishes
	clientLeaving                       // the server's end; of publishers
	clientGone                          // closed; what ended it was told
)

// clientLimits are generous: we trust the server we have chosen.
var clientLimits = chunk.Limits{Streams: 64, Command: 1 << 20, Media: 16 << 20, Partial: 32 << 20}

// A role is what a client does when it is accepted. The crowd's loop calls it;
// what it returns ends the client.
type role interface {
	begin(now int64) error                  // it is accepted
	media(m chunk.Message, now int64) error // a message of the stream came
	tick(now int64) error                   // the time it asked for has come
	drained(now int64) error                // what its socket did not take at once is gone
	after() string                          // how far it came, for the text of an error; may be empty
}

// A client is one connection to the server, up to the answer to its request. It
// has no goroutine: a crowd calls it when its socket is ready, and lends it
// what was read.
type client struct {
	// Static after it has joined.
	request *request
	role    role
	crowd   *crowd
	ended   func(error) // called once; nil: by our own wish
	buffer  int         // for receiving, bytes; 0: as the system likes

	// Owned by the crowd.
	fd       int
	state    clientState
	limited  bool   // no more is to be read than
	allowed  int    // bytes
	watched  uint32 // what the epoll set was told
	begun    time.Time
	answer   []byte        // of the handshake, until it is whole
	reader   *chunk.Reader // keeps no more than a message that has begun
	out      []byte        // what its socket did not take at once
	received uint32        // bytes behind the handshake, modulo 2^32, as RTMP counts
	acked    uint32
	window   uint32 // how many the server wants acknowledged; 0: none
	wake     int64  // when its role or its patience asks for it, ns since 1970; 0: never
	place    int    // in the timetable
}

// Expected ends, and those of servers that do not play along.
var (
	errFull         = errors.New("the server does not read")
	errSlow         = fmt.Errorf("not accepted within %v", dialTimeout)
	errDone         = errors.New("all is done") // no error: a role has no more to do
	errServerClosed = fmt.Errorf("the server closed the connection: %w", io.EOF)
)

// ready does what the socket is ready for.
func (c *client) ready(events uint32, in []byte) error {
	if c.state == clientConnecting {
		if n, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 {
			return fmt.Errorf("connect: %w", syscall.Errno(n))
		}
		c.state = clientShaking
		if err := c.write(c.crowd.hello); err != nil {
			return err
		}
		return c.watch()
	}
	if events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
		if err := c.flush(); err != nil {
			return err
		}
		if len(c.out) == 0 {
			if err := c.role.drained(time.Now().UnixNano()); err != nil {
				return err
			}
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	if c.limited && c.allowed > 0 {
		in = in[:min(len(in), c.allowed)]
	}
	n, errno := readNow(c.fd, in)
	if c.limited {
		c.allowed = max(0, c.allowed-n)
		if err := c.watch(); err != nil {
			return err
		}
	}
	switch {
	case errno != 0 && later(errno):
		return nil
	case errno != 0:
		return fmt.Errorf("read: %w", errno)
	case n == 0:
		return errServerClosed
	case c.state == clientLeaving:
		return nil
	}
	return c.take(in[:n], time.Now().UnixNano())
}

// allow lets a client read so many bytes and no more; below 0: all. One that may
// read nothing still learns of a broken connection.
func (c *client) allow(bytes int) error {
	c.limited, c.allowed = bytes >= 0, max(0, bytes)
	return c.watch()
}

// watch tells the crowd's epoll set what is awaited.
func (c *client) watch() error {
	var events uint32
	if !c.limited || c.allowed > 0 {
		events = unix.EPOLLIN
	}
	if len(c.out) > 0 {
		events |= unix.EPOLLOUT
	}
	if events == c.watched {
		return nil
	}
	c.watched = events
	return c.crowd.epoll.modify(c.fd, events)
}

// write sends b as far as the socket takes it, and keeps the rest.
func (c *client) write(b []byte) error {
	if len(c.out) > 0 {
		if c.out = append(c.out, b...); len(c.out) > maxUnsent {
			return errFull
		}
		return nil
	}
	n, errno := writeNow(c.fd, b)
	if errno != 0 && !later(errno) {
		return fmt.Errorf("write: %w", errno)
	}
	if n < len(b) {
		c.out = append(c.out, b[n:]...)
		return c.watch()
	}
	return nil
}

// flush sends what is left.
func (c *client) flush() error {
	n, errno := writeNow(c.fd, c.out)
	if errno != 0 && !later(errno) {
		return fmt.Errorf("write: %w", errno)
	}
	if c.out = c.out[:copy(c.out, c.out[n:])]; len(c.out) == 0 {
		c.out = nil
	}
	return c.watch()
}

// wakeAt asks for the role's tick at a time (ns since 1970), instead of any
// other; at 0: for none.
func (c *client) wakeAt(at int64) { c.crowd.times.set(c, at) }

// tick lets a client in whose time has come, ends one that has waited too long,
// or is its role's.
func (c *client) tick(now int64) error {
	switch {
	case c.state == clientNew:
		c.crowd.open(c)
		return nil
	case c.state < clientWorking:
		return errSlow
	case c.state == clientLeaving:
		return errServerClosed // as far as we care
	}
	return c.role.tick(now)
}

// take handles what was read at now (ns since 1970).
func (c *client) take(b []byte, now int64) error {
	if c.state == clientShaking {
		n := min(1+2*rtmp.HandshakeSize-len(c.answer), len(b))
		if c.answer, b = append(c.answer, b[:n]...), b[n:]; len(c.answer) < 1+2*rtmp.HandshakeSize {
			return nil
		}
		proof, err := rtmp.AnswerServer(c.crowd.hello, c.answer)
		if err != nil {
			return err
		}
		c.state, c.answer, c.reader = clientConnected, nil, chunk.NewReader(clientLimits)
		if err := c.write(append(proof, c.request.connect...)); err != nil {
			return err
		}
	}
	c.reader.Feed(b)
	if err := c.messages(now); err != nil {
		return err
	}
	if c.received += uint32(len(b)); c.window > 0 && c.received-c.acked >= c.window/2 {
		c.acked = c.received
		return c.write(rtmp.AppendAck(nil, c.received))
	}
	return nil
}

// messages handles those that are whole.
func (c *client) messages(now int64) error {
	for {
		m, ok, err := c.reader.Next()
		if err != nil || !ok {
			return err
		}
		switch m.Type {
		case rtmp.TypeAudio, rtmp.TypeVideo, rtmp.TypeData:
			err = c.role.media(m, now)
		case rtmp.TypeCommand, rtmp.TypeCommandAMF3:
			err = c.command(m, now)
		case rtmp.TypeWindowAck:
			c.window = binary.BigEndian.Uint32(m.Body)
		case rtmp.TypeUserControl:
			if binary.BigEndian.Uint16(m.Body) == rtmp.EventPing && len(m.Body) >= 6 {
				err = c.write(rtmp.AppendUserControl(nil, rtmp.EventPong, binary.BigEndian.Uint32(m.Body[2:])))
			}
		}
		if err != nil {
			return err
		}
	}
}

// command goes on to the next request when the one before was answered.
func (c *client) command(m chunk.Message, now int64) error {
	if c.state >= clientWorking {
		return nil
	}
	cmd, err := rtmp.ParseCommand(m.Type, m.Body)
	if err != nil {
		return err
	}
	var info amf0.Object
	if len(cmd.Args) > 0 {
		info, _ = cmd.Args[0].(amf0.Object)
	}
	awaited := c.state == clientConnected && cmd.Transaction == connectTransaction ||
		c.state == clientCreated && cmd.Transaction == createTransaction
	switch {
	case cmd.Name == rtmp.CommandError && (awaited || c.state == clientAccepted && cmd.Transaction == c.request.transaction),
		cmd.Name == rtmp.CommandOnStatus && info.String("level") == "error":
		return &rtmp.StatusError{Code: info.String("code"), Description: info.String("description")}
	case cmd.Name == rtmp.CommandResult && awaited && c.state == clientConnected:
		c.state = clientCreated
		return c.write(c.request.create)
	case cmd.Name == rtmp.CommandResult && awaited:
		c.state = clientAccepted
		return c.write(c.request.start)
	case cmd.Name == rtmp.CommandOnStatus && info.String("code") == c.request.code:
		c.state = clientWorking
		c.wakeAt(0)
		return c.role.begin(now)
	}
	return nil
}

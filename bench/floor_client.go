package main

import (
	"crypto/rand"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// floorState is how far a client has come:
//
//	hello -> proof -> commands -> publishing
//	                     |   ^--------'
//	                     '-----> playing
type floorState uint8

const (
	floorHello      floorState = iota // C0 and C1 are awaited
	floorProof                        // C2
	floorCommands                     // connect, createStream, publish or play
	floorPublishing                   // its messages go into its stream's log, or nowhere
	floorPlaying                      // what it sends is not looked at
)

// What is told to every client, and what publishers may send.
const (
	floorWindow = 2500000 // bytes, as SRS
	floorUptime = 1       // a time of no meaning in S1
)

var floorLimits = chunk.Limits{Streams: 64, Command: 64 << 10, Media: 8 << 20, Partial: 16 << 20}

// A floorClient is a connection to the floor.
type floorClient struct {
	fd     int
	state  floorState
	full   bool          // its socket: EPOLLOUT is awaited
	reader *chunk.Reader // nil while there is nothing to parse
	shake  []byte        // of the handshake, until it is over
	out    []byte        // replies and prologue, to be sent before the log
	app    string
	stream *floorStream

	// Of a player.
	pos   int64 // of the next byte of the log; -1: waits for a keyframe
	index int   // in stream.players
}

// attend reads what a client has sent and writes what it has room for.
func (f *floor) attend(c *floorClient, events uint32) {
	if events&unix.EPOLLOUT != 0 && !f.send(c) {
		return
	}
	if events&^unix.EPOLLOUT == 0 {
		return
	}
	n, errno := readNow(c.fd, f.in)
	if errno != 0 && later(errno) {
		return
	}
	if errno != 0 || n == 0 || !f.take(c, f.in[:n]) {
		f.drop(c)
		return
	}
	if len(c.out) > 0 && !c.full {
		f.send(c)
	}
}

// take handles what came from a client. It reports false for one that is to be
// dropped.
func (f *floor) take(c *floorClient, b []byte) bool {
	if c.reader == nil && c.state > floorCommands {
		return true
	}
	if c.state < floorCommands {
		if b = c.handshake(b); len(b) == 0 {
			return c.state != floorHello || len(c.shake) < rtmp.HelloSize
		}
	}
	c.reader.Feed(b)
	for {
		m, ok, err := c.reader.Next()
		if err != nil {
			return false
		}
		if !ok {
			return true
		}
		switch m.Type {
		case rtmp.TypeCommand, rtmp.TypeCommandAMF3:
			if !f.command(c, m) {
				return false
			}
		case rtmp.TypeAudio, rtmp.TypeVideo:
			if c.state == floorPublishing && len(m.Body) > 0 {
				f.media(c.stream, m)
			}
		case rtmp.TypeData, rtmp.TypeDataAMF3:
			var whole bool
			if m.Body, whole = rtmp.StripData(m.Type, m.Body); whole && c.state == floorPublishing {
				m.Type = rtmp.TypeData
				f.media(c.stream, m)
			}
		}
		if c.state == floorPlaying || c.state == floorPublishing && f.discard {
			c.reader = nil
			return true
		}
	}
}

func (f *floor) media(s *floorStream, m chunk.Message) {
	for _, c := range s.add(m) {
		f.drop(c)
	}
	f.touch(s)
}

// handshake takes a client's C0, C1 and C2, answers, and returns what is behind
// them. A wrong hello stays in shake.
func (c *floorClient) handshake(b []byte) []byte {
	for len(b) > 0 {
		need := rtmp.HelloSize
		if c.state == floorProof {
			need = rtmp.HandshakeSize
		}
		n := min(need-len(c.shake), len(b))
		if c.shake, b = append(c.shake, b[:n]...), b[n:]; len(c.shake) < need {
			return nil
		}
		if c.state == floorProof {
			c.state, c.shake = floorCommands, nil
			c.reader = chunk.NewReader(floorLimits)
			return b
		}
		answer, _, err := rtmp.AnswerHello(nil, c.shake, floorUptime, rand.Reader)
		if err != nil {
			return nil
		}
		c.out = append(c.out, answer...)
		c.state, c.shake = floorProof, c.shake[:0]
	}
	return nil
}

// command answers a command. It reports false for a client that is to be dropped.
func (f *floor) command(c *floorClient, m chunk.Message) bool {
	cmd, err := rtmp.ParseCommand(m.Type, m.Body)
	if err != nil {
		return false
	}
	name, _ := cmd.StringArg(0)
	name, _, _ = strings.Cut(c.app+"/"+name, "?")
	switch cmd.Name {
	case rtmp.CommandConnect:
		c.app = strings.Trim(cmd.Object.String("app"), "/")
		c.out = rtmp.AppendWindowAck(c.out, floorWindow)
		c.out = rtmp.AppendPeerBandwidth(c.out, floorWindow)
		c.out = rtmp.AppendSetChunkSize(c.out, floorChunk)
		id := rtmp.Identity{Product: "floor", Version: "0", PID: os.Getpid(), ClientID: f.accepted}
		c.out = rtmp.AppendConnectResult(c.out, floorChunk, &cmd, id)
	case rtmp.CommandCreateStream:
		c.out = rtmp.AppendCommand(c.out, floorChunk, 0, rtmp.CommandResult, cmd.Transaction, amf0.Null{}, float64(rtmp.StreamID))
	case rtmp.CommandPublish:
		return c.state == floorCommands && f.publish(c, name)
	case rtmp.CommandPlay:
		return c.state == floorCommands && f.play(c, name)
	case rtmp.CommandFCUnpublish, rtmp.CommandDeleteStream, rtmp.CommandCloseStream:
		if c.state == floorPublishing {
			f.unpublish(c)
		}
	default:
		if cmd.Transaction != 0 { // releaseStream and its like are answered and forgotten
			c.out = rtmp.AppendCommand(c.out, floorChunk, 0, rtmp.CommandResult, cmd.Transaction, amf0.Null{}, amf0.Null{})
		}
	}
	return true
}

func (f *floor) stream(name string) *floorStream {
	s := f.streams[name]
	if s == nil {
		s = newFloorStream(name)
		f.streams[name] = s
	}
	return s
}

func (f *floor) publish(c *floorClient, name string) bool {
	s := f.stream(name)
	if s.publisher != nil {
		c.out = rtmp.AppendStatus(c.out, floorChunk, "error", rtmp.CodePublishBadName, "Stream is busy.")
		return true
	}
	s.begin(c)
	c.stream, c.state = s, floorPublishing
	c.out = rtmp.AppendStatus(c.out, floorChunk, "status", rtmp.CodePublishStart, "Started publishing stream.")
	return true
}

func (f *floor) play(c *floorClient, name string) bool {
	f.stream(name).join(c)
	c.state = floorPlaying
	c.out = rtmp.AppendUserControl(c.out, rtmp.EventStreamBegin, rtmp.StreamID)
	c.out = rtmp.AppendStatus(c.out, floorChunk, "status", rtmp.CodePlayReset, "Playing and resetting stream.")
	c.out = rtmp.AppendStatus(c.out, floorChunk, "status", rtmp.CodePlayStart, "Started playing stream.")
	return true
}

func (f *floor) unpublish(c *floorClient) {
	c.stream.publisher = nil
	f.forget(c.stream)
	c.stream, c.state = nil, floorCommands
}

// forget lets go of a stream that has nobody left.
func (f *floor) forget(s *floorStream) {
	if s.publisher == nil && len(s.players) == 0 {
		delete(f.streams, s.name)
	}
}

// send writes what a client lacks. It reports false for one that it dropped.
func (f *floor) send(c *floorClient) bool {
	var log []byte
	if c.state == floorPlaying {
		log = c.stream.lacks(c)
	}
	var n int
	var errno syscall.Errno
	lacks := len(c.out) + len(log)
	switch {
	case lacks == 0:
	case len(c.out) == 0:
		n, errno = writeNow(c.fd, log)
	default: // in one piece, or the log waits for the reply to be acknowledged
		n, errno = writeBothNow(c.fd, c.out, log)
	}
	if errno != 0 && !later(errno) {
		f.drop(c)
		return false
	}
	if replies := min(n, len(c.out)); replies < len(c.out) {
		c.out = c.out[:copy(c.out, c.out[replies:])]
	} else {
		c.out = nil
		c.pos += int64(n - replies)
	}
	return f.await(c, n < lacks)
}

// await asks to be told when a client's socket has room again, or no longer.
func (f *floor) await(c *floorClient, full bool) bool {
	if c.full == full {
		return true
	}
	c.full = full
	events := uint32(unix.EPOLLIN)
	if full {
		events |= unix.EPOLLOUT
	}
	if err := f.epoll.modify(c.fd, events); err != nil {
		f.drop(c)
		return false
	}
	return true
}

// drop closes a connection. The end of a publisher is the end of what it sends,
// its players stay.
func (f *floor) drop(c *floorClient) {
	switch c.state {
	case floorPublishing:
		f.unpublish(c)
	case floorPlaying:
		c.stream.leave(c)
		f.forget(c.stream)
	}
	f.clients[c.fd] = nil
	unix.Close(c.fd)
}

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// playerState is what a player waits for:
//
//	connecting -> shaking -> connected -> created -> accepted -> playing -> gone
type playerState uint8

const (
	playerConnecting playerState = iota // TCP
	playerShaking                       // S0, S1 and S2
	playerConnected                     // the answer to connect
	playerCreated                       // the answer to createStream
	playerAccepted                      // the answer to play
	playerPlaying                       // media
	playerGone                          // closed; what ended it was told
)

// playerLimits are generous: we trust the server we have chosen.
var playerLimits = chunk.Limits{Streams: 64, Command: 1 << 20, Media: 16 << 20, Partial: 32 << 20}

// A player receives one stream and checks it. It has no goroutine: a crowd
// calls it when its socket is ready, and lends it what was read.
type player struct {
	// Static after construction.
	request *playRequest
	check   *verifier
	party   *party
	ended   func(error) // called once; nil: by our own wish

	// Owned by the crowd.
	fd       int
	state    playerState
	begun    time.Time
	started  bool          // has a keyframe
	answer   []byte        // of the handshake, until it is whole
	reader   *chunk.Reader // keeps no more than a message that has begun
	received uint32        // bytes behind the handshake, modulo 2^32, as RTMP counts
	acked    uint32
	window   uint32 // how many the server wants acknowledged; 0: none
}

// party is what the players of a run have in common.
type party struct {
	tally   tally
	join    histogram     // from connecting to the first keyframe
	started chan struct{} // one for each player that has a keyframe
}

func newParty(players int) *party { return &party{started: make(chan struct{}, players)} }

// line says how the players fare so far.
func (g *party) line() string {
	t := &g.tally
	return fmt.Sprintf("%d players, %d frames delivered, %d faults, latency p50 %.1f ms, p99 %.1f ms", g.join.count.Load(),
		t.delivered.Load(), t.damage(), milliseconds(t.latency.percentile(50)), milliseconds(t.latency.percentile(99)))
}

// connected begins the handshake, when TCP says how connecting ended.
func (p *player) connected(hello []byte) error {
	if n, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 {
		return fmt.Errorf("connect: %w", syscall.Errno(n))
	}
	p.state = playerShaking
	return p.write(hello)
}

// errFull says that the server does not read what little a player sends.
var errFull = errors.New("the server does not read")

func (p *player) write(b []byte) error {
	switch n, errno := writeNow(p.fd, b); {
	case errno != 0 && !later(errno):
		return fmt.Errorf("write: %w", errno)
	case n < len(b):
		return errFull
	}
	return nil
}

// take handles what was read at now (ns since 1970).
func (p *player) take(b, hello []byte, now int64) error {
	if p.state == playerShaking {
		n := min(1+2*rtmp.HandshakeSize-len(p.answer), len(b))
		if p.answer, b = append(p.answer, b[:n]...), b[n:]; len(p.answer) < 1+2*rtmp.HandshakeSize {
			return nil
		}
		proof, err := rtmp.AnswerServer(hello, p.answer)
		if err != nil {
			return err
		}
		p.state, p.answer, p.reader = playerConnected, nil, chunk.NewReader(playerLimits)
		if err := p.write(append(proof, p.request.connect...)); err != nil {
			return err
		}
	}
	p.reader.Feed(b)
	if err := p.messages(now); err != nil {
		return err
	}
	if p.received += uint32(len(b)); p.window > 0 && p.received-p.acked >= p.window/2 {
		p.acked = p.received
		return p.write(rtmp.AppendAck(nil, p.received))
	}
	return nil
}

// messages handles those that are whole.
func (p *player) messages(now int64) error {
	for {
		m, ok, err := p.reader.Next()
		if err != nil || !ok {
			return err
		}
		switch m.Type {
		case rtmp.TypeAudio, rtmp.TypeVideo, rtmp.TypeData:
			p.media(m, now)
		case rtmp.TypeCommand, rtmp.TypeCommandAMF3:
			if err := p.command(m, now); err != nil {
				return err
			}
		case rtmp.TypeWindowAck:
			p.window = binary.BigEndian.Uint32(m.Body)
		case rtmp.TypeUserControl:
			if binary.BigEndian.Uint16(m.Body) == rtmp.EventPing && len(m.Body) >= 6 {
				if err := p.write(rtmp.AppendUserControl(nil, rtmp.EventPong, binary.BigEndian.Uint32(m.Body[2:]))); err != nil {
					return err
				}
			}
		}
	}
}

func (p *player) media(m chunk.Message, now int64) {
	p.check.message(m.Type, m.Timestamp, m.Body, now)
	if !p.started && p.check.started.Load() {
		p.started = true
		p.party.join.add(time.Duration(now - p.begun.UnixNano()))
		p.party.started <- struct{}{}
	}
}

// command goes on to the next request when the one before was answered.
func (p *player) command(m chunk.Message, now int64) error {
	if p.state == playerPlaying {
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
	awaited := p.state == playerConnected && cmd.Transaction == connectTransaction ||
		p.state == playerCreated && cmd.Transaction == createTransaction
	switch {
	case cmd.Name == rtmp.CommandError && (awaited || p.state == playerAccepted && cmd.Transaction == playTransaction),
		cmd.Name == rtmp.CommandOnStatus && info.String("level") == "error":
		return &rtmp.StatusError{Code: info.String("code"), Description: info.String("description")}
	case cmd.Name == rtmp.CommandResult && awaited && p.state == playerConnected:
		p.state = playerCreated
		return p.write(p.request.create)
	case cmd.Name == rtmp.CommandResult && awaited:
		p.state = playerAccepted
		return p.write(p.request.play)
	case cmd.Name == rtmp.CommandOnStatus && info.String("code") == rtmp.CodePlayStart:
		p.state = playerPlaying
		p.check.since = now
	}
	return nil
}

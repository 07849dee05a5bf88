package main

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/flv"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// A script is a server for one player: it answers as far as it is told to.
type script struct {
	answers int    // of connect, createStream and play, in this order
	refuse  bool   // the last of them with an error
	media   []byte // sent behind the answers
	step    int    // bytes of a write

	replied chan struct{} // closed when the player has answered a ping and acknowledged something
}

// run serves one connection and returns what the player sent behind play.
func (s script) run(ln net.Listener) ([]chunk.Message, error) {
	conn, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	hello := make([]byte, rtmp.HelloSize)
	if _, err := io.ReadFull(conn, hello); err != nil {
		return nil, err
	}
	answer, digest, err := rtmp.AnswerHello(nil, hello, 0, rand.Reader)
	if err != nil || !digest {
		return nil, errors.Join(err, errors.New("a hello without digest"))
	}
	conn.Write(answer)
	if _, err := io.ReadFull(conn, hello[:rtmp.HandshakeSize]); err != nil {
		return nil, err
	}
	var out []byte
	send := func() {
		for len(out) > 0 {
			n := min(s.step, len(out))
			conn.Write(out[:n])
			out = out[n:]
		}
	}
	var rest []chunk.Message
	var pong, acked bool
	r, in := chunk.NewReader(clientLimits), make([]byte, 4096)
	for {
		n, err := conn.Read(in)
		if err != nil {
			return rest, nil
		}
		r.Feed(in[:n])
		for {
			m, ok, err := r.Next()
			if err != nil {
				return rest, err
			}
			if !ok {
				break
			}
			if m.Type != rtmp.TypeCommand {
				m.Body = append([]byte(nil), m.Body...)
				rest = append(rest, m)
				pong = pong || m.Type == rtmp.TypeUserControl
				if acked = acked || m.Type == rtmp.TypeAck; pong && acked && s.replied != nil {
					close(s.replied)
					s.replied = nil
				}
				continue
			}
			cmd, err := rtmp.ParseCommand(m.Type, m.Body)
			if err != nil {
				return rest, err
			}
			if s.answers--; s.answers < 0 {
				continue
			}
			out = s.answer(nil, &cmd)
			send()
			if s.answers == 0 && len(s.media) == 0 {
				return rest, nil
			}
		}
	}
}

func (s script) answer(out []byte, cmd *rtmp.Command) []byte {
	last := s.answers == 0
	switch {
	case cmd.Name == rtmp.CommandPlay && last && s.refuse:
		return rtmp.AppendStatus(out, chunk.DefaultSize, "error", rtmp.CodePlayFailed, "not you")
	case last && s.refuse:
		return rtmp.AppendConnectError(out, chunk.DefaultSize, cmd.Transaction, rtmp.CodeConnectRejected, "not you")
	case cmd.Name == rtmp.CommandPlay:
		out = rtmp.AppendStatus(out, chunk.DefaultSize, "status", rtmp.CodePlayReset, "")
		out = rtmp.AppendStatus(out, chunk.DefaultSize, "status", rtmp.CodePlayStart, "")
		return append(out, s.media...)
	}
	return rtmp.AppendCommand(out, chunk.DefaultSize, 0, rtmp.CommandResult, cmd.Transaction, amf0.Null{}, 1.0)
}

// TestCrowdConversations: a player against a server that goes so far.
func TestCrowdConversations(t *testing.T) {
	const frames = 30
	media := rtmp.AppendWindowAck(nil, 20_000)
	for _, tag := range stream(6, frames) {
		media = chunk.Append(media, chunk.Message{CSID: csidOf(tag.Type), Type: tag.Type, StreamID: 1, Timestamp: tag.Timestamp, Body: tag.Data}, chunk.DefaultSize)
	}
	media = rtmp.AppendUserControl(media, rtmp.EventPing, 77)
	for name, c := range map[string]struct {
		script script
		want   string // "" is an end by our wish, when all frames have come
	}{
		"whole":              {script{answers: 3, media: media, step: 1 << 20}, ""},
		"in pieces":          {script{answers: 3, media: media, step: 7}, ""},
		"no application":     {script{answers: 1, refuse: true, step: 100}, rtmp.CodeConnectRejected},
		"no stream":          {script{answers: 2, refuse: true, step: 100}, rtmp.CodeConnectRejected},
		"no play":            {script{answers: 3, refuse: true, step: 100}, rtmp.CodePlayFailed},
		"closes":             {script{answers: 1, step: 100}, ""},
		"closes in the play": {script{answers: 3, step: 100}, "after 0 frames"},
		"nonsense":           {script{answers: 3, media: []byte("\xc9nonsense"), step: 100}, "chunk.no_prev"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			sent := make(chan []chunk.Message, 1)
			c.script.replied = make(chan struct{})
			go func() {
				rest, err := c.script.run(ln)
				if err != nil {
					t.Errorf("server: %v", err)
				}
				sent <- rest
			}()
			party := newParty(nil)
			crowd, err := newCrowd()
			if err != nil {
				t.Fatal(err)
			}
			defer crowd.leave()
			request, err := newPlayRequest("rtmp://" + ln.Addr().String() + "/live/x")
			if err != nil {
				t.Fatal(err)
			}
			ends := make(chan error, 1)
			p := newPlayer(request, 6, party, func(err error) { ends <- err })
			crowd.join(&p.client)
			if len(c.script.media) < 1000 { // it must end by itself
				err := <-ends
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), request.name) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			select {
			case err := <-ends:
				t.Fatal(err)
			case <-c.script.replied:
			}
			crowd.leave()
			if err := <-ends; err != nil || p.check.intact != frames || party.tally.damage() > 0 || party.join.count.Load() != 1 {
				t.Errorf("%v: %d frames, %d faults", err, p.check.intact, party.tally.damage())
			}
			checkReplies(t, <-sent, len(media))
		})
	}
}

// checkReplies looks for what a player must send while it plays.
func checkReplies(t *testing.T, sent []chunk.Message, received int) {
	t.Helper()
	pongs, acked := 0, 0
	for _, m := range sent {
		switch {
		case m.Type == rtmp.TypeUserControl && binary.BigEndian.Uint16(m.Body) == rtmp.EventPong:
			if n := binary.BigEndian.Uint32(m.Body[2:]); n != 77 {
				t.Errorf("the pong says %d", n)
			}
			pongs++
		case m.Type == rtmp.TypeAck:
			acked = int(binary.BigEndian.Uint32(m.Body))
		}
	}
	if pongs != 1 || acked < received/3 || acked > received+4096 {
		t.Errorf("%d pongs; %d of %d bytes acknowledged", pongs, acked, received)
	}
}

// TestCrowdTooLate: a server that says nothing is given up, in time order; who
// plays has all the time.
func TestCrowdTooLate(t *testing.T) {
	c := &crowd{clients: make([]*client, 1000)}
	ended := make(map[int]error)
	var all []*client
	for i, state := range []clientState{clientShaking, clientWorking, clientAccepted, clientConnecting, clientLeaving} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[1])
		p := &client{request: new(request), crowd: c, fd: pair[0], state: state, ended: func(err error) { ended[i] = err }}
		p.role = new(player)
		c.clients[p.fd] = p
		all = append(all, p)
	}
	now := time.Now().UnixNano()
	for i, ahead := range []time.Duration{-time.Minute, -time.Second, 0, time.Minute, -time.Minute} {
		all[i].wakeAt(now + int64(time.Hour))
		all[i].wakeAt(now + int64(ahead))
	}
	c.tick()
	if len(ended) != 3 || !errors.Is(ended[0], errSlow) || !errors.Is(ended[2], errSlow) || ended[4] != nil {
		t.Errorf("ended: %v", ended)
	}
	if c.times.next() != now+int64(time.Minute) || len(c.times) != 1 {
		t.Errorf("%d are waited for", len(c.times))
	}
	for _, p := range all {
		if p.state != clientGone {
			c.end(p, nil)
		}
	}
	if len(c.times) != 0 {
		t.Errorf("%d are waited for at the end", len(c.times))
	}
}

// TestCrowdLeaves: players that were to join just then, and twice.
func TestCrowdLeaves(t *testing.T) {
	party := newParty(nil)
	c, err := newCrowd()
	if err != nil {
		t.Fatal(err)
	}
	request, err := newPlayRequest("rtmp://" + startFloor(t, 0) + "/live/nobody")
	if err != nil {
		t.Fatal(err)
	}
	ends := make(chan error, 100)
	for range 100 {
		c.join(&newPlayer(request, 0, party, func(err error) { ends <- err }).client)
	}
	c.leave()
	c.leave()
	if len(ends) != 100 {
		t.Errorf("%d of 100 ended", len(ends))
	}
	for range len(ends) {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
}

// TestDialFrom: where ports run out another loopback address has more.
func TestDialFrom(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r, err := newPlayRequest("rtmp://" + ln.Addr().String() + "/live/x")
	if err != nil || !r.loopback {
		t.Fatal(r, err)
	}
	for source, want := range map[byte]string{1: "127.0.0.1", 2: "127.0.0.2", maxSources: "127.0.0.250"} {
		fd, _, err := r.dial(source, 0)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if host, _, _ := net.SplitHostPort(c.RemoteAddr().String()); host != want {
			t.Errorf("from %s, want %s", host, want)
		}
		c.Close()
		unix.Close(fd)
	}
	for url, want := range map[string]string{"rtmp://[::1]:1/a/b": "", "rtmp://127.0.0.1:x/a/b": "invalid port", "http://a/b": "rtmp://host"} {
		r, err := newPlayRequest(url)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && r.loopback {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestVerifySample: of a sample, damage shows by its share, disorder always.
func TestVerifySample(t *testing.T) {
	sum := tally{sample: 8}
	damaged := stream(1, 800)
	for i := streamHead; i < len(damaged); i++ {
		damaged[i].Data[len(damaged[i].Data)-20] ^= 1
	}
	damaged[streamHead].Data[len(damaged[streamHead].Data)-20] ^= 1 // the keyframe is good
	feed := func(v *verifier, tags []flv.Tag) {
		for _, tag := range tags {
			v.message(tag.Type, tag.Timestamp, tag.Data, 0)
		}
	}
	feed(newVerifier(&sum, 1), damaged)
	if n := sum.corrupt.Load(); n != 100 {
		t.Errorf("%d of 800 damaged frames found", n)
	}
	sum = tally{sample: 8}
	good := stream(1, 800)
	feed(newVerifier(&sum, 1), append(good[:streamHead+101:streamHead+101], good[streamHead+102:]...))
	if sum.lost.Load() != 1 || sum.damage() != 1 {
		t.Errorf("%d lost, %d faults", sum.lost.Load(), sum.damage())
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// startFloor runs a floor until the test ends, and returns its address.
func startFloor(t *testing.T, coalesce time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f, err := newFloor(ctx, "127.0.0.1:0", coalesce)
	if err != nil {
		t.Fatal(err)
	}
	address, err := unix.Getsockname(f.listener)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprintf("127.0.0.1:%d", address.(*unix.SockaddrInet4).Port)
}

// TestFloor: the yardstick delivers everything to bench's own players.
func TestFloor(t *testing.T) {
	t.Parallel()
	for name, coalesce := range map[string]time.Duration{"at once": 0, "coalesced": 60 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := "rtmp://" + startFloor(t, coalesce) + "/live/x?token=1"
			var out bytes.Buffer
			args := strings.Fields("fanout -publishers 3 -players 10 -duration 1s -gop 400ms -url " + url)
			if code := run(t.Context(), args, &out, &out); code != exitOK || !strings.Contains(out.String(), "100.000 %") {
				t.Errorf("exit status %d\n%s", code, out.String())
			}
		})
	}
}

// A floorPeer is a client of a test.
type floorPeer struct {
	*rtmp.Conn
	t *testing.T
}

// dial connects and makes the request (publish or play), both within dialTimeout.
func dial(ctx context.Context, url string, request func(*rtmp.Conn) error) (*rtmp.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := rtmp.Dial(ctx, url, chunkSize)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = request(conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func dialFloor(t *testing.T, url string, request func(*rtmp.Conn) error) floorPeer {
	t.Helper()
	c, err := dial(t.Context(), url, request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return floorPeer{c, t}
}

// send publishes tags as they are.
func (c floorPeer) send(tags []flv.Tag) {
	c.t.Helper()
	for _, tag := range tags {
		if err := c.WriteTag(csidOf(tag.Type), tag.Type, tag.Timestamp, tag.Data); err != nil {
			c.t.Fatal(err)
		}
	}
}

// receive reads until so many frames have come, and returns what a verifier
// says of them.
func (c floorPeer) receive(id uint32, frames int64) *tally {
	c.t.Helper()
	sum := new(tally)
	v := newVerifier(sum, id)
	for v.intact < frames {
		m, err := c.ReadMessage()
		if err != nil {
			c.t.Fatalf("after %d frames: %v", v.intact, err)
		}
		v.message(m.Type, m.Timestamp, m.Body, 0)
	}
	return sum
}

// fat is a workload of large frames: a stalled player's sockets are soon full.
var fat = workload{Kbps: 20_000, FPS: 25, GOP: time.Second}

func fatStream(id uint32, frames int) []flv.Tag {
	p, s := newPayload(fat, id), schedule{workload: fat}
	tags := p.headers()
	for range frames {
		f := s.next()
		tags = append(tags, flv.Tag{Type: f.typ, Timestamp: f.timestamp(), Data: slices.Clone(p.frame(f, 0))})
	}
	return tags
}

// TestFloorStalls: a player that does not read for a while still gets all, in
// pieces as its socket has room; one that never reads is dropped; neither holds
// up the one that reads.
func TestFloorStalls(t *testing.T) {
	const id, frames, some = 5, 450, 75 // of some 100 KB: 45 MB, 7.5 MB
	url := "rtmp://" + startFloor(t, 0) + "/live/x"
	publisher := dialFloor(t, url, (*rtmp.Conn).Publish)
	small := func() floorPeer {
		c := dialFloor(t, url, (*rtmp.Conn).Play)
		c.Conn.Conn.(*net.TCPConn).SetReadBuffer(256 << 10)
		return c
	}
	slow, dead, reader := small(), small(), dialFloor(t, url, (*rtmp.Conn).Play)
	tags := fatStream(id, frames)
	received := make(chan struct{}, frames)
	go func() { // all that is sent, one by one
		defer close(received)
		v := newVerifier(new(tally), id)
		for v.intact < frames {
			m, err := reader.ReadMessage()
			if err != nil {
				t.Errorf("after %d frames: %v", v.intact, err)
				return
			}
			if v.message(m.Type, m.Timestamp, m.Body, 0); v.started.Load() {
				received <- struct{}{}
			}
		}
		if n := v.tally.damage(); n > 0 {
			t.Errorf("%d faults", n)
		}
	}()
	publisher.send(tags[:2+some])
	for range some {
		<-received
	}
	if sum := slow.receive(id, some); sum.damage() > 0 {
		t.Errorf("late: %d faults", sum.damage())
	}
	slow.Close()
	const ahead = 30 // frames the reader may lack: it is not to be dropped itself
	for i := 2 + some; i < len(tags); i++ {
		publisher.send(tags[i : i+1])
		if i >= 2+some+ahead {
			<-received
		}
	}
	for range received {
	}
	// It was cut off within what it had not read.
	if _, err := io.Copy(io.Discard, dead.Conn.Conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

// TestFloorLog: what a joining player gets, and how much is kept.
func TestFloorLog(t *testing.T) {
	s := newFloorStream("x")
	s.begin(new(floorClient))
	var live, stalled floorClient
	s.join(&live)
	s.join(&stalled)
	largest, dropped := 0, 0
	for i, tag := range fatStream(1, 500) {
		if tag.Type == flv.TypeScript {
			tag.Data, _ = rtmp.StripData(tag.Type, tag.Data)
		}
		for _, c := range s.add(chunk.Message{Type: tag.Type, Timestamp: tag.Timestamp, Body: tag.Data}) {
			if c != &stalled {
				t.Fatal("the wrong player is to be dropped")
			}
			dropped++
			s.leave(c)
		}
		if i == 2 { // the first keyframe
			s.lacks(&stalled)
		}
		if i >= 2 {
			live.pos += int64(len(s.lacks(&live)))
		}
		largest = max(largest, cap(s.log))
	}
	if dropped != 1 || len(s.players) != 1 || s.players[0] != &live || live.index != 0 {
		t.Errorf("%d players dropped, %d left", dropped, len(s.players))
	}
	if limit := 8 * maxLag; largest > limit {
		t.Errorf("the log grew to %d bytes, more than %d", largest, limit)
	}
	late := new(floorClient)
	s.join(late)
	bytes := append(slices.Clone(s.lacks(late)), late.out...)
	if late.out = append(late.out, s.lacks(late)...); len(late.out) != len(bytes) {
		t.Error("the prologue is given twice")
	}
	r := chunk.NewReader(clientLimits)
	r.Feed(append([]byte("\x02\x00\x00\x00\x00\x00\x04\x01\x00\x00\x00\x00\x00\x00\xea\x60"), late.out...))
	sum := new(tally)
	v := newVerifier(sum, 1)
	for {
		m, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		v.message(m.Type, m.Timestamp, m.Body, 0)
	}
	if sum.damage() > 0 || v.first != 475 || v.intact != 25 {
		t.Errorf("%d faults, %d frames from %d on", sum.damage(), v.intact, v.first)
	}
}

// TestFloorStarts: where a player may start.
func TestFloorStarts(t *testing.T) {
	audio := chunk.Message{Type: rtmp.TypeAudio, Body: []byte("\xaf\x01sound")}
	for name, c := range map[string]struct {
		first chunk.Message
		want  bool
	}{
		"sound alone":     {audio, true},
		"picture comes":   {chunk.Message{Type: rtmp.TypeVideo, Body: avcHeader}, false},
		"no keyframe":     {chunk.Message{Type: rtmp.TypeVideo, Body: []byte("\x27\x01\x00\x00\x00x")}, false},
		"keyframe":        {chunk.Message{Type: rtmp.TypeVideo, Body: []byte("\x17\x01\x00\x00\x00x")}, true},
		"only the header": {chunk.Message{Type: rtmp.TypeAudio, Body: aacHeader}, true}, // and then the sound
	} {
		s := newFloorStream("x")
		s.begin(new(floorClient))
		s.add(c.first)
		s.add(audio)
		if p := new(floorClient); true {
			s.join(p)
			if got := len(s.lacks(p)) > 0; got != c.want {
				t.Errorf("%s: starts: %v", name, got)
			}
		}
		// Another publisher begins anew.
		s.begin(new(floorClient))
		if s.bookmarked() {
			t.Errorf("%s: players start at the last publisher's keyframe", name)
		}
	}
}

// TestFloorAllocatesNothing: for a message, once the log has its size.
func TestFloorAllocatesNothing(t *testing.T) {
	s := newFloorStream("x")
	s.begin(new(floorClient))
	var p floorClient
	s.join(&p)
	m := chunk.Message{Type: rtmp.TypeVideo, Body: make([]byte, 5000)}
	m.Body[0] = 0x17
	m.Body[1] = 1
	s.add(m)
	if n := testing.AllocsPerRun(2000, func() {
		s.add(m)
		p.pos += int64(len(s.lacks(&p)))
		p.out = p.out[:0]
	}); n > 0 {
		t.Errorf("%.2f allocations a message", n)
	}
}

// TestFloorRefuses: it is no server, and still nobody can end it.
func TestFloorRefuses(t *testing.T) {
	address := startFloor(t, 0)
	hello, _ := rtmp.Hello(true, rand.Reader)
	for name, bytes := range map[string][]byte{
		"nothing":      nil,
		"HTTP":         append([]byte("GET / HTTP/1.1\r\n"), make([]byte, 2000)...),
		"half a hello": hello[:100],
		"no chunk":     slices.Concat(hello, make([]byte, rtmp.HandshakeSize), []byte("\xc3nonsense")),
		"no command":   rtmp.AppendData(slices.Concat(hello, make([]byte, rtmp.HandshakeSize)), 128, "x"),
		"play nothing": rtmp.AppendCommand(slices.Concat(hello, make([]byte, rtmp.HandshakeSize)), 128, 1, "play", 1.0, nil),
	} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(bytes)
		c.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	url := "rtmp://" + address + "/live/x"
	dialFloor(t, url, (*rtmp.Conn).Publish)
	if _, err := dial(t.Context(), url, (*rtmp.Conn).Publish); err == nil || !strings.Contains(err.Error(), rtmp.CodePublishBadName) {
		t.Errorf("a second publisher: %v", err)
	}
}

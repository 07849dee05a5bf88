package rtmp

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/amf0"
	"srs/rtmp/chunk"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		in   string
		want URL
	}{
		{"rtmp://h/live/s", URL{"h:1935", "rtmp://h/live", "live", "s"}},
		{"rtmp://h:19350/live/x/s?k=v&vhost=a", URL{"h:19350", "rtmp://h:19350/live/x", "live/x", "s?k=v&vhost=a"}},
		{"rtmp://[::1]/live/s", URL{"[::1]:1935", "rtmp://[::1]/live", "live", "s"}},
		{"rtmp://[::1]:1/live/s", URL{"[::1]:1", "rtmp://[::1]:1/live", "live", "s"}},
		{"rtmp://h/live/a%20b", URL{"h:1935", "rtmp://h/live", "live", "a%20b"}},
	} {
		if got, err := ParseURL(c.in); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.in, got, err)
		}
	}
	for _, in := range []string{"", "h/live/s", "http://h/live/s", "rtmp://h", "rtmp://h/live", "rtmp://h/live/", "rtmp:///live/s", "rtmp://h:x/live/s", "rtmp://h//s"} {
		if got, err := ParseURL(in); err == nil {
			t.Errorf("%q: %+v", in, got)
		}
	}
}

// peer is the server's end of a Conn in these tests.
type peer struct {
	net.Conn
	t      *testing.T
	reader *chunk.Reader
	in     []byte
}

// serve listens, and lets f talk with the one client that comes. The address
// is of a stream there. f has ended when the test does.
func serve(t *testing.T, f func(p *peer)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(20 * time.Second))
		f(&peer{Conn: nc, t: t, reader: chunk.NewReader(clientLimits), in: make([]byte, 4096)})
	}()
	return "rtmp://" + l.Addr().String() + "/live/s?k=v"
}

// shake is the handshake; change may spoil the answer.
func (p *peer) shake(change func([]byte)) bool {
	hello := make([]byte, HelloSize)
	if _, err := io.ReadFull(p, hello); err != nil {
		p.t.Error(err)
		return false
	}
	answer, digest, err := AnswerHello(nil, hello, 0, rand.Reader)
	if err != nil || !digest {
		p.t.Errorf("a hello with digest %v, %v", digest, err)
		return false
	}
	if change != nil {
		change(answer)
	}
	p.Write(answer)
	_, err = io.ReadFull(p, make([]byte, HandshakeSize))
	return err == nil
}

// next returns the client's next message, or false at its end.
func (p *peer) next() (chunk.Message, bool) {
	for {
		m, ok, err := p.reader.Next()
		if err != nil {
			p.t.Error(err)
			return m, false
		}
		if ok {
			return m, true
		}
		n, err := p.Read(p.in)
		if n == 0 && err != nil {
			return m, false
		}
		p.reader.Feed(p.in[:n])
	}
}

// command returns the client's next command.
func (p *peer) command() Command {
	for {
		m, ok := p.next()
		if !ok {
			return Command{}
		}
		if m.Type == TypeCommand {
			c, err := ParseCommand(m.Type, m.Body)
			if err != nil {
				p.t.Error(err)
			}
			return c
		}
	}
}

// open is a connection up to createStream.
func (p *peer) open() bool {
	if !p.shake(nil) {
		return false
	}
	c := p.command()
	if c.Name != CommandConnect || c.Object.String("app") != "live" || !strings.HasSuffix(c.Object.String("tcUrl"), "/live") {
		p.t.Errorf("%+v", c)
	}
	b := AppendWindowAck(nil, 2500000)
	b = AppendPeerBandwidth(b, 2500000)
	b = AppendSetChunkSize(b, 60000)
	b = AppendConnectResult(b, 60000, &c, Identity{Product: "srs"})
	p.Write(AppendCommand(b, 60000, 0, CommandOnBWDone, 0.0, amf0.Null{}))
	if c = p.command(); c.Name != CommandCreateStream {
		p.t.Errorf("%+v", c)
	}
	p.Write(AppendCommand(nil, 60000, 0, CommandResult, c.Transaction, amf0.Null{}, 1.0))
	return true
}

func dial(t *testing.T, address string) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, address, 4096)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestConnPublish: a client publishes, and what it writes arrives.
func TestConnPublish(t *testing.T) {
	body := bytes.Repeat([]byte("v"), 100_000)
	got := make(chan string, 1)
	c := dial(t, serve(t, func(p *peer) {
		if !p.open() {
			return
		}
		for _, name := range []string{CommandReleaseStream, CommandFCPublish, CommandPublish} {
			if cmd := p.command(); cmd.Name != name || cmd.Args[0] != "s?k=v" {
				p.t.Errorf("%+v", cmd)
			}
		}
		p.Write(AppendStatus(AppendCommand(nil, 60000, 1, "onFCPublish", 0.0, amf0.Null{}), 60000, "status", CodePublishStart, ""))
		m, _ := p.next()
		got <- fmt.Sprint(m.CSID, m.Type, m.StreamID, m.Timestamp, bytes.Equal(m.Body, body))
		if cmd := p.command(); cmd.Name != CommandDeleteStream {
			p.t.Errorf("%+v", cmd)
		}
	}))
	if err := c.Publish(); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteTag(6, TypeVideo, 0x01020304, body); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteTag(6, TypeVideo, 0, make([]byte, 1<<24)); err == nil {
		t.Error("a message of 16 MiB")
	}
	if s := <-got; s != "6 9 1 16909060 true" {
		t.Error(s)
	}
	if err := c.WriteCommand(CommandDeleteStream, 0.0, amf0.Null{}, 1.0); err != nil {
		t.Error(err)
	}
}

// TestConnPlay: pings are answered, bytes acknowledged, media handed out.
func TestConnPlay(t *testing.T) {
	heard := make(chan string, 2)
	c := dial(t, serve(t, func(p *peer) {
		if !p.open() {
			return
		}
		if cmd := p.command(); cmd.Name != CommandPlay || cmd.Args[0] != "s?k=v" {
			p.t.Errorf("%+v", cmd)
		}
		b := AppendUserControl(nil, EventStreamBegin, 1)
		b = AppendStatus(b, 60000, "status", CodePlayReset, "")
		b = AppendStatus(b, 60000, "status", CodePlayStart, "")
		b = AppendUserControl(b, EventPing, 77)
		b = AppendWindowAck(b, 100_000)
		for i := range uint32(3) {
			b = chunk.Append(b, chunk.Message{CSID: 6, Type: TypeVideo, StreamID: 1, Timestamp: i, Body: make([]byte, 50_000)}, 60000)
		}
		p.Write(b)
		for range 2 {
			m, _ := p.next()
			switch m.Type {
			case TypeUserControl:
				heard <- fmt.Sprintf("%x", m.Body)
			case TypeAck:
				heard <- "ack"
			default:
				heard <- fmt.Sprintf("%+v", m)
			}
		}
		p.Write(AppendStatus(nil, 60000, "error", CodePlayFailed, ""))
		p.Conn.(*net.TCPConn).CloseWrite() // a further acknowledgement that nobody reads would be a reset
		io.Copy(io.Discard, p)
	}))
	if err := c.Play(); err != nil {
		t.Fatal(err)
	}
	for i := range uint32(3) {
		m, err := c.ReadMessage()
		if err != nil || m.Type != TypeVideo || m.Timestamp != i || len(m.Body) != 50_000 {
			t.Fatalf("%d: %+v, %v", i, m.Type, err)
		}
	}
	if c.Received() < 150_000 {
		t.Errorf("%d bytes received", c.Received())
	}
	a, b := <-heard, <-heard
	if a+b != "00070000004dack" && b+a != "00070000004dack" {
		t.Errorf("the server heard %s and %s", a, b)
	}
	if m, err := c.ReadMessage(); err != nil || m.Type != TypeCommand {
		t.Errorf("%v, %v", m.Type, err)
	}
	if _, err := c.ReadMessage(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// TestConnRefused: each way a server can say no.
func TestConnRefused(t *testing.T) {
	refused := func(err error, code string) bool {
		var e *StatusError
		return errors.As(err, &e) && e.Code == code && strings.Contains(e.Error(), code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := Dial(ctx, serve(t, func(p *peer) {
		if p.shake(nil) {
			c := p.command()
			p.Write(AppendConnectError(nil, 128, c.Transaction, CodeConnectInvalidApp, "no vhost"))
		}
	}), 4096)
	if !refused(err, CodeConnectInvalidApp) {
		t.Errorf("connect: %v", err)
	}
	c := dial(t, serve(t, func(p *peer) {
		if p.open() {
			p.command()
			p.Write(AppendStatus(nil, 60000, "error", CodePublishBadName, "busy"))
			p.command()
		}
	}))
	if err := c.Publish(); !refused(err, CodePublishBadName) {
		t.Errorf("publish: %v", err)
	}
	c = dial(t, serve(t, func(p *peer) {
		if p.open() {
			p.command()
		}
	}))
	if err := c.Play(); !errors.Is(err, io.EOF) {
		t.Errorf("play: %v", err)
	}
	if _, err := Dial(ctx, serve(t, func(p *peer) { p.shake(func(b []byte) { b[3000] ^= 1 }) }), 4096); !errors.Is(err, ErrProof) {
		t.Errorf("forged: %v", err)
	}
	if _, err := Dial(ctx, serve(t, func(p *peer) { p.shake(func(b []byte) { b[0] = 'H' }) }), 4096); !errors.Is(err, ErrVersion) {
		t.Errorf("version: %v", err)
	}
	if _, err := Dial(ctx, "http://h/live/s", 4096); err == nil {
		t.Error("another scheme")
	}
	e := statusError(Command{})
	if !refused(e, "") {
		t.Error(e)
	}
}

// TestConnCancelled: the context ends a handshake with a silent server.
func TestConnCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Dial(ctx, serve(t, func(p *peer) {
		io.ReadFull(p, make([]byte, HelloSize))
		cancel()
		io.Copy(io.Discard, p) // until the client leaves
	}), 4096)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestConnBothAtOnce: a writer at work does not disturb the answers that
// reading gives, over a connection that takes a byte only when it is read.
func TestConnBothAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := &Conn{Conn: near, reader: chunk.NewReader(clientLimits), in: make([]byte, 1000), chunkSize: 128}
		go func() {
			defer near.Close()
			for i := range uint32(200) {
				if err := c.WriteTag(6, TypeVideo, i, bytes.Repeat([]byte{byte(i)}, 1000)); err != nil {
					t.Error(err)
				}
			}
		}()
		go func() {
			for {
				if _, err := c.ReadMessage(); err != nil {
					return
				}
			}
		}()
		go func() {
			for i := range uint32(200) {
				far.Write(AppendUserControl(nil, EventPing, i))
			}
		}()
		p := &peer{Conn: far, t: t, reader: chunk.NewReader(clientLimits), in: make([]byte, 700)}
		videos := 0
		for {
			m, ok := p.next()
			if !ok {
				break
			}
			if m.Type == TypeVideo {
				if len(m.Body) != 1000 || m.Timestamp != uint32(videos) || m.Body[999] != byte(videos) {
					t.Errorf("video %d: %d bytes at %d", videos, len(m.Body), m.Timestamp)
				}
				videos++
			} else if m.Type != TypeUserControl {
				t.Errorf("type %d", m.Type)
			}
		}
		if videos != 200 {
			t.Errorf("%d videos", videos)
		}
		far.Close()
	})
}

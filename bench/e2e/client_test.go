package e2e

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"srs/amf0"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// A client speaks RTMP by hand: tests decide every byte.
type client struct {
	net.Conn
	reader *chunk.Reader
	in     [16 << 10]byte
}

// dial opens a TCP connection and nothing more.
func dial(t testing.TB, s *srs) *client {
	t.Helper()
	nc, err := net.DialTimeout("tcp", s.addr, longest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(2 * longest))
	return &client{Conn: nc, reader: chunk.NewReader(chunk.Limits{Streams: 64, Command: 1 << 20, Media: 16 << 20, Partial: 32 << 20})}
}

// shake does the handshake.
func (c *client) shake(t testing.TB) *client {
	t.Helper()
	hello, err := rtmp.Hello(false, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1+2*rtmp.HandshakeSize)
	if _, err := c.Write(hello); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	if _, err := c.Write(answer[1 : 1+rtmp.HandshakeSize]); err != nil {
		t.Fatal(err)
	}
	return c
}

// send writes bytes. A server that has closed already is no error: what it
// thinks of the bytes shows when they are answered.
func (c *client) send(t testing.TB, pieces ...[]byte) {
	t.Helper()
	for _, b := range pieces {
		if _, err := c.Write(b); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	}
}

// command waits for a command of that name and returns the code in its last
// argument, "" if there is none. err is the end of the connection.
func (c *client) command(names ...string) (name, code string, err error) {
	for {
		m, ok, err := c.reader.Next()
		if err != nil {
			return "", "", err
		}
		if !ok {
			n, err := c.Read(c.in[:])
			if err != nil {
				return "", "", err
			}
			c.reader.Feed(c.in[:n])
			continue
		}
		if m.Type != rtmp.TypeCommand {
			continue
		}
		cmd, err := rtmp.ParseCommand(m.Type, m.Body)
		if err != nil {
			return "", "", err
		}
		for _, want := range names {
			if cmd.Name == want && len(cmd.Args) > 0 {
				info, _ := cmd.Args[0].(amf0.Object)
				return cmd.Name, info.String("code"), nil
			}
		}
	}
}

// connect connects with a tcUrl and an app of one's own and returns the code
// of the answer.
func (c *client) connect(t testing.TB, tcURL, app string) string {
	t.Helper()
	c.send(t, cmdConnect(tcURL, app))
	_, code, err := c.command("_result", "_error")
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return code
}

// status sends a command about a stream and returns the code of the first
// onStatus that decides it.
func (c *client) status(t testing.TB, command []byte) string {
	t.Helper()
	c.send(t, cmdCreateStream(), command)
	for {
		_, code, err := c.command("onStatus")
		if err != nil {
			t.Fatalf("no onStatus: %v", err)
		}
		if code != rtmp.CodePlayReset {
			return code
		}
	}
}

// How a connection ended, as a client sees it.
const (
	endFIN = "FIN"
	endRST = "RST"
)

// end reads up to the end of the connection and says which it was.
func (c *client) end(t testing.TB, within time.Duration) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, c)
	switch {
	case err == nil:
		return endFIN
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("the connection is still open after %v", within)
		return "open"
	}
	return endRST
}

// reset closes with RST.
func (c *client) reset() {
	c.Conn.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// Commands as bytes, in chunks of the default size.

func cmdConnect(tcURL, app string) []byte {
	return rtmp.AppendCommand(nil, chunk.DefaultSize, 0, "connect", 1.0, amf0.Object{
		{Key: "app", Value: app}, {Key: "tcUrl", Value: tcURL},
	})
}

func cmdCreateStream() []byte {
	return rtmp.AppendCommand(nil, chunk.DefaultSize, 0, "createStream", 2.0, amf0.Null{})
}

func cmdPublish(stream string) []byte {
	return rtmp.AppendCommand(nil, chunk.DefaultSize, rtmp.StreamID, "publish", 5.0, amf0.Null{}, stream, "live")
}

func cmdPlay(stream string) []byte {
	return rtmp.AppendCommand(nil, chunk.DefaultSize, rtmp.StreamID, "play", 4.0, amf0.Null{}, stream)
}

// message is a whole message in chunks of the default size.
func message(csid uint32, typ uint8, body []byte) []byte {
	return chunk.Append(nil, chunk.Message{CSID: csid, Type: typ, StreamID: rtmp.StreamID, Body: body}, chunk.DefaultSize)
}

// announce is the header of a message of that length, and nothing of it.
func announce(csid uint32, typ uint8, length int) []byte {
	return chunk.AppendHeader(nil, csid, typ, rtmp.StreamID, 0, length)
}

// setChunkSize is RTMP 1.0 §5.4.1 with any number.
func setChunkSize(n uint32) []byte {
	return append(chunk.AppendHeader(nil, 2, rtmp.TypeSetChunkSize, 0, 0, 4), binary.BigEndian.AppendUint32(nil, n)...)
}

package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/amf0"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// raw connects without a protocol.
func (s *site) raw() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// shaken is raw after a plain handshake.
func (s *site) shaken() net.Conn {
	s.t.Helper()
	c := s.raw()
	hello := make([]byte, rtmp.HelloSize)
	hello[0] = 3
	c.Write(hello)
	if _, err := io.ReadFull(c, make([]byte, 1+2*rtmp.HandshakeSize)); err != nil {
		s.t.Fatal(err)
	}
	c.Write(hello[1:])
	return c
}

func command(values ...any) []byte { return rtmp.AppendCommand(nil, 128, 0, values...) }

func streamCommand(values ...any) []byte { return rtmp.AppendCommand(nil, 128, 1, values...) }

var connectObject = amf0.Object{{Key: "app", Value: "live"}, {Key: "tcUrl", Value: "rtmp://localhost/live"}}

func connectCommand() []byte { return command("connect", 1.0, connectObject) }

func publishing(stream string) []byte {
	b := append(connectCommand(), command("createStream", 2.0, amf0.Null{})...)
	return append(b, streamCommand("publish", 3.0, amf0.Null{}, stream, "live")...)
}

func message(csid uint32, typ uint8, body []byte) []byte {
	return chunk.Append(nil, chunk.Message{CSID: csid, Type: typ, StreamID: 1, Body: body}, 128)
}

func setChunkSize(n uint32) []byte {
	return message(2, 1, binary.BigEndian.AppendUint32(nil, n))
}

// Each wrong input ends its connection with one line that has the reason.
func TestBadInputHasAReason(t *testing.T) {
	nested := func(unit string, n int) []byte {
		return message(3, 20, append(amf0.Append(nil, "connect", 1.0), strings.Repeat(unit, n)...))
	}
	for _, v := range []struct {
		name   string
		shake  bool
		input  []byte
		reason string
	}{
		{"version 0", false, []byte{0}, "hs.version"},
		{"version 6, encrypted RTMP", false, []byte{6}, "hs.version"},
		{"an HTTP request", false, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "hs.version"},
		{"TLS", false, []byte{0x16, 3, 1, 0, 200}, "hs.tls_on_plain"},
		{"SRS's proxy header", false, []byte{0xf3, 0, 4, 1, 2, 3, 4}, "hs.proxy_denied"},
		{"chunk size 0", true, setChunkSize(0), "chunk.size_invalid"},
		{"chunk size 1", true, setChunkSize(1), "chunk.size_invalid"},
		{"chunk size with the top bit", true, setChunkSize(1 << 31), "chunk.size_invalid"},
		{"short control message", true, message(2, 1, []byte{1, 2}), "chunk.ctrl_short"},
		{"no predecessor", true, []byte{0xc5}, "chunk.no_prev"},
		{"too many chunk streams before publish", true, manyStreams(20), "chunk.csid_limit"},
		{"a command of 65 KiB before connect", true, chunk.AppendHeader(nil, 3, 20, 0, 0, 65<<10), "msg.too_big"},
		{"16 MB announced before connect", true, chunk.AppendHeader(nil, 3, 9, 0, 0, 0xffffff), "msg.too_big"},
		{"objects nested 16,000 deep", true, nested("\x03\x00\x01a", 16000), "amf.depth"},
		{"arrays nested deep", true, nested("\x0a\x00\x00\x00\x01", 10000), "amf.depth"},
		{"array with a false count", true, nested("\x0a\xff\xff\xff\xff\x05", 1), "amf.truncated"},
		{"array of many", true, nested("\x0a\x00\x98\x96\x80"+strings.Repeat("\x05", 10000), 1), "amf.elements"},
		{"marker without meaning", true, nested("\x11", 1), "amf.marker"},
		{"command without a name", true, message(3, 20, amf0.Append(nil, 1.0)), "amf.command"},
		{"createStream before connect", true, command("createStream", 2.0, amf0.Null{}), "state.order"},
		{"publish before connect", true, streamCommand("publish", 2.0, amf0.Null{}, "x", "live"), "state.order"},
		{"video before publish", true, append(connectCommand(), message(6, 9, videoHeader())...), "state.order"},
		{"connect twice", true, append(connectCommand(), connectCommand()...), "state.connect_twice"},
		{"createStream over and over", true, append(connectCommand(), bytes.Repeat(command("createStream", 2.0, amf0.Null{}), 100)...), "state.streams"},
		{"unknown message types", true, append(connectCommand(), bytes.Repeat(message(3, 99, []byte{1}), 200)...), "msg.unknown_flood"},
		{"stream name ..", true, publishing("../x"), "name.invalid"},
		{"stream name with a line break", true, publishing("a\r\nb"), "name.invalid"},
		{"stream name not UTF-8", true, publishing("a\xff"), "name.invalid"},
		{"stream name too long", true, publishing(strings.Repeat("x", 300)), "name.too_long"},
		{"no stream name", true, publishing(""), "name.empty"},
		{"only parameters", true, publishing("?token=x"), "name.empty"},
		{"damaged aggregate", true, append(publishing("agg"), message(6, 22, []byte{9, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 1})...), "msg.aggregate"},
		{"a message over 10 MiB", true, append(publishing("big"), chunk.AppendHeader(nil, 6, 9, 1, 0, 10<<20+1)...), "msg.too_big"},
		{"65 chunk streams while publishing", true, append(publishing("streams"), manyStreams(100)...), "chunk.csid_limit"},
		{"a new message inside one", true, append(publishing("inside"),
			append(append(chunk.AppendHeader(nil, 6, 9, 1, 0, 500), make([]byte, 128)...), chunk.AppendHeader(nil, 6, 9, 1, 0, 400)...)...), "chunk.header_change"},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := start(t, "")
			open := s.raw
			if v.shake {
				open = s.shaken
			}
			c := open()
			go c.Write(v.input)
			readEnd(c)
			c.Close()
			s.awaitLog("reason=" + v.reason)
			s.eventually(func() bool { return s.server.Counters().Connections == 0 }, "the connection stays")
			if n := strings.Count(s.log.String(), "client closed: "); n != 1 {
				t.Errorf("%d lines about the end:\n%s", n, s.log)
			}
		})
	}
}

func manyStreams(n uint32) []byte {
	var b []byte
	for csid := uint32(64); csid < 64+n; csid++ {
		b = append(b, message(csid, 20, nil)...)
	}
	return b
}

// Nobody holds a connection longer than its deadline by sending a byte now
// and then.
func TestHandshakeHasOneDeadline(t *testing.T) {
	t.Parallel()
	s := start(t, "")
	c := s.raw()
	begun := time.Now()
	closed := make(chan struct{})
	go func() {
		readEnd(c)
		close(closed)
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	c.Write([]byte{3})
	for {
		select {
		case <-tick.C:
			c.Write([]byte{0})
			continue
		case <-closed:
		}
		break
	}
	s.awaitLog("reason=hs.timeout")
	if took := time.Since(begun); took < handshakeTime-time.Second/2 || took > handshakeTime+3*time.Second {
		t.Errorf("closed after %v, the deadline is %v", took, handshakeTime)
	}
}

func TestClientThatLeavesInTheHandshake(t *testing.T) {
	s := start(t, "")
	for _, n := range []int{1, 700, rtmp.HelloSize} {
		c := s.raw()
		c.Write(append([]byte{3}, make([]byte, n-1)...))
		c.Close()
	}
	s.eventually(func() bool { return strings.Count(s.log.String(), "phase=handshake") == 3 }, "lines:\n%s", s.log)
	if strings.Contains(s.log.String(), "level=WARN") {
		t.Errorf("a client that leaves is nothing to warn of:\n%s", s.log)
	}
}

// Everything in one write before anything is read (many simple encoders).
func TestEverythingInOneWrite(t *testing.T) {
	s := start(t, "")
	c := s.raw()
	b := make([]byte, rtmp.HelloSize+rtmp.HandshakeSize)
	b[0] = 3
	b = append(b, setChunkSize(4096)...)
	b = append(b, publishing("one")...)
	c.Write(b)
	s.awaitLog("publish started")
}

// A crowd that does the same wrong thing fills no disk.
func TestLinesAreLimited(t *testing.T) {
	s := start(t, "")
	const crowd = 60
	for range crowd {
		c := s.raw()
		c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		readEnd(c)
	}
	s.eventually(func() bool { return s.server.Counters().Connections == 0 }, "connections stay")
	if n := strings.Count(s.log.String(), "hs.version"); n >= 2*crowd || n == 0 {
		t.Errorf("%d lines for %d connections", n, crowd)
	}
}

func TestLineLimitSumsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logBuffer
		l := lineLimit{log: slog.New(slog.NewTextHandler(&out, nil))}
		for range 25 {
			l.warn("a", "line a")
		}
		l.warn("b", "line b")
		if n := strings.Count(out.String(), "line a"); n != linesPerReason {
			t.Errorf("%d lines in one second, want %d", n, linesPerReason)
		}
		if !strings.Contains(out.String(), "line b") {
			t.Error("another reason has its own bound")
		}
		time.Sleep(lineWindow) // of the bubble
		synctest.Wait()
		if s := out.String(); strings.Count(s, "left out") != 1 || !strings.Contains(s, "reason=a lines=15") {
			t.Errorf("the sum is missing:\n%s", s)
		}
		for range 12 {
			l.warn("a", "line a")
		}
		l.flush()
		if s := out.String(); !strings.Contains(s, "reason=a lines=2") {
			t.Errorf("flush does not sum up:\n%s", s)
		}
		time.Sleep(lineWindow)
		synctest.Wait()
	})
}

func TestMaxConnections(t *testing.T) {
	s := start(t, "")
	small, err := conf1("listen 1; max_connections 2; vhost __defaultVhost__ {}")
	if err != nil {
		t.Fatal(err)
	}
	s.config.Store(small)
	a, b := s.dial("a"), s.dial("b")
	c := s.raw()
	if err := readEnd(c); err != nil {
		t.Errorf("the third connection ends with %v, want FIN", err)
	}
	s.awaitLog("max_connections reached")
	a.Close()
	s.eventually(func() bool { return s.server.Counters().Connections == 1 }, "the place is not free again")
	s.dial("c")
	b.Close()
}

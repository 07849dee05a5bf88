package server

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"srs/rtmp"
)

// First bytes that tell what a connection is that is not RTMP.
const (
	tlsClientHello = 0x16
	srsProxy       = 0xf3 // SRS's own header that names another client address
)

// handshake answers C0 and C1 and waits for C2. The first byte is looked at
// alone, so that a browser or a TLS client is told off at once; nothing is
// read beyond C2.
func (c *session) handshake() error {
	var first [1]byte
	if err := c.readFull(first[:]); err != nil {
		return err
	}
	switch first[0] {
	case rtmp.Version:
	case tlsClientHello:
		return end(reasonHSTLS, "a TLS client on a port that speaks plain RTMP")
	case srsProxy:
		return end(reasonHSProxy, "a proxy header, which is not enabled")
	default:
		return end(reasonHSVersion, "the first byte is not RTMP's")
	}
	hello := make([]byte, rtmp.HelloSize)
	hello[0] = first[0]
	if err := c.readFull(hello[1:]); err != nil {
		return err
	}
	uptime := uint32(time.Since(c.server.started).Milliseconds())
	answer, _, err := rtmp.AnswerHello(hello, uptime, rand.Reader)
	if err != nil {
		return end(reasonHSVersion, err.Error())
	}
	c.conn.SetWriteDeadline(c.deadline)
	n, err := c.conn.Write(answer)
	c.sent.Add(uint64(n))
	if err != nil {
		return handshakeEnding(err)
	}
	return c.readFull(hello[:rtmp.HandshakeSize]) // C2 is not looked at: many encoders send anything
}

func (c *session) readFull(b []byte) error {
	n, err := io.ReadFull(c.conn, b)
	c.received.Add(uint64(n))
	if err == nil {
		return nil
	}
	if e := c.kicked.Load(); e != nil {
		return e
	}
	return handshakeEnding(err)
}

func handshakeEnding(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return end(reasonHSTimeout, "no complete handshake within "+handshakeTime.String())
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &ending{reason: reasonHSEOF, text: "the client left during the handshake", expected: true}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &ending{reason: reasonHSReset, text: "the client reset the connection during the handshake", expected: true}
	}
	return &ending{reason: reasonHSReset, text: err.Error(), expected: true}
}

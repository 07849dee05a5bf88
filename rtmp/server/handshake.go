package server

import (
	"errors"
	"io"
	"syscall"
	"time"

	"srs/rtmp"
	"srs/rtmp/chunk"
)

// First bytes that tell what a connection is that is not RTMP.
const (
	tlsClientHello = 0x16
	srsProxy       = 0xf3 // SRS's own header that names another client address
)

// shake is how far a handshake has come.
type shake struct {
	hello    []byte // C0 and C1, until they are whole
	answered bool
	proof    int // bytes of C2 that have come; they are not looked at: many encoders send anything
}

// shakeHands takes C0, C1 and C2, answers, and returns what is behind them. The
// first byte is looked at alone, so that a browser or a TLS client is told off
// at once. What is random in the answer need not be secret.
func (c *session) shakeHands(b []byte, random io.Reader) ([]byte, error) {
	h := &c.shake
	if len(b) == 0 {
		return nil, nil
	}
	if !h.answered {
		if len(h.hello) == 0 {
			if err := firstByte(b[0]); err != nil {
				return nil, err
			}
		}
		hello := b
		if len(h.hello) > 0 || len(b) < rtmp.HelloSize {
			n := min(rtmp.HelloSize-len(h.hello), len(b))
			h.hello, b = append(h.hello, b[:n]...), b[n:]
			if hello = h.hello; len(hello) < rtmp.HelloSize {
				return nil, nil
			}
		} else {
			b = b[rtmp.HelloSize:]
		}
		uptime := uint32(time.Since(c.server.started).Milliseconds())
		answer, _, err := rtmp.AnswerHello(c.out, hello[:rtmp.HelloSize], uptime, random)
		if err != nil {
			return nil, end(reasonHSVersion, err.Error())
		}
		c.out = answer
		h.hello, h.answered = nil, true
	}
	n := min(rtmp.HandshakeSize-h.proof, len(b))
	if h.proof += n; h.proof == rtmp.HandshakeSize {
		c.reader = chunk.NewReader(earlyLimits)
		c.state = stateFresh
		c.setDeadline(time.Now().Add(commandTime))
	}
	return b[n:], nil
}

func firstByte(b byte) error {
	switch b {
	case rtmp.Version:
		return nil
	case tlsClientHello:
		return end(reasonHSTLS, "a TLS client on a port that speaks plain RTMP")
	case srsProxy:
		return end(reasonHSProxy, "a proxy header, which is not enabled")
	}
	return end(reasonHSVersion, "the first byte is not RTMP's")
}

func handshakeEnding(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &ending{reason: reasonHSEOF, text: "the client left during the handshake", expected: true}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return &ending{reason: reasonHSReset, text: "the client reset the connection during the handshake", expected: true}
	}
	return &ending{reason: reasonHSReset, text: err.Error(), expected: true}
}

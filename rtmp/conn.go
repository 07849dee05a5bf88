package rtmp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"srs/amf0"
	"srs/rtmp/chunk"
)

// Conn is the client side of a connection: what load generators, relays and
// tests publish and play with. It is not safe for concurrent use, but one
// goroutine may write while another reads.
type Conn struct {
	net.Conn
	URL URL

	// Owned by the reading side.
	reader   *chunk.Reader
	in       []byte
	received uint64
	acked    uint64
	window   uint64

	// Owned by the writing side.
	out       []byte
	chunkSize int
}

// URL is an address of a stream, taken apart as clients do it.
type URL struct {
	Address string // host:port to connect to
	TcURL   string
	App     string
	Stream  string // with its parameters
}

// ParseURL takes rtmp://host[:port]/app[/more]/stream[?params] apart: the last
// segment is the stream.
func ParseURL(s string) (URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return URL{}, err
	}
	path := strings.TrimPrefix(u.EscapedPath(), "/")
	app, stream, ok := cutLast(path, "/")
	if u.Scheme != "rtmp" || u.Host == "" || !ok || app == "" || stream == "" {
		return URL{}, fmt.Errorf("rtmp: %q is not rtmp://host[:port]/app/stream", s)
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "1935")
	}
	if u.RawQuery != "" {
		stream += "?" + u.RawQuery
	}
	return URL{Address: address, TcURL: "rtmp://" + u.Host + "/" + app, App: app, Stream: stream}, nil
}

// clientLimits are generous: a client trusts the server it has chosen.
var clientLimits = chunk.Limits{Streams: 64, Command: 1 << 20, Media: 16 << 20, Partial: 32 << 20}

// A StatusError is a refusal by the server: the code of its _error or onStatus.
type StatusError struct {
	Code        string
	Description string
}

func (e *StatusError) Error() string { return "rtmp: refused: " + e.Code + ": " + e.Description }

// Dial connects, shakes hands and sends connect and createStream. The
// deadline of ctx holds for all of it; later reads and writes have none but
// the connection's own. chunkSize is what the client will send with.
func Dial(ctx context.Context, address string, chunkSize int) (*Conn, error) {
	u, err := ParseURL(address)
	if err != nil {
		return nil, err
	}
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", u.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	c := &Conn{
		Conn: nc, URL: u, reader: chunk.NewReader(clientLimits),
		in: make([]byte, 16<<10), chunkSize: chunk.DefaultSize,
	}
	err = c.open(chunkSize)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, ctx.Err())
		}
		return nil, err
	}
	return c, nil
}

func (c *Conn) open(chunkSize int) error {
	if err := c.shake(); err != nil {
		return fmt.Errorf("rtmp: handshake: %w", err)
	}
	c.out = AppendSetChunkSize(c.out[:0], chunkSize)
	c.chunkSize = chunkSize
	c.out = AppendCommand(c.out, c.chunkSize, 0, CommandConnect, 1.0, amf0.Object{
		{Key: "app", Value: c.URL.App}, {Key: "type", Value: "nonprivate"},
		{Key: "flashVer", Value: "srs"}, {Key: "tcUrl", Value: c.URL.TcURL},
	})
	if err := c.flush(); err != nil {
		return err
	}
	if _, err := c.await(1); err != nil {
		return err
	}
	c.out = AppendCommand(c.out[:0], c.chunkSize, 0, CommandCreateStream, 2.0, amf0.Null{})
	if err := c.flush(); err != nil {
		return err
	}
	_, err := c.await(2)
	return err
}

func (c *Conn) shake() error {
	hello, err := Hello(true, rand.Reader)
	if err != nil {
		return err
	}
	if _, err := c.Conn.Write(hello); err != nil {
		return err
	}
	answer := make([]byte, 1+2*HandshakeSize)
	if _, err := io.ReadFull(c.Conn, answer); err != nil {
		return err
	}
	c2, err := AnswerServer(hello, answer)
	if err != nil {
		return err
	}
	_, err = c.Conn.Write(c2)
	return err
}

// Publish asks to publish the URL's stream and waits for the answer.
func (c *Conn) Publish() error {
	c.out = AppendCommand(c.out[:0], c.chunkSize, 0, CommandReleaseStream, 3.0, amf0.Null{}, c.URL.Stream)
	c.out = AppendCommand(c.out, c.chunkSize, 0, CommandFCPublish, 4.0, amf0.Null{}, c.URL.Stream)
	c.out = AppendCommand(c.out, c.chunkSize, StreamID, CommandPublish, 5.0, amf0.Null{}, c.URL.Stream, "live")
	if err := c.flush(); err != nil {
		return err
	}
	return c.awaitStatus(CodePublishStart)
}

// Play asks to play the URL's stream and waits for the answer.
func (c *Conn) Play() error {
	c.out = AppendCommand(c.out[:0], c.chunkSize, StreamID, CommandPlay, 3.0, amf0.Null{}, c.URL.Stream, -2.0)
	if err := c.flush(); err != nil {
		return err
	}
	return c.awaitStatus(CodePlayStart)
}

// await reads up to the result of a transaction.
func (c *Conn) await(transaction float64) (Command, error) {
	for {
		cmd, err := c.readCommand()
		if err != nil {
			return cmd, err
		}
		if cmd.Transaction == transaction && cmd.Name == CommandResult {
			return cmd, nil
		}
		if cmd.Transaction == transaction && cmd.Name == CommandError {
			return cmd, statusError(cmd)
		}
	}
}

// awaitStatus reads up to an onStatus of that code.
func (c *Conn) awaitStatus(code string) error {
	for {
		cmd, err := c.readCommand()
		if err != nil {
			return err
		}
		if cmd.Name != CommandOnStatus || len(cmd.Args) == 0 {
			continue
		}
		info, _ := cmd.Args[0].(amf0.Object)
		switch {
		case info.String("code") == code:
			return nil
		case info.String("level") == "error":
			return statusError(cmd)
		}
	}
}

func statusError(cmd Command) error {
	if len(cmd.Args) == 0 {
		return &StatusError{Description: "no reason given"}
	}
	info, _ := cmd.Args[0].(amf0.Object)
	return &StatusError{Code: info.String("code"), Description: info.String("description")}
}

func (c *Conn) readCommand() (Command, error) {
	for {
		m, err := c.ReadMessage()
		if err != nil {
			return Command{}, err
		}
		if m.Type == TypeCommand || m.Type == TypeCommandAMF3 {
			return ParseCommand(m.Type, m.Body)
		}
	}
}

// ReadMessage returns the next message that is not a matter of the chunk
// layer. Its body is valid until the next call. Acknowledgements and ping
// responses are sent meanwhile, each in one Write, as a writer's messages are.
func (c *Conn) ReadMessage() (chunk.Message, error) {
	for {
		m, ok, err := c.reader.Next()
		if err != nil {
			return m, err
		}
		if ok {
			switch m.Type {
			case TypeSetChunkSize, TypeAbort, TypeAck, TypePeerBW:
			case TypeWindowAck:
				c.window = uint64(binary.BigEndian.Uint32(m.Body))
			case TypeUserControl:
				if err := c.userControl(m.Body); err != nil {
					return m, err
				}
			default:
				return m, nil
			}
			continue
		}
		n, err := c.Conn.Read(c.in)
		if n == 0 && err != nil {
			return m, err
		}
		c.received += uint64(n)
		if c.window > 0 && c.received-c.acked >= c.window/2 {
			c.acked = c.received
			if _, err := c.Conn.Write(AppendAck(nil, uint32(c.received))); err != nil {
				return m, err
			}
		}
		c.reader.Feed(c.in[:n])
	}
}

func (c *Conn) userControl(body []byte) error {
	if binary.BigEndian.Uint16(body) == EventPing && len(body) >= 6 {
		_, err := c.Conn.Write(AppendUserControl(nil, EventPong, binary.BigEndian.Uint32(body[2:])))
		return err
	}
	return nil
}

// Received returns the bytes read after the handshake.
func (c *Conn) Received() uint64 { return c.received }

// errTooLong says that a message does not fit RTMP's 24-bit length.
var errTooLong = errors.New("rtmp: message longer than 16,777,215 bytes")

// WriteTag sends an audio, video or data message on the stream.
func (c *Conn) WriteTag(csid uint32, typ uint8, timestamp uint32, body []byte) error {
	if len(body) > 0xffffff {
		return errTooLong
	}
	c.out = chunk.Append(c.out[:0], chunk.Message{CSID: csid, Type: typ, StreamID: StreamID, Timestamp: timestamp, Body: body}, c.chunkSize)
	return c.flush()
}

// WriteCommand sends a command on the stream.
func (c *Conn) WriteCommand(values ...any) error {
	c.out = AppendCommand(c.out[:0], c.chunkSize, StreamID, values...)
	return c.flush()
}

func (c *Conn) flush() error {
	_, err := c.Conn.Write(c.out)
	return err
}

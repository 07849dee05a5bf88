package server

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"srs/conf"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// Deadlines of a session beside those that the configuration sets.
const (
	handshakeTime = 5 * time.Second  // accept to C2, all of it
	commandTime   = 10 * time.Second // C2 to an accepted publish or play, gates not counted
	againTime     = 3 * time.Minute  // from the end of one publish or play to the next
	writeTime     = 10 * time.Second // a reply must be taken by the client in this time
	rearmEvery    = time.Second      // read deadlines of publishers are moved this often
)

// Bounds of a session.
const (
	maxCreateStreams = 16
	maxUnknown       = 100       // messages in a row of types that mean nothing
	minAckWindow     = 64 << 10  // a smaller window would cost an answer per message
	maxPendingInput  = 256 << 10 // read while a gate is pending
	ourWindow        = 2500000   // as SRS says it, bytes
)

// What a client may send before and after it was accepted for something.
var (
	earlyLimits = chunk.Limits{Streams: 8, Command: 64 << 10, Media: 64 << 10, Partial: 128 << 10}
	fullLimits  = chunk.Limits{Streams: 64, Command: 256 << 10, Media: 10 << 20, Partial: 11 << 20}
)

// state is where a session stands.
//
//	handshake -> fresh -> connected <-> publishing
//	                      connected <-> playing
type state uint8

const (
	stateHandshake state = iota
	stateFresh           // handshake done, connect awaited
	stateConnected
	statePublishing
	statePlaying
)

func (s state) String() string {
	return [...]string{"handshake", "connect", "connected", "publish", "play"}[s]
}

// session is one connection. Its goroutine reads and handles what comes. While
// it plays it has no goroutine: it is handed over to a sender, which owns it
// until it comes back.
type session struct {
	// Static after construction.
	server *Server
	id     uint64
	ip     string
	hooks  *hook.Client
	log    *slog.Logger
	begun  time.Time

	kicked atomic.Pointer[ending] // set by kick, by any goroutine
	sent   atomic.Uint64
	// Bytes read; written by who owns the session, read by anybody.
	received atomic.Uint64

	mu   sync.Mutex // guards changes of the two below, for kick
	conn net.Conn   // not while a sender owns the session
	with *player    // with a sender

	// Owned by the session's goroutine, or the sender.
	state     state
	input     *input
	reader    *chunk.Reader
	pending   []byte // read while a gate was pending, to be parsed next
	out       []byte // replies that are not written yet
	chunkSize int    // of what we send
	deadline  time.Time
	acked     uint64
	window    uint64 // the client wants an acknowledgement this often; 0: never
	created   int    // createStream calls since the last publish or play
	unknown   int
	served    bool // has published or played before

	// What connect said; static once the state is connected.
	vhost    *conf.Vhost
	app      string // as on_connect says it
	argApp   string
	tcURL    string
	pageURL  string
	accepted bool // on_connect was: on_close is owed

	wanted rtmp.Name // of the last publish or play, for the log

	publish *publish
	player  *player
}

func newSession(s *Server, conn net.Conn, id uint64) *session {
	tuneSocket(conn)
	c := &session{
		server: s, id: id, conn: conn, ip: peerIP(conn), hooks: s.Hooks.Client(),
		log: s.Log.With("client", id), begun: time.Now(), chunkSize: chunk.DefaultSize,
	}
	c.input = newInput(conn)
	return c
}

// run is the life of a connection, from handshake to close. Whatever was
// begun is ended here, once, in this order: publish or play, connection.
func (c *session) run() { c.goOn(c.serve()) }

// goOn is what comes after serve, or after a sender.
func (c *session) goOn(err error) {
	if err == errHandedOver {
		p := c.player
		c.mu.Lock()
		c.conn.Close() // the sender has a descriptor of its own
		c.with = p
		c.mu.Unlock()
		p.sender.post(p) // from here on it is the sender's
		return
	}
	defer c.server.sessionWG.Done()
	defer c.server.forget(c)
	c.endPublish(err)
	c.endPlay(err)
	if c.accepted {
		c.hooks.Tell(hook.Event{
			Action: hook.OnClose, ClientID: c.id, IP: c.ip, Vhost: c.vhost.Name, App: c.app,
			SendBytes: c.sent.Load(), RecvBytes: c.received.Load(), Reason: c.tellReason(err),
		})
	}
	c.logEnd(err)
	c.close(err)
}

// close takes leave of the client: what is still to be said, FIN, a moment of
// reading so that no RST follows, the end.
func (c *session) close(err error) {
	c.input.release()
	held := sessionBytes + cap(c.pending)
	if c.reader != nil {
		held += c.reader.Partial()
		c.reader.Release()
	}
	c.server.memory.add(held)
	switch reasonOf(err) {
	case reasonClosed, reasonReset, reasonWrite, reasonStalled:
		c.conn.Close()
		return
	}
	if c.flush() != nil {
		c.conn.Close()
		return
	}
	lingerClose(c.conn)
}

// kick ends a session from outside.
func (c *session) kick(reason string) {
	if !c.kicked.CompareAndSwap(nil, &ending{reason: reason, text: "ended by the server", expected: true}) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.with != nil {
		c.with.sender.post(c.with)
		return
	}
	c.conn.SetDeadline(longAgo)
}

// cutOff closes the socket of a session that does not end by itself.
func (c *session) cutOff() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.with == nil {
		c.conn.Close()
	}
}

// longAgo as a deadline wakes whoever waits on a socket.
var longAgo = time.Unix(1, 0)

// serve returns why the session ends; never nil.
func (c *session) serve() error {
	c.setDeadline(time.Now().Add(handshakeTime))
	if err := c.handshake(); err != nil {
		return err
	}
	c.reader = chunk.NewReader(earlyLimits)
	c.state = stateFresh
	c.setDeadline(time.Now().Add(commandTime))
	return c.messages()
}

// messages handles what comes until the session ends or is handed over.
func (c *session) messages() error {
	for {
		m, ok, err := c.reader.Next()
		switch {
		case err != nil:
			return err
		case !ok:
			if err := c.more(); err != nil {
				return err
			}
			continue
		}
		if err := c.handle(m); err != nil {
			return err
		}
	}
}

// more writes the replies that have gathered, waits for bytes and feeds them.
func (c *session) more() error {
	if err := c.flush(); err != nil {
		return err
	}
	if len(c.pending) > 0 {
		b := c.pending
		c.pending = nil
		c.reader.Feed(b)
		return nil
	}
	for {
		b, err := c.input.read()
		if err == nil {
			if c.state < statePublishing {
				c.input.quickAck()
			}
			c.took(len(b))
			c.reader.Feed(b)
			return nil
		}
		if e := c.kicked.Load(); e != nil {
			return e
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return readEnding(err)
		}
		if err := c.expired(); err != nil {
			return err
		}
	}
}

// took counts bytes that were read, and acknowledges them when it is time.
func (c *session) took(n int) {
	total := c.received.Add(uint64(n))
	if c.window > 0 && total-c.acked >= max(c.window/2, minAckWindow) {
		c.acked = total
		c.reply(func(dst []byte) []byte { return rtmp.AppendAck(dst, uint32(total)) })
	}
}

// setDeadline bounds the waiting for input. The zero time lifts the bound.
func (c *session) setDeadline(t time.Time) {
	c.deadline = t
	c.conn.SetReadDeadline(t)
	if c.kicked.Load() != nil { // it must not be undone
		c.conn.SetReadDeadline(longAgo)
	}
}

// expired decides what a read deadline means.
func (c *session) expired() error {
	now := time.Now()
	if c.state == statePublishing {
		return c.publish.expired(c, now)
	}
	if now.Before(c.deadline) {
		c.setDeadline(c.deadline)
		return nil
	}
	if c.state == stateConnected && c.served {
		return &ending{reason: reasonCmdTime, text: "no further publish or play in time", expected: true}
	}
	return end(reasonCmdTime, "no publish or play within "+commandTime.String())
}

// reply adds an answer: written before the next wait for input, or at the end
// of the message under way where a player's goroutine writes.
func (c *session) reply(f func(dst []byte) []byte) {
	if c.player != nil {
		c.player.inject(f)
		return
	}
	c.out = f(c.out)
}

// size is the chunk size for answers.
func (c *session) size() int {
	if c.player != nil {
		return c.player.sub.ChunkSize()
	}
	return c.chunkSize
}

// flush writes the answers that have gathered.
func (c *session) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	c.conn.SetWriteDeadline(time.Now().Add(writeTime))
	n, err := c.conn.Write(c.out)
	c.sent.Add(uint64(n))
	c.out = c.out[:0]
	if cap(c.out) > 4<<10 {
		c.out = nil
	}
	if err != nil {
		return &ending{reason: reasonWrite, text: "the client does not take our answers: " + err.Error(), expected: true}
	}
	return nil
}

// tellReason is what end events say of why; nothing for the usual ends.
func (c *session) tellReason(err error) string {
	switch r := reasonOf(err); {
	case err == nil, r == reasonClosed, r == reasonReset, r == reasonWrite:
		return ""
	default:
		return r
	}
}

// logEnd writes the one line about the end of a connection.
func (c *session) logEnd(err error) {
	reason := reasonOf(err)
	args := []any{
		"ip", c.ip, "phase", c.state.String(), "reason", reason, "received", c.received.Load(), "sent", c.sent.Load(),
		"took", time.Since(c.begun).Round(time.Millisecond).String(),
	}
	if c.wanted.Stream != "" {
		args = append(args, "app", c.wanted.App, "stream", c.wanted.Stream)
	}
	var e *ending
	switch expected := errors.As(err, &e) && e.expected; {
	case !expected:
		c.server.lines.warn(reason, "client closed: "+err.Error(), append([]any{"client", c.id}, args...)...)
	case c.state == stateHandshake: // port scans and health checks come in crowds
		c.server.lines.write(slog.LevelInfo, reason, "client gone", append([]any{"client", c.id}, args...)...)
	default:
		c.log.Info("client gone", args...)
	}
}

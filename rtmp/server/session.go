package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"srs/conf"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/chunk"
	"srs/rtmp/live"
)

// Deadlines of a session beside those that the configuration sets.
const (
	handshakeTime = 5 * time.Second  // accept to C2, all of it
	commandTime   = 10 * time.Second // C2 to an accepted publish or play, gates not counted
	againTime     = 3 * time.Minute  // from the end of one publish or play to the next
	stallTime     = 10 * time.Second // without a byte taken by the socket
)

// Bounds of a session.
const (
	maxCreateStreams = 16
	maxUnknown       = 100       // messages in a row of types that mean nothing
	minAckWindow     = 64 << 10  // a smaller window would cost an answer per message
	maxPendingInput  = 256 << 10 // read while a gate is pending
	maxInject        = 16 << 10  // bytes of answers that wait to be written
	maxOrders        = 64        // orders of a player that wait to be carried out
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
//	any -> closing
type state uint8

const (
	stateHandshake state = iota
	stateFresh           // handshake done, connect awaited
	stateConnected
	statePublishing
	statePlaying
	stateClosing // it is over; what is left to say is said
)

func (s state) String() string {
	return [...]string{"handshake", "connect", "connected", "publish", "play", "closing"}[s]
}

// session is one connection. It belongs to a loop, which calls it with what the
// client sends; nothing in it waits.
type session struct {
	// Static after construction.
	server *Server
	id     uint64
	ip     string
	fd     int
	hooks  *hook.Client
	begun  time.Time

	kicked atomic.Pointer[ending] // set by kick, by any goroutine
	cut    atomic.Bool            // the socket is to be closed without a word
	claim  atomic.Pointer[claim]  // the name it has, or is to have
	sent   atomic.Uint64
	// Bytes read; written by who owns the session, read by anybody.
	received atomic.Uint64

	mu   sync.Mutex
	loop *loop // who owns it; nil: it is over

	// Owned by the loop, for the socket.
	slot        int32 // -1: with no loop
	gone        bool  // does not come back
	blocked     bool  // waits for EPOLLOUT
	deaf        bool  // is not read from
	queued      bool  // is in loop.again
	appointment appointment
	progress    time.Time // when the client took a byte last
	unsent      int       // bytes the kernel had left to send then, while blocked
	readAt      time.Time // deaf until then
	linger      int       // bytes still read and thrown away, when closing

	// Owned by the loop.
	state     state
	shake     shake
	reader    *chunk.Reader
	gate      *gate  // pending
	pending   []byte // read meanwhile, or while a play ends; to be parsed next
	own       []byte // must be written before anything else
	out       []byte // replies behind that, at a message end
	home      *loop  // it is to be moved there
	leaving   bool   // the play ends when the message under way is out
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

func newSession(s *Server, fd int, ip string, id uint64) *session {
	now := time.Now()
	c := &session{
		server: s, id: id, fd: fd, ip: ip, hooks: s.Hooks.Client(),
		begun: now, chunkSize: chunk.DefaultSize,
		slot: -1, deadline: now.Add(handshakeTime),
	}
	c.appointment.session = c
	return c
}

// finish ends whatever was begun, once, in this order: publish or play,
// connection. err is why; never nil.
func (c *session) finish(err error) {
	c.endPublish(err)
	c.endPlay(err)
	if c.accepted {
		c.hooks.Tell(hook.Event{
			Action: hook.OnClose, ClientID: c.id, IP: c.ip, Vhost: c.vhost.Name, App: c.app,
			SendBytes: c.sent.Load(), RecvBytes: c.received.Load(), Reason: c.tellReason(err),
		})
	}
	c.logEnd(err)
}

// release lets go of what a session holds that is over.
func (c *session) release() {
	held := sessionBytes + cap(c.pending)
	if c.reader != nil {
		held += c.reader.Partial()
		c.reader.Release()
	}
	c.server.memory.add(held)
	c.server.memory.fell(c.server.Registry.Held())
}

// kick ends a session from outside.
func (c *session) kick(reason string) {
	if c.kicked.CompareAndSwap(nil, &ending{reason: reason, text: "ended by the server", expected: true}) {
		c.nudge()
	}
}

// cutOff closes the socket of a session that does not end by itself.
func (c *session) cutOff() {
	c.cut.Store(true)
	c.nudge()
}

// nudge has the session's loop look at it.
func (c *session) nudge() {
	c.mu.Lock()
	l := c.loop
	c.mu.Unlock()
	if l != nil {
		l.post(c)
	}
}

// took counts bytes that were read, and acknowledges them when it is time.
func (c *session) took(n int) {
	total := c.received.Add(uint64(n))
	if c.window > 0 && total-c.acked >= max(c.window/2, minAckWindow) {
		c.acked = total
		c.out = rtmp.AppendAck(c.out, uint32(total))
	}
}

// setDeadline bounds how long the session may stay as it is. The zero time
// lifts the bound.
func (c *session) setDeadline(t time.Time) { c.deadline = t }

// expired decides what a deadline means that is over.
func (c *session) expired(now time.Time) error {
	switch {
	case c.state == stateHandshake:
		return end(reasonHSTimeout, "no complete handshake within "+handshakeTime.String())
	case c.state == statePublishing:
		return c.publish.expired(c, now)
	case c.state == stateConnected && c.served:
		return &ending{reason: reasonCmdTime, text: "no further publish or play in time", expected: true}
	case c.state == stateClosing:
		return &ending{reason: reasonClosed, expected: true}
	}
	return end(reasonCmdTime, "no publish or play within "+commandTime.String())
}

// lost is why a session ends whose socket cannot be read.
func (c *session) lost(err error) error {
	if c.state == stateHandshake {
		return handshakeEnding(err)
	}
	return readEnding(err)
}

// stalled is why a session ends whose client takes nothing.
func (c *session) stalled() error {
	if c.player != nil {
		return end(reasonStalled, "the player took nothing for "+stallTime.String())
	}
	return &ending{reason: reasonWrite, text: "the client does not take our answers", expected: true}
}

// waits says that what the client sends must wait.
func (c *session) waits() bool { return c.gate != nil || c.leaving || c.home != nil }

// size is the chunk size for answers.
func (c *session) size() int {
	if c.player != nil {
		return c.player.sub.ChunkSize()
	}
	return c.chunkSize
}

// asksMuch says that answers should be written before more is asked.
func (c *session) asksMuch() bool {
	return len(c.out) > maxInject/2 || c.player != nil && len(c.player.orders) > maxOrders/2
}

// asksTooMuch says that they were not taken.
func (c *session) asksTooMuch() bool {
	return len(c.out) > maxInject || c.player != nil && len(c.player.orders) > maxOrders
}

// quiet says that there is nothing to be sent, nor to be done when it is sent.
func (c *session) quiet() bool {
	return c.player == nil && len(c.own) == 0 && len(c.out) == 0 && !c.leaving && c.state != stateClosing
}

// gather finds what to write next: bytes of the session's own, made in scratch,
// then runs of the ring. It is not whole when there is more to come behind it
// at once.
func (c *session) gather(r *live.Runs, scratch []byte) (own []byte, whole bool) {
	p := c.player
	if p != nil && p.sub.Midway() && (len(c.out) > 0 || len(p.orders) > 0 || c.leaving) {
		return p.sub.Gather(r, nil, 0), false
	}
	if p != nil {
		for _, do := range p.orders {
			do()
		}
		p.orders = nil
	}
	own = append(scratch, c.own...)
	if len(own) == 0 {
		own, c.out = append(own, c.out...), c.out[:0]
	}
	whole = len(c.out) == 0
	switch {
	case p == nil:
		r.Clear()
		return own, whole
	case !whole, c.leaving:
		return p.sub.Gather(r, own, 0), whole
	}
	return p.sub.Gather(r, own, roundBytes), whole
}

// gave notes that n bytes of what gather found are out.
func (c *session) gave(r *live.Runs, own []byte, n int) {
	if n < len(own) {
		c.own = bytes.Clone(own[n:])
		return
	}
	c.own = nil
	if c.player != nil {
		c.player.sub.Took(r, n-len(own))
	}
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

func (c *session) info(text string, args ...any) { c.line(slog.LevelInfo, text, args) }
func (c *session) warn(text string, args ...any) { c.line(slog.LevelWarn, text, args) }

func (c *session) line(level slog.Level, text string, args []any) {
	c.server.Log.Log(context.Background(), level, text, append([]any{"client", c.id}, args...)...)
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
		c.info("client gone", args...)
	}
}

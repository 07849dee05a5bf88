// Package server runs the connections: listener, sessions, publishers and
// players. It owns the goroutines, deadlines, policy and log lines that the
// protocol (rtmp) and the fan-out (rtmp/live) do without.
//
// Serve accepts; each connection is a session (session.go) with one goroutine
// that reads. A session that plays has none: it is handed over (handover.go) to
// a sender (sender.go), which reads and writes for many. Shutdown ends them all and waits.
package server

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"srs/conf"
	"srs/hook"
	"srs/rtmp/live"
)

// Options are what a Server works with.
type Options struct {
	Conf     func() *conf.Config // the configuration in force
	Hooks    *hook.Engine
	Registry *live.Registry
	Log      *slog.Logger
	Version  string
	FirstID  uint64 // client ids are counted up from here
}

// Server accepts and runs RTMP connections.
type Server struct {
	Options
	started time.Time

	ids    atomic.Uint64
	lines  lineLimit
	counts counts
	memory trimmer

	senders []*sender
	seed    maphash.Seed // where streams have their first sender

	gates     context.Context // canceled when pending gates must give up
	endGates  context.CancelFunc
	sessionWG sync.WaitGroup

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
}

// New returns a Server that does not listen yet. It has a sender for each
// processor.
func New(o Options) (*Server, error) {
	s := &Server{
		Options: o, started: time.Now(), seed: maphash.MakeSeed(),
		listeners: make(map[net.Listener]struct{}), sessions: make(map[*session]struct{}),
	}
	s.ids.Store(o.FirstID)
	s.lines.log = o.Log
	s.gates, s.endGates = context.WithCancel(context.Background())
	for range runtime.GOMAXPROCS(0) {
		x, err := newSender(s)
		if err != nil {
			s.stopSenders()
			return nil, err
		}
		s.senders = append(s.senders, x)
	}
	return s, nil
}

// senderPlayers is how many players of a stream one sender has before the next
// one gets some: a wake-up of a sender is dear for a few.
const senderPlayers = 64

// senderFor finds the sender for a new player of a stream.
func (s *Server) senderFor(stream *live.Stream) *sender {
	at := maphash.Comparable(s.seed, stream) + uint64(stream.Players()/senderPlayers)
	return s.senders[at%uint64(len(s.senders))]
}

func (s *Server) stopSenders() {
	for _, x := range s.senders {
		x.stop()
	}
}

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("server: closed")

// Bounds of the accept loop's patience when descriptors run out.
const (
	minAcceptWait = 10 * time.Millisecond
	maxAcceptWait = time.Second
)

// Serve accepts connections until Shutdown.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		ln.Close()
		return ErrClosed
	}
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	var wait time.Duration
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			wait = 0
			s.accept(conn)
		case errors.Is(err, net.ErrClosed):
			return ErrClosed
		default:
			// Out of descriptors, or a connection that was reset before it was
			// accepted: neither is a reason to stop.
			wait = min(max(2*wait, minAcceptWait), maxAcceptWait)
			if errors.Is(err, syscall.ECONNABORTED) {
				wait = 0
			}
			s.lines.warn("accept.error", "accept failed", "error", err.Error(), "retry_in", wait.String())
			select {
			case <-time.After(wait):
			case <-s.gates.Done():
			}
		}
	}
}

// accept starts a session, unless the server is full or closing.
func (s *Server) accept(conn net.Conn) {
	limit := s.Conf().MaxConnections
	s.mu.Lock()
	n, closing := len(s.sessions), s.closing
	if closing || n >= limit {
		s.mu.Unlock()
		conn.Close()
		if !closing {
			s.counts.refused.Add(1)
			s.lines.warn("server.full", "connection closed: max_connections reached",
				"ip", peerIP(conn), "connections", n, "max_connections", limit, "reason", "server.full")
		}
		return
	}
	c := newSession(s, conn, s.ids.Add(1))
	s.sessions[c] = struct{}{}
	s.sessionWG.Add(1)
	s.mu.Unlock()
	s.counts.accepted.Add(1)
	go c.run()
}

func (s *Server) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	s.counts.received.Add(c.received.Load())
	s.counts.sent.Add(c.sent.Load())
}

// Shutdown stops accepting, ends every session and waits until all have told
// their ends. When ctx ends, sockets that are still open are closed hard.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for ln := range s.listeners {
		ln.Close()
	}
	open := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		open = append(open, c)
	}
	s.mu.Unlock()
	s.endGates()
	defer s.memory.stop()
	defer s.lines.flush()
	for _, c := range open {
		c.kick(reasonShutdown)
	}
	done := make(chan struct{})
	go func() {
		s.sessionWG.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.stopSenders()
		return nil
	case <-ctx.Done():
	}
	for _, c := range open {
		c.cutOff()
	}
	<-done
	s.stopSenders()
	return ctx.Err()
}

// counts are the server's numbers; Counters reads them.
type counts struct {
	accepted, refused   atomic.Uint64
	publishers, players atomic.Int64
	published, played   atomic.Uint64
	skips, skipped      atomic.Uint64
	received, sent      atomic.Uint64 // of sessions that have ended
}

// Counters are numbers since the start of the server.
type Counters struct {
	Accepted, Refused   uint64 // connections
	Connections         int    // now
	Publishers, Players int64  // now
	Published, Played   uint64 // begun
	Skips, Skipped      uint64 // times a slow player was moved on, messages it lost by it
	Received, Sent      uint64 // bytes
	Streams             int    // names published or waited for now
}

// Counters returns the numbers as they are now.
func (s *Server) Counters() Counters {
	c := &s.counts
	s.mu.Lock()
	n := len(s.sessions)
	received, sent := c.received.Load(), c.sent.Load()
	for open := range s.sessions {
		received += open.received.Load()
		sent += open.sent.Load()
	}
	s.mu.Unlock()
	return Counters{
		Accepted: c.accepted.Load(), Refused: c.refused.Load(), Connections: n,
		Publishers: c.publishers.Load(), Players: c.players.Load(),
		Published: c.published.Load(), Played: c.played.Load(),
		Skips: c.skips.Load(), Skipped: c.skipped.Load(),
		Received: received, Sent: sent,
		Streams: s.Registry.Streams(),
	}
}

// Package server runs the connections: listener, sessions, publishers and
// players. It owns the goroutines, deadlines, policy and log lines that the
// protocol (rtmp) and the fan-out (rtmp/live) do without.
//
// Serve accepts (listen.go); each connection is a session (session.go) that
// belongs to a loop (loop.go, attend.go), which reads and writes for many.
// Callbacks are waited for elsewhere (gate.go). Shutdown ends all and waits.
package server

import (
	"context"
	"hash/maphash"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
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
	Engine   string // how players are sent to; empty: EngineAuto
}

// The engines: one system call for many players, or one for each.
const (
	EngineAuto  = "auto" // uring where the kernel allows it
	EngineUring = "uring"
	EngineEpoll = "epoll"
)

// engineLevel is how bad it is that io_uring is not to be had.
func (s *Server) engineLevel() slog.Level {
	if s.Engine == EngineUring {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Server accepts and runs RTMP connections.
type Server struct {
	Options
	started time.Time

	ids    atomic.Uint64
	lines  lineLimit
	counts counts
	memory trimmer
	claims claims

	loops      []*loop
	engineTold bool          // that a loop has no io_uring
	turn       atomic.Uint64 // of the loops, for new connections
	seed       maphash.Seed  // where streams have their first loop

	gates     context.Context // canceled when pending gates must give up
	endGates  context.CancelFunc
	sessionWG sync.WaitGroup

	mu       sync.Mutex
	closing  bool
	doors    map[*os.File]net.Listener // by the file that accepts
	sessions map[*session]struct{}
}

// New returns a Server that does not listen yet. It has a loop for each
// processor.
func New(o Options) (*Server, error) {
	s := &Server{
		Options: o, started: time.Now(), seed: maphash.MakeSeed(),
		doors: make(map[*os.File]net.Listener), sessions: make(map[*session]struct{}),
	}
	s.ids.Store(o.FirstID)
	s.lines.log = o.Log
	s.gates, s.endGates = context.WithCancel(context.Background())
	limit := ringMemory()
	o.Registry.Bound(limit, func(held int64) {
		s.lines.warn("ring.full", "streams keep more than a quarter of the memory: new players of those with the longest GOPs wait for a keyframe, players that lag skip",
			"held", held, "limit", limit, "reason", "ring.full")
	})
	for range runtime.GOMAXPROCS(0) {
		x, err := newLoop(s)
		if err != nil {
			s.stopLoops()
			return nil, err
		}
		s.loops = append(s.loops, x)
	}
	return s, nil
}

// loopPlayers is how many players of a stream one loop has before the next one
// gets some: a wake-up of a loop is dear for a few.
const loopPlayers = 64

// loopFor finds the loop for a new player of a stream.
func (s *Server) loopFor(stream *live.Stream) *loop {
	at := maphash.Comparable(s.seed, stream) + uint64(stream.Players()/loopPlayers)
	return s.loops[at%uint64(len(s.loops))]
}

func (s *Server) stopLoops() {
	for _, x := range s.loops {
		x.stop()
	}
}

func (s *Server) forget(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	s.counts.received.Add(c.received.Load())
	s.counts.sent.Add(c.sent.Load())
	s.sessionWG.Done()
}

// Shutdown stops accepting, ends every session and waits until all have told
// their ends. When ctx ends, sockets that are still open are closed hard.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for door, ln := range s.doors {
		ln.Close()
		door.Close()
	}
	open := make([]*session, 0, len(s.sessions))
	for c := range s.sessions {
		open = append(open, c)
	}
	s.mu.Unlock()
	defer s.memory.stop()
	defer s.lines.flush()
	for _, c := range open {
		c.kick(reasonShutdown)
	}
	s.endGates() // only now: what was asked ends for that reason
	done := make(chan struct{})
	go func() {
		s.sessionWG.Wait()
		close(done)
	}()
	select {
	case <-done:
		s.stopLoops()
		return nil
	case <-ctx.Done():
	}
	for _, c := range open {
		c.cutOff()
	}
	<-done
	s.stopLoops()
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
	Ring                int64  // bytes that streams keep for their players now
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
		Streams: s.Registry.Streams(), Ring: s.Registry.Held(),
	}
}

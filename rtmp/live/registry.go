package live

import (
	"errors"
	"sync"
)

// Key names a stream. All of it is canonical: names are made so once, at the edge.
type Key struct {
	Vhost, App, Stream string
}

// ErrBusy says that a stream has a publisher already.
var ErrBusy = errors.New("live: the stream is being published already")

// A Watcher is told of every publication before its first tag. It must not
// block: it starts what it needs and returns.
type Watcher interface {
	Published(p *Publication)
}

// Registry holds the streams that somebody publishes or waits for.
type Registry struct {
	watchers []Watcher // static after construction
	memory   memory

	mu      sync.Mutex
	streams map[Key]*Stream
}

// NewRegistry returns an empty registry whose publications the watchers see.
func NewRegistry(watchers ...Watcher) *Registry {
	return &Registry{watchers: watchers, streams: make(map[Key]*Stream)}
}

// Streams returns how many streams there are.
func (r *Registry) Streams() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.streams)
}

// open returns the stream of a name with one more user.
func (r *Registry) open(key Key) *Stream {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.streams[key]
	if s == nil {
		s = newStream(r, key)
		r.streams[key] = s
	}
	s.users++
	return s
}

// close gives up one user and forgets a stream without any.
func (r *Registry) close(s *Stream) {
	r.mu.Lock()
	s.users--
	last := s.users == 0
	if last {
		delete(r.streams, s.key)
	}
	r.mu.Unlock()
	if last {
		s.drop()
	}
}

// Reserve takes a stream's name for one publisher, or says ErrBusy. The name
// is held until Start's publication is closed or the Reservation is given up.
func (r *Registry) Reserve(key Key) (*Reservation, error) {
	s := r.open(key)
	s.mu.Lock()
	busy := s.reserved
	s.reserved = true
	s.mu.Unlock()
	if busy {
		r.close(s)
		return nil, ErrBusy
	}
	return &Reservation{stream: s}, nil
}

// A Reservation holds a stream's name for a publisher that is not accepted yet.
type Reservation struct {
	stream *Stream
}

// Release gives the name up.
func (v *Reservation) Release() {
	v.stream.mu.Lock()
	v.stream.reserved = false
	v.stream.mu.Unlock()
	v.stream.registry.close(v.stream)
}

package server

import "sync"

// buffer is what a read borrows.
type buffer [64 << 10]byte

// bufferPool lends buffers for the time of one read and the handling of what
// came, so that thousands of quiet connections hold none.
type bufferPool struct{ pool sync.Pool }

var buffers bufferPool

func (p *bufferPool) get() *buffer {
	if b, _ := p.pool.Get().(*buffer); b != nil {
		return b
	}
	return new(buffer)
}

func (p *bufferPool) put(b *buffer) { p.pool.Put(b) }

package chunk

import "sync"

// Sizes of what a message is gathered in, bytes.
const (
	keepSmall = 4 << 10  // a chunk stream keeps a buffer of this size
	pieceSize = 64 << 10 // longer messages are gathered in pieces
	wholeSize = 1 << 20  // messages up to here are joined in a lent buffer
)

type (
	piece [pieceSize]byte
	whole [wholeSize]byte
)

var pieces, wholes sync.Pool

// gather holds the bytes of one message until all have arrived. What it holds
// follows what has arrived: a message that was announced and does not come
// costs nothing, one that stops half way costs its half, and nothing is left
// behind as garbage. Only a complete message of several pieces is joined.
type gather struct {
	n      int // bytes
	small  []byte
	pieces []*piece
	whole  *whole // lent for the joined message
}

func (g *gather) add(b []byte) {
	if g.n+len(b) <= keepSmall {
		g.small = append(g.small, b...)
		g.n += len(b)
		return
	}
	if g.n <= keepSmall && len(g.pieces) == 0 {
		g.grow()
		copy(g.pieces[0][:], g.small)
		g.small = g.small[:0]
	}
	for len(b) > 0 {
		if g.n == len(g.pieces)*pieceSize {
			g.grow()
		}
		n := copy(g.pieces[len(g.pieces)-1][g.n%pieceSize:], b)
		g.n += n
		b = b[n:]
	}
}

func (g *gather) grow() {
	p, _ := pieces.Get().(*piece)
	if p == nil {
		p = new(piece)
	}
	g.pieces = append(g.pieces, p)
}

// body returns the message in one piece. It is valid until reset.
func (g *gather) body() []byte {
	switch len(g.pieces) {
	case 0:
		return g.small
	case 1:
		return g.pieces[0][:g.n]
	}
	var b []byte
	if g.n <= wholeSize {
		if g.whole, _ = wholes.Get().(*whole); g.whole == nil {
			g.whole = new(whole)
		}
		b = g.whole[:g.n]
	} else {
		b = make([]byte, g.n)
	}
	for i, p := range g.pieces {
		copy(b[i*pieceSize:], p[:])
	}
	g.giveBack()
	return b
}

func (g *gather) giveBack() {
	for i, p := range g.pieces {
		pieces.Put(p)
		g.pieces[i] = nil
	}
	g.pieces = g.pieces[:0]
}

// size is how many bytes are held.
func (g *gather) size() int {
	if g == nil {
		return 0
	}
	return g.n
}

// reset forgets the message and gives back what was lent.
func (g *gather) reset() {
	if g == nil {
		return
	}
	g.giveBack()
	if g.whole != nil {
		wholes.Put(g.whole)
		g.whole = nil
	}
	g.n, g.small = 0, g.small[:0]
}

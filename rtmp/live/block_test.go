package live

import (
	"testing"
	"time"

	"srs/flv"
)

func TestNewBlock(t *testing.T) {
	for _, c := range []struct{ size, room, class int }{
		{0, 0, -1}, {1, 4 << 10, 0}, {4 << 10, 4 << 10, 0}, {4<<10 + 1, 8 << 10, 1}, {64 << 10, 64 << 10, 4},
		{1 << 20, 1 << 20, 8}, {1<<20 + 1, 1<<20 + 1, -1},
	} {
		b := newBlock(new(memory), c.size)
		if len(b.buf) != c.room || b.class != c.class {
			t.Errorf("%d: %d bytes of class %d", c.size, len(b.buf), b.class)
		}
		if c.size > 0 && !b.room(c.size) {
			t.Errorf("%d: no room", c.size)
		}
		b.release()
	}
}

// TestChainIsFreed: whoever holds a block holds what follows, and a long chain
// goes at once, without recursion.
func TestChainIsFreed(t *testing.T) {
	before := blocksAlive.Load()
	first := newBlock(new(memory), 1)
	for b, i := first, 0; i < 10_000; i++ {
		next := newBlock(new(memory), 1)
		b.next.Store(next)
		b = next
	}
	second := first.next.Load().retain()
	first.release()
	if n := blocksAlive.Load() - before; n != 10_000 {
		t.Errorf("%d alive", n)
	}
	second.release()
	if n := blocksAlive.Load() - before; n != 0 {
		t.Errorf("%d alive", n)
	}
}

func TestReferencesAreChecked(t *testing.T) {
	for name, f := range map[string]func(b *block){
		"released twice":         func(b *block) { b.release(); b.release() },
		"retained after release": func(b *block) { b.release(); b.retain() },
	} {
		func() {
			before := blocksAlive.Load()
			defer blocksAlive.Store(before)
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f(newBlock(new(memory), 0))
		}()
	}
}

// TestBlocksFollowTheRate: a slow stream keeps small blocks, a fast one gets
// large ones, and one that slows down small ones again.
func TestBlocksFollowTheRate(t *testing.T) {
	checkLeaks(t)
	p := start(t, NewRegistry(), usual())
	now := uint32(0)
	publish := func(seconds, perSecond, size int) {
		for range seconds * perSecond {
			p.Write(at(now, inter(size)))
			now += uint32(1000 / perSecond)
		}
	}
	for i, c := range []struct{ seconds, perSecond, size, block int }{
		{60, 10, 500, 4 << 10}, // 40 kbit/s
		{30, 25, 10_000, 64 << 10},
		{60, 25, 1000, 64 << 10}, // kept: between the bounds
		{200, 5, 100, 4 << 10},
	} {
		publish(c.seconds, c.perSecond, c.size)
		if n := len(p.tail.buf); n != c.block {
			t.Errorf("phase %d: blocks of %d bytes", i, n)
		}
	}
	p.Write(at(now, key(3<<20))) // has a block to itself
	if n := len(p.tail.buf); n < 3<<20 {
		t.Errorf("a block of %d bytes", n)
	}
	p.Write(at(now, inter(9)))
	if n := len(p.tail.buf); n > 8<<10 {
		t.Errorf("after a large message: %d bytes", n)
	}
	p.Close()
}

// TestIndexFull: a block closes when its index is full, however small the
// messages are.
func TestIndexFull(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	e := hear(t, r, time.Minute)
	for i := range uint32(10_000) {
		p.Write(at(i*40, sound(2)))
	}
	if n := len(e.drain()); n != 10_000 {
		t.Errorf("%d messages", n)
	}
	p.Close()
	e.close()
}

// TestOldBlocksGo: without a bookmark only the tail is held; a slow player
// alone keeps what it has not read.
func TestOldBlocksGo(t *testing.T) {
	checkLeaks(t)
	before := blocksAlive.Load()
	r := NewRegistry()
	p := start(t, r, usual())
	e := hear(t, r, time.Minute)
	for i := range uint32(1000) {
		p.Write(at(i*20, sound(1000)))
	}
	if n := blocksAlive.Load() - before; n < 15 {
		t.Errorf("%d blocks, the player has read nothing", n)
	}
	e.drain()
	if n := blocksAlive.Load() - before; n != 1 {
		t.Errorf("%d blocks, all is read", n)
	}
	e.close()
	p.Close()
}

// TestHeadersInEveryFrame: one of each is kept (catalogue MD-06), and hostile
// tracks are bounded.
func TestHeadersInEveryFrame(t *testing.T) {
	checkLeaks(t)
	p := start(t, NewRegistry(), usual())
	for i := range 1000 {
		write(p, videoHeader("1"), audioHeader("1"), meta("1"), key(9),
			tag(flv.TypeVideo, "\x96\x00avc1"+string([]byte{byte(i)}), 0))
	}
	if n := len(p.stream.current.headers); n != maxHeaders {
		t.Errorf("%d headers are kept", n)
	}
	write(p, tag(flv.TypeVideo, "\x17\x00", 2<<20), meta("\x00\x00"))
	for _, h := range p.stream.current.headers {
		if len(h.body) > maxHeaderSize {
			t.Error("a header of 2 MiB is kept")
		}
	}
	p.Close()
}

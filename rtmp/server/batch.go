package server

import (
	"golang.org/x/sys/unix"

	"srs/rtmp/live"
)

// batch is what goes to the kernel in one submission.
type batch struct {
	ring  *uring
	items [uringSize]batchItem
}

type batchItem struct {
	session *session
	own     []byte
	whole   bool
	runs    live.Runs
	out     output
	res     int32
}

// newBatch returns what an engine needs (send_engine): nil for the plain one,
// and where io_uring is not to be had.
func newBatch(engine string) (*batch, error) {
	if engine == EngineEpoll {
		return nil, nil
	}
	ring, err := newUring()
	if err != nil {
		return nil, err
	}
	return &batch{ring: ring}, nil
}

// set notes the result of a send.
func (b *batch) set(i int, res int32) { b.items[i].res = res }

// flushBatch sends to the next players of a group in one submission, and
// returns how many it has looked at.
func (x *loop) flushBatch(g *group, most int) (looked int) {
	b := x.batch
	n := 0
	for ; g.next > g.low && n < uringSize && looked < most; looked++ {
		g.next--
		c := g.players[g.next].session
		if x.still(c) {
			continue
		}
		it := &b.items[n]
		it.own, it.whole = c.gather(&it.runs, nil)
		x.reclaim(c)
		if len(it.own)+it.runs.Bytes == 0 {
			x.settle(c)
			g.next = min(g.next, len(g.players))
			continue
		}
		it.session = c
		b.ring.send(n, c.fd, &it.out, it.out.fill(it.own, it.runs.Pieces))
		n++
	}
	if n == 0 {
		return looked
	}
	for i := range b.items[:n] {
		b.items[i].res = -int32(unix.EINTR) // of one that is not begun
	}
	if errno := b.ring.submit(n, b.set); errno != 0 {
		x.server.Log.Error("io_uring fails, players are sent to with a call each from now on", "error", errno.Error())
		b.ring.close()
		x.batch = nil
	}
	for i := range b.items[:n] {
		it := &b.items[i]
		sent, err := int(it.res), unix.Errno(0)
		if it.res < 0 {
			sent, err = 0, unix.Errno(-it.res)
		}
		if !x.sent(it.session, &it.runs, it.own, sent, err) || !it.whole {
			x.push(it.session)
		}
		it.session = nil
	}
	g.next = min(g.next, len(g.players))
	return looked
}

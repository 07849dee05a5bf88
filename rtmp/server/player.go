package server

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/live"
)

// Bounds of a player.
const (
	stallTime  = 10 * time.Second // without a byte taken by the socket
	maxInject  = 16 << 10         // bytes of answers that wait to be written
	maxOrders  = 64               // orders that wait to be carried out
	armEvery   = time.Second      // write deadlines are moved this often
	stallSlack = stallTime + armEvery
)

// player writes a stream to a client. Its goroutine alone writes to the
// socket and uses the subscriber; the session hands it answers and orders,
// which take effect between two messages.
type player struct {
	// Static after construction.
	session *session
	sub     *live.Subscriber
	nagle   bool       // tcp_nodelay off
	event   hook.Event // on_stop, ready to be told
	begun   time.Time
	wake    chan struct{} // capacity 1: something was injected
	quit    chan struct{} // closed by stop
	done    chan struct{} // closed by run

	chunkSize atomic.Int64 // what the client was told; written by run
	lagging   atomic.Bool  // set by the pump
	stopping  atomic.Bool
	abrupt    atomic.Bool // the connection ends too: not even the message under way

	mu      sync.Mutex
	answers []byte
	orders  []func()
	ended   error // why run ended by itself, or a flood

	// Owned by the player's goroutine.
	audio, video bool
	armed        time.Time // when the write deadline was set
	progress     time.Time // when the socket took a byte last
	skips        int
	skipped      uint64
}

func newPlayer(c *session, ev hook.Event) *player {
	p := &player{
		session: c, event: ev, begun: time.Now(), audio: true, video: true,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	p.chunkSize.Store(int64(c.chunkSize))
	return p
}

func (p *player) start() { go p.run() }

// stop ends the writing at the end of the run under way, or at once when the
// connection ends too, and waits.
func (p *player) stop(abrupt bool) {
	p.stopping.Store(true)
	close(p.quit)
	if abrupt {
		p.abrupt.Store(true)
		p.session.conn.SetWriteDeadline(longAgo)
	}
	<-p.done
}

// inject adds an answer to the client's commands.
func (p *player) inject(f func(dst []byte) []byte) { p.order(nil, f) }

// order has something done by the player's goroutine, and an answer written
// behind it.
func (p *player) order(do func(), answer func(dst []byte) []byte) {
	p.mu.Lock()
	if do != nil {
		p.orders = append(p.orders, do)
	}
	if answer != nil {
		p.answers = answer(p.answers)
	}
	if (len(p.answers) > maxInject || len(p.orders) > maxOrders) && p.ended == nil {
		p.ended = end(reasonFlood, "the client asks faster than it takes the answers")
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// failure returns why the player ended by itself, or nil.
func (p *player) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

// lag is called by the stream's pump while the player is too far behind. It
// interrupts a write that blocks.
func (p *player) lag() {
	p.lagging.Store(true)
	p.session.conn.SetWriteDeadline(longAgo)
}

// run writes until it is stopped or the client fails.
func (p *player) run() {
	defer close(p.done)
	err := p.write()
	if err == nil {
		return
	}
	p.mu.Lock()
	if p.ended == nil {
		p.ended = err
	}
	p.mu.Unlock()
	p.session.conn.SetReadDeadline(longAgo) // the session notices
}

func (p *player) write() error {
	p.progress = time.Now()
	joining := true
	for !p.stopping.Load() {
		if err := p.obey(); err != nil {
			return err
		}
		run, size := p.sub.Next()
		switch {
		case size > 0:
			if err := p.tellChunkSize(size); err != nil {
				return err
			}
		case run != nil:
			if err := p.send(run, true); err != nil {
				return err
			}
		default:
			woken := p.sub.Wait()
			if woken == nil {
				continue
			}
			if joining && p.nagle {
				// Not before: the end of the first picture would wait for the
				// client's delayed acknowledgement.
				setNoDelay(p.session.conn, false)
			}
			joining = false
			select {
			case <-woken:
			case <-p.wake:
			case <-p.quit:
			}
			p.progress = time.Now() // an idle stream is no stall
		}
	}
	return p.obey() // answers that were promised, a pause's notice for one
}

// obey carries out what the session has ordered since the last message.
func (p *player) obey() error {
	p.mu.Lock()
	if len(p.answers) == 0 && len(p.orders) == 0 && p.ended == nil {
		p.mu.Unlock()
		return nil
	}
	answers, orders, err := p.answers, p.orders, p.ended
	p.answers, p.orders = nil, nil
	p.mu.Unlock()
	if err != nil {
		return err
	}
	for _, do := range orders {
		do()
	}
	return p.send(answers, false)
}

// tellChunkSize goes behind all answers made for the old size.
func (p *player) tellChunkSize(size int) error {
	p.mu.Lock()
	b := rtmp.AppendSetChunkSize(p.answers, size)
	p.answers = nil
	p.chunkSize.Store(int64(size))
	p.mu.Unlock()
	return p.send(b, false)
}

// send writes b. A run of the ring may be given up half way when the player
// lags: the message under way is completed and the rest skipped.
func (p *player) send(b []byte, isRun bool) error {
	c, sent := p.session, 0
	if isRun && p.sub.Lagging() {
		b, isRun = p.skip(b, sent)
	}
	for len(b) > 0 {
		now := time.Now()
		if now.Sub(p.armed) >= armEvery {
			p.armed = now
			c.conn.SetWriteDeadline(now.Add(stallSlack))
		}
		n, err := c.conn.Write(b)
		if n > 0 {
			p.progress = time.Now()
			c.sent.Add(uint64(n))
			sent += n
			b = b[n:]
		}
		switch {
		case err == nil:
			continue
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return &ending{reason: reasonReset, text: "the connection broke: " + err.Error(), expected: true}
		case c.kicked.Load() != nil:
			return c.kicked.Load()
		case p.abrupt.Load():
			return nil
		case time.Since(p.progress) >= stallTime:
			return end(reasonStalled, "the player took nothing for "+stallTime.String())
		}
		p.armed = time.Time{}
		if p.lagging.Swap(false) && isRun {
			b, isRun = p.skip(b, sent)
		}
	}
	return nil
}

// skip moves the player to the newest keyframe and returns what must still be
// written of the run, and whether that is still a run of the ring.
func (p *player) skip(b []byte, sent int) ([]byte, bool) {
	rest, skipped := p.sub.Skip(sent)
	if skipped == 0 {
		return b, true
	}
	p.skips++
	p.skipped += skipped
	p.session.server.counts.skips.Add(1)
	p.session.server.counts.skipped.Add(skipped)
	if p.skips == 1 {
		p.session.log.Warn("slow player skipped to the newest keyframe; further skips are counted",
			"ip", p.session.ip, "app", p.event.App, "stream", p.event.Stream, "skipped", skipped)
	}
	return rest, false
}

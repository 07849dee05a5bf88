package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"srs/rtmp"
)

// A canary is a publisher and a player of a stream of their own, 25 frames
// and 2 Mbit per second. While something happens to the server it tells
// whether other streams notice: a frame lost, or late.
type canary struct {
	epoch     time.Time
	publisher *rtmp.Conn
	player    *rtmp.Conn
	wg        sync.WaitGroup
	quit      chan struct{}

	mu   sync.Mutex
	more chan struct{} // closed when a frame comes or the canary dies, and made anew
	health
	err error
}

// health is what the canary noticed since it was asked last.
type health struct {
	frames int
	lost   int           // also frames out of order and damaged ones
	gap    time.Duration // largest between two frames, over what the publisher caused itself
}

const (
	canaryEvery = 40 * time.Millisecond
	canaryGOP   = 25
	canaryFrame = 10_000 // bytes
	canaryHead  = 16     // sequence number, time of sending
)

// startCanary publishes and plays app/stream until the test ends.
func startCanary(t testing.TB, s *srs, path string) *canary {
	t.Helper()
	c := &canary{
		epoch: time.Now(), publisher: publishWith(t, s.url(path)), player: playWith(t, s.url(path)),
		quit: make(chan struct{}), more: make(chan struct{}),
	}
	c.publisher.SetDeadline(time.Time{})
	c.player.SetDeadline(time.Time{})
	c.wg.Go(func() { c.publish() })
	c.wg.Go(func() { c.play() })
	t.Cleanup(c.stop)
	c.over(t, 5) // it runs
	return c
}

// stop ends the canary; it is no fault then that the connections end.
func (c *canary) stop() {
	c.mu.Lock()
	select {
	case <-c.quit:
	default:
		close(c.quit)
	}
	c.mu.Unlock()
	c.player.Close()
	c.publisher.Close()
	c.wg.Wait()
}

func (c *canary) publish() {
	tick := time.NewTicker(canaryEvery)
	defer tick.Stop()
	err := c.publisher.WriteTag(6, rtmp.TypeVideo, 0, avcHeader)
	payload := make([]byte, canaryFrame)
	for seq := uint64(0); err == nil; seq++ {
		binary.BigEndian.PutUint64(payload, seq)
		binary.BigEndian.PutUint64(payload[8:], uint64(time.Since(c.epoch)))
		payload[canaryHead], payload[canaryFrame-1] = byte(seq), byte(seq)
		err = c.publisher.WriteTag(6, rtmp.TypeVideo, uint32(seq)*40, avcFrame(seq%canaryGOP == 0, payload))
		select {
		case <-tick.C:
		case <-c.quit:
			return
		}
	}
	c.fail(fmt.Errorf("the canary's publisher: %w", err))
}

func (c *canary) play() {
	var next uint64
	var last, lastSent time.Duration
	for {
		m, err := c.player.ReadMessage()
		if err != nil {
			c.fail(fmt.Errorf("the canary's player: %w", err))
			return
		}
		if m.Type != rtmp.TypeVideo || len(m.Body) != 5+canaryFrame {
			continue
		}
		now, p := time.Since(c.epoch), m.Body[5:]
		seq, sent := binary.BigEndian.Uint64(p), time.Duration(binary.BigEndian.Uint64(p[8:]))
		c.mu.Lock()
		if last != 0 {
			if seq != next || p[canaryHead] != byte(seq) || p[canaryFrame-1] != byte(seq) {
				c.lost++
			}
			// The publisher runs on the same crowded machine: when it was late
			// itself, that is not the server's doing.
			c.gap = max(c.gap, now-last-max(0, sent-lastSent-canaryEvery))
		}
		c.frames++
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		next, last, lastSent = seq+1, now, sent
	}
}

func (c *canary) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.quit:
		if errors.Is(err, net.ErrClosed) {
			return
		}
	default:
	}
	if c.err == nil {
		c.err = err
	}
	close(c.more)
	c.more = make(chan struct{})
}

// take returns what was noticed since the last take.
func (c *canary) take(t testing.TB) health {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		t.Fatal(c.err)
	}
	h := c.health
	c.health = health{}
	return h
}

// over waits for n more frames and returns what was noticed during them.
func (c *canary) over(t testing.TB, n int) health {
	t.Helper()
	c.take(t)
	c.atLeast(t, n)
	return c.take(t)
}

// atLeast waits until n frames have come since the last take.
func (c *canary) atLeast(t testing.TB, n int) {
	t.Helper()
	end := time.After(longest + time.Duration(n)*canaryEvery)
	for {
		c.mu.Lock()
		frames, err, more := c.frames, c.err, c.more
		c.mu.Unlock()
		if err != nil || frames >= n {
			return
		}
		select {
		case <-more:
		case <-end:
			t.Fatalf("the canary got %d of %d frames", frames, n)
		}
	}
}

// allowance is how much larger than before a canary's gaps may become.
const allowance = 100 * time.Millisecond

// undisturbed checks that what happened since before was not noticed.
func (c *canary) undisturbed(t testing.TB, before health) {
	t.Helper()
	h := c.take(t)
	t.Logf("canary: %d frames, largest gap %v, before %v", h.frames, h.gap.Round(time.Millisecond), before.gap.Round(time.Millisecond))
	if h.lost > 0 {
		t.Errorf("the canary lost %d frames", h.lost)
	}
	if h.gap > before.gap+allowance {
		t.Errorf("the canary's largest gap is %v, before it was %v", h.gap, before.gap)
	}
}

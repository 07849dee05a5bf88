package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"srs/rtmp"
)

// Bounds of the load.
const (
	maxVisits    = 2000 // clients at the same time
	visitTimeout = 10 * time.Second
	troubleCrowd = 20 // clients that ask the endpoint that hangs, all the time
)

// A hooksLoad is one stretch of clients that come and go.
type hooksLoad struct {
	bench     *hooksBench
	decisions histogram // of publish and play, command to status
	connected atomic.Int64
	accepted  atomic.Int64
	refused   atomic.Int64
	late      atomic.Int64 // not begun: too many were there
	failed    atomic.Pointer[error]
}

func newHooksLoad(b *hooksBench) *hooksLoad { return &hooksLoad{bench: b} }

// run lets clients come at the rate, and returns how long it took.
func (l *hooksLoad) run(ctx context.Context) time.Duration {
	begun := time.Now()
	var wg sync.WaitGroup
	places := make(chan struct{}, maxVisits)
	atRate(ctx, l.bench.rate, l.bench.duration, func(n int) {
		select {
		case places <- struct{}{}:
		default:
			l.late.Add(1)
			return
		}
		wg.Go(func() {
			defer func() { <-places }()
			l.visit(ctx, n)
		})
	})
	wg.Wait()
	return time.Since(begun)
}

// atRate calls f so often a second, several at once when the clock was late.
func atRate(ctx context.Context, rate float64, d time.Duration, f func(n int)) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for n := 0; ; {
		since := time.Since(begun)
		for ; float64(n) < rate*min(since, d).Seconds(); n++ {
			f(n)
		}
		if since >= d {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// visit is the life of one client.
func (l *hooksLoad) visit(ctx context.Context, n int) {
	ctx, cancel := context.WithTimeout(ctx, visitTimeout)
	defer cancel()
	c, err := rtmp.Dial(ctx, fmt.Sprintf("rtmp://%s/live...vhost...good/s%d", l.bench.address, n), 4096)
	if err != nil {
		l.trouble(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(visitTimeout))
	l.connected.Add(1)
	begun := time.Now()
	if n%2 == 0 {
		err = c.Publish()
	} else {
		err = c.Play()
	}
	if err != nil {
		l.trouble(err)
		return
	}
	l.decisions.add(time.Since(begun))
	l.accepted.Add(1)
	timer := time.NewTimer(l.bench.hold)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// trouble tells a refusal, which the receiver may have meant, from a failure.
func (l *hooksLoad) trouble(err error) {
	var status *rtmp.StatusError
	if errors.As(err, &status) {
		l.refused.Add(1)
		return
	}
	l.failed.CompareAndSwap(nil, &err)
}

// verdict says whether all that was expected came.
func (l *hooksLoad) verdict(b *hooksBench, before, after *receiverReport) error {
	var faults []error
	if e := l.failed.Load(); e != nil {
		faults = append(faults, fmt.Errorf("a client failed: %w", *e))
	}
	if n := l.refused.Load(); n > 0 && b.fail == 0 {
		faults = append(faults, fmt.Errorf("%d clients were refused", n))
	}
	if l.accepted.Load() == 0 {
		faults = append(faults, errors.New("no client was accepted: there is nothing to measure"))
	}
	if n := l.late.Load(); n > 0 {
		faults = append(faults, fmt.Errorf("%d clients did not come: %d were there already", n, maxVisits))
	}
	if begins, ends := after.Begins-before.Begins, after.Ends-before.Ends; begins != ends {
		faults = append(faults, fmt.Errorf("%d begins and %d ends", begins, ends))
	}
	if n := after.Disorder - before.Disorder; n > 0 {
		faults = append(faults, fmt.Errorf("%d calls out of order: %s", n, strings.Join(after.Examples, "; ")))
	}
	return errors.Join(faults...)
}

// trouble keeps clients at the endpoint that hangs until the result is called.
func (b *hooksBench) trouble(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range troubleCrowd {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				once, end := context.WithTimeout(ctx, time.Second)
				if c, err := rtmp.Dial(once, fmt.Sprintf("rtmp://%s/live...vhost...bad/s%d-%d", b.address, i, n), 4096); err == nil {
					c.Close()
				}
				end()
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// post sends bodies at the rate of the server's calls: four for each client. It
// says how many calls there were no place for, and how many had no answer.
func (b *hooksBench) post(ctx context.Context, client *http.Client, h *histogram) (took time.Duration, late, failed int64) {
	const body = `{"action":"bench","client_id":3074361914662913,"ip":"127.0.0.1","vhost":"good","app":"live","stream":"s1","tcUrl":"rtmp://127.0.0.1:1935/live?vhost=good","param":"","server_id":"bench","stream_url":"good/live/s1"}`
	begun := time.Now()
	var wg sync.WaitGroup
	var lost atomic.Int64
	places := make(chan struct{}, maxVisits)
	atRate(ctx, 4*b.rate, b.duration, func(int) {
		select {
		case places <- struct{}{}:
		default:
			late++
			return
		}
		wg.Go(func() {
			defer func() { <-places }()
			started := time.Now()
			resp, err := client.Post("http://"+b.good+"/", "application/json", strings.NewReader(body))
			if err != nil {
				lost.Add(1)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			h.add(time.Since(started))
		})
	})
	wg.Wait()
	return time.Since(begun), late, lost.Load()
}

// An audience watches one stream and notes the largest gap between frames.
type audience struct {
	wg      sync.WaitGroup
	conns   []*rtmp.Conn
	quit    chan struct{}
	largest atomic.Int64 // ns
}

const audienceEvery = 40 * time.Millisecond

func newAudience(ctx context.Context, url string, players int) (*audience, error) {
	a := &audience{quit: make(chan struct{})}
	if players == 0 {
		return a, nil
	}
	dial := func() (*rtmp.Conn, error) {
		c, err := rtmp.Dial(ctx, url, 4096)
		if err == nil {
			a.conns = append(a.conns, c)
		}
		return c, err
	}
	p, err := dial()
	if err == nil {
		err = p.Publish()
	}
	if err != nil {
		return nil, fmt.Errorf("the watched stream: %w", err)
	}
	a.wg.Go(func() { a.publish(p) })
	for range players {
		c, err := dial()
		if err == nil {
			err = c.Play()
		}
		if err != nil {
			a.close()
			return nil, fmt.Errorf("a player: %w", err)
		}
		a.wg.Go(func() { a.play(c) })
	}
	return a, nil
}

func (a *audience) publish(c *rtmp.Conn) {
	tick := time.NewTicker(audienceEvery)
	defer tick.Stop()
	frame := make([]byte, 2500)
	binary.BigEndian.PutUint64(frame, 0x1701000000000000)
	for n := uint32(0); ; n++ {
		if c.WriteTag(6, rtmp.TypeVideo, n*40, frame) != nil {
			return
		}
		select {
		case <-tick.C:
		case <-a.quit:
			return
		}
	}
}

func (a *audience) play(c *rtmp.Conn) {
	var last time.Time
	for {
		m, err := c.ReadMessage()
		if err != nil {
			return
		}
		if m.Type != rtmp.TypeVideo {
			continue
		}
		now := time.Now()
		if gap := int64(now.Sub(last)); !last.IsZero() {
			for old := a.largest.Load(); gap > old && !a.largest.CompareAndSwap(old, gap); old = a.largest.Load() {
			}
		}
		last = now
	}
}

// gap returns the largest gap since it was called last.
func (a *audience) gap() time.Duration { return time.Duration(a.largest.Swap(0)) }

func (a *audience) close() {
	close(a.quit)
	for _, c := range a.conns {
		c.Close()
	}
	a.wg.Wait()
}

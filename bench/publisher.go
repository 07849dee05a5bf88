package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"srs/amf0"
	"srs/flv"
	"srs/rtmp"
)

// How clients talk to the server.
const (
	dialTimeout  = 10 * time.Second // connect, handshake, commands
	closeTimeout = time.Second      // for the server to close after us
	chunkSize    = 4096             // bytes, of what we send
	csidAudio    = 4
	csidVideo    = 6
	csidData     = 8
)

// A publisher sends one stream in real time.
type publisher struct {
	// Static after construction.
	url     string
	stream  uint32 // id in the stamps
	payload *payload
	load    *load

	// Read by others meanwhile.
	sequence atomic.Uint32 // frames sent so far
	measured atomic.Int64  // of them in the window
}

// load is what the publishers of a run have in common.
type load struct {
	window  *atomic.Pointer[window]
	late    histogram // how much behind its time a frame was sent
	sent    atomic.Int64
	bytes   atomic.Int64 // of bodies
	started chan struct{}
}

func newLoad(w *atomic.Pointer[window], publishers int) *load {
	return &load{window: w, started: make(chan struct{}, publishers)}
}

func newPublisher(url string, w workload, l *load) *publisher {
	var id [4]byte
	rand.Read(id[:])
	stream := binary.BigEndian.Uint32(id[:]) | 1 // 0 means any
	return &publisher{url: url, stream: stream, payload: newPayload(w, stream), load: l}
}

// run publishes until stop is closed, then takes its leave. It sends on
// load.started once when the server has accepted it and the headers are out.
func (p *publisher) run(ctx context.Context, stop <-chan struct{}) error {
	conn, err := dial(ctx, p.url, (*rtmp.Conn).Publish)
	if err != nil {
		return fmt.Errorf("publisher %s: %w", p.url, err)
	}
	defer conn.Close()
	// What the server sends meanwhile (acknowledgements) must be read, or our
	// close would be a reset, which takes what is under way with it.
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, conn.Conn)
		close(gone)
	}()
	defer func() { conn.Close(); <-gone }()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := p.send(ctx, conn, stop, gone); err != nil {
		return fmt.Errorf("publisher %s: after %d frames: %w", p.url, p.sequence.Load(), err)
	}
	leave(conn, gone)
	return nil
}

var errServerClosed = errors.New("the server closed the connection")

func (p *publisher) send(ctx context.Context, conn *rtmp.Conn, stop, gone <-chan struct{}) error {
	for _, t := range p.payload.headers() {
		if err := conn.WriteTag(csidOf(t.Type), t.Type, 0, t.Data); err != nil {
			return err
		}
	}
	p.load.started <- struct{}{}
	frames := schedule{workload: p.payload.workload}
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		f := frames.next()
		due := begun.Add(f.at)
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
		case <-stop:
			return nil
		case <-gone:
			return errServerClosed
		case <-ctx.Done():
			return ctx.Err()
		}
		now := time.Now()
		p.load.late.add(now.Sub(due))
		body := p.payload.frame(f, now.UnixNano())
		if err := conn.WriteTag(csidOf(f.typ), f.typ, f.timestamp(), body); err != nil {
			return err
		}
		p.sequence.Add(1)
		p.load.sent.Add(1)
		p.load.bytes.Add(int64(len(body)))
		if w := p.load.window.Load(); w != nil && now.UnixNano() >= w.from && now.UnixNano() < w.to {
			p.measured.Add(1)
		}
	}
}

func csidOf(typ uint8) uint32 {
	switch typ {
	case flv.TypeAudio:
		return csidAudio
	case flv.TypeVideo:
		return csidVideo
	}
	return csidData
}

// dial connects and makes the request (publish or play), both within dialTimeout.
func dial(ctx context.Context, url string, request func(*rtmp.Conn) error) (*rtmp.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := rtmp.Dial(ctx, url, chunkSize)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = request(conn)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// leave ends a publish as encoders do and waits until the server has read all.
func leave(conn *rtmp.Conn, gone <-chan struct{}) {
	conn.SetWriteDeadline(time.Now().Add(closeTimeout))
	conn.WriteCommand(rtmp.CommandFCUnpublish, 6.0, amf0.Null{}, conn.URL.Stream)
	conn.WriteCommand(rtmp.CommandDeleteStream, 7.0, amf0.Null{}, float64(rtmp.StreamID))
	if c, ok := conn.Conn.(*net.TCPConn); ok {
		c.CloseWrite()
	}
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
	}
}

// streamURLs names n streams: the URL itself, or with -0, -1 and so on behind
// the stream's name.
func streamURLs(url string, n int) ([]string, error) {
	if _, err := rtmp.ParseURL(url); err != nil {
		return nil, fmt.Errorf("%w: -url: %w", errUsage, err)
	}
	if n == 1 {
		return []string{url}, nil
	}
	name, query, found := strings.Cut(url, "?")
	if found {
		query = "?" + query
	}
	urls := make([]string, n)
	for i := range urls {
		urls[i] = fmt.Sprintf("%s-%d%s", name, i, query)
	}
	return urls, nil
}

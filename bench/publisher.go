package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/flv"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// Chunk streams of what we send.
const (
	csidAudio = 4
	csidVideo = 6
	csidData  = 8
)

// A publisher sends one stream in real time. While its socket is full it is
// late, as an encoder would be.
type publisher struct {
	client
	stream  uint32 // id in the stamps
	payload *payload
	load    *load

	// Owned by the crowd.
	frames schedule
	first  int64 // when the first frame was due, ns since 1970
	next   frame
	wire   []byte // the message to be sent

	// Read by others meanwhile.
	sequence atomic.Uint32 // frames sent so far
	measured atomic.Int64  // of them in the window
}

// load is what the publishers of a run have in common.
type load struct {
	window   *atomic.Pointer[window]
	late     histogram // how much behind its time a frame was sent
	sent     atomic.Int64
	bytes    atomic.Int64  // of bodies
	measured atomic.Int64  // of them sent in the window
	started  chan struct{} // one for each that was accepted; nil: nobody waits for it
}

func newLoad(w *atomic.Pointer[window], started chan struct{}) *load {
	return &load{window: w, started: started}
}

// line says how the publishers fare so far.
func (l *load) line() string {
	return fmt.Sprintf("%d frames sent, %.1f MB, late p99 %.1f ms", l.sent.Load(), float64(l.bytes.Load())/1e6, milliseconds(l.late.percentile(99)))
}

// newPublisher makes a publisher, whose ended is to be set before it joins a
// crowd.
func newPublisher(r *request, w workload, l *load) *publisher {
	p := new(publisher)
	p.init(r, w, l)
	return p
}

func (p *publisher) init(r *request, w workload, l *load) {
	var id [4]byte
	rand.Read(id[:])
	p.stream = binary.BigEndian.Uint32(id[:]) | 1 // 0 means any
	p.payload, p.load, p.frames = newPayload(w, p.stream), l, schedule{workload: w}
	p.client = client{request: r, role: p}
}

// begin sends the headers; the first frame is due at once.
func (p *publisher) begin(now int64) error {
	p.wire = p.wire[:0]
	for _, t := range p.payload.headers() {
		p.append(t.Type, 0, t.Data)
	}
	if err := p.write(p.wire); err != nil {
		return err
	}
	if p.load.started != nil {
		p.load.started <- struct{}{}
	}
	p.next, p.first = p.frames.next(), now
	return p.tick(now)
}

func (p *publisher) append(typ uint8, timestamp uint32, body []byte) {
	p.wire = chunk.Append(p.wire, chunk.Message{CSID: csidOf(typ), Type: typ, StreamID: rtmp.StreamID, Timestamp: timestamp, Body: body}, chunkSize)
}

// tick sends what is due, and asks to be called when there is more.
func (p *publisher) tick(int64) error {
	for len(p.out) == 0 {
		due := p.first + int64(p.next.at)
		now := time.Now().UnixNano()
		if due > now {
			p.wakeAt(due)
			return nil
		}
		p.load.late.add(time.Duration(now - due))
		body := p.payload.frame(p.next, now)
		p.wire = p.wire[:0]
		p.append(p.next.typ, p.next.timestamp(), body)
		if err := p.write(p.wire); err != nil {
			return err
		}
		p.sequence.Add(1)
		p.load.sent.Add(1)
		p.load.bytes.Add(int64(len(body)))
		if w := p.load.window.Load(); w != nil && now >= w.from && now < w.to {
			p.measured.Add(1)
			p.load.measured.Add(int64(len(body)))
		}
		p.next = p.frames.next()
	}
	p.wakeAt(0) // drained goes on
	return nil
}

func (p *publisher) drained(now int64) error {
	if p.state == clientLeaving {
		return unix.Shutdown(p.fd, unix.SHUT_WR)
	}
	return p.tick(now)
}

// quit has a publisher take its leave, if it came so far. The crowd's loop calls it.
func (p *publisher) quit() {
	var err error
	switch p.state {
	case clientGone, clientLeaving:
		return
	case clientWorking:
		if err = p.leave(time.Now().UnixNano()); err == nil {
			return
		}
	}
	p.crowd.end(&p.client, err)
}

// leave ends a publish as encoders do. The server is given a moment to close
// first, so that it has read all.
func (p *publisher) leave(now int64) error {
	p.state = clientLeaving
	bye := rtmp.AppendCommand(nil, chunkSize, rtmp.StreamID, rtmp.CommandFCUnpublish, fcUnpublish, amf0.Null{}, p.request.stream)
	bye = rtmp.AppendCommand(bye, chunkSize, rtmp.StreamID, rtmp.CommandDeleteStream, deleteTransaction, amf0.Null{}, float64(rtmp.StreamID))
	p.wakeAt(now + int64(closeTimeout))
	p.out = append(p.out, bye...)
	if err := p.flush(); err != nil || len(p.out) > 0 {
		return err
	}
	return p.drained(now)
}

func (p *publisher) media(chunk.Message, int64) error { return nil }
func (p *publisher) after() string                    { return fmt.Sprintf("after %d frames", p.sequence.Load()) }

func csidOf(typ uint8) uint32 {
	switch typ {
	case flv.TypeAudio:
		return csidAudio
	case flv.TypeVideo:
		return csidVideo
	}
	return csidData
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

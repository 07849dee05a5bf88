package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"srs/flv"
	"srs/rtmp/chunk"
)

// What the tests publish. at sets the time.
func tag(typ uint8, head string, size int) flv.Tag {
	data := make([]byte, max(size, len(head)))
	copy(data, head)
	return flv.Tag{Type: typ, Data: data}
}

func at(ms uint32, t flv.Tag) flv.Tag {
	t.Timestamp = ms
	return t
}

func key(size int) flv.Tag         { return tag(flv.TypeVideo, "\x17\x01key", size) }
func inter(size int) flv.Tag       { return tag(flv.TypeVideo, "\x27\x01inter", size) }
func sound(size int) flv.Tag       { return tag(flv.TypeAudio, "\xaf\x01sound", size) }
func videoHeader(s string) flv.Tag { return tag(flv.TypeVideo, "\x17\x00"+s, 0) }
func audioHeader(s string) flv.Tag { return tag(flv.TypeAudio, "\xaf\x00"+s, 0) }
func meta(s string) flv.Tag        { return tag(flv.TypeScript, "\x02\x00\x0aonMetaData"+s, 0) }

// word names a message of the tests: "meta2", "video1" and "audio1" are
// headers, "key", "inter" and "sound" frames, each with its time behind "@".
func word(m chunk.Message) string {
	s := string(m.Body)
	switch {
	case strings.HasPrefix(s, "\x02\x00\x0aonMetaData"):
		s = "meta" + s[13:]
	case strings.HasPrefix(s, "\x17\x00"):
		s = "video" + s[2:]
	case strings.HasPrefix(s, "\xaf\x00"):
		s = "audio" + s[2:]
	case strings.HasPrefix(s, "\x17\x01"):
		s = "key"
	case strings.HasPrefix(s, "\x27\x01"):
		s = "inter"
	case strings.HasPrefix(s, "\xaf\x01"):
		s = "sound"
	}
	return fmt.Sprintf("%s@%d", s, m.Timestamp)
}

var testKey = Key{Vhost: "v", App: "live", Stream: "s"}

func usual() Settings {
	return Settings{ChunkSize: 4096, GopCache: true, MaxFrames: 2500}
}

func start(t testing.TB, r *Registry, s Settings) *Publication {
	t.Helper()
	v, err := r.Reserve(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return v.Start(Publisher{ClientID: 1, Stream: testKey.Stream}, s)
}

func write(p *Publication, tags ...flv.Tag) {
	for _, tag := range tags {
		p.Write(tag)
	}
}

// ear is a player's end: it takes what a Subscriber gives apart as a client
// would. What next gave is taken as sent when next is called again.
type ear struct {
	t      testing.TB
	sub    *Subscriber
	bell   *Bell
	woken  chan struct{}
	runs   Runs
	given  []byte // by next
	isOwn  bool   // it is no part of the ring
	reader *chunk.Reader
	got    []chunk.Message
	told   []int
	take   func(chunk.Message) // in place of got
}

func hear(t testing.TB, r *Registry, queue time.Duration) *ear {
	e := &ear{t: t, reader: chunk.NewReader(chunk.Limits{Streams: 16, Command: 16 << 20, Media: 16 << 20, Partial: 32 << 20})}
	e.sub = r.Subscribe(testKey, queue, chunk.DefaultSize)
	e.woken = make(chan struct{}, 1)
	e.bell = NewBell(func(Due) {
		select {
		case e.woken <- struct{}{}:
		default:
		}
	})
	e.sub.Stream().Hang(e.bell)
	return e
}

func (e *ear) close() {
	e.sub.Stream().TakeDown(e.bell)
	e.sub.Close()
}

// wait arms the bell and returns its channel, or nil when something is there.
func (e *ear) wait() <-chan struct{} {
	e.bell.Arm()
	if p := e.sub.pos; !e.sub.paused && (p.entry < p.block.count.Load() || p.block.next.Load() != nil) {
		return nil
	}
	return e.woken
}

// skip is Subscriber.Skip with that many bytes of what next gave sent.
func (e *ear) skip(sent int) (rest []byte, skipped uint64) {
	if e.isOwn {
		rest, skipped = e.sub.Skip(e.given[sent:])
	} else {
		before := *e.sub
		if e.given != nil {
			e.sub.Took(&e.runs, sent)
		}
		if rest, skipped = e.sub.Skip(nil); skipped == 0 {
			if e.sub.pos.block == before.pos.block {
				*e.sub = before
			} else {
				e.sub.Gather(&e.runs, nil, e.runs.Bytes-sent)
				e.given = e.given[sent:]
			}
		}
	}
	if skipped == 0 {
		return nil, 0
	}
	e.given, e.isOwn = nil, false
	return rest, skipped
}

// took takes what next gave as sent.
func (e *ear) took() {
	if e.given != nil && !e.isOwn {
		e.sub.Took(&e.runs, len(e.given))
	}
	e.given, e.isOwn = nil, false
}

func (e *ear) pause() {
	e.took()
	e.sub.Pause()
}

func (e *ear) feed(b []byte) {
	e.t.Helper()
	e.reader.Feed(b)
	for {
		m, ok, err := e.reader.Next()
		if err != nil {
			e.t.Errorf("the player cannot read on: %v", err)
			return
		}
		if !ok {
			return
		}
		switch {
		case m.Type == chunk.TypeSetChunkSize:
			e.told = append(e.told, int(binary.BigEndian.Uint32(m.Body)))
		case e.take != nil:
			e.take(m)
		default:
			m.Body = bytes.Clone(m.Body)
			e.got = append(e.got, m)
		}
	}
}

// testLimit is about how much next gives at once.
const testLimit = 64 << 10

// next returns what to send next, after chunk sizes have been taken.
func (e *ear) next() []byte {
	e.took()
	own := e.sub.Gather(&e.runs, nil, testLimit)
	if len(own) > 0 && own[7] == chunk.TypeSetChunkSize {
		e.feed(own[:16])
		own = own[16:]
	}
	switch {
	case len(own) > 0:
		e.given, e.isOwn = own, true
	case len(e.runs.Pieces) == 1:
		e.given = e.runs.Pieces[0]
	case len(e.runs.Pieces) > 1:
		e.given = bytes.Join(e.runs.Pieces, nil)
	}
	return e.given
}

// drain takes all there is and returns what came, in words.
func (e *ear) drain() []string {
	e.t.Helper()
	for run := e.next(); run != nil; run = e.next() {
		e.feed(run)
	}
	return e.words()
}

// words returns what came since the last call.
func (e *ear) words() []string {
	e.t.Helper()
	if n := e.reader.Partial(); n != 0 {
		e.t.Errorf("the player has %d bytes of an unfinished message", n)
	}
	var words []string
	for _, m := range e.got {
		words = append(words, word(m))
		if m.StreamID != 1 {
			e.t.Errorf("message stream %d", m.StreamID)
		}
	}
	e.got = nil
	return words
}

func want(t testing.TB, got []string, words string) {
	t.Helper()
	if !slices.Equal(got, strings.Fields(words)) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), words)
	}
}

// checkLeaks fails a test that leaves blocks behind.
func checkLeaks(t *testing.T) {
	blocks := blocksAlive.Load()
	t.Cleanup(func() {
		if n := blocksAlive.Load() - blocks; n != 0 {
			t.Errorf("%d blocks are still held", n)
		}
	})
}

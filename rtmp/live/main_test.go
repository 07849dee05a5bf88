package live

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
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
// would.
type ear struct {
	t      testing.TB
	sub    *Subscriber
	reader *chunk.Reader
	got    []chunk.Message
	told   []int
	take   func(chunk.Message) // in place of got
}

func hear(t testing.TB, r *Registry, queue time.Duration) *ear {
	e := &ear{t: t, reader: chunk.NewReader(chunk.Limits{Streams: 16, Command: 16 << 20, Media: 16 << 20, Partial: 32 << 20})}
	e.sub = r.Subscribe(testKey, queue, chunk.DefaultSize, func() {})
	return e
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
		if e.take != nil && m.Type != chunk.TypeSetChunkSize {
			e.take(m)
		} else if m.Type != chunk.TypeSetChunkSize {
			m.Body = bytes.Clone(m.Body)
			e.got = append(e.got, m)
		}
	}
}

func (e *ear) tell(size int) {
	e.told = append(e.told, size)
	e.feed(chunk.Append(nil, chunk.Message{CSID: 2, Type: chunk.TypeSetChunkSize, Body: binary.BigEndian.AppendUint32(nil, uint32(size))}, 128))
}

// next returns the next run, after chunk sizes and prologue have been taken.
func (e *ear) next() []byte {
	for {
		run, size := e.sub.Next()
		if size == 0 {
			return run
		}
		e.tell(size)
	}
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

// checkLeaks fails a test that leaves blocks or goroutines behind.
func checkLeaks(t *testing.T) {
	blocks := blocksAlive.Load()
	t.Cleanup(func() {
		if n := blocksAlive.Load() - blocks; n != 0 {
			t.Errorf("%d blocks are still held", n)
		}
		stacks := make([]byte, 1<<20)
		for range 1000 { // one that has said it is done may not be gone yet
			if all := stacks[:runtime.Stack(stacks, true)]; !bytes.Contains(all, []byte("live.(*pump).run")) {
				return
			}
			runtime.Gosched()
		}
		t.Error("a pump is still running")
	})
}

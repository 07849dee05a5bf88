package live

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"srs/flv"
	"srs/rtmp/chunk"
)

// What a frame of the storm carries behind its two bytes of codec: which of
// all frames it is, which headers it belongs to, when it must be shown, and a
// checksum of it all. A header carries its number alone.
const (
	stormSeq  = 2
	stormGen  = 10
	stormLine = 14
	stormSum  = 18
	stormHead = 22
)

func stormFrame(codec string, seq uint64, gen, line uint32, size int) []byte {
	b := make([]byte, stormHead+size)
	copy(b, codec)
	binary.BigEndian.PutUint64(b[stormSeq:], seq)
	binary.BigEndian.PutUint32(b[stormGen:], gen)
	binary.BigEndian.PutUint32(b[stormLine:], line)
	for i := range b[stormHead:] {
		b[stormHead+i] = byte(seq) + byte(i)*7
	}
	binary.BigEndian.PutUint32(b[stormSum:], stormSumOf(b))
	return b
}

func stormSumOf(b []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(b[:stormSum]), crc32.IEEETable, b[stormHead:])
}

// storm is one run: several publications of a stream, one after the other.
type storm struct {
	t        *testing.T
	registry *Registry
	frames   int // of each publication
	big      int // bytes of the largest
	over     chan struct{}
	seq      uint64 // frames published; read when over is closed
}

// publish is a publication with headers that change before some keyframes.
func (s *storm) publish(n int, settings Settings, line *uint32) {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	p := start(s.t, s.registry, settings)
	defer p.Close()
	base, gen := rng.Uint32(), uint32(0)
	if n > 0 {
		*line += rejoinStep
	}
	first := *line
	for i := range s.frames {
		raw := base + (*line - first)
		if i%40 == 0 {
			gen = uint32(n*1000 + i/40/3)
			if i/40%3 == 0 {
				h := binary.BigEndian.AppendUint32([]byte("\xaf\x00"), gen)
				p.Write(flv.Tag{Type: flv.TypeAudio, Timestamp: raw, Data: h})
				h = binary.BigEndian.AppendUint32([]byte("\x17\x00"), gen)
				p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: raw, Data: h})
				p.Write(at(raw, meta(fmt.Sprint(gen))))
			}
		}
		size := []int{0, 1, 90, 106, 107, 500, 1400, 4000, 4100, 20_000}[rng.IntN(10)]
		if i%1000 == 250 {
			size = s.big
		}
		s.seq++
		tag := flv.Tag{Type: flv.TypeAudio, Timestamp: raw}
		switch {
		case i%40 == 0:
			tag.Type, tag.Data = flv.TypeVideo, stormFrame("\x17\x01", s.seq, gen, *line, size)
		case i%2 == 0:
			tag.Type, tag.Data = flv.TypeVideo, stormFrame("\x27\x01", s.seq, gen, *line, size)
		default:
			tag.Data = stormFrame("\xaf\x01", s.seq, gen, *line, size%1500)
		}
		p.Write(tag)
		clear(tag.Data) // it is ours again
		if i < s.frames-1 {
			*line += 20
		}
		if i%16 == 0 {
			runtime.Gosched()
		}
	}
}

// judge checks what one player or reader gets.
type judge struct {
	t            *testing.T
	name         string
	seq          uint64 // the newest frame; 0: none since it came
	free         bool   // frames may be missing before the next one, a keyframe then
	audio, video uint32 // newest headers
	heard        [2]bool
	frames, gaps int
}

func (j *judge) fail(format string, args ...any) {
	j.t.Errorf("%s, after frame %d: %s", j.name, j.seq, fmt.Sprintf(format, args...))
}

func (j *judge) take(typ uint8, time uint32, b []byte) {
	info := flv.Sniff(typ, b)
	switch {
	case info&flv.Metadata != 0:
		return
	case info&flv.AudioHeader != 0:
		j.audio, j.heard[0] = binary.BigEndian.Uint32(b[2:]), true
		return
	case info&flv.VideoHeader != 0:
		j.video, j.heard[1] = binary.BigEndian.Uint32(b[2:]), true
		return
	}
	if len(b) < stormHead || binary.BigEndian.Uint32(b[stormSum:]) != stormSumOf(b) {
		j.fail("a damaged frame of %d bytes", len(b))
		return
	}
	seq, gen, line := binary.BigEndian.Uint64(b[stormSeq:]), binary.BigEndian.Uint32(b[stormGen:]), binary.BigEndian.Uint32(b[stormLine:])
	j.frames++
	isKey := info&flv.Keyframe != 0
	switch {
	case !j.heard[0] || !j.heard[1]:
		j.fail("frame %d comes before the headers", seq)
	case j.audio != gen || j.video != gen:
		j.fail("frame %d needs headers %d and has %d and %d", seq, gen, j.audio, j.video)
	case time != line:
		j.fail("frame %d at %d, not %d", seq, time, line)
	case j.seq == 0 && !isKey:
		j.fail("begins with %d, no keyframe", seq)
	case j.seq > 0 && seq != j.seq+1 && (!j.free || seq <= j.seq):
		j.fail("frame %d follows", seq)
	case j.seq > 0 && seq != j.seq+1 && !isKey:
		j.fail("goes on at %d, no keyframe", seq)
	}
	if j.seq > 0 && seq != j.seq+1 {
		j.gaps++
	}
	j.seq, j.free = seq, false
}

// What a player of the storm does.
type manner struct {
	leaves, pauses, skips int // one run in so many; 0: never
	slow                  int // yields behind each run
}

func (s *storm) play(n int, m manner) (frames, gaps int) {
	rng := rand.New(rand.NewPCG(2, uint64(n)))
	once := func(n int) bool { return n > 0 && rng.IntN(n) == 0 }
	for visit := 0; ; visit++ {
		j := &judge{t: s.t, name: fmt.Sprintf("player %d, visit %d", n, visit)}
		e := hear(s.t, s.registry, 2*time.Second)
		stays := s.visit(e, j, m, once, rng)
		frames, gaps = frames+j.frames, gaps+j.gaps
		e.close()
		if e.reader.Partial() != 0 {
			j.fail("ends within a message")
		}
		e.reader.Release()
		if stays {
			if m == (manner{}) && !s.t.Failed() && (j.seq != s.seq || j.gaps != 0) {
				j.fail("there were %d frames; %d gaps", s.seq, j.gaps)
			}
			return frames, gaps
		}
	}
}

// visit plays until the player leaves, or everything is over: then it reports true.
func (s *storm) visit(e *ear, j *judge, m manner, once func(int) bool, rng *rand.Rand) bool {
	over := false
	e.take = func(m chunk.Message) { j.take(m.Type, m.Timestamp, m.Body) }
	for !s.t.Failed() {
		run := e.next()
		if run == nil {
			if over {
				return true
			}
			woken := e.wait()
			if woken == nil {
				continue
			}
			select {
			case <-woken:
			case <-s.over:
				over = true
			}
			continue
		}
		sent := rng.IntN(len(run) + 1)
		e.feed(run[:sent])
		for range m.slow {
			runtime.Gosched()
		}
		if once(m.skips) {
			rest, skipped := e.skip(sent)
			if skipped > 0 {
				e.feed(rest)
				j.free = true
				continue
			}
		}
		e.feed(run[sent:])
		if once(m.pauses) {
			e.pause()
			for range 200 {
				runtime.Gosched()
			}
			e.sub.Resume()
			j.free = true
		}
		if once(m.leaves) {
			return false
		}
	}
	return true
}

// read checks what a Reader copies out. hasty is one that may have gaps.
func (s *storm) read(rd *Reader, name string, hasty bool) {
	defer rd.Close()
	j := &judge{t: s.t, name: name}
	for n := 0; ; n++ {
		f, ok, err := rd.Poll()
		if f.Gap && !hasty {
			j.fail("a gap")
		}
		if f.Gap { // it goes on anywhere, without a prologue, or has lost the end
			return
		}
		if err == io.EOF {
			break
		}
		if !ok {
			runtime.Gosched()
			continue
		}
		j.take(f.Type, f.Timestamp, f.Data)
		if n%8 == 0 && hasty {
			runtime.Gosched()
		}
	}
	if j.frames != s.frames {
		j.fail("%d frames of %d", j.frames, s.frames)
	}
}

// TestStorm: publishers one after the other, and all kinds of players at
// once. Every player gets whole, undamaged frames in their order, begins and
// goes on at keyframes with their headers, and at the end nothing is held.
func TestStorm(t *testing.T) {
	for _, c := range []struct{ chunkSize, frames, big int }{
		{128, 1500, 300_000},
		{4096, 2500, 2 << 20},
		{60000, 2500, 2 << 20},
	} {
		t.Run(fmt.Sprint(c.chunkSize), func(t *testing.T) {
			checkLeaks(t)
			var all sync.WaitGroup
			s := &storm{t: t, frames: c.frames, big: c.big, over: make(chan struct{})}
			s.registry = NewRegistry(watcher(func(p *Publication) {
				careful, hasty := p.NewReader(NewLag(1<<30, 1<<40)), p.NewReader(NewLag(1<<20, 1<<40))
				all.Go(func() { s.read(careful, "careful reader", false) })
				all.Go(func() { s.read(hasty, "hasty reader", true) })
			}))
			var mu sync.Mutex
			frames, gaps := 0, 0
			manners := []manner{
				{}, {slow: 3},
				{leaves: 20}, {leaves: 3}, {pauses: 10}, {skips: 5}, {skips: 1, slow: 50}, {slow: 200, skips: 2},
				{leaves: 50, pauses: 5, skips: 5, slow: 5},
			}
			ready := make(chan struct{}, 64)
			for n := range 3 * len(manners) {
				all.Go(func() {
					ready <- struct{}{}
					f, g := s.play(n, manners[n%len(manners)])
					mu.Lock()
					defer mu.Unlock()
					frames, gaps = frames+f, gaps+g
				})
			}
			for range 3 * len(manners) {
				<-ready
			}
			// One that has subscribed for sure, so that the time line continues.
			stays := s.registry.Subscribe(testKey, time.Second, 128)
			stays.Pause()
			var line uint32
			for n := range 3 {
				settings := usual()
				settings.ChunkSize = c.chunkSize + n*5
				settings.Flush.Immediate = n == 1
				s.publish(n, settings, &line)
			}
			close(s.over)
			all.Wait()
			stays.Close()
			if n := s.registry.Streams(); n != 0 {
				t.Errorf("%d streams are left", n)
			}
			t.Logf("%d frames published, %d received, %d gaps", s.seq, frames, gaps)
			if gaps == 0 {
				t.Error("nobody has skipped: the storm is none")
			}
		})
	}
}

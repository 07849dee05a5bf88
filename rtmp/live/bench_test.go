package live

import (
	"fmt"
	"testing"
	"time"

	"srs/flv"
)

// relay is a publication with players, in its steady state.
type relay struct {
	p       *Publication
	players []*Subscriber
	tags    []flv.Tag
	n       uint32
	runs    Runs
	own     []byte
}

func newRelay(t testing.TB, players int) *relay {
	s := usual()
	s.ChunkSize = 60000
	r := NewRegistry()
	y := &relay{p: start(t, r, s), tags: []flv.Tag{key(40_000)}}
	for range 24 {
		y.tags = append(y.tags, sound(350), inter(4000), sound(350))
	}
	write(y.p, meta("1"), videoHeader("1"), audioHeader("1"))
	for range players {
		y.players = append(y.players, r.Subscribe(testKey, time.Minute, 60000))
	}
	for range 500 {
		y.step()
	}
	return y
}

// step relays one message to all players.
func (y *relay) step() (bytes int) {
	tag := y.tags[int(y.n)%len(y.tags)]
	tag.Timestamp = y.n * 13
	y.n++
	y.p.Write(tag)
	for _, p := range y.players {
		y.own = p.Gather(&y.runs, y.own[:0], testLimit)
		bytes += y.runs.Bytes
		p.Took(&y.runs, y.runs.Bytes)
	}
	return bytes
}

func (y *relay) close() {
	y.p.Close()
	for _, p := range y.players {
		p.Close()
	}
}

// BenchmarkWrite is a publisher's cost per message, with players that walk
// along: their share of the cost is what a Gather and a Took cost each.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("players=%d", n), func(b *testing.B) {
			y := newRelay(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			bytes := 0
			for range b.N {
				bytes += y.step()
			}
			b.StopTimer()
			b.SetBytes(int64(bytes / b.N))
			y.close()
		})
	}
}

// BenchmarkJoin is what a late player costs until it has its first run.
func BenchmarkJoin(b *testing.B) {
	y := newRelay(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		s := y.p.stream.registry.Subscribe(testKey, time.Minute, 60000)
		y.own = s.Gather(&y.runs, y.own[:0], testLimit)
		s.Close()
	}
	y.close()
}

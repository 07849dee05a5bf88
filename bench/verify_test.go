package main

import (
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"srs/amf0"
	"srs/flv"
)

// stream returns the headers and so many frames, as a player gets them. Frame
// i has sequence number i, its sending time is 1000 i.
func stream(id uint32, frames int) []flv.Tag {
	p, s := newPayload(testLoad, id), schedule{workload: testLoad}
	tags := p.headers()
	tags[0].Data = amf0.Append(nil, "onMetaData", amf0.ECMAArray{})
	for i := range frames {
		f := s.next()
		tags = append(tags, flv.Tag{Type: f.typ, Timestamp: f.timestamp(), Data: slices.Clone(p.frame(f, int64(1000*i)))})
	}
	return tags
}

const streamHead = 3 // tags before the first frame

// found are the counts of a tally.
type found struct {
	lost, gaps, outOfOrder, duplicates, corrupt, timeBack, badStart, restarts, intact int64
}

func verifyAll(id uint32, tags []flv.Tag) (found, *tally) {
	t := new(tally)
	t.window = new(atomic.Pointer[window])
	t.window.Store(&window{from: math.MinInt64, to: math.MaxInt64})
	v := newVerifier(t, id)
	for i, tag := range tags {
		v.message(tag.Type, tag.Timestamp, tag.Data, int64(1000*i))
	}
	return found{
		lost: t.lost.Load(), gaps: t.gaps.Load(), outOfOrder: t.outOfOrder.Load(), duplicates: t.duplicates.Load(),
		corrupt: t.corrupt.Load(), timeBack: t.timeBack.Load(), badStart: t.badStart.Load(), restarts: t.restarts.Load(),
		intact: v.intact,
	}, t
}

// TestVerify does each kind of damage to a stream of 400 frames, and looks
// for exactly that kind.
func TestVerify(t *testing.T) {
	const frames, id = 400, 9
	at := func(n int) int { return streamHead + n }
	cut := func(tags []flv.Tag, i, j int) []flv.Tag { return slices.Delete(tags, i, j) }
	// Timestamps stay in their places where only the order of bodies is meant.
	swap := func(tags []flv.Tag, i, j int) []flv.Tag {
		tags[i].Type, tags[j].Type = tags[j].Type, tags[i].Type
		tags[i].Data, tags[j].Data = tags[j].Data, tags[i].Data
		return tags
	}
	repeat := func(tags []flv.Tag, i int) []flv.Tag {
		return slices.Insert(tags, i+1, tags[i])
	}
	for _, c := range []struct {
		name   string
		damage func([]flv.Tag) []flv.Tag
		want   found
	}{
		{"none", func(s []flv.Tag) []flv.Tag { return s }, found{intact: 400}},
		{"one missing", func(s []flv.Tag) []flv.Tag { return cut(s, at(50), at(51)) }, found{lost: 1, gaps: 1, intact: 399}},
		{"two gaps", func(s []flv.Tag) []flv.Tag { return cut(cut(s, at(90), at(100)), at(50), at(52)) }, found{lost: 12, gaps: 2, intact: 388}},
		{"swapped", func(s []flv.Tag) []flv.Tag { return swap(s, at(50), at(51)) }, found{gaps: 1, outOfOrder: 1, intact: 400}},
		{"late", func(s []flv.Tag) []flv.Tag {
			late := s[at(50)]
			late.Timestamp = s[at(60)].Timestamp
			return slices.Insert(cut(s, at(50), at(51)), at(60), late)
		}, found{gaps: 1, outOfOrder: 1, intact: 400}},
		{"duplicate", func(s []flv.Tag) []flv.Tag { return repeat(s, at(50)) }, found{duplicates: 1, intact: 400}},
		{"first frame again", func(s []flv.Tag) []flv.Tag { return repeat(s, at(0)) }, found{duplicates: 1, intact: 400}},
		{"flipped bit", func(s []flv.Tag) []flv.Tag { s[at(50)].Data[200] ^= 4; return s }, found{corrupt: 1, lost: 1, gaps: 1, intact: 399}},
		{"cut short", func(s []flv.Tag) []flv.Tag {
			s[at(50)].Data = s[at(50)].Data[:100]
			return s
		}, found{corrupt: 1, lost: 1, gaps: 1, intact: 399}},
		{"mixed bodies", func(s []flv.Tag) []flv.Tag {
			copy(s[at(50)].Data[150:200], s[at(51)].Data[150:200])
			return s
		}, found{corrupt: 1, lost: 1, gaps: 1, intact: 399}},
		{"type changed", func(s []flv.Tag) []flv.Tag { s[at(0)].Type = flv.TypeAudio; return s }, found{corrupt: 1, badStart: 1, intact: 400 - 137}},
		{"time back", func(s []flv.Tag) []flv.Tag { s[at(50)].Timestamp += 100; return s }, found{timeBack: 1, intact: 400}},
		{"time to zero", func(s []flv.Tag) []flv.Tag {
			for i := at(200); i < len(s); i++ {
				s[i].Timestamp -= s[at(200)].Timestamp
			}
			s[at(200)].Timestamp = 0
			return s
		}, found{timeBack: 1, intact: 400}},
		{"time wraps", func(s []flv.Tag) []flv.Tag {
			for i := range s {
				s[i].Timestamp += 1<<32 - 1000
			}
			return s
		}, found{intact: 400}},
		{"no metadata", func(s []flv.Tag) []flv.Tag { return s[1:] }, found{badStart: 1, intact: 400}},
		{"no video header", func(s []flv.Tag) []flv.Tag { return cut(s, 1, 2) }, found{badStart: 1, intact: 400}},
		{"no audio header", func(s []flv.Tag) []flv.Tag { return cut(s, 2, 3) }, found{badStart: 1, intact: 400}},
		{"header damaged", func(s []flv.Tag) []flv.Tag {
			s[1].Data = slices.Clone(s[1].Data)
			s[1].Data[7]++
			return s
		}, found{corrupt: 1, badStart: 1, intact: 400}},
		{"no keyframe first", func(s []flv.Tag) []flv.Tag { return cut(s, at(0), at(1)) }, found{badStart: 1, intact: 400 - 137}},
		{"joined at a keyframe", func(s []flv.Tag) []flv.Tag { return cut(s, at(0), at(137)) }, found{intact: 400 - 137}},
		{"sound before picture", func(s []flv.Tag) []flv.Tag { return cut(s, at(0), at(136)) }, found{intact: 400 - 137}},
		{"another publisher's", func(s []flv.Tag) []flv.Tag {
			s[at(50)].Data = stream(id+1, 51)[at(50)].Data
			return s
		}, found{corrupt: 1, lost: 1, gaps: 1, intact: 399}},
		{"other messages", func(s []flv.Tag) []flv.Tag {
			return slices.Insert(s, at(50), flv.Tag{Type: 20, Data: []byte{2, 0, 0}}, flv.Tag{Type: flv.TypeScript, Data: []byte("x")})
		}, found{intact: 400}},
		{"empty", func(s []flv.Tag) []flv.Tag { s[at(50)].Data = nil; return s }, found{corrupt: 1, lost: 1, gaps: 1, intact: 399}},
	} {
		if got, _ := verifyAll(id, c.damage(stream(id, frames))); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// TestVerifyRepublish: who plays whatever is published, sees a new publisher
// as a new beginning.
func TestVerifyRepublish(t *testing.T) {
	both := append(stream(1, 100), stream(2, 80)...)
	for i := streamHead + 100; i < len(both); i++ {
		both[i].Timestamp += 10000
	}
	if got, _ := verifyAll(0, both); got != (found{restarts: 1, intact: 180}) {
		t.Errorf("%+v", got)
	}
	if got, _ := verifyAll(1, both); got != (found{corrupt: 80, intact: 100}) {
		t.Errorf("of one only: %+v", got)
	}
}

// TestVerifyFarGap: behind a gap longer than the memory of numbers nothing is
// taken for a duplicate, and what is older than the memory is out of order.
func TestVerifyFarGap(t *testing.T) {
	tags := stream(1, 2000)
	old, late := tags[streamHead+400], tags[streamHead+1490]
	tags = slices.Delete(tags, streamHead+300, streamHead+1500)
	i := streamHead + 301
	old.Timestamp, late.Timestamp = tags[i].Timestamp, tags[i].Timestamp
	tags = slices.Insert(tags, i, late, late, old)
	want := found{lost: 1199, gaps: 1, outOfOrder: 2, duplicates: 1, intact: 801}
	if got, _ := verifyAll(1, tags); got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestVerifyWindow(t *testing.T) {
	var sum tally
	v := newVerifier(&sum, 0)
	v.since = 30_000
	tags := stream(1, 100)
	feed := func(tags []flv.Tag) {
		for _, tag := range tags {
			s, _ := readStamp(tag.Type, tag.Data)
			v.message(tag.Type, tag.Timestamp, tag.Data, s.sent+5_000_000)
		}
	}
	feed(tags[:streamHead+10])
	if sum.delivered.Load() != 0 {
		t.Error("measured without a window")
	}
	sum.window = new(atomic.Pointer[window])
	sum.window.Store(&window{from: 20_000, to: 60_000})
	feed(tags[streamHead+10:])
	if sum.delivered.Load() != 40 || sum.latency.count.Load() != 30 || v.intact != 100 {
		t.Errorf("delivered %d, of them live %d, intact %d", sum.delivered.Load(), sum.latency.count.Load(), v.intact)
	}
	if p := sum.latency.percentile(50).Milliseconds(); p != 5 {
		t.Errorf("latency %d ms", p)
	}
}

// TestVerifyAllocatesNothing: a generator's garbage would show as latency.
func TestVerifyAllocatesNothing(t *testing.T) {
	tags := stream(1, 2000)
	_, sum := verifyAll(0, tags[:streamHead])
	v := newVerifier(sum, 0)
	i := 0
	if n := testing.AllocsPerRun(1000, func() {
		v.message(tags[i].Type, tags[i].Timestamp, tags[i].Data, 0)
		i++
	}); n > 0 {
		t.Errorf("%.1f allocations a message", n)
	}
}

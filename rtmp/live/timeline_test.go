package live

import (
	"testing"

	"srs/flv"
)

const (
	a = 'a' // audio frame
	v = 'v' // video frame
	h = 'h' // video header
	m = 'm' // script tag
)

type step struct {
	kind byte
	raw  uint32
	line uint32
}

func (s step) on(l *Timeline) uint32 {
	switch s.kind {
	case a:
		return l.Next(flv.TypeAudio, s.raw, flv.AudioFrame)
	case v:
		return l.Next(flv.TypeVideo, s.raw, flv.VideoFrame)
	case h:
		return l.Next(flv.TypeVideo, s.raw, flv.VideoHeader)
	}
	return l.Next(flv.TypeScript, s.raw, flv.Metadata)
}

func TestTimeline(t *testing.T) {
	const hour = 3600_000
	for _, c := range []struct {
		name  string
		mode  TimeMode
		start uint32
		steps []step
	}{
		{"begins at 0 with the first frame", TimeFull, 0, []step{{a, 5000, 0}, {v, 5040, 40}, {a, 5023, 23}, {v, 5080, 80}}},
		{"begins at start", TimeFull, 700, []step{{v, 9, 700}, {a, 29, 720}}},
		{"headers and metadata set no base", TimeFull, 0, []step{{m, 0, 0}, {h, 0, 0}, {a, 77_000, 0}, {v, 77_040, 40}}},
		{"headers of an earlier time", TimeFull, 0, []step{{a, 1000, 0}, {a, 2000, 1000}, {h, 1500, 500}, {h, 0, 1000}}},
		{"a header before the base", TimeFull, 7, []step{{v, 1000, 7}, {h, 500, 7}, {v, 1040, 47}}},
		{"a header in midstream keeps its time", TimeFull, 0, []step{{v, 1000, 0}, {h, 1040, 40}, {v, 1040, 40}}},
		{"a header of no sensible time", TimeFull, 0, []step{{v, 100_000, 0}, {v, 105_000, 5000}, {h, 0, 5000}, {v, 105_040, 5040}}},
		{"a script tag has the present time", TimeFull, 0, []step{{v, 1000, 0}, {v, 1040, 40}, {m, 0, 40}, {v, 1080, 80}}},
		{"earlier is clamped", TimeFull, 0, []step{{a, 1000, 0}, {v, 960, 0}, {v, 1000, 0}, {v, 1040, 40}}},
		{"video begins 5 s before audio's first", TimeFull, 0, []step{
			{a, 10_000, 0}, {v, 5000, 0}, {v, 5040, 0}, {a, 10_023, 23}, {v, 9990, 0}, {v, 10_040, 40}, {a, 10_046, 46}}},
		{"small steps back are real", TimeFull, 0, []step{{v, 0, 0}, {v, 5000, 5000}, {v, 4000, 4000}, {v, 4040, 4040}}},
		{"a step back of more is a jump", TimeFull, 0, []step{{v, 0, 0}, {v, 5000, 5000}, {v, 5040, 5040}, {v, 4039, 5080}, {v, 4079, 5120}}},
		{"a gap of 10 s is real", TimeFull, 0, []step{{v, 0, 0}, {v, 40, 40}, {v, 10_040, 10_040}, {v, 10_080, 10_080}}},
		{"a gap of more is a jump", TimeFull, 0, []step{{v, 0, 0}, {v, 40, 40}, {v, 10_041, 80}, {v, 10_081, 120}}},
		{"both jump back an hour", TimeFull, 0, []step{{a, 2 * hour, 0}, {v, 2 * hour, 0}, {a, 2*hour + 20, 20}, {v, 2*hour + 40, 40},
			{a, hour + 40, 40}, {v, hour + 80, 80}, {a, hour + 60, 60}, {v, hour + 120, 120}}},
		{"both jump on an hour", TimeFull, 0, []step{{a, 0, 0}, {v, 0, 0}, {a, 20, 20}, {v, 40, 40},
			{v, hour + 80, 80}, {a, hour + 40, 40}, {a, hour + 60, 60}, {v, hour + 120, 120}}},
		{"both jump 24.9 days", TimeFull, 0, []step{{a, 0, 0}, {v, 0, 0}, {a, 20, 20}, {v, 40, 40},
			{a, 1<<31 + 40, 40}, {v, 1<<31 + 80, 80}, {a, 1<<31 + 60, 60}, {v, 1<<31 + 120, 120}}},
		{"a jump at the second frame", TimeFull, 0, []step{{v, 0, 0}, {v, hour, 40}, {v, hour + 33, 73}}},
		{"one type jumps, the other comes late", TimeFull, 0, []step{{a, 0, 0}, {v, 0, 0}, {a, 20, 20}, {v, 40, 40},
			{a, hour + 40, 40}, {v, 80, 80}, {a, hour + 60, 60}, {v, hour + 120, 120}, {a, hour + 80, 80}}},
		{"both jump back by little more than their distance", TimeFull, 0, []step{{v, 5000, 0}, {a, 4734, 0}, {v, 8040, 3040}, {a, 7757, 2757}, {v, 8080, 3080}, {a, 7780, 2780},
			{v, 7003, 3120}, {a, 6726, 2843}, {v, 7043, 3160}, {a, 6749, 2866}}},
		{"sound from before the jump of its picture", TimeFull, 0, []step{{v, 5000, 0}, {a, 5000, 0}, {v, 5040, 40}, {a, 5023, 23},
			{v, 1000, 80}, {a, 5046, 4126}, {a, 5069, 4149}, {v, 1040, 120}, {a, 1020, 100}, {v, 1080, 160}, {a, 1043, 123}}},
		{"a slow picture from before the jump of its sound", TimeFull, 0, []step{{a, 100_000, 0}, {v, 100_000, 0}, {a, 101_000, 1000}, {v, 101_000, 1000},
			{a, 97_000, 2000}, {v, 102_000, 7000}, {v, 98_000, 3000}, {a, 98_000, 3000}, {v, 99_000, 4000}}},
		{"two jumps before the other's next frame", TimeFull, 0, []step{{a, 100_000, 0}, {v, 100_000, 0}, {v, 100_040, 40}, {v, 97_080, 80}, {v, 97_120, 120}, {v, 94_160, 160},
			{a, 100_020, 6020}, {a, 94_040, 40}, {v, 94_200, 200}, {a, 94_060, 60}}},
		{"audio pauses 11.5 s, video goes on", TimeFull, 0, []step{{v, 0, 0}, {a, 0, 0}, {v, 5000, 5000}, {v, 11_400, 11_400},
			{a, 11_500, 11_500}, {v, 11_440, 11_440}, {a, 11_523, 11_523}, {v, 11_480, 11_480}}},
		{"a picture every 12 s, audio goes on", TimeFull, 0, []step{{a, 0, 0}, {v, 0, 0}, {a, 9000, 9000}, {v, 12_000, 12_000},
			{a, 18_000, 18_000}, {v, 24_000, 24_000}, {a, 24_023, 24_023}, {v, 36_000, 24_040}}},
		{"slides far behind their sound", TimeFull, 0, []step{{v, 0, 0}, {a, 0, 0}, {a, 9000, 9000}, {a, 18_000, 18_000}, {a, 27_000, 27_000},
			{v, 12_000, 12_000}, {v, 24_000, 24_000}, {a, 27_023, 27_023}, {v, 36_000, 36_000}}},
		{"audio 60 s ahead from the start", TimeFull, 0, []step{{v, 0, 0}, {a, 60_000, 60_000}, {v, 40, 40}, {a, 60_023, 60_023}}},
		{"the publisher's time wraps", TimeFull, 0, []step{{v, 0xffffff00, 0}, {a, 0xffffff10, 16}, {v, 0x100, 512}, {a, 0x110, 528}}},
		{"the line wraps", TimeFull, 0xffffff00, []step{{v, 0, 0xffffff00}, {v, 0x100, 0}, {v, 0x140, 0x40}}},
		{"beyond 2^31", TimeFull, 0, []step{{v, 1 << 31, 0}, {v, 1<<31 + 40, 40}}},
		{"zero takes jumps as they are", TimeZero, 0, []step{{m, 1, 0}, {v, 1000, 0}, {v, hour, hour - 1000}, {v, 2000, 1000}, {a, 3000, 2000}}},
		{"zero clamps too", TimeZero, 50, []step{{v, 1000, 50}, {v, 0, 50}, {v, 1001, 51}}},
		{"zero wraps", TimeZero, 0, []step{{v, 0xfffffff0, 0}, {v, 0x10, 32}}},
		{"off leaves all alone", TimeOff, 99, []step{{m, 7, 7}, {h, 5, 5}, {v, hour, hour}, {v, 0, 0}, {a, 0xffffffff, 0xffffffff}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewTimeline(c.mode, c.start)
			for i, s := range c.steps {
				if got := s.on(l); got != s.line {
					t.Errorf("step %d, %c at %d: %d, want %d", i, s.kind, s.raw, got, s.line)
				}
			}
		})
	}
}

func TestTimelineNewest(t *testing.T) {
	l := NewTimeline(TimeFull, 100)
	if l.Newest() != 100 {
		t.Errorf("before the first frame: %d", l.Newest())
	}
	step{v, 5000, 0}.on(l)
	step{v, 5500, 0}.on(l)
	step{a, 5400, 0}.on(l)
	if l.Newest() != 600 {
		t.Errorf("newest: %d", l.Newest())
	}
}

// TestTimelineDrift: eight hours of steps, with the clock wrapping between,
// end where they must to the millisecond.
func TestTimelineDrift(t *testing.T) {
	for _, mode := range []TimeMode{TimeFull, TimeZero} {
		l := NewTimeline(mode, 0)
		const base = 0xffffffff - 4*3600_000
		for ms := uint32(0); ms <= 8*3600_000; ms += 40 {
			if got := (step{v, base + ms, 0}).on(l); got != ms {
				t.Fatalf("mode %d: %d after %d ms", mode, got, ms)
			}
			if got := (step{a, base + ms + 7, 0}).on(l); got != ms+7 {
				t.Fatalf("mode %d: audio %d after %d ms", mode, got, ms)
			}
		}
	}
}

// TestTimelineRandom: whatever the publisher sends, the line of each type goes
// on within its bounds, or to where the other has been (catalogue TS-09).
func TestTimelineRandom(t *testing.T) {
	l := NewTimeline(TimeFull, 0)
	last, newest, x := map[byte]int64{}, int64(0), uint32(1)
	for i := range 100_000 {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		kind := byte(a)
		if i%3 == 0 {
			kind = v
		}
		got := int64(step{kind, x, 0}.on(l))
		if was, ok := last[kind]; ok && (got-was < -maxStepBack || got-was > maxStepForward && got > newest+maxStepForward) {
			t.Fatalf("frame %d: from %d to %d", i, was, got)
		}
		last[kind], newest = got, max(newest, got)
	}
}

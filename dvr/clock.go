package dvr

// A clock makes a file begin at 0. Times before that are 0, those of a publish that
// continues the file are not before its end, and the 32 bits of the stream's time may
// wrap.
type clock struct {
	last    uint32
	elapsed int64
	newest  int64
	least   int64
	real    int64 // newest, of which no step counts for more than maxPause
}

func (c *clock) at(t uint32) uint32 {
	c.real = c.realAt(t)
	c.elapsed = c.elapsedAt(t)
	c.newest = max(c.newest, c.elapsed)
	c.last = t
	return uint32(max(c.least, c.elapsed))
}

// realAt is what real is at a time.
func (c *clock) realAt(t uint32) int64 {
	return c.real + min(max(0, c.elapsedAt(t)-c.newest), maxPause)
}

// elapsedAt is the time of the file at a time of the stream, milliseconds.
func (c *clock) elapsedAt(t uint32) int64 { return c.elapsed + int64(int32(t-c.last)) }

// near reports whether a time makes sense behind the one before.
func (c *clock) near(t uint32) bool { return near(t, c.last) }

func near(a, b uint32) bool { return int32(a-b) > -maxStepBack && int32(a-b) < maxStepBack }

// maxPause is how far the time of one media type may be ahead of its last frame
// and still be that of the other type's clock, milliseconds.
const maxPause = 10_000

// A bridge lets the time of a stream go on in its file where the encoder's clock
// jumps backwards, with the stream's own steps, as far as the next file: that
// begins with the times as they are. It does for files whose time is not mended
// what the time line does for the others.
type bridge struct {
	shift  [2]uint32 // by media type
	last   [2]uint32 // times, shifted
	step   [2]uint32 // the last normal one
	came   [2]bool
	joined bool // the next frame is the first of a publish that continues the file
	own    bool // and has the stream's own time, if that goes on
	rejoin uint32
}

// frame gives the time of a frame, and says whether there was a jump.
func (b *bridge) frame(typ uint8, t uint32) (at uint32, jumped bool) {
	i, other := typ&1, 1-typ&1
	if b.joined && b.own && int32(t-b.newest(i)) >= 0 {
		b.joined = false
	}
	if b.joined {
		shift := b.newest(i) + b.rejoin - t
		jumped = b.own
		*b = bridge{shift: [2]uint32{shift, shift}}
	}
	if b.shift[0] != b.shift[1] && b.came[other] && near(t+b.shift[other], b.last[other]) && int32(t+b.shift[other]-b.last[i]) > -maxStepBack {
		b.shift[i] = b.shift[other] // they are of one clock again
	}
	step := int32(t + b.shift[i] - b.last[i])
	switch {
	case b.came[i] && step < -maxStepBack:
		if ahead := int32(t + b.shift[other] - b.last[i]); b.came[other] && ahead > -maxStepBack && ahead < maxPause {
			b.shift[i] = b.shift[other] // which has jumped before
			break
		}
		b.shift[i] = b.newest(i) + b.step[i] - t
		if b.step[i] == 0 {
			b.shift[i] += rejoinStep
		}
		jumped = true
	case b.came[i] && step > 0 && step <= maxStepBack:
		b.step[i] = uint32(step)
	case !b.came[i] && b.came[other]:
		b.shift[i] = b.shift[other]
	}
	at = t + b.shift[i]
	b.came[i], b.last[i] = true, at
	return at, jumped
}

// newest is the later of the last times, or that of a media type.
func (b *bridge) newest(i uint8) uint32 {
	if other := 1 - i; b.came[other] && (!b.came[i] || int32(b.last[other]-b.last[i]) > 0) {
		return b.last[other]
	}
	return b.last[i]
}

// begin is told of the frame that begins a file, and gives its time there. What
// comes from before the jump then is still in step with it, but where the times
// are to be the stream's.
func (b *bridge) begin(typ uint8, at uint32, off bool) uint32 {
	shift := b.shift[typ&1]
	for i := range b.shift {
		b.shift[i], b.last[i] = b.shift[i]-shift, b.last[i]-shift
	}
	if off && b.shift != [2]uint32{} {
		*b = bridge{}
		b.frame(typ, at-shift)
	}
	return at - shift
}

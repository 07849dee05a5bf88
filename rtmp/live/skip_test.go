package live

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// TestSkipAnywhere: wherever in a run a player is stopped, it gets whole
// messages only, and goes on at the keyframe.
func TestSkipAnywhere(t *testing.T) {
	for _, size := range []int{128, 4096} {
		checkLeaks(t)
		r := NewRegistry()
		s := usual()
		s.ChunkSize = size
		for sent, more := 0, true; more; sent++ {
			p := start(t, r, s)
			e := hear(t, r, time.Second)
			write(p, meta("1"), videoHeader("1"), audioHeader("1"), at(0, key(300)))
			e.drain()
			write(p, at(10, sound(40)), at(40, inter(500)), at(50, sound(1)), at(80, inter(129)))
			run := e.next()
			write(p, at(90, sound(9)), at(120, key(9)), at(130, sound(9)))
			if more = sent < len(run); sent > len(run) {
				t.Fatal(sent)
			}
			e.feed(run[:sent])
			rest, skipped := e.skip(sent)
			rest = bytes.Clone(rest)
			e.feed(rest)
			words := e.words()
			begun := len(words)
			if all := []string{"sound@10", "inter@40", "sound@50", "inter@80"}; fmt.Sprint(words) != fmt.Sprint(all[:begun]) {
				t.Fatalf("%d sent: %v", sent, words)
			}
			if int(skipped) != 5-begun {
				t.Fatalf("%d sent: skipped %d, %d begun", sent, skipped, begun)
			}
			want(t, e.drain(), "meta1@0 audio1@120 video1@120 key@120 sound@130")
			if again, n := e.skip(0); again != nil || n != 0 {
				t.Fatal("a second skip without a run")
			}
			e.close()
			p.Close()
		}
	}
}

// TestSkipRefused: where there is nothing better the run stays as it was,
// byte for byte, while the publisher goes on.
func TestSkipRefused(t *testing.T) {
	off := usual()
	off.GopCache = false
	for _, c := range []struct {
		name string
		Settings
		prepare func(p *Publication, e *ear)
		after   string
	}{
		{"no newer keyframe", usual(), func(p *Publication, e *ear) { write(p, at(80, inter(9))) }, "inter@80"},
		{"gop_cache off, no newer keyframe", off, func(p *Publication, e *ear) { write(p, at(80, inter(9))) }, "inter@80"},
		{"the publication is over", usual(), func(p *Publication, e *ear) { write(p, at(80, key(9))); p.Close() }, "key@80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			r := NewRegistry()
			p := start(t, r, c.Settings)
			e := hear(t, r, time.Second)
			write(p, at(0, key(9)), at(40, inter(200)))
			run := e.next()
			c.prepare(p, e)
			for sent := 0; sent <= len(run); sent++ {
				if rest, n := e.skip(sent); rest != nil || n != 0 {
					t.Fatalf("%d sent: skipped %d", sent, n)
				}
			}
			e.feed(run)
			want(t, e.words(), "key@0 inter@40")
			want(t, e.drain(), c.after)
			p.Close()
			e.close()
		})
	}
}

// TestSkipWithNothingToSkip: all was sent and the keyframe is next anyway.
// Such a skip is none, and must leave the caller's run alone.
func TestSkipWithNothingToSkip(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	e := hear(t, r, time.Second)
	write(p, videoHeader("1"), at(0, key(9)), at(40, inter(200)))
	run := e.next()
	write(p, at(80, key(9)))
	for _, sent := range []int{len(run), len(run) - 1} { // the last message is begun: it will be sent
		if rest, n := e.skip(sent); n != 0 || rest != nil {
			t.Errorf("%d of %d sent: skipped %d", sent, len(run), n)
		}
	}
	for range 100 { // if the run were no longer held, it would be overwritten
		write(p, at(120, inter(5000)))
	}
	e.feed(run)
	want(t, e.words(), "video1@0 key@0 inter@40")
	if words := e.drain(); len(words) != 101 || words[0] != "key@80" {
		t.Errorf("%v", words)
	}
	p.Close()
	e.close()
}

// TestSkipWithoutBookmark goes to the newest message and waits for a keyframe:
// gop_cache off, or the run behind the keyframe was too long to keep.
func TestSkipWithoutBookmark(t *testing.T) {
	off := usual()
	off.GopCache = false
	few := usual()
	few.MaxFrames = 3
	for _, s := range []Settings{off, few} {
		checkLeaks(t)
		r := NewRegistry()
		p := start(t, r, s)
		e := hear(t, r, time.Second)
		write(p, videoHeader("1"), at(0, key(9)))
		e.feed(e.next())
		e.words()
		write(p, at(40, inter(9)))
		run := e.next()
		write(p, at(50, videoHeader("2")), at(80, key(9)))
		for i := range uint32(64) {
			write(p, at(80+i, inter(4000)))
		}
		size := len(run)
		e.feed(run[:3])
		rest, n := e.skip(3) // the run is gone with it
		if len(rest) != size-3 || n != 66 {
			t.Errorf("rest %d of %d, skipped %d", len(rest), size, n)
		}
		e.feed(rest)
		want(t, e.words(), "inter@40")
		write(p, at(280, inter(9)), at(290, sound(9)), at(320, key(9)))
		want(t, e.drain(), "video2@320 key@320")
		p.Close()
		e.close()
	}
}

// TestSkipIntoTheNextPublication: the player was told a chunk size of the old.
func TestSkipIntoTheNextPublication(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	e := hear(t, r, time.Second)
	write(p, videoHeader("1"), at(0, key(300)), at(40, inter(300)))
	run := e.next()
	p.Close()
	s := usual()
	s.ChunkSize = 60000
	p = start(t, r, s)
	write(p, videoHeader("2"), at(0, key(9)))
	e.feed(run[:100])
	rest, n := e.skip(100)
	e.feed(rest)
	want(t, e.words(), "video1@0 key@0")
	if n != 2 { // the inter frame and the header, which the prologue repeats
		t.Errorf("skipped %d", n)
	}
	want(t, e.drain(), "video2@80 key@80")
	if fmt.Sprint(e.told) != "[4096 60000]" {
		t.Error(e.told)
	}
	p.Close()
	e.close()
}

func TestLagging(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name    string
		queue   time.Duration
		keyEach int // messages; 0: never again
		n, size int
		step    uint32
		merged  time.Duration // mw_latency
		lagging bool
		skips   bool
	}{
		{"a little behind", 10 * time.Second, 10, 30, 9, 40, 0, false, true},
		{"too long behind", time.Second, 10, 30, 9, 40, 0, true, true},
		{"too long behind, no newer keyframe", time.Second, 0, 30, 9, 40, 0, false, false},
		{"too many bytes behind", time.Minute, 2, 6, mib, 40, 0, true, true},
		{"which its turn takes along", time.Minute, 2, 6, mib, 40, 100 * time.Millisecond, false, true},
		{"which two turns have not", time.Minute, 2, 6, mib, 40, 90 * time.Millisecond, true, true},
		{"bytes within their bound", time.Minute, 2, 3, mib, 40, 0, false, true},
		{"many bytes, within the newest GOP", time.Minute, 0, 30, mib, 40, 0, false, false},
		{"more than 32 MiB, no newer keyframe", time.Minute, 0, 34, mib, 40, 0, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			r := NewRegistry()
			settings := usual()
			settings.Flush.Every = c.merged
			p := start(t, r, settings)
			e := hear(t, r, c.queue)
			write(p, videoHeader("1"), at(0, key(9)))
			e.next()
			e.took()
			if e.sub.Lagging() {
				t.Error("lags at once")
			}
			for i := 1; i <= c.n; i++ {
				frame := inter(c.size)
				if c.keyEach > 0 && i%c.keyEach == 0 {
					frame = key(c.size)
				}
				p.Write(at(uint32(i)*c.step, frame))
			}
			if got := e.sub.Lagging(); got != c.lagging {
				t.Errorf("lagging %v", got)
			}
			if _, n := e.skip(0); (n > 0) != c.skips {
				t.Errorf("skipped %d", n)
			} else if n > 0 && e.sub.Lagging() {
				t.Error("still lags")
			}
			e.drain()
			if e.sub.Lagging() {
				t.Error("lags with everything sent")
			}
			p.Close()
			e.close()
		})
	}
}

// TestLateJoinerDoesNotLag: who begins at a bookmark of long ago is not late.
func TestLateJoinerDoesNotLag(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	write(p, at(0, key(9)))
	for i := range uint32(50) {
		write(p, at(i*1000, inter(200<<10)))
	}
	e := hear(t, r, time.Second)
	for run := e.next(); run != nil; run = e.next() {
		if e.sub.Lagging() {
			t.Fatal("lags")
		}
		if len(run) > testLimit+300<<10 {
			t.Errorf("a run of %d bytes", len(run))
		}
	}
	p.Close()
	e.close()
}

package live

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"srs/flv"
)

// TestJoin: what a player gets that comes before, during and after things.
func TestJoin(t *testing.T) {
	headers := []flv.Tag{meta("1"), videoHeader("1"), audioHeader("1")}
	off := usual()
	off.GopCache = false
	for _, c := range []struct {
		name     string
		settings Settings
		before   []flv.Tag
		after    []flv.Tag
		words    string
	}{
		{"at the bookmark, with headers in their order", usual(),
			append(headers, at(0, key(9)), at(20, sound(9)), at(40, inter(9)), at(80, key(9)), at(90, sound(9))),
			[]flv.Tag{at(120, inter(9))},
			"meta1@0 audio1@80 video1@80 key@80 sound@90 inter@120"},
		{"the headers of the bookmark's time, later ones where they came", usual(),
			append(headers, at(80, key(9)), at(90, videoHeader("2")), at(100, key(9)), at(110, videoHeader("3")), at(120, inter(9))),
			nil,
			"meta1@0 audio1@20 video2@20 key@20 video3@30 inter@40"},
		{"the newest metadata once", usual(),
			append(headers, at(80, key(9)), at(90, meta("2")), at(100, inter(9)), at(110, meta("3"))),
			[]flv.Tag{at(130, sound(9)), at(140, meta("4"))},
			"meta3@0 audio1@0 video1@0 key@0 inter@20 sound@50 meta4@0"},
		{"metadata and no headers", usual(),
			[]flv.Tag{meta("1"), at(80, key(9))}, nil,
			"meta1@0 key@0"},
		{"nothing to begin with", usual(), nil,
			append(headers, at(80, key(9))),
			"meta1@0 video1@0 audio1@0 key@0"},
		{"nothing but headers yet", usual(), headers,
			[]flv.Tag{at(80, key(9))},
			"meta1@0 audio1@0 video1@0 key@0"},
		{"audio only begins at once", usual(),
			[]flv.Tag{audioHeader("1"), at(10, sound(9)), at(33, sound(9))},
			[]flv.Tag{at(56, sound(9))},
			"audio1@46 sound@46"},
		{"video never a keyframe begins at once", usual(),
			append(headers, at(0, inter(9)), at(40, inter(9))),
			[]flv.Tag{at(80, inter(9))},
			"meta1@0 audio1@80 video1@80 inter@80"},
		{"gop_cache off waits for the next keyframe", off,
			append(headers, at(0, key(9)), at(40, inter(9))),
			[]flv.Tag{at(60, sound(9)), at(80, inter(9)), at(90, videoHeader("2")), at(95, meta("2")), at(120, key(9)), at(130, sound(9))},
			"meta2@0 audio1@120 video2@120 key@120 sound@130"},
		{"gop_cache off, no keyframe seen yet", off,
			append(headers, at(0, inter(9))),
			[]flv.Tag{at(40, inter(9))},
			"meta1@0 audio1@40 video1@40 inter@40"},
		{"gop_cache off, audio only", off,
			[]flv.Tag{audioHeader("1"), at(0, sound(9))},
			[]flv.Tag{at(23, sound(9))},
			"audio1@23 sound@23"},
		{"ten seconds without a keyframe are enough", off,
			append(headers, at(0, key(9)), at(40, inter(9))),
			[]flv.Tag{at(1000, inter(9)), at(8000, sound(9)), at(10_960, inter(9)), at(11_000, inter(9)), at(11_040, inter(9))},
			"meta1@0 audio1@11000 video1@11000 inter@11000 inter@11040"},
		{"other data is passed on", usual(),
			append(headers, at(0, key(9)), at(1, tag(flv.TypeScript, "\x02\x00\x04text", 0))), nil,
			"meta1@0 audio1@0 video1@0 key@0 \x02\x00\x04text@0"},
		{"each track has its header", usual(),
			[]flv.Tag{
				tag(flv.TypeVideo, "\x96\x00avc1\x00A", 0), tag(flv.TypeVideo, "\x96\x00avc1\x01B", 0), // multitrack sequence starts
				tag(flv.TypeAudio, "\x95\x00mp4a\x00C", 0), tag(flv.TypeAudio, "\x95\x00mp4a\x01D", 0),
				tag(flv.TypeVideo, "\x96\x00avc1\x00E", 0), at(0, key(9))}, nil,
			"\x95\x00mp4a\x00C@0 \x95\x00mp4a\x01D@0 \x96\x00avc1\x00E@0 \x96\x00avc1\x01B@0 key@0"},
		{"a keyframe of another track is none", usual(),
			[]flv.Tag{at(0, key(9)), tag(flv.TypeVideo, "\x96\x01avc1\x01K", 0)}, nil,
			"key@0 \x96\x01avc1\x01K@0"},
		{"colour info is wanted beside the header", usual(),
			[]flv.Tag{tag(flv.TypeVideo, "\x90hvc1S", 0), tag(flv.TypeVideo, "\x94hvc1hdr", 0), at(0, key(9))}, nil,
			"\x90hvc1S@0 \x94hvc1hdr@0 key@0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			r := NewRegistry()
			p := start(t, r, c.settings)
			write(p, c.before...)
			e := hear(t, r, time.Second)
			words := e.drain()
			write(p, c.after...)
			words = append(words, e.drain()...)
			p.Close()
			words = append(words, e.drain()...)
			want(t, words, c.words)
			e.close()
		})
	}
}

// TestPlayerBeforePublisher gets everything from the first message, of every
// publication; its time goes on over them.
func TestPlayerBeforePublisher(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	e := hear(t, r, time.Second)
	if e.drain() != nil || e.wait() == nil {
		t.Error("there is something before the publisher")
	}
	settings := usual()
	for i, words := range []string{
		"meta1@0 video1@0 audio1@0 sound@0 key@30 inter@70",
		"meta1@0 video1@110 audio1@110 sound@110 key@140 inter@180",
		"meta1@0 video1@220 audio1@220 sound@220 key@250 inter@290",
	} {
		settings.ChunkSize = 4096 << i
		p := start(t, r, settings)
		base := uint32(i) * 1_000_000
		write(p, at(base, meta("1")), at(base, videoHeader("1")), at(base, audioHeader("1")),
			at(base+20, sound(9)), at(base+50, key(9)), at(base+90, inter(9)))
		if i > 0 { // else it takes the end of one and the start of the next at once
			want(t, e.drain(), words)
		}
		p.Close()
		if i == 0 {
			want(t, e.drain(), words)
		}
	}
	if fmt.Sprint(e.told) != "[4096 8192 16384]" {
		t.Errorf("chunk sizes %v", e.told)
	}
	e.close()
}

// TestRepublishAlone begins at 0 again: nobody has seen the time before.
func TestRepublishAlone(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	for range 2 {
		p := start(t, r, usual())
		write(p, at(500, key(9)), at(540, inter(9)))
		e := hear(t, r, time.Second)
		want(t, e.drain(), "key@0 inter@40")
		e.close()
		p.Close()
	}
}

// TestRepublishKeepsNothing: headers and bookmark end with their publication.
func TestRepublishKeepsNothing(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	stays := hear(t, r, time.Second)
	p := start(t, r, usual())
	write(p, meta("1"), videoHeader("1"), at(0, key(9)))
	p.Close()
	between := hear(t, r, time.Second)
	p = start(t, r, usual())
	late := hear(t, r, time.Second)
	write(p, at(9, sound(9)))
	later := hear(t, r, time.Second)
	write(p, at(19, sound(9)))
	want(t, stays.drain(), "meta1@0 video1@0 key@0 sound@40 sound@50")
	want(t, between.drain(), "sound@40 sound@50")
	want(t, late.drain(), "sound@40 sound@50")
	want(t, later.drain(), "sound@50")
	p.Close()
	for _, e := range []*ear{stays, between, late, later} {
		e.close()
	}
}

// TestBookmarkBounds: a run that is too long is not sent to who joins; the
// player begins at the next keyframe.
func TestBookmarkBounds(t *testing.T) {
	few := usual()
	few.MaxFrames = 100
	for _, c := range []struct {
		name     string
		settings Settings
		n, size  int
		step     uint32
		cached   bool
	}{
		{"within all bounds", usual(), 1000, 500, 40, true},
		{"too many frames", few, 200, 4000, 1, false},
		{"frames within their bound", few, 90, 4000, 1, true},
		{"too many bytes", usual(), 40, 1 << 20, 40, false},
		{"bytes within their bound", usual(), 30, 1 << 20, 40, true},
		{"too long", usual(), 70, 4000, 1000, false},
		{"within the time", usual(), 58, 4000, 1000, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			r := NewRegistry()
			p := start(t, r, c.settings)
			write(p, videoHeader("1"), key(9))
			for i := range c.n {
				p.Write(at(uint32(i+1)*c.step, inter(c.size)))
			}
			e := hear(t, r, time.Minute)
			n := len(e.drain())
			if c.cached && n != c.n+2 || !c.cached && n != 0 {
				t.Errorf("%d messages of %d", n, c.n)
			}
			p.Write(at(uint32(c.n+1)*c.step, key(9)))
			if n := len(e.drain()); n != 1 && n != 2 {
				t.Errorf("%d messages at the next keyframe", n)
			}
			e.close()
			p.Close()
		})
	}
}

func TestReceive(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	e := hear(t, r, time.Second)
	write(p, videoHeader("1"), audioHeader("1"), at(0, key(9)), at(10, sound(9)))
	want(t, e.drain(), "video1@0 audio1@0 key@0 sound@10")
	e.sub.Receive(false, true)
	write(p, at(20, sound(9)), at(40, inter(9)), at(50, audioHeader("2")), at(60, sound(9)), at(70, meta("1")), at(80, inter(9)))
	want(t, e.drain(), "inter@40 audio2@50 meta1@0 inter@80")
	e.sub.Receive(true, false)
	write(p, at(90, sound(9)), at(120, inter(9)), at(130, videoHeader("2")), at(140, sound(9)))
	want(t, e.drain(), "sound@90 video2@130 sound@140")
	e.sub.Receive(false, false)
	write(p, at(150, sound(9)), at(160, key(9)), at(170, meta("2")))
	want(t, e.drain(), "meta2@0")
	e.sub.Receive(true, true) // video from the next keyframe on, audio at once
	write(p, at(200, inter(9)), at(210, sound(9)), at(220, videoHeader("3")), at(240, key(9)), at(280, inter(9)))
	want(t, e.drain(), "sound@210 video3@220 key@240 inter@280")
	e.sub.Receive(true, true) // no change
	write(p, at(320, inter(9)))
	want(t, e.drain(), "inter@320")
	p.Close()
	e.close()
}

// TestReceiveAudioOnlyWaitsForNothing: who takes no video need not wait for
// a keyframe.
func TestReceiveAudioOnlyWaitsForNothing(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	s := usual()
	s.GopCache = false
	p := start(t, r, s)
	write(p, audioHeader("1"), at(0, key(9)))
	e := hear(t, r, time.Second)
	e.sub.Receive(true, false)
	write(p, at(10, sound(9)))
	want(t, e.drain(), "audio1@10 sound@10")
	e.sub.Receive(true, true)
	write(p, at(5000, inter(9)), at(9000, sound(9)), at(10_000, inter(9)), at(15_000, inter(9)), at(15_001, sound(9)))
	want(t, e.drain(), "sound@9000 inter@15000 sound@15001") // ten seconds were enough
	p.Close()
	e.close()
}

func TestPause(t *testing.T) {
	headers := []flv.Tag{videoHeader("1"), audioHeader("1"), at(0, key(9)), at(40, inter(9))}
	off := usual()
	off.GopCache = false
	for _, c := range []struct {
		name     string
		settings Settings
		while    []flv.Tag
		after    []flv.Tag
		words    string
	}{
		{"nothing came", usual(), nil, []flv.Tag{at(80, inter(9))}, "inter@80"},
		{"goes on where it was", usual(), []flv.Tag{at(80, inter(9)), at(90, meta("1")), at(100, audioHeader("2"))},
			[]flv.Tag{at(120, inter(9))}, "inter@80 meta1@0 audio2@100 inter@120"},
		{"at the keyframe that has come", usual(), []flv.Tag{at(80, inter(9)), at(90, meta("1")), at(120, key(9)), at(160, inter(9))},
			nil, "meta1@0 audio1@120 video1@120 key@120 inter@160"},
		{"gop_cache off: at the next keyframe", off, []flv.Tag{at(80, inter(9))},
			[]flv.Tag{at(120, inter(9)), at(160, key(9))}, "audio1@160 video1@160 key@160"},
		{"gop_cache off: nothing came", off, nil, []flv.Tag{at(80, inter(9))}, "inter@80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			r := NewRegistry()
			p := start(t, r, c.settings)
			e := hear(t, r, time.Second)
			write(p, headers...)
			e.drain()
			alive := blocksAlive.Load()
			e.pause()
			e.pause()
			if e.next() != nil || e.wait() == nil || e.sub.Lagging() {
				t.Error("a paused player is not at rest")
			}
			if rest, n := e.skip(0); rest != nil || n != 0 {
				t.Error("a paused player skips")
			}
			write(p, c.while...)
			if blocksAlive.Load() > alive {
				t.Error("a paused player holds blocks")
			}
			e.sub.Resume()
			e.sub.Resume()
			words := e.drain()
			write(p, c.after...)
			want(t, append(words, e.drain()...), c.words)
			p.Close()
			e.close()
		})
	}
}

// TestWaitEndsWithThePublication: who waited for a keyframe gets the next
// publication whole, without the headers of the one before.
func TestWaitEndsWithThePublication(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	off := usual()
	off.GopCache = false
	p := start(t, r, off)
	write(p, meta("1"), videoHeader("1"), audioHeader("1"), at(0, key(9)))
	e := hear(t, r, time.Second)
	write(p, at(40, inter(9)))
	p.Close()
	p = start(t, r, off)
	write(p, meta("2"), videoHeader("2"), at(0, inter(9)), at(40, sound(9)))
	want(t, e.drain(), "meta2@0 video2@80 inter@80 sound@120")
	p.Close()
	e.close()
}

// TestJoinAtTheFirstKeyframe: a player that comes in that very moment begins
// with the keyframe, never behind it.
func TestJoinAtTheFirstKeyframe(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	for range 3000 {
		p := start(t, r, usual())
		joined := make(chan *ear)
		go func() {
			runtime.Gosched()
			joined <- hear(t, r, time.Second)
		}()
		write(p, videoHeader("1"), at(0, key(3000)), at(40, inter(9)))
		e := <-joined
		if words := e.drain(); len(words) < 2 || words[0] != "video1@0" || words[1] != "key@0" {
			t.Errorf("%v", words)
		}
		p.Close()
		e.close()
	}
}

// TestPauseOverRepublish: a pause ends in the next publication.
func TestPauseOverRepublish(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	e := hear(t, r, time.Second)
	write(p, at(0, key(9)))
	e.drain()
	e.pause()
	write(p, at(40, inter(9)))
	p.Close()
	p = start(t, r, usual())
	write(p, videoHeader("2"), at(7, key(9)), at(47, inter(9)))
	e.sub.Resume()
	want(t, e.drain(), "video2@80 key@80 inter@120")
	e.pause()
	p.Close()
	e.sub.Resume()
	p = start(t, r, usual())
	write(p, at(0, sound(9)))
	want(t, e.drain(), "sound@160")
	e.pause() // and is closed so
	e.close()
	p.Close()
}

// TestPauseWhileWaiting: a player that waits for its keyframe, or has not been
// sent its headers, still does after a pause.
func TestPauseWhileWaiting(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	off := usual()
	off.GopCache = false
	p := start(t, r, off)
	write(p, videoHeader("1"), at(0, key(9)))
	e := hear(t, r, time.Second)
	e.drain()
	e.pause()
	e.sub.Resume()
	write(p, at(40, inter(9)), at(80, key(9)))
	want(t, e.drain(), "video1@80 key@80")
	e.sub.Receive(true, false)
	e.pause()
	e.sub.Receive(true, true) // while paused
	e.sub.Resume()
	write(p, at(120, inter(9)), at(140, sound(9)), at(160, key(9)))
	want(t, e.drain(), "sound@140 key@160")
	p.Close()
	e.close()
}

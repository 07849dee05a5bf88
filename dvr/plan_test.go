package dvr

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
)

func segments(seconds int) func(*conf.DVR) {
	return func(d *conf.DVR) { d.Plan, d.Duration = planSegment, time.Duration(seconds)*time.Second }
}

// pieces plays a publish and gives its files, in the order they were announced.
func pieces(t *testing.T, tags []flv.Tag, change ...func(*conf.DVR)) (files []parsed) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", change...)
		f := s.start("x")
		f.send(tags...)
		f.unpublish()
		for _, ev := range s.events() {
			if ev.Error != "" {
				t.Errorf("error %q", ev.Error)
			}
			files = append(files, s.read(ev))
		}
	})
	return files
}

// times writes what is in files: k, p and a with their times, h for a header.
func times(files []parsed) string {
	var b strings.Builder
	for i, p := range files {
		if i > 0 {
			b.WriteString(" | ")
		}
		for j, tag := range p.tags {
			if j > 0 {
				b.WriteByte(' ')
			}
			letter := map[byte]string{0x17: "k", 0x27: "p", 0xaf: "a", 0x2f: "m"}[tag.Data[0]]
			switch {
			case tag.Data[0]&0x80 != 0 && tag.Type == flv.TypeVideo:
				letter = "e"
			case letter != "m" && tag.Data[1] == 0:
				letter = "h"
			}
			fmt.Fprintf(&b, "%s%d", letter, tag.Timestamp)
		}
	}
	return b.String()
}

// at10 are pictures, every 500 ms, with a keyframe every so many.
func at10(n, every int) (tags []flv.Tag) {
	tags = append(tags, videoHeader)
	for i := range n {
		tag := inter(uint32(i) * 500)
		if i%every == 0 {
			tag = key(uint32(i) * 500)
		}
		tags = append(tags, tag)
	}
	return tags
}

func TestSegments(t *testing.T) {
	other := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 2}}
	hevc := func(b ...byte) flv.Tag {
		return flv.Tag{Type: flv.TypeVideo, Data: append(append([]byte{b[0]}, "hvc1"...), b[1:]...)}
	}
	mp3 := func(ts uint32) flv.Tag { return flv.Tag{Type: flv.TypeAudio, Timestamp: ts, Data: []byte{0x2f, 1}} }
	jitter := func(j conf.Jitter) func(*conf.DVR) { return func(d *conf.DVR) { d.TimeJitter = j } }
	both := func(list ...func(*conf.DVR)) func(*conf.DVR) {
		return func(d *conf.DVR) {
			for _, f := range list {
				f(d)
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*conf.DVR)
		send   []flv.Tag
		want   string
	}{
		{"at keyframes", segments(1), at10(7, 2), "h0 k0 p500 | h0 k0 p500 | h0 k0 p500 | h0 k0"},
		{"at the next keyframe", segments(1), at10(8, 3), "h0 k0 p500 p1000 | h0 k0 p500 p1000 | h0 k0 p500"},
		{"not before its time", segments(2), at10(8, 3), "h0 k0 p500 p1000 k1500 p2000 p2500 | h0 k0 p500"},
		{"0 never cuts", segments(0), at10(8, 3), "h0 k0 p500 p1000 k1500 p2000 p2500 k3000 p3500"},
		{"session never cuts", func(d *conf.DVR) { d.Duration = time.Second }, at10(4, 2), "h0 k0 p500 k1000 p1500"},
		{"audio alone by time", segments(1), []flv.Tag{audioHeader, audio(0), audio(600), audio(1200), audio(1800), audio(2400)},
			"h0 a0 a600 | h0 a0 a600 | h0 a0"},
		{"a picture of a sound", segments(1), []flv.Tag{audioHeader, audio(0), audio(600), videoHeader, key(700), audio(1200), inter(1400), key(1900)},
			"h0 a0 a600 h0 k700 a1200 p1400 | h0 h0 k100"},
		{"sound that comes late keeps its time", segments(1),
			[]flv.Tag{videoHeader, audioHeader, key(0), audio(0), audio(400), audio(800), key(1000), audio(960), audio(1200)},
			"h0 h0 k0 a0 a400 a800 | h0 h0 k0 a0 a200"},
		{"sound that comes late keeps its time, frames of 23 ms", segments(1),
			[]flv.Tag{videoHeader, audioHeader, key(0), audio(910), audio(933), key(1000), audio(956), audio(979), audio(1002)},
			"h0 h0 k0 a910 a933 | h0 h0 k44 a0 a23 a46"},
		{"waiting or not, at keyframes", both(segments(1), func(d *conf.DVR) { d.WaitKeyframe = false }), at10(8, 3),
			"h0 k0 p500 p1000 | h0 k0 p500 p1000 | h0 k0 p500"},
		{"other headers", segments(60), []flv.Tag{videoHeader, key(0), inter(40), other, key(80), inter(120)}, "h0 k0 p40 | h0 k0 p40"},
		{"the same headers again", segments(60), []flv.Tag{videoHeader, key(0), inter(40), at(videoHeader, 80), key(80)}, "h0 k0 p40 h80 k80"},
		{"other headers, and no keyframe at once", segments(60), []flv.Tag{videoHeader, key(0), other, inter(40), key(80)}, "h0 k0 h40 p40 | h0 k0"},
		{"other sound", segments(60), []flv.Tag{audioHeader, audio(0), audio(23), {Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x11}}, audio(46)},
			"h0 a0 a23 | h0 a0"},
		{"another codec, also in a session", nil, []flv.Tag{videoHeader, key(0), inter(40), hevc(0x90, 1), at(hevc(0x91, 0, 0, 0, 9), 80), at(hevc(0xa1, 0, 0, 0, 9), 120)},
			"h0 k0 p40 | e0 e0 e40"},
		{"another codec without headers", nil, []flv.Tag{mp3(0), mp3(26), audioHeader, audio(52)}, "m0 m26 | h0 a0"},
		{"another codec that has none", nil, []flv.Tag{audioHeader, audio(0), audio(23), mp3(46), mp3(72)}, "h0 a0 a23 | m0 m26"},
		{"another codec that has none, and back", nil, []flv.Tag{audioHeader, audio(0), audio(23), mp3(46), mp3(72), audio(98)}, "h0 a0 a23 | m0 m26 | h0 a0"},
		{"a jump backwards", segments(60), []flv.Tag{videoHeader, key(900_000), inter(900_040), key(0), inter(40)}, "h0 k0 p40 | h0 k0 p40"},
		{"a jump backwards, mended in a session", nil, []flv.Tag{videoHeader, key(900_000), inter(900_040), key(0), inter(40)}, "h0 k0 p40 k80 p120"},
		{"a jump backwards, not mended", jitter(conf.JitterZero), []flv.Tag{videoHeader, key(900_000), inter(900_040), key(0), inter(40)}, "h0 k0 p40 | h0 k0 p40"},
		{"a jump backwards within a group of pictures", jitter(conf.JitterZero),
			[]flv.Tag{videoHeader, key(900_000), inter(900_050), inter(0), inter(50), key(100), inter(150)}, "h0 k0 p50 p100 p150 | h0 k0 p50"},
		{"a jump backwards within a group of pictures, the stream's time", jitter(conf.JitterOff),
			[]flv.Tag{videoHeader, key(900_000), inter(900_050), inter(0), inter(50), key(100), inter(150)}, "h0 k900000 p900050 p900100 p900150 | h0 k100 p150"},
		{"a jump backwards, segments, zero", both(segments(60), jitter(conf.JitterZero)),
			[]flv.Tag{videoHeader, key(900_000), inter(900_050), inter(0), inter(50), key(100), inter(150)}, "h0 k0 p50 p100 p150 | h0 k0 p50"},
		{"a jump backwards of sound and pictures", jitter(conf.JitterZero),
			[]flv.Tag{videoHeader, key(900_000), audio(900_000), inter(900_050), audio(900_023), inter(0), audio(900_046), inter(50), audio(2), inter(100), audio(25), key(150), audio(148), audio(171)},
			"h0 k0 a0 p50 a23 p100 a46 p150 a102 p200 a125 | h0 k102 a100 a123"},
		{"a jump backwards at a keyframe, and sound from before it", jitter(conf.JitterZero),
			[]flv.Tag{videoHeader, key(900_000), audio(900_000), inter(900_050), audio(900_023), key(0), audio(900_046), inter(50), audio(20), audio(43), key(100)},
			"h0 k0 a0 p50 a23 | h0 k54 a0 p104 a74 a97 k154"},
		{"a jump backwards at a keyframe, and sound from before it, the stream's time", jitter(conf.JitterOff),
			[]flv.Tag{videoHeader, key(900_000), audio(900_000), inter(900_050), key(0), audio(900_023), inter(50), audio(20), key(100), audio(100)},
			"h0 k900000 a900000 p900050 | h0 k0 a900023 p50 a900063 | h0 k100 a100"},
		{"one picture of a wrong time", jitter(conf.JitterZero),
			[]flv.Tag{videoHeader, key(10_000), audio(10_000), inter(5000), audio(10_023), inter(10_040), audio(10_046), key(10_080), audio(10_069), inter(10_120)},
			"h0 k0 a0 p40 a23 p40 a46 | h0 k11 a0 p51"},
		{"two jumps backwards, and pictures alone", jitter(conf.JitterZero),
			[]flv.Tag{videoHeader, key(900_000), inter(900_050), inter(500_000), inter(500_050), inter(0), inter(50), key(100)}, "h0 k0 p50 p100 p150 p200 p250 | h0 k0"},
		{"a header behind a jump backwards", jitter(conf.JitterZero),
			[]flv.Tag{videoHeader, audioHeader, key(900_000), inter(900_050), inter(0), at(audioHeader, 10), inter(50), key(100)}, "h0 h0 k0 p50 p100 p150 | h0 h0 k0"},
		{"segments with the stream's time", both(segments(1), jitter(conf.JitterOff)), []flv.Tag{videoHeader, key(5000), inter(5500), key(6000), inter(6500)},
			"h0 k5000 p5500 | h0 k6000 p6500"},
		{"real time at a low rate", segments(10), []flv.Tag{videoHeader, key(0), inter(4000), inter(8000), key(12_000), inter(16_000)},
			"h0 k0 p4000 p8000 | h0 k0 p4000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := c.change
			if change == nil {
				change = func(*conf.DVR) {}
			}
			if got := times(pieces(t, c.send, change)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestDV15: without a keyframe for ten minutes a segment is cut at twice its
// length, and nothing is lost.
func TestDV15(t *testing.T) {
	tags := []flv.Tag{videoHeader, key(0)}
	for ms := uint32(40); ms < 600_000; ms += 40 {
		tags = append(tags, inter(ms))
	}
	files := pieces(t, tags, segments(30))
	frames := 0
	for i, p := range files {
		if i < len(files)-1 && p.duration != 60 {
			t.Errorf("file %d lasts %v s", i, p.duration)
		}
		frames += len(p.tags) - 1 // and a header
	}
	if len(files) != 10 || frames != len(tags)-1 {
		t.Errorf("%d files, %d frames of %d", len(files), frames, len(tags)-1)
	}
}

// TestSparseKeyframes: a segment waits half a minute for its keyframe, however short it
// is to be.
func TestSparseKeyframes(t *testing.T) {
	tags := []flv.Tag{videoHeader}
	for at := uint32(0); at < 60_000; at += 1000 {
		tag := inter(at)
		if at%20_000 == 0 {
			tag = key(at)
		}
		tags = append(tags, tag)
	}
	for _, p := range pieces(t, tags, segments(3)) {
		if got := times([]parsed{p}); !strings.HasPrefix(got, "h0 k0 p1000") || p.duration != 20 {
			t.Errorf("%v s: %s", p.duration, got)
		}
	}
}

// TestStepForward: a step of the encoder's clock is not time in which no keyframe came.
func TestStepForward(t *testing.T) {
	for want, tags := range map[string][]flv.Tag{
		"h0 k0 p40 p36000 p36040 | h0 k0": {videoHeader, key(0), inter(40), inter(36_000), inter(36_040), key(36_120)},
		"h0 k0":                           {videoHeader, inter(0), inter(40), inter(31_000), inter(31_040), key(31_080)},
	} {
		for _, mode := range []conf.Jitter{conf.JitterZero, conf.JitterOff} {
			got := times(pieces(t, tags, segments(5), func(d *conf.DVR) { d.TimeJitter = mode }))
			if mode == conf.JitterOff {
				got = strings.NewReplacer("k36120", "k0", "k31080", "k0").Replace(got)
			}
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}

// TestForcedCutInSpite: times that go back and forth do not put the cut off for want of a
// keyframe.
func TestForcedCutInSpite(t *testing.T) {
	for name, extra := range map[string]func(ms uint32) flv.Tag{
		"headers of time 0": func(uint32) flv.Tag { return videoHeader },
		"sound far behind":  func(ms uint32) flv.Tag { return audio(ms - min(ms, 15_000)) },
	} {
		for _, mode := range []conf.Jitter{conf.JitterFull, conf.JitterZero, conf.JitterOff} {
			tags := []flv.Tag{videoHeader, key(0)}
			for ms := uint32(40); ms < 200_000; ms += 40 {
				tags = append(tags, inter(ms))
				if ms%1000 == 0 {
					tags = append(tags, extra(ms))
				}
			}
			if n := len(pieces(t, tags, segments(10), func(d *conf.DVR) { d.TimeJitter = mode })); n < 4 || n > 7 {
				t.Errorf("%s, %v: %d files", name, mode, n)
			}
		}
	}
}

// TestNoKeyframeAtAll: a stream that never has one is recorded after a while, and the
// log says what is not; so does it of segments that begin without one.
func TestNoKeyframeAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].[timestamp].flv", segments(3))
		f := s.start("x")
		f.send(videoHeader)
		for at := uint32(0); at < 200_000; at += 1000 {
			f.send(inter(at))
			time.Sleep(time.Second)
		}
		f.unpublish()
		var got []string
		for _, ev := range s.events() {
			got = append(got, fmt.Sprint(s.read(ev).duration))
		}
		if want := "33 33 33 33 33 5"; strings.Join(got, " ") != want {
			t.Errorf("lengths %s, want %s", got, want)
		}
		for line, want := range map[string]int{
			`msg="recording begins"`: 1, `msg="pictures before the first keyframe are not recorded" client=1 vhost=v app=live stream=x ip=127.0.0.1 pictures=30`: 1,
			`msg="segments begin without a keyframe, for none comes"`: 1,
		} {
			if n := strings.Count(s.log(), line); n != want {
				t.Errorf("%s: %d times\n%s", line, n, s.log())
			}
		}
	})
}

// TestNoPicture: of pictures that wait for a keyframe to the end the log says so.
func TestNoPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		f.send(videoHeader, audioHeader, inter(0), audio(0), inter(40), audio(23))
		f.unpublish()
		if got := times([]parsed{s.read(s.only())}); got != "h0 h0 a0 a23" || !strings.Contains(s.log(), "pictures=2") {
			t.Errorf("%s\n%s", got, s.log())
		}
	})
}

func TestApply(t *testing.T) {
	for _, c := range []struct {
		apply string
		want  bool
	}{
		{"all", true}, {"live/x", true}, {"live/y", false}, {"live/y live/x", true}, {"live/*", true}, {"*/x", true},
		{"live/[a-w]", false}, {"live/?", true}, {"vod/*", false}, {"*", false},
	} {
		if got := applies(conf.DVR{Apply: strings.Fields(c.apply)}, "live", "x"); got != c.want {
			t.Errorf("%s: %v", c.apply, got)
		}
	}
	if !applies(conf.DVR{Apply: []string{"live/[x"}}, "live", "[x") || !applies(conf.DVR{Apply: []string{"a/b/*"}}, "a/b", "x") {
		t.Error("exact names, and apps of several folders")
	}
}

// TestCutWhileHeldBack: a cut between sounds does not let pictures in that wait for
// a keyframe, but for those that have waited long enough, over all files.
func TestCutWhileHeldBack(t *testing.T) {
	for _, c := range []struct {
		keyframe uint32 // the only one
		want     string // which files have pictures, the first of each
	}{
		{22_020, "- k10020 p3020"},
		{99_020, "- - p9020"}, // 30 s behind the first picture
	} {
		tags := []flv.Tag{videoHeader, audioHeader}
		for at := uint32(0); at < 60_000; at += 200 {
			tags = append(tags, audio(at))
			switch {
			case at+20 == c.keyframe:
				tags = append(tags, key(at+20))
			case at%4000 == 1000:
				tags = append(tags, inter(at+20))
			}
		}
		var first []string
		for _, p := range pieces(t, tags, segments(12)) {
			pictures := slices.DeleteFunc(strings.Fields(times([]parsed{p})), func(s string) bool { return s[0] != 'k' && s[0] != 'p' })
			first = append(first, append(pictures, "-")[0])
		}
		if got := strings.Join(first, " "); got != c.want {
			t.Errorf("keyframe at %d: first pictures %s, want %s", c.keyframe, got, c.want)
		}
	}
}

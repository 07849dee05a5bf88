package dvr

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/amf0"
	"srs/conf"
	"srs/flv"
	"srs/rtmp/live"
)

// TestAppend: a second publish continues the file, on one line of time.
func TestAppend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
		for n := range 3 {
			f := s.start("x")
			f.send(videoHeader, key(7000), inter(7040), inter(7080))
			f.unpublish()
			p := s.read(s.events()[n])
			if want := []string{"h0 k0 p40 p80", "h0 k0 p40 p80 k120 p160 p200", "h0 k0 p40 p80 k120 p160 p200 k240 p280 p320"}[n]; times([]parsed{p}) != want {
				t.Errorf("after publish %d: %s, want %s", n, times([]parsed{p}), want)
			}
			if index := keyframesOf(t, p); len(index) != n+1 && n > 0 {
				t.Errorf("index %v", index)
			}
		}
		// The line in the log counts what it knows: all of a new file, else what was added.
		if strings.Count(s.log(), " frames=3\n") != 1 || strings.Count(s.log(), " frames_added=3\n") != 2 {
			t.Error(s.log())
		}
		// Other headers do not fit.
		f := s.start("x")
		f.send(flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 9}}, key(0), inter(40))
		f.unpublish()
		if ev := s.events()[3]; ev.File != "x-1.flv" || times([]parsed{s.read(ev)}) != "h0 k0 p40" {
			t.Errorf("%+v", ev)
		}
		// What is no recording of ours stays as it is.
		write(t, s.cwd+"/y.flv", "foreign")
		g := s.start("y")
		g.send(key(0))
		g.unpublish()
		wantText(t, s.cwd+"/y.flv", "foreign")
		s.wantFiles("x-1.flv", "x.flv", "y-1.flv", "y.flv")
	})
}

// TestAppendOneFrame: a single frame that is added lasts as long as those of its kind before
// it, so that the file is as long as its metadata says.
func TestAppendOneFrame(t *testing.T) {
	for name, c := range map[string]struct {
		first []flv.Tag
		want  float64
	}{
		"sound and pictures": {[]flv.Tag{videoHeader, key(0), audio(0), audio(23), key(100), inter(200), audio(46), audio(69)}, 0.531},
		"a pause at the end": {[]flv.Tag{videoHeader, key(0), audio(0), audio(23), key(100), inter(200), audio(5000)}, 5.046},
		"one sound":          {[]flv.Tag{videoHeader, key(0), audio(200), key(100), inter(200)}, 0.4},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
			s.publishEach(c.first, []flv.Tag{audio(7000)})
			f, err := os.Open(s.cwd + "/x.flv")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if rep, err := flv.Scan(f); err != nil || !rep.Whole() || s.read(s.events()[1]).duration != c.want {
				t.Errorf("%s: %v, %v: %v", name, rep.Flaw(), err, s.read(s.events()[1]).duration)
			}
		})
	}
}

// TestAppendOff: where the times are the stream's own, a publish continues the file as
// far as its times do.
func TestAppendOff(t *testing.T) {
	for _, c := range []struct {
		jitter conf.Jitter
		starts []uint32
		want   string
	}{
		{conf.JitterOff, []uint32{0, 0, 0}, "h0 k0 a500 k1000 | h0 k0 a500 k1000 | h0 k0 a500 k1000"},
		{conf.JitterOff, []uint32{0, 1040, 9000}, "h0 k0 a500 k1000 k1040 a1540 k2040 k9000 a9500 k10000"},
		{conf.JitterOff, []uint32{1<<32 - 1000, 0, 5}, "h0 k4294966296 a4294966796 k0 k0 a500 k1000 | h0 k5 a505 k1005"},
		{conf.JitterZero, []uint32{0, 0}, "h0 k0 a500 k1000 k2000 a2500 k3000"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan, d.TimeJitter = planAppend, c.jitter })
			files := map[string]parsed{}
			for _, start := range c.starts {
				f := s.start("x")
				f.send(videoHeader, key(start), audio(start+500), key(start+1000))
				f.unpublish()
			}
			var all []parsed
			for _, ev := range s.events() {
				if _, again := files[ev.File]; !again {
					files[ev.File] = parse(t, s.cwd+"/"+ev.File)
					all = append(all, files[ev.File])
				}
			}
			if got := times(all); got != c.want {
				t.Errorf("%v: got  %s\nwant %s", c.starts, got, c.want)
			}
		})
	}
}

// TestAppendIndex: however often a file is continued, its index is thinned evenly.
func TestAppendIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
		const publishes, each, step = 12, sessionKeyframes, 2000
		for range publishes {
			f := s.start("x")
			f.send(videoHeader)
			for i := range uint32(each) {
				f.send(key(i * step))
			}
			f.unpublish()
		}
		ev := s.events()
		times := keyframesOf(t, s.read(ev[len(ev)-1]))
		if len(times) < sessionKeyframes/2 {
			t.Errorf("%d keyframes in the index", len(times))
		}
		even := times[1].(float64)
		for i := 1; i < len(times); i++ {
			if gap := times[i].(float64) - times[i-1].(float64); gap > even+2 || gap < even-2 {
				t.Fatalf("%v s between the keyframes %v and %v in the index, %v at the beginning", gap, times[i-1], times[i], even)
			}
		}
	})
}

// keyframesOf gives the times in the index of a file.
func keyframesOf(t *testing.T, p parsed) (times amf0.StrictArray) {
	t.Helper()
	if index, ok := p.properties["keyframes"].(amf0.Object); ok {
		times, _ = index[0].Value.(amf0.StrictArray)
	}
	return times
}

// TestAppendOwn: a stream goes on only in files of its own, whatever others are
// called and wherever they record to.
func TestAppendOwn(t *testing.T) {
	appends := func(d *conf.DVR) { d.Plan = planAppend }
	for _, c := range []struct {
		template, first, second string
		files                   string
	}{
		{"[stream].flv", "cam-1", "cam", "cam-1.flv cam.flv"},
		{"[stream].flv", "cam", "cam-1", "cam-1.flv cam.flv"},
		{"all.flv", "a", "b", "all-1.flv all.flv"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, c.template, appends)
			own := map[string]string{}
			for n, want := range []string{"h0 k0 p40", "h0 k0 p40 k80 p120", "h0 k0 p40 k80 p120 k160 p200"} {
				for i, stream := range []string{c.first, c.second} {
					f := s.start(stream)
					f.send(videoHeader, key(7000), inter(7040))
					f.unpublish()
					ev := s.events()[2*n+i]
					if got := times([]parsed{s.read(ev)}); got != want || own[stream] != "" && own[stream] != ev.File {
						t.Errorf("%s of %s: publish %d of %s in %s, before in %q: %s", c.template, c.first, n, stream, ev.File, own[stream], got)
					}
					own[stream] = ev.File
				}
			}
			s.wantFiles(strings.Fields(c.files)...)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "all.flv", appends)
		play := func(stream string) *feed {
			f := s.start(stream)
			f.send(videoHeader, key(0), inter(40))
			time.Sleep(2 * flushAfter) // of the bubble
			return f
		}
		for _, stream := range []string{"a", "b", "c"} {
			play(stream).unpublish()
		}
		b := play("b") // its all-1.flv is all-1.flv.tmp now
		play("c").unpublish()
		b.unpublish()
		s.wantFiles("all-1.flv", "all-2.flv", "all.flv")
		// A file that does not say whose it is stays as it is.
		m := flv.NewFileMetadata(nil, sessionKeyframes, "", "")
		old := flv.AppendTag(flv.AppendHeader(nil, true, true), flv.Tag{Type: flv.TypeScript, Data: m.Body})
		write(t, s.cwd+"/old.flv", string(flv.AppendTag(flv.AppendTag(old, videoHeader), key(0))))
		s.Conf().Vhosts[2].DVR.Path = "old.flv"
		play("a").unpublish()
		play("a").unpublish()
		s.wantFiles("all-1.flv", "all-2.flv", "all.flv", "old-1.flv", "old.flv")
	})
}

// TestAppendHeaders: no publish goes on behind other headers than its own, also where
// they changed while the file was recorded.
func TestAppendHeaders(t *testing.T) {
	other := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 9}}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
		s.publishEach([]flv.Tag{videoHeader, key(0), other, key(40)}, []flv.Tag{videoHeader, key(0)}, []flv.Tag{videoHeader, key(0)})
		for name, want := range map[string]string{"x.flv": "h0 k0", "x-1.flv": "h0 k0", "x-2.flv": "h0 k0 k40"} {
			if got := times([]parsed{parse(t, s.cwd+"/"+name)}); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
	})
}

// TestLongestNames: a stream with the longest names there are goes on in its file, and
// that counts for the limits of its vhost.
func TestLongestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[stream].flv", func(d *conf.DVR) { d.Plan, d.MaxAge = planAppend, time.Hour })
		longest := strings.Repeat("!", 256) // each is three bytes of an owner
		for range 2 {
			f := newFeed()
			s.record(live.Publisher{Vhost: "v", App: longest, Stream: longest}, func() source { return f })
			f.send(videoHeader, key(0), inter(40))
			f.unpublish()
		}
		ev := s.events()
		if len(ev) != 2 || ev[0].File != ev[1].File || times([]parsed{s.read(ev[1])}) != "h0 k0 p40 k80 p120" {
			t.Errorf("%+v", ev)
		}
		old := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(s.cwd+"/"+ev[0].File, old, old); err != nil {
			t.Fatal(err)
		}
		s.run()
		time.Sleep(2 * time.Minute) // of the bubble
		synctest.Wait()
		s.wantFiles()
	})
}

// TestContinueCodecs: a publish with another codec than the file's, or another header,
// begins a new one, whatever it sends first.
func TestContinueCodecs(t *testing.T) {
	mp3 := func(ts uint32) flv.Tag { return flv.Tag{Type: flv.TypeAudio, Timestamp: ts, Data: []byte{0x2f, 1}} }
	other := flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x11}}
	told := func(video, audio float64) flv.Tag {
		return metadata(amf0.Property{Key: "videocodecid", Value: video}, amf0.Property{Key: "audiocodecid", Value: audio})
	}
	both := []flv.Tag{videoHeader, audioHeader, key(0), audio(0), inter(40), audio(23)}
	pictures := []flv.Tag{videoHeader, key(0), inter(40)}
	for _, c := range []struct {
		name          string
		first, second []flv.Tag
		append, grace string // what is in the files
	}{
		{"sound alone", []flv.Tag{audioHeader, audio(0), audio(23)}, []flv.Tag{mp3(0), mp3(26)},
			"h0 a0 a23 | m0 m26", "h0 a0 a23 | m0 m26"},
		{"sound alone without headers", []flv.Tag{mp3(0), mp3(26)}, []flv.Tag{audioHeader, audio(0), audio(23)},
			"m0 m26 | h0 a0 a23", "m0 m26 | h0 a0 a23"},
		{"sound alone behind pictures", both, []flv.Tag{mp3(0), mp3(26)},
			"h0 h0 k0 a0 p40 a23 | m0 m26", "h0 h0 k0 a0 p40 a23 | m0 m26"},
		{"sound alone with another header behind pictures", both, []flv.Tag{other, audio(0), audio(23)},
			"h0 h0 k0 a0 p40 a23 | h0 a0 a23", "h0 h0 k0 a0 p40 a23 | h0 a0 a23"},
		{"told before the keyframe", both, []flv.Tag{told(7, 2), videoHeader, key(0), mp3(0), inter(40), key(80), mp3(26)},
			"h0 h0 k0 a0 p40 a23 | h0 k0 m0 p40 k80 m26", "h0 h0 k0 a0 p40 a23 | h0 k0 m0 p40 k80 m26"},
		{"told by FourCC, though it is not so", both, []flv.Tag{told(0, 0x4f707573), videoHeader, key(0), audioHeader, audio(0)},
			"h0 h0 k0 a0 p40 a23 | h0 k0 h0 a0", "h0 h0 k0 a0 p40 a23 | h0 k0 h0 a0"},
		{"not told: at the next keyframe", both, []flv.Tag{videoHeader, key(0), mp3(0), inter(40), mp3(57), key(80), mp3(80)},
			"h0 h0 k0 a0 p40 a23 k80 m80 p120 m137 | h0 k0 m0", "h0 h0 k0 a0 p40 a23 h80 k80 m80 p120 m137 | h0 k0 m0"},
		{"another header behind the keyframe", both, []flv.Tag{videoHeader, key(0), other, audio(0), audio(57), key(80), audio(80)},
			"h0 h0 k0 a0 p40 a23 k80 h80 a80 a137 | h0 h0 k0 a0", "h0 h0 k0 a0 p40 a23 h80 k80 h80 a80 a137 | h0 h0 k0 a0"},
		{"the same", both, []flv.Tag{told(7, 10), videoHeader, audioHeader, key(0), audio(0)},
			"h0 h0 k0 a0 p40 a23 k80 a80", "h0 h0 k0 a0 p40 a23 h80 h80 k80 a80"},
		{"without the sound", both, []flv.Tag{told(7, 0), videoHeader, key(0)},
			"h0 h0 k0 a0 p40 a23 k80", "h0 h0 k0 a0 p40 a23 h80 k80"},
		{"pictures behind sound alone", []flv.Tag{audioHeader, audio(0), audio(23)}, []flv.Tag{videoHeader, audioHeader, key(0), audio(0), inter(40)},
			"h0 a0 a23 | h0 h0 k0 a0 p40", "h0 a0 a23 | h0 h0 k0 a0 p40"},
		{"sound behind pictures alone", pictures, both, "h0 k0 p40 | h0 h0 k0 a0 p40 a23", "h0 k0 p40 | h0 h0 k0 a0 p40 a23"},
		{"sound alone behind pictures alone", pictures, []flv.Tag{audioHeader, audio(0), audio(23)}, "h0 k0 p40 | h0 a0 a23", "h0 k0 p40 | h0 a0 a23"},
		{"sound without header behind pictures alone", pictures, []flv.Tag{videoHeader, key(0), mp3(0), inter(40), key(80), mp3(80)},
			"h0 k0 p40 k80 m80 p120 | h0 k80 m80", "h0 k0 p40 h80 k80 m80 p120 | h0 k80 m80"},
		{"likewise, and told", pictures, []flv.Tag{told(7, 2), videoHeader, key(0), mp3(0), inter(40), key(80), mp3(80)},
			"h0 k0 p40 | h0 k0 m0 p40 k80 m80", "h0 k0 p40 | h0 k0 m0 p40 k80 m80"},
		{"sound that is told, and never comes", slices.Concat([]flv.Tag{told(7, 10)}, pictures), slices.Concat([]flv.Tag{told(7, 10)}, pictures),
			"h0 k0 p40 k80 p120", "h0 k0 p40 h80 k80 p120"},
		{"sound of which a header only has come", slices.Concat([]flv.Tag{audioHeader}, pictures), []flv.Tag{audioHeader, audio(0)},
			"h0 h0 k0 p40 a80", "h0 h0 k0 p40 h80 a80"},
		{"a file that has changed in the middle", slices.Concat(both, []flv.Tag{mp3(46), inter(80)}), []flv.Tag{videoHeader, audioHeader, audio(0), key(40)},
			"h0 h0 k0 a0 p40 a23 m46 p80 | h0 h0 a0 k40", "h0 h0 k0 a0 p40 a23 m46 p80 | h0 h0 a0 k40"},
	} {
		for plan, want := range map[string]string{planAppend: c.append, "session": c.grace} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = plan })
				if plan != planAppend {
					s.Conf().Vhosts[2].DVR.ReconnectGrace = 10 * time.Second
				}
				s.publishEach(c.first, c.second)
				var files []parsed
				for _, name := range []string{"x.flv", "x-1.flv"} {
					if slices.Contains(s.files(), name) {
						files = append(files, parse(t, s.cwd+"/"+name))
					}
				}
				if got := times(files); got != want || len(s.files()) != len(files) {
					t.Errorf("%s, %s: got  %s\nwant %s", c.name, plan, got, want)
				}
			})
		}
	}
}

package dvr

import (
	"testing"
	"testing/synctest"
	"time"

	"srs/amf0"
	"srs/conf"
	"srs/flv"
)

// TestReconnectGrace: a publisher that returns in time continues the file; one
// that comes later, with another codec, or never, does not.
func TestReconnectGrace(t *testing.T) {
	grace := func(d *conf.DVR) { d.ReconnectGrace = 10 * time.Second }
	send := func(f *feed, header flv.Tag) { f.send(header, key(5000), inter(5040)) }
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", grace)
		f := s.start("x")
		send(f, videoHeader)
		f.unpublish()
		time.Sleep(9 * time.Second) // of the bubble
		if len(s.events()) != 0 {
			t.Fatal("announced before its time")
		}
		f = s.start("x")
		send(f, videoHeader)
		f.unpublish()
		// Before the one before has been looked at to its end.
		g, h := s.start("x"), s.start("x")
		send(g, videoHeader)
		g.end()
		send(h, flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 9}})
		h.unpublish()
		synctest.Wait()
		if got := times([]parsed{s.read(s.only())}); got != "h0 k0 p40 h80 k80 p120 h160 k160 p200" {
			t.Errorf("%s", got)
		}
		time.Sleep(10*time.Second + flushAfter)
		synctest.Wait()
		if ev := s.events(); len(ev) != 2 || times([]parsed{s.read(ev[1])}) != "h0 k0 p40" || ev[1].ClientID != 4 {
			t.Errorf("%+v", ev)
		}
		if len(s.byName) != 0 || len(s.active) != 0 {
			t.Error("a recording stays for ever")
		}
		// Stopping does not wait for anybody.
		f = s.start("x")
		send(f, videoHeader)
		f.unpublish()
		begun := time.Now()
		if err := s.Close(t.Context()); err != nil || time.Since(begun) > time.Second || len(s.events()) != 3 {
			t.Errorf("%v after %v, %d events", err, time.Since(begun), len(s.events()))
		}
	})
}

// publishEach publishes a stream several times, and waits until its file waits for
// nobody any more.
func (s *site) publishEach(publishes ...[]flv.Tag) {
	for _, tags := range publishes {
		f := s.start("x")
		f.send(tags...)
		f.unpublish()
	}
	time.Sleep(10*time.Second + flushAfter) // of the bubble
	synctest.Wait()
}

// told reads the files of all events, in their order.
func (s *site) told() (files []parsed) {
	s.t.Helper()
	for _, ev := range s.events() {
		files = append(files, s.read(ev))
	}
	return files
}

// TestReconnectGraceTime: time goes on in the file, whatever dvr makes of it else.
func TestReconnectGraceTime(t *testing.T) {
	for jitter, want := range map[conf.Jitter]string{
		conf.JitterFull: "h0 k0 a0 p40 h80 k80 a103 p120",
		conf.JitterZero: "h0 k0 a0 p40 h80 k80 a103 p120",
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.ReconnectGrace, d.TimeJitter = 10*time.Second, jitter })
			s.publishEach([]flv.Tag{videoHeader, key(900_000), audio(900_000), inter(900_040)}, []flv.Tag{videoHeader, key(7), audio(30), inter(47)})
			if got := times([]parsed{s.read(s.only())}); got != want {
				t.Errorf("%v: %s, want %s", jitter, got, want)
			}
		})
	}
}

// TestReconnectGraceOff: where the times are the stream's own, a publish continues
// the file as far as its times do. No tag is behind the one before.
func TestReconnectGraceOff(t *testing.T) {
	for _, c := range []struct {
		first, second []flv.Tag
		want          string
	}{
		{[]flv.Tag{videoHeader, key(900_000), audio(900_000), inter(900_040)}, []flv.Tag{videoHeader, key(7), audio(30), inter(47)},
			"h0 k900000 a900000 p900040 | h0 k7 a30 p47"},
		{[]flv.Tag{videoHeader, audioHeader, key(900_000), inter(900_040)}, []flv.Tag{videoHeader, audioHeader, audio(3), key(7), audio(26), inter(47)},
			"h0 h0 k900000 p900040 | h0 h0 a3 k7 a26 p47"},
		{[]flv.Tag{videoHeader, key(0), inter(40)}, []flv.Tag{videoHeader, key(0), inter(40)}, "h0 k0 p40 | h0 k0 p40"},
		{[]flv.Tag{audioHeader, audio(5000)}, []flv.Tag{audioHeader, audio(0), audio(23)}, "h0 a5000 | h0 a0 a23"},
		{[]flv.Tag{videoHeader, key(0), inter(40)}, []flv.Tag{videoHeader, key(5000), inter(5040)}, "h0 k0 p40 h5000 k5000 p5040"},
		{[]flv.Tag{videoHeader, key(0), inter(40)}, []flv.Tag{videoHeader, inter(5000)}, "h0 k0 p40"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.ReconnectGrace, d.TimeJitter = 10*time.Second, conf.JitterOff })
			s.publishEach(c.first, c.second)
			if got := times(s.told()); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestHeldOfItsPublish: pictures wait for a keyframe of their own publish, and their time
// for that does not depend on what its clock, or the file's, was before.
func TestHeldOfItsPublish(t *testing.T) {
	for _, c := range []struct {
		plan          string
		first, second []flv.Tag
		want          string
	}{
		{"session", []flv.Tag{audioHeader, audio(0), audio(23)},
			[]flv.Tag{audioHeader, videoHeader, inter(46_000), audio(46_000), inter(46_040), key(46_120), inter(46_160)}, "h0 a0 a23 | h0 h0 a0 k120 p160"},
		{planAppend, []flv.Tag{videoHeader, inter(3_600_000), inter(3_600_040)},
			[]flv.Tag{videoHeader, inter(0), inter(10_000), inter(20_000), inter(30_000), inter(30_040)}, "h0 p0 p40"},
		{"session", []flv.Tag{videoHeader, audioHeader, audio(0), key(0), audio(23), inter(300), inter(400), audio(46)}, // late sound
			[]flv.Tag{videoHeader, audioHeader, key(5300), audio(5000)}, "h0 h0 a0 k0 a23 p300 p400 a46 h440 h440 k440 a400"},
		{"session", []flv.Tag{videoHeader, audioHeader, key(0), audio(0), inter(40), audio(23)}, // the clock jumps in front of the first sound
			[]flv.Tag{videoHeader, audioHeader, inter(80_000), audio(75_000), key(75_040), audio(75_023)}, "h0 h0 k0 a0 p40 a23 h40 h40 a40 | h0 h0 k63 a46"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan, d.ReconnectGrace, d.TimeJitter = c.plan, 10*time.Second, conf.JitterZero })
			first, second := s.start("x"), s.start("x")
			first.send(c.first...)
			first.end()
			second.send(c.second...)
			second.unpublish()
			time.Sleep(10*time.Second + flushAfter) // of the bubble
			synctest.Wait()
			if got := times(s.told()); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestRejoinReordered: the pictures of a publish that continues a file are shown behind
// those that are in it, where these are shown later than they come.
func TestRejoinReordered(t *testing.T) {
	shown := func(t flv.Tag, later byte) flv.Tag {
		t.Data = append([]byte{t.Data[0], 1, 0, 0, later}, 0)
		return t
	}
	tags := []flv.Tag{videoHeader, shown(key(0), 80), shown(inter(40), 160), shown(inter(80), 0)}
	for _, plan := range []string{"session", planAppend} {
		for _, mode := range []conf.Jitter{conf.JitterFull, conf.JitterZero} {
			for _, apart := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan, d.TimeJitter, d.ReconnectGrace = plan, mode, 10*time.Second })
					for range 3 {
						f := s.start("x")
						f.send(tags...)
						f.unpublish()
						if apart {
							time.Sleep(time.Minute) // of the bubble
						}
					}
					time.Sleep(10*time.Second + flushAfter)
					synctest.Wait()
					ev := s.events()
					want := "h0 k0 p40 p80 h240 k240 p280 p320 h480 k480 p520 p560"
					if apart && plan == "session" {
						want = "h0 k0 p40 p80"
					} else if apart {
						want = "h0 k0 p40 p80 k240 p280 p320 k480 p520 p560"
					}
					if got := times([]parsed{s.read(ev[len(ev)-1])}); got != want {
						t.Errorf("%s, %v, %v: %s, want %s", plan, mode, apart, got, want)
					}
				})
			}
		}
	}
}

// TestRejoinBounded: a picture that says that it is shown in two hours moves nothing by that.
func TestRejoinBounded(t *testing.T) {
	late := flv.Tag{Type: flv.TypeVideo, Timestamp: 40, Data: []byte{0x27, 1, 0x7f, 0xff, 0xff, 0}}
	for _, plan := range []string{"session", planAppend} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", graceOf(10*time.Second), func(d *conf.DVR) { d.Plan = plan })
			s.publishEach([]flv.Tag{videoHeader, key(0), late}, []flv.Tag{videoHeader, key(0)})
			ev := s.events()
			if got := times([]parsed{s.read(ev[len(ev)-1])}); got != "h0 k0 p40 h5080 k5080" {
				t.Errorf("%s: %s", plan, got)
			}
			s.publishEach([]flv.Tag{videoHeader, key(0)}) // append: with what is on the disk
			if ev = s.events(); plan == planAppend && times([]parsed{s.read(ev[len(ev)-1])}) != "h0 k0 p40 h5080 k5080 k10120" {
				t.Errorf("%s", times([]parsed{s.read(ev[len(ev)-1])}))
			}
		})
	}
}

// TestToldOtherwise: encoders that tell of another codec than they send continue their
// files, as long as they tell of the same.
func TestToldOtherwise(t *testing.T) {
	told := func(codec float64) flv.Tag { return metadata(amf0.Property{Key: "audiocodecid", Value: codec}) }
	sound := flv.Tag{Type: flv.TypeAudio, Data: []byte{0x52, 1}} // Nellymoser of 8 kHz, of which ffmpeg tells as 6
	for name, c := range map[string]struct {
		second []flv.Tag
		want   string
	}{
		"the same":        {[]flv.Tag{told(6), sound}, "0 40"},
		"another is told": {[]flv.Tag{told(10), sound}, "0 | 0"},
		"another is sent": {[]flv.Tag{told(6), {Type: flv.TypeAudio, Data: []byte{0x2f, 1}}}, "0 | m0"},
		"none is told":    {[]flv.Tag{sound}, "0 40"},
	} {
		for _, plan := range []string{"session", planAppend} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "[stream].flv", graceOf(10*time.Second), func(d *conf.DVR) { d.Plan = plan })
				s.publishEach([]flv.Tag{told(6), sound}, c.second)
				if got := times(s.told()); got != c.want {
					t.Errorf("%s, %s: %s, want %s", name, plan, got, c.want)
				}
			})
		}
	}
}

// TestReconnectGraceHeaders: files that begin in a publish have what it has sent,
// and nothing of the one before.
func TestReconnectGraceHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", segments(1), func(d *conf.DVR) { d.ReconnectGrace = 10 * time.Second })
		f := s.start("x")
		f.send(metadata(amf0.Property{Key: "audiocodecid", Value: 10.0}), videoHeader, audioHeader, key(0), audio(0), inter(40))
		f.unpublish()
		f = s.start("x")
		f.send(videoHeader, key(0), inter(500), key(1000), inter(1040))
		f.unpublish()
		time.Sleep(10*time.Second + flushAfter) // of the bubble
		synctest.Wait()
		ev := s.events()
		if len(ev) != 2 {
			t.Fatalf("%+v", ev)
		}
		first, second := s.read(ev[0]), s.read(ev[1])
		if got := times([]parsed{first, second}); got != "h0 h0 k0 a0 p40 h80 k80 p580 | h0 k0 p40" {
			t.Error(got)
		}
		if _, told := second.properties["audiocodecid"]; !first.audio || second.audio || told {
			t.Errorf("flags of sound %v, %v; metadata %v", first.audio, second.audio, second.properties)
		}
	})
}

// TestReconnectGraceReload: a file that waits for its publisher goes on whatever a
// reload says of what is kept; settings of the file itself begin another one.
func TestReconnectGraceReload(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*conf.DVR)
		files  int
	}{
		"dvr_apply":           {func(d *conf.DVR) { d.Apply = []string{"live/*"} }, 1},
		"dvr_reconnect_grace": {func(d *conf.DVR) { d.ReconnectGrace = 5 * time.Second }, 1},
		"dvr_max_age":         {func(d *conf.DVR) { d.MaxAge = time.Hour }, 1},
		"dvr_max_size":        {func(d *conf.DVR) { d.MaxSize = 1 << 30 }, 1},
		"dvr_min_free":        {func(d *conf.DVR) { d.MinFree = 1 }, 1},
		"dvr_path":            {func(d *conf.DVR) { d.Path = "other/[stream].flv" }, 2},
		"time_jitter":         {func(d *conf.DVR) { d.TimeJitter = conf.JitterZero }, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.ReconnectGrace = 10 * time.Second })
			for range 2 {
				f := s.start("x")
				f.send(videoHeader, key(0), inter(40))
				f.unpublish()
				v := *s.Conf().Vhosts[2]
				c.change(&v.DVR)
				s.conf.Store(&conf.Config{Vhosts: []*conf.Vhost{&v, &v, &v}})
			}
			time.Sleep(10*time.Second + flushAfter) // of the bubble
			synctest.Wait()
			if got := len(s.events()); got != c.files {
				t.Errorf("%s: %d files, want %d\n%s", name, got, c.files, s.log())
			}
		})
	}
}

// TestGraceReleased: a reload that ends the recording of a stream, or makes the time
// shorter, completes the file that waits. The log says that it does.
func TestGraceReleased(t *testing.T) {
	for name, change := range map[string]func(*conf.Vhost){
		"dvr off":  func(v *conf.Vhost) { v.DVR.Enabled = false },
		"no vhost": func(v *conf.Vhost) { v.Name = "w" },
		"shorter":  func(v *conf.Vhost) { v.DVR.ReconnectGrace = 2 * time.Second },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", graceOf(time.Hour))
			f := s.start("x")
			f.send(videoHeader, key(0), inter(40))
			f.unpublish()
			if got := logged(s.log(), "recording waits for its publisher", "for"); got != "1h0m0s" {
				t.Errorf("%s: %s", name, s.log())
			}
			v := *s.Conf().Vhosts[2]
			change(&v)
			s.conf.Store(&conf.Config{Vhosts: []*conf.Vhost{&v}})
			time.Sleep(2*time.Second + flushAfter) // of the bubble
			synctest.Wait()
			if ev := s.only(); ev.ClientID != 1 {
				t.Errorf("%s: %+v", name, ev)
			}
		})
	}
}

package dvr

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/amf0"
	"srs/conf"
	"srs/flv"
	"srs/rtmp/live"
)

// record plays a publish through a site and gives its only file.
func record(t *testing.T, tags []flv.Tag, change ...func(*conf.DVR)) (p parsed) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", change...)
		f := s.start("x")
		f.send(tags...)
		f.unpublish()
		if ev := s.only(); ev.Error != "" {
			t.Errorf("error %q", ev.Error)
		}
		p = s.read(s.only())
		s.wantFiles("x.flv")
	})
	return p
}

func metadata(properties ...amf0.Property) flv.Tag {
	return flv.Tag{Type: flv.TypeScript, Data: amf0.Append(nil, "onMetaData", amf0.Object(properties))}
}

// TestBytes spells a whole file out.
func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		f.send(metadata(amf0.Property{Key: "duration", Value: 0.0}, amf0.Property{Key: "width", Value: 640.0}),
			audioHeader, videoHeader, key(1000), audio(1010), inter(1040), audio(1033))
		f.unpublish()

		want := flv.AppendHeader(nil, true, true)
		space := flv.NewFileMetadata(metadata(amf0.Property{Key: "width", Value: 640.0}).Data, sessionKeyframes, "", "v/live/x")
		var sum flv.Summary
		for i, tag := range []flv.Tag{key(0), inter(40)} {
			sum.Add(tag, int64(flv.HeaderSize+len(space.Body)+3*flv.TagFrame+len(videoHeader.Data)+len(audioHeader.Data))+int64(1000*i))
		}
		body := space.Body
		for _, p := range space.Patches(&sum, s.only().Size) {
			copy(body[p.At:], p.Data)
		}
		for _, tag := range []flv.Tag{
			{Type: flv.TypeScript, Data: body},
			videoHeader, audioHeader, // video first
			at(key(1000), 0), at(audio(1010), 10), at(inter(1040), 40), at(audio(1033), 33),
		} {
			want = flv.AppendTag(want, tag)
		}
		// The bodies above carry the published time; at changes only the tag's.
		got, err := os.ReadFile(filepath.Join(s.cwd, "x.flv"))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v\n got %q\nwant %q", err, got, want)
		}
		if s.only().Size != int64(len(want)) || s.only().Duration != 80*time.Millisecond {
			t.Errorf("%+v", s.only())
		}
	})
}

func TestPlan(t *testing.T) {
	off := func(d *conf.DVR) { d.WaitKeyframe = false }
	jitter := func(j conf.Jitter) func(*conf.DVR) { return func(d *conf.DVR) { d.TimeJitter = j } }
	large := strings.Repeat("x", 256<<10)
	track := func(id byte) flv.Tag {
		return flv.Tag{Type: flv.TypeVideo, Data: []byte{0x96, 0x00, 'h', 'v', 'c', '1', id, 9}}
	}
	second := func(ts uint32, first byte) flv.Tag {
		return flv.Tag{Type: flv.TypeVideo, Timestamp: ts, Data: []byte{first, 0x01, 'h', 'v', 'c', '1', 1, 9}}
	}
	colour := flv.Tag{Type: flv.TypeVideo, Data: []byte("\x94hvc1\x02\x00\x09colorInfo\x05")}
	otherHeader := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 2}}
	for _, c := range []struct {
		name         string
		change       func(*conf.DVR)
		send, want   []flv.Tag
		audio, video bool
		duration     float64
	}{
		{name: "audio only", audio: true, duration: 0.069,
			send: []flv.Tag{audioHeader, audio(0), audio(23), audio(46)},
			want: []flv.Tag{audioHeader, audio(0), audio(23), audio(46)}},
		{name: "video only", video: true, duration: 0.120,
			send: []flv.Tag{videoHeader, key(0), inter(40), key(80)},
			want: []flv.Tag{videoHeader, key(0), inter(40), key(80)}},
		{name: "no headers", audio: true, video: true, duration: 0.023,
			send: []flv.Tag{{Type: flv.TypeAudio, Data: []byte{0x2f, 1}}, {Type: flv.TypeVideo, Timestamp: 23, Data: []byte{0x12, 1}}},
			want: []flv.Tag{{Type: flv.TypeAudio, Data: []byte{0x2f, 1}}, {Type: flv.TypeVideo, Timestamp: 23, Data: []byte{0x12, 1}}}},
		{name: "start without keyframe", audio: true, video: true, duration: 0.140,
			send: []flv.Tag{videoHeader, audioHeader, inter(0), inter(40), audio(60), inter(80), key(120), inter(160)},
			want: []flv.Tag{videoHeader, audioHeader, at(audio(60), 0), at(key(120), 60), at(inter(160), 100)}},
		{name: "start without keyframe, not waiting", change: off, video: true, duration: 0.120,
			send: []flv.Tag{videoHeader, inter(40), inter(80), key(120)},
			want: []flv.Tag{videoHeader, at(inter(40), 0), at(inter(80), 40), at(key(120), 80)}},
		{name: "video header behind the first audio", audio: true, video: true, duration: 0.060,
			send: []flv.Tag{audioHeader, audio(0), at(videoHeader, 20), key(20), inter(40)},
			want: []flv.Tag{audioHeader, audio(0), at(videoHeader, 20), key(20), inter(40)}},
		{name: "new header in midstream", video: true, duration: 0.120,
			send: []flv.Tag{videoHeader, key(0), inter(40), at(otherHeader, 80), key(80)},
			want: []flv.Tag{videoHeader, key(0), inter(40), at(otherHeader, 80), key(80)}},
		{name: "header twice before the start", video: true, duration: 0.040,
			send: []flv.Tag{videoHeader, otherHeader, key(0)},
			want: []flv.Tag{otherHeader, key(0)}},
		{name: "headers of two tracks", video: true, duration: 0.040,
			send: []flv.Tag{track(0), track(1), track(0), key(0)},
			want: []flv.Tag{track(0), track(1), key(0)}},
		{name: "a keyframe of another track", video: true, duration: 0.080,
			send: []flv.Tag{videoHeader, track(1), inter(0), second(0, 0x96), inter(40), key(80), second(80, 0xa6), inter(120), second(120, 0x96)},
			want: []flv.Tag{videoHeader, track(1), at(key(80), 0), second(0, 0xa6), at(inter(120), 40), second(40, 0x96)}},
		{name: "colour info before the start", video: true, duration: 0.040,
			send: []flv.Tag{track(0), colour, key(0)},
			want: []flv.Tag{track(0), colour, key(0)}},
		{name: "later metadata and other data", audio: true, duration: 0.046,
			send: []flv.Tag{audio(0), metadata(amf0.Property{Key: "late", Value: true}),
				{Type: flv.TypeScript, Data: amf0.Append(nil, "onTextData", "x")}, audio(23)},
			want: []flv.Tag{audio(0), audio(23)}},
		{name: "empty bodies", audio: true, duration: 0.046,
			send: []flv.Tag{{Type: flv.TypeVideo}, {Type: flv.TypeAudio}, audio(0), {Type: flv.TypeAudio}, audio(23)},
			want: []flv.Tag{audio(0), audio(23)}},
		{name: "end of sequence", video: true, duration: 0.040,
			send: []flv.Tag{{Type: flv.TypeVideo, Data: []byte{0x17, 2, 0, 0, 0}}, key(0), {Type: flv.TypeVideo, Timestamp: 9, Data: []byte{0x17, 2, 0, 0, 0}}},
			want: []flv.Tag{key(0), {Type: flv.TypeVideo, Timestamp: 9, Data: []byte{0x17, 2, 0, 0, 0}}}},
		{name: "earlier than the base", audio: true, video: true, duration: 0.034,
			send: []flv.Tag{key(1000), audio(980), audio(994), audio(1017)},
			want: []flv.Tag{at(key(1000), 0), at(audio(980), 0), at(audio(994), 0), at(audio(1017), 17)}},
		{name: "wrap of the time", audio: true, duration: 0.069,
			send: []flv.Tag{audio(math.MaxUint32 - 9), audio(13), audio(36)},
			want: []flv.Tag{at(audio(math.MaxUint32-9), 0), at(audio(13), 23), at(audio(36), 46)}},
		{name: "jitter full: a jump", change: jitter(conf.JitterFull), audio: true, duration: 0.092,
			send: []flv.Tag{audio(100), audio(123), audio(3_600_000), audio(3_600_023)},
			want: []flv.Tag{at(audio(100), 0), at(audio(123), 23), at(audio(3_600_000), 46), at(audio(3_600_023), 69)}},
		{name: "jitter zero: a jump", change: jitter(conf.JitterZero), audio: true, duration: 3599.946,
			send: []flv.Tag{audio(100), audio(123), audio(3_600_000), audio(3_600_023)},
			want: []flv.Tag{at(audio(100), 0), at(audio(123), 23), at(audio(3_600_000), 3_599_900), at(audio(3_600_023), 3_599_923)}},
		{name: "jitter off", change: jitter(conf.JitterOff), audio: true, duration: 0.046,
			send: []flv.Tag{audioHeader, audio(1_000_000), audio(1_000_023)},
			want: []flv.Tag{audioHeader, audio(1_000_000), audio(1_000_023)}},
		{name: "256 KiB of metadata", audio: true, duration: 0.046,
			send: []flv.Tag{metadata(amf0.Property{Key: "xmp", Value: large}), audio(0), audio(23)},
			want: []flv.Tag{audio(0), audio(23)}},
		{name: "large frames", video: true, duration: 0.080,
			send: []flv.Tag{key(0), {Type: flv.TypeVideo, Timestamp: 40, Data: append([]byte{0x27, 1}, make([]byte, 10<<20)...)}},
			want: []flv.Tag{key(0), {Type: flv.TypeVideo, Timestamp: 40, Data: append([]byte{0x27, 1}, make([]byte, 10<<20)...)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			change := c.change
			if change == nil {
				change = func(*conf.DVR) {}
			}
			p := record(t, c.send, change)
			wantTags(t, p.tags, c.want...)
			if p.audio != c.audio || p.video != c.video {
				t.Errorf("flags audio %v, video %v", p.audio, p.video)
			}
			if math.Abs(p.duration-c.duration) > 1e-9 {
				t.Errorf("duration %v, want %v", p.duration, c.duration)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	file := map[string]any{"recordedFrom": "v/live/x", "duration": 0.046, "filesize": 0.0, "lasttimestamp": 0.023}
	for _, c := range []struct {
		name string
		send []flv.Tag
		want map[string]any
	}{
		{"none", nil, nil},
		{"object", []flv.Tag{metadata(amf0.Property{Key: "encoder", Value: "x"})}, map[string]any{"encoder": "x"}},
		{"array", []flv.Tag{{Type: flv.TypeScript, Data: amf0.Append(nil, "onMetaData", amf0.ECMAArray{{Key: "encoder", Value: "x"}})}},
			map[string]any{"encoder": "x"}},
		{"the newest before the start", []flv.Tag{metadata(amf0.Property{Key: "a", Value: 1.0}), metadata(amf0.Property{Key: "b", Value: 2.0})},
			map[string]any{"b": 2.0}},
		{"of a file", []flv.Tag{metadata(amf0.Property{Key: "duration", Value: 99.0}, amf0.Property{Key: "keyframes", Value: amf0.Object{}})}, nil},
		{"damaged", []flv.Tag{{Type: flv.TypeScript, Data: []byte("\x02\x00\x0aonMetaData\x08\xff")}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := record(t, append(c.send, audio(0), audio(23)))
			want := map[string]any{}
			for _, m := range []map[string]any{file, c.want} {
				for k, v := range m {
					want[k] = v
				}
			}
			want["filesize"] = float64(p.size)
			delete(p.properties, "padding")
			if !reflect.DeepEqual(p.properties, want) {
				t.Errorf("%v, want %v", p.properties, want)
			}
		})
	}
}

// TestDV21: no file, no directory, no on_dvr; and of a single picture none with a
// duration of zero.
func TestDV21(t *testing.T) {
	for name, send := range map[string][]flv.Tag{
		"nothing":          nil,
		"headers":          {metadata(), videoHeader, audioHeader},
		"no keyframe":      {videoHeader, inter(0), inter(40)},
		"end of sequence":  {{Type: flv.TypeVideo, Data: []byte{0x17, 2, 0, 0, 0}}},
		"only empty audio": {{Type: flv.TypeAudio}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "dir/[stream].flv")
			f := s.start("x")
			f.send(send...)
			f.unpublish()
			if ev := s.events(); len(ev) != 0 {
				t.Errorf("%s: %+v", name, ev)
			}
			entries, err := os.ReadDir(s.cwd)
			if len(entries) != 0 || err != nil {
				t.Errorf("%s: %v, %v", name, entries, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		f.send(videoHeader, key(0))
		f.unpublish()
		ev := s.only()
		wantTags(t, s.read(ev).tags, videoHeader, key(0))
		if ev.Duration != 40*time.Millisecond {
			t.Errorf("one picture: duration %v", ev.Duration)
		}
	})
}

// TestGap: behind skipped frames video waits for a keyframe and time goes on.
func TestGap(t *testing.T) {
	for _, jitter := range []conf.Jitter{conf.JitterFull, conf.JitterZero} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.TimeJitter = jitter })
			f := s.start("x")
			f.send(videoHeader, audioHeader, key(0), audio(10), inter(40))
			f.gap(inter(30_000)) // half a minute is no jump of the clock
			f.send(audio(30_010), inter(30_040), key(30_080), inter(30_120))
			f.gap(audio(40_000))
			f.send(inter(40_020), key(40_040))
			f.unpublish()
			ev := s.only()
			wantTags(t, s.read(ev).tags, videoHeader, audioHeader, key(0), audio(10), inter(40),
				audio(30_010), key(30_080), inter(30_120), audio(40_000), key(40_040))
			if ev.Error != "slow disk: 2 gaps, 17 frames lost" { // with those that wait for a keyframe
				t.Errorf("error %q", ev.Error)
			}
			if got := strings.Count(s.log(), "gap"); got < 1 || got > 2 { // the line, and the reason of the last one
				t.Errorf("log\n%s", s.log())
			}
		})
	}
}

// TestGapAtEnd: what was skipped last is said as well.
func TestGapAtEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		f.send(key(0), inter(40))
		f.short = true
		f.unpublish()
		if ev := s.only(); ev.Error != "slow disk: 1 gaps, 5 frames lost" || !strings.Contains(s.log(), "recording has a gap") {
			t.Errorf("error %q, log\n%s", ev.Error, s.log())
		}
	})
}

// TestGapAtStart: skipped before a file was open.
func TestGapAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		f.gap(inter(30_000))
		f.send(key(30_040), inter(30_080))
		f.unpublish()
		wantTags(t, s.read(s.only()).tags, at(key(30_040), 0), at(inter(30_080), 40))
		if ev := s.only(); ev.Error != "before it: slow disk: 8 frames lost" { // with the one that is no keyframe
			t.Errorf("error %q", ev.Error)
		}
	})
}

// TestHeadersBounded: a publisher cannot fill the memory with headers.
func TestHeadersBounded(t *testing.T) {
	r := &prologue{}
	for id := range 256 {
		tag := flv.Tag{Type: flv.TypeVideo, Data: append([]byte{0x96, 0x00, 'h', 'v', 'c', '1', byte(id)}, make([]byte, 100)...)}
		r.remember(live.Frame{Tag: tag})
	}
	if len(r.headers) != maxHeaders {
		t.Errorf("%d headers", len(r.headers))
	}
	r.headers = nil
	r.remember(live.Frame{Tag: flv.Tag{Type: flv.TypeVideo, Data: make([]byte, maxHeaderSize+1)}})
	if len(r.headers) != 0 {
		t.Error("a header of 1 MiB is kept")
	}
}

// TestFlush: a byte waits no longer than half a second, also when the stream
// pauses, and no longer than five for the disk.
func TestFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		path := filepath.Join(s.cwd, "x.flv.tmp")
		f.send(videoHeader, key(0))
		time.Sleep(500 * time.Millisecond) // of the bubble
		synctest.Wait()
		wantTags(t, parseGrowing(t, path), videoHeader, key(0))
		for i := range uint32(100) { // and while it flows
			f.send(inter(40 * (i + 1)))
			time.Sleep(40 * time.Millisecond)
			synctest.Wait()
			if n := len(parseGrowing(t, path)); n < int(i)-10 {
				t.Fatalf("%d tags in the file after %d frames", n, i)
			}
		}
		time.Sleep(time.Minute) // nothing is left to do
		f.unpublish()
		if n := len(s.read(s.only()).tags); n != 102 {
			t.Errorf("%d tags", n)
		}
	})
}

// parseGrowing reads the tags behind the metadata of a file under way.
func parseGrowing(t *testing.T, path string) []flv.Tag {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(b, flv.AppendHeader(nil, true, true)) {
		t.Errorf("header % x", b[:min(len(b), flv.HeaderSize)])
	}
	r := flv.NewReader(bytes.NewReader(b))
	var tags []flv.Tag
	for {
		tag, err := r.Next()
		if err != nil {
			break
		}
		tag.Data = bytes.Clone(tag.Data)
		tags = append(tags, tag)
	}
	if r.Offset() != int64(len(b)) {
		t.Errorf("a torn tag in the file: %d of %d bytes", r.Offset(), len(b))
	}
	if len(tags) == 0 {
		return nil
	}
	return tags[1:]
}

// TestDV14: neither loses its file to the other.
func TestDV14(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "same.flv")
		a, b := s.start("a"), s.start("b")
		a.send(audio(0), audio(23))
		b.send(key(0), inter(40), inter(80))
		time.Sleep(flushAfter) // of the bubble
		synctest.Wait()
		s.wantFiles("same-1.flv.tmp", "same.flv.tmp")
		b.unpublish()
		a.unpublish()
		s.wantFiles("same-1.flv", "same.flv")
		for _, ev := range s.events() {
			want := map[string]int{"a": 2, "b": 3}[ev.Stream]
			if n := len(s.read(ev).tags); n != want {
				t.Errorf("%s in %s: %d tags, want %d", ev.Stream, ev.File, n, want)
			}
		}
	})
}

// TestDV01: whatever vhost, app and stream are called, the file lies below the
// root, and nothing elsewhere.
func TestDV01(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "root/[vhost]/[app]/[stream].flv")
		above := s.cwd
		s.cwd += "/as/deep/as/the/names/climb" // so what climbs out is seen
		s.Recorder.Cwd = s.cwd
		for _, c := range hostile {
			s.Conf().Vhosts[2].Name = c.name
			f := newFeed()
			s.record(live.Publisher{Vhost: c.name, App: c.name, Stream: c.name}, func() source { return f })
			f.send(audio(0))
			f.unpublish()
		}
		for i, ev := range s.events() {
			if want := "root/" + hostile[i].want + "/"; !strings.HasPrefix(ev.File, want) || !strings.HasSuffix(ev.File, "/"+hostile[i].want+".flv") || ev.Stream != hostile[i].name {
				t.Errorf("file %q, want %q", ev.File, want)
			}
		}
		if len(s.files()) != len(hostile) || len(s.events()) != len(hostile) {
			t.Errorf("%d files and %d events for %d streams", len(s.files()), len(s.events()), len(hostile))
		}
		if strings.Contains(s.log(), "ERROR") {
			t.Error(s.log())
		}
		if s.cwd += "/root"; len(s.files()) != len(hostile) {
			t.Errorf("%q", s.files())
		}
		inside := len(s.files())
		if s.cwd = above; len(s.files()) != inside {
			t.Errorf("beside the root: %q", s.files())
		}
	})
}

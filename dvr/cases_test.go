package dvr

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/conf"
	"srs/flv"
)

// TestDV16: sizes beyond 4 GiB and times beyond the 24 bits of a tag's lower
// bytes are right, in the metadata too.
func TestDV16(t *testing.T) {
	const large = 5 << 30
	dir := t.TempDir()
	f := openTestFile(t, dir)
	now := time.Now()
	f.append(key(0), now)
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	// What would be media is a hole.
	_, err := f.os.Seek(large, io.SeekStart)
	if err = errors.Join(err, f.os.Truncate(large)); err != nil {
		t.Fatal(err)
	}
	f.size = large
	const hours5 = 5 * 3600 * 1000
	f.append(key(hours5), now)
	f.append(inter(hours5+40), now)
	to, err := f.complete(facts{}, true)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(dir + "/" + to.name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	res, err := flv.Resume(file, f.size)
	if err != nil {
		t.Fatal(err)
	}
	index := res.Index(flv.MaxKeyframes)
	if len(index) != 2 || index[1].Time != hours5 || index[1].Position != large || res.Last != hours5+40 || res.End() != hours5+80 {
		t.Errorf("%+v, last %d, end %d", index, res.Last, res.End())
	}
	tag, err := flv.NewReader(io.MultiReader(strings.NewReader(string(flv.AppendHeader(nil, true, true))), io.NewSectionReader(file, large, 1<<20))).Next()
	if err != nil || tag.Timestamp != hours5 {
		t.Errorf("behind 4 GiB stands %+v, %v", tag, err)
	}
}

// TestDV17: names are of the wall clock, whatever it does; lengths are not.
func TestDV17(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[15].[04].[05].flv", segments(10))
		jump := time.Duration(0)
		begun := time.Now()
		s.Now = func() time.Time { return third.Add(time.Since(begun) + jump) }
		f := s.start("x")
		for i := range uint32(36) {
			f.send(key(i * 1000))
			time.Sleep(time.Second) // of the bubble
			switch i {
			case 15:
				jump = time.Hour
			case 25:
				jump = -2 * time.Hour
			}
		}
		f.unpublish()
		var names []string
		for i, ev := range s.events() {
			names = append(names, ev.File)
			if p := s.read(ev); i < 3 && (p.duration != 10 || len(p.tags) != 10) {
				t.Errorf("%s lasts %v s", ev.File, p.duration)
			}
		}
		if len(names) != 4 || !strings.HasPrefix(names[0], "05.07.") || !strings.HasPrefix(names[1], "05.07.") ||
			!strings.HasPrefix(names[2], "06.07.") || !strings.HasPrefix(names[3], "03.07.") {
			t.Errorf("%q", names)
		}
	})
}

// TestDV20: without metadata, with a quarter of a megabyte of it, and without
// video, the flags tell the truth and ffprobe has nothing to say.
func TestDV20(t *testing.T) {
	mp3 := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine", "-t", "1", "-c:a", "libmp3lame", "-f", "flv", t.TempDir()+"/s.flv")
	if out, err := mp3.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file, err := os.ReadFile(mp3.Args[len(mp3.Args)-1])
	if err != nil {
		t.Fatal(err)
	}
	_, file, _ = flv.Split(file[flv.HeaderSize:]) // without its metadata
	var sound []flv.Tag
	for tag, rest, ok := flv.Split(file); ok; tag, rest, ok = flv.Split(rest) {
		sound = append(sound, tag)
	}
	for name, before := range map[string][]flv.Tag{
		"none":    nil,
		"256 KiB": {metadata(amf0.Property{Key: "xmp", Value: strings.Repeat("x", 256<<10)}, amf0.Property{Key: "stereo", Value: true})},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir() + "/x.flv"
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "[stream].flv")
				f := s.start("x")
				f.send(append(before, sound...)...)
				f.unpublish()
				if p := s.read(s.only()); !p.audio || p.video || math.Abs(p.duration-1) > 0.1 {
					t.Errorf("audio %v, video %v, %v s", p.audio, p.video, p.duration)
				}
				if err := os.Rename(s.cwd+"/x.flv", out); err != nil {
					t.Fatal(err)
				}
			})
			if _, warnings := run(t, "ffprobe", "-v", "error", out); warnings != "" {
				t.Errorf("ffprobe: %s", warnings)
			}
		})
	}
}

// TestDV10: with every descriptor in use there are some left for a recording.
func TestDV10(t *testing.T) {
	s := newSite(t, "dir/[stream].flv", func(d *conf.DVR) { d.TimeJitter = conf.JitterOff })
	s.run()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = 256
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	var taken []*os.File
	for range limit.Cur {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	for i, stream := range []string{"x", "y", "z"} {
		f := s.start(stream)
		f.send(key(0), inter(40))
		f.end()
		for begun := time.Now(); len(s.events()) <= i && time.Since(begun) < 20*time.Second; {
			<-time.After(10 * time.Millisecond)
		}
	}
	for _, f := range taken {
		f.Close()
	}
	if len(taken) == 0 || len(s.events()) != 3 || strings.Contains(s.log(), "recording failed") {
		t.Errorf("%d events with %d descriptors taken\n%s", len(s.events()), len(taken), s.log())
	}
}

// TestDV22: however many streams begin a new file in the same second, they do so a
// few at a time; what comes meanwhile waits in their streams, and who needs no new
// file writes on. bench/e2e and bench dvr see what players notice.
func TestDV22(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams = 500
		s := newSite(t, "[stream].flv", segments(1))
		steady := s.start("steady")
		steady.send(key(0))
		var feeds []*feed
		for i := range streams {
			f := s.start(fmt.Sprint("s", i))
			f.send(videoHeader, key(0), inter(500))
			feeds = append(feeds, f)
		}
		time.Sleep(time.Second) // of the bubble
		synctest.Wait()
		turns := s.diskOf(s.cwd).files
		for range fileCalls {
			turns <- struct{}{} // these are at it, and take long
		}
		for _, f := range feeds {
			f.send(key(1000), inter(1500))
		}
		size := func() int64 {
			info, err := os.Stat(s.cwd + "/steady.flv.tmp")
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		before := size()
		steady.send(inter(1500))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if len(s.events()) > 0 || size() == before {
			t.Errorf("%d begin a file with the others; steady has %d bytes, had %d", len(s.events()), size(), before)
		}
		for range fileCalls {
			<-turns
		}
		for _, f := range append(feeds, steady) {
			f.unpublish()
		}
		for _, ev := range s.events() {
			if want := "h0 k0 p500"; ev.Stream != "steady" && (times([]parsed{s.read(ev)}) != want || ev.Error != "") {
				t.Errorf("%s: %s, %q", ev.File, times([]parsed{s.read(ev)}), ev.Error)
			}
		}
		if len(s.events()) != 2*streams+1 {
			t.Errorf("%d files", len(s.events()))
		}
	})
}

package dvr

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
)

// TestCut: a growing file that somebody cuts (: > x.flv.tmp makes room on a full disk)
// is announced with what is left of it, whole, and never with a hole. Every frame is in
// a file or told of as lost, once; the recording goes on, and nothing is left to be
// complained of.
func TestCut(t *testing.T) {
	step := int64(len(flv.AppendTag(nil, key(0))))
	const first, second = 50, 60 // frames, and as many behind the cut
	for name, c := range map[string]struct {
		keep func(prologue, size int64) int64
		left int // frames
	}{
		"emptied":       {func(_, _ int64) int64 { return 0 }, 0},
		"no metadata":   {func(p, _ int64) int64 { return p / 2 }, 0},
		"no frame":      {func(p, _ int64) int64 { return p }, 0},
		"in the middle": {func(p, _ int64) int64 { return p + 20*step + 5 }, 20},
		"at a tag":      {func(p, _ int64) int64 { return p + 20*step }, 20},
		"the last byte": {func(_, s int64) int64 { return s - 1 }, first - 1},
	} {
		for _, last := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				name := fmt.Sprintf("%s, last %v", name, last)
				s := newSite(t, "rec/[stream].flv")
				s.run()
				f := s.start("x")
				for i := range uint32(first) {
					f.send(key(i * 40))
				}
				time.Sleep(time.Second) // of the bubble
				synctest.Wait()
				cut(t, s.cwd+"/rec/x.flv.tmp", func(size int64) int64 { return c.keep(size-first*step, size) })
				sent := first
				if !last {
					sent += second
					for i := range uint32(second) {
						f.send(key((first + i) * 40))
						time.Sleep(40 * time.Millisecond)
					}
				}
				f.unpublish()
				have, lost := 0, 0
				for _, ev := range s.events() {
					if ev.Size > 0 {
						have += len(s.read(ev).tags)
					}
					lost += lostIn(ev.Error)
				}
				ev := s.events()[0]
				if have+lost != sent || !strings.Contains(ev.Error, "somebody cut the file by ") {
					t.Errorf("%s: %d frames in files, %d lost, of %d: %+v\n%s", name, have, lost, sent, s.events(), s.log())
				}
				if c.left > 0 && (ev.File != "rec/x.flv" || len(s.read(ev).tags) != c.left) {
					t.Errorf("%s: %+v, want %d frames in it", name, ev, c.left)
				}
				if lines := strings.Count(s.log(), "recording failed"); lines != 1 || !strings.Contains(logged(s.log(), "recording failed", "hint"), "remove complete recordings") {
					t.Errorf("%s: %s", name, s.log())
				}
				for _, file := range s.files() {
					if strings.HasSuffix(file, tmp) {
						t.Errorf("%s: %s is left", name, file)
					}
				}
			})
		}
	}
}

// TestWrittenTo: what somebody else writes to a growing file ends it, too.
func TestWrittenTo(t *testing.T) {
	for _, last := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv")
			f := s.start("x")
			f.send(videoHeader, key(0), inter(40))
			time.Sleep(time.Second) // of the bubble
			synctest.Wait()
			o, err := os.OpenFile(s.cwd+"/x.flv.tmp", os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = o.WriteString("twelve bytes")
			}
			if err = errors.Join(err, o.Close()); err != nil {
				t.Fatal(err)
			}
			want := "somebody wrote 12 bytes to the file while it was recorded"
			if !last {
				f.send(key(80))
				want += ": 1 frames lost"
			}
			f.unpublish()
			if ev := s.only(); times([]parsed{s.read(ev)}) != "h0 k0 p40" || ev.Error != want {
				t.Errorf("%+v\n%s", ev, s.log())
			}
		})
	}
}

// TestCutAppend: one that another publish goes on in loses what was in it before, too,
// and what is left is announced, whole.
func TestCutAppend(t *testing.T) {
	for name, c := range map[string]struct {
		keep   func(before, size int64) int64
		more   bool // comes behind it
		frames string
		lost   int
		also   bool
	}{
		"behind":       {func(_, size int64) int64 { return size - 1 }, false, "h0 k0 p40 k80", 1, false},
		"before":       {func(before, _ int64) int64 { return before - 1 }, false, "h0 k0", 2, true},
		"before, more": {func(before, _ int64) int64 { return before - 1 }, true, "h0 k0", 3, true},
		"all":          {func(_, _ int64) int64 { return 0 }, false, "", 2, true},
		"all, more":    {func(_, _ int64) int64 { return 0 }, true, "", 3, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
			f := s.start("x")
			f.send(videoHeader, key(0), inter(40))
			f.unpublish()
			f = s.start("x")
			f.send(videoHeader, key(0), inter(40))
			time.Sleep(time.Second) // of the bubble
			synctest.Wait()
			cut(t, s.cwd+"/x.flv.tmp", func(size int64) int64 { return c.keep(s.events()[0].Size, size) })
			if c.more {
				f.send(inter(80))
				time.Sleep(time.Second)
			}
			f.unpublish()
			ev := s.events()[1]
			if lostIn(ev.Error) != c.lost || strings.Contains(ev.Error, "also what it had before the publish") != c.also {
				t.Errorf("%s: %+v", name, ev)
			}
			if c.frames == "" {
				s.wantFiles()
			} else if got := times([]parsed{s.read(ev)}); got != c.frames {
				t.Errorf("%s: %s, want %s", name, got, c.frames)
			}
		})
	}
}

// cut leaves so many bytes of a file.
func cut(t *testing.T, path string, keep func(size int64) int64) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, keep(info.Size()))
	}
	if err != nil {
		t.Fatal(err)
	}
}

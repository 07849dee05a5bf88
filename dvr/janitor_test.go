package dvr

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
)

// recorded writes a complete recording of a vhost, of some bytes.
func recorded(t *testing.T, path, vhost string, size int) {
	t.Helper()
	m := flv.NewFileMetadata(nil, 0, "", facts{Vhost: vhost, App: "live", Stream: "x"}.owner())
	b := flv.AppendTag(flv.AppendHeader(nil, true, true), flv.Tag{Type: flv.TypeScript, Data: m.Body})
	if len(b) > size {
		t.Fatalf("%d bytes are too few, %d is the least", size, len(b))
	}
	write(t, path, string(b)+strings.Repeat("x", size-len(b)))
}

// TestJanitor: the oldest complete recordings go first, each with its line, and
// nothing else does.
func TestJanitor(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*conf.DVR)
		want   string // of the days that stay
		reason string
	}{
		{"no limit", func(d *conf.DVR) {}, "1 2 3 4", ""},
		{"age", func(d *conf.DVR) { d.MaxAge = 60 * time.Hour }, "1 2", "dvr_max_age"},
		{"size", func(d *conf.DVR) { d.MaxSize = 2500 }, "1 2", "dvr_max_size"},
		{"size that holds", func(d *conf.DVR) { d.MaxSize = 4000 }, "1 2 3 4", ""},
		{"free, all there is", func(d *conf.DVR) { d.MinFree = wholeDisk() }, "", "dvr_min_free"},
		{"free that holds", func(d *conf.DVR) { d.MinFree = 1 }, "1 2 3 4", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "rec/[app]/[02]/[stream].flv", c.change)
				at := func(path string, days int) {
					if strings.HasSuffix(path, ".tmp") {
						write(t, s.cwd+"/"+path, "somebody's")
					} else {
						recorded(t, s.cwd+"/"+path, "v", 1000)
					}
					when := time.Now().Add(-time.Duration(days) * 24 * time.Hour)
					if err := os.Chtimes(s.cwd+"/"+path, when, when); err != nil {
						t.Fatal(err)
					}
				}
				others := []string{"rec/live/09/under-way.flv.tmp", "rec/live/09/x.mp4", "rec/live/nine/x.flv", "rec/x.flv"}
				for _, path := range others {
					at(path, 9)
				}
				for day := 1; day <= 4; day++ {
					at(fmt.Sprintf("rec/live/0%d/x.flv", day), day)
				}
				s.run()
				time.Sleep(time.Second) // of the bubble
				synctest.Wait()
				want := []string{}
				for _, day := range strings.Fields(c.want) {
					want = append(want, "rec/live/0"+day+"/x.flv")
				}
				s.wantFiles(append(want, others...)...)
				removed := 4 - len(want)
				if strings.Count(s.log(), "old recording removed") != removed || strings.Count(s.log(), "reason="+c.reason) < removed {
					t.Error(s.log())
				}
				if _, err := os.Stat(s.cwd + "/rec/live/04"); (err != nil) != (removed > 0) {
					t.Errorf("the folder of a day without recordings: %v", err)
				}
			})
		})
	}
}

// TestJanitorLooksAgain: what becomes old goes within a minute.
func TestJanitorLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[stream].flv", func(d *conf.DVR) { d.MaxAge = time.Hour })
		recorded(t, s.cwd+"/rec/x.flv", "v", 1000)
		now := time.Now()
		if err := os.Chtimes(s.cwd+"/rec/x.flv", now, now); err != nil {
			t.Fatal(err)
		}
		s.run()
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		s.wantFiles("rec/x.flv")
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		s.wantFiles()
	})
}

// TestJanitorGoesOn: behind a file that cannot be removed the others go all the
// same, and the one is told of each time.
func TestJanitorGoesOn(t *testing.T) {
	withoutPower(t, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv", func(d *conf.DVR) { d.MaxAge = time.Minute })
			names := []string{"rec/a/older.flv", "rec/a/stuck.flv", "rec/b/x.flv", "rec/b/y.flv"}
			for i, name := range names {
				recorded(t, s.cwd+"/"+name, "v", 1000)
				when := time.Now().Add(time.Duration(i-10) * time.Hour)
				if err := os.Chtimes(s.cwd+"/"+name, when, when); err != nil {
					t.Fatal(err)
				}
			}
			stuck := s.cwd + "/rec/a"
			if err := os.Chmod(stuck, 0o555); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(stuck, 0o755)
			s.run()
			time.Sleep(time.Second) // of the bubble
			synctest.Wait()
			s.wantFiles(names[:2]...)
			if strings.Count(s.log(), "old recording removed") != 2 || strings.Count(s.log(), "old recordings cannot be removed") != 1 || !strings.Contains(s.log(), "older.flv: permission denied") {
				t.Error(s.log())
			}
		})
	})
}

// TestJanitorLeavesOthers: what another program has written, or another vhost, goes
// for no limit of a vhost, nor counts for one, whatever its name.
func TestJanitorLeavesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv", func(d *conf.DVR) { d.MaxAge, d.MaxSize = time.Hour, 2500 })
		write(t, s.cwd+"/rec/vod/movie.flv", strings.Repeat("x", 5000))
		recorded(t, s.cwd+"/rec/b/live/x.flv", "b", 5000)
		recorded(t, s.cwd+"/rec/vv/x.flv", "vv", 5000)
		for i, name := range []string{"a", "b", "c"} {
			recorded(t, s.cwd+"/rec/live/"+name+".flv", "v", 1000)
			when := time.Now().Add(time.Duration(i-3) * time.Minute)
			if err := os.Chtimes(s.cwd+"/rec/live/"+name+".flv", when, when); err != nil {
				t.Fatal(err)
			}
		}
		old := time.Now().Add(-24 * time.Hour)
		for _, name := range []string{"vod/movie.flv", "b/live/x.flv", "vv/x.flv"} {
			if err := os.Chtimes(s.cwd+"/rec/"+name, old, old); err != nil {
				t.Fatal(err)
			}
		}
		s.run()
		time.Sleep(3 * time.Minute) // of the bubble
		synctest.Wait()
		s.wantFiles("rec/b/live/x.flv", "rec/live/b.flv", "rec/live/c.flv", "rec/vod/movie.flv", "rec/vv/x.flv")
		if log := s.log(); strings.Count(log, "left alone") != 1 || !strings.Contains(log, "files=3") || strings.Count(log, "old recording removed") != 1 {
			t.Error(log)
		}
	})
}

// TestJanitorLooksBeforeItRemoves: between the janitor's look at all files and the
// turn of one that is too old a publish may go on in it (append), or have done so: it
// stays. Not one byte of it goes while it is recorded to either.
func TestJanitorLooksBeforeItRemoves(t *testing.T) {
	for _, ends := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[stream].flv", func(d *conf.DVR) { d.Plan, d.MaxAge = planAppend, time.Hour })
			for i, stream := range []string{"older", "x"} {
				f := s.start(stream)
				f.send(videoHeader, key(0), inter(40))
				f.unpublish()
				when := time.Now().Add(time.Duration(i-9) * time.Hour)
				if err := os.Chtimes(s.cwd+"/rec/"+stream+".flv", when, when); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute) // of the bubble
			s.unmark(time.Now())
			synctest.Wait()
			p := newPattern("v", "rec/[stream].flv", s.cwd+"/rec")
			var f *feed
			p.alive = func() {
				if _, err := os.Lstat(p.dir + "/older.flv"); err == nil || f != nil {
					return
				}
				f = s.start("x")
				f.send(videoHeader, key(0), inter(40))
				if ends {
					f.unpublish()
				} else {
					time.Sleep(flushAfter)
					synctest.Wait()
				}
			}
			if err := s.keepWithin(&p, s.Conf().Vhosts[2].DVR, 1<<40, time.Now()); err != nil || f == nil {
				t.Fatal(err)
			}
			if !ends {
				s.wantFiles("rec/x.flv.tmp")
				f.unpublish()
			}
			s.wantFiles("rec/x.flv")
			if got := times([]parsed{parse(t, s.cwd+"/rec/x.flv")}); got != "h0 k0 p40 k80 p120" || strings.Count(s.log(), "old recording removed") != 1 {
				t.Errorf("%s\n%s", got, s.log())
			}
		})
	}
}

// TestJanitorAndAppend: the two that take a complete file, the one to remove it and
// the other to go on in it, exclude each other.
func TestJanitorAndAppend(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	write := func() (f found) {
		recorded(t, dir+"/x.flv", "v", 1000)
		p := newPattern("v", "[stream].flv", dir)
		if err := p.walk(func(one found) error { f = one; return nil }); err != nil || f.name != "x.flv" {
			t.Fatalf("%+v, %v", f, err)
		}
		return f
	}
	yes := func(*os.File) bool { return true }

	// The janitor comes first: the other one finds nothing, and no error.
	f := write()
	_, o, err := reopen(dir, place{"", "x.flv"}, func(*os.File) bool {
		removed, err := removeOld(root, f)
		return removed && err == nil
	}, yes)
	if o != nil || err != nil {
		t.Errorf("a removed file is continued: %v, %v", o, err)
	}
	// Another file has got its name meanwhile.
	_, o, err = reopen(dir, place{"", "x.flv"}, func(*os.File) bool {
		removed, err := removeOld(root, write())
		write()
		return removed && err == nil
	}, yes)
	if o != nil || err != nil {
		t.Errorf("a removed file is continued: %v, %v", o, err)
	}
	// The one who goes on comes first.
	f = write()
	_, o, err = reopen(dir, place{"", "x.flv"}, yes, func(*os.File) bool {
		if removed, err := removeOld(root, f); removed || err != nil {
			t.Errorf("removed while somebody goes on in it: %v, %v", removed, err)
		}
		return true
	})
	if o == nil || err != nil {
		t.Fatal(err)
	}
	o.Close()
	if removed, err := removeOld(root, f); removed || err != nil {
		t.Errorf("removed %v, %v", removed, err)
	}
	if _, err := os.Lstat(dir + "/x.flv.tmp"); err != nil {
		t.Error(err)
	}
}

// TestJanitorFallsShort: room that others take is told of once, as long as that
// lasts and nothing is removed; and now and then while all that is removed is not enough.
func TestJanitorFallsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[stream].flv", func(d *conf.DVR) { d.MinFree = wholeDisk() })
		recorded(t, s.cwd+"/rec/x.flv", "v", 1000)
		s.run()
		time.Sleep(3 * time.Minute) // of the bubble
		synctest.Wait()
		s.wantFiles()
		if log := s.log(); strings.Count(log, "old recording removed") != 1 || strings.Count(log, "less room than dvr_min_free") != 1 {
			t.Error(log)
		}
		for range 100 {
			recorded(t, s.cwd+"/rec/x.flv", "v", 1000)
			time.Sleep(freeEvery)
			synctest.Wait()
		}
		if n := strings.Count(s.log(), "less room than dvr_min_free"); n != 2 { // in a bit more than a quarter of an hour
			t.Errorf("%d times", n)
		}
	})
}

// TestRecordingIsOfItsVhost: what is recorded counts for its vhost.
func TestRecordingIsOfItsVhost(t *testing.T) {
	for _, plan := range []string{"session", planSegment, planAppend} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[stream].flv", func(d *conf.DVR) { d.Plan, d.Duration = plan, time.Hour })
			f := s.start("x")
			f.send(key(0), inter(40))
			f.unpublish()
			root, err := os.OpenRoot(s.cwd)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			for vhost, want := range map[string]bool{"v": true, "": false, "vv": false} {
				if got, err := recordedBy(root, s.only().File, vhost); got != want || err != nil {
					t.Errorf("%s: of %q %v, %v", plan, vhost, got, err)
				}
			}
		})
	}
}

// wholeDisk is more than can be free, and no more than there is.
func wholeDisk() int64 {
	_, all, _ := roomOf(os.TempDir())
	return all
}

package dvr

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
)

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
		{"free, all there is", func(d *conf.DVR) { d.MinFree = 1 << 60 }, "", "dvr_min_free"},
		{"free that holds", func(d *conf.DVR) { d.MinFree = 1 }, "1 2 3 4", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "rec/[app]/[02]/[stream].flv", c.change)
				at := func(path string, days int) {
					write(t, s.cwd+"/"+path, strings.Repeat("x", 1000))
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
		write(t, s.cwd+"/rec/x.flv", "x")
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
				write(t, s.cwd+"/"+name, "x")
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

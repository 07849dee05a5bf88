package dvr

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
)

// TestMarkFails: a file whose mark cannot be made keeps what is to be announced in
// its metadata until it has its name, and then no more: that may be a secret.
func TestMarkFails(t *testing.T) {
	withoutPower(t, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv")
			f := s.start("x")
			f.send(videoHeader, key(0), inter(40), key(80))
			time.Sleep(flushAfter) // of the bubble
			synctest.Wait()
			folder := s.cwd + "/rec/live"
			if err := os.Chmod(folder, 0o555); err != nil {
				t.Fatal(err)
			}
			f.unpublish()
			if err := os.Chmod(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if len(s.events()) != 0 || !strings.Contains(s.log(), "to be completed later") {
				t.Errorf("%+v\n%s", s.events(), s.log())
			}
			s.wantFiles("rec/live/x.flv.tmp")
			n := again(t, s.cwd) // the server was killed then
			n.run()
			synctest.Wait()
			if ev := n.only(); ev.ClientID != 1 || ev.Param != "?k=v" || ev.TcURL != "rtmp://h/live" || times([]parsed{n.read(ev)}) != "h0 k0 p40 k80" {
				t.Errorf("%+v", ev)
			}
		})
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		if err := os.MkdirAll(s.cwd+"/x.flv"+done+"/taken", 0o755); err != nil {
			t.Fatal(err)
		}
		f := s.start("x")
		f.send(videoHeader, key(0), inter(40), key(80))
		f.unpublish()
		ev := s.only()
		p := s.read(ev)
		if b, err := os.ReadFile(s.cwd + "/x.flv"); err != nil || bytes.Contains(b, []byte("k=v")) || p.properties["keyframes"] == nil || ev.Error != "" {
			t.Errorf("%+v: %v, %v", ev, p.properties["keyframes"], err)
		}
	})
}

// TestRepairWithoutMark: a leftover whose mark cannot be made has its note until it
// has its name, and not beyond.
func TestRepairWithoutMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		whole := left(t, s, "x", videoHeader, key(0), inter(40), key(80))
		n := again(t, t.TempDir())
		write(t, n.cwd+"/rec/live/x.flv.tmp", whole)
		if err := os.MkdirAll(n.cwd+"/rec/live/x.flv"+done+"/taken", 0o755); err != nil {
			t.Fatal(err)
		}
		n.run()
		synctest.Wait()
		ev := n.only()
		p := n.read(ev)
		if b, err := os.ReadFile(n.cwd + "/rec/live/x.flv"); err != nil || bytes.Contains(b, []byte("k=v")) || p.properties["keyframes"] == nil ||
			!ev.Recovered || ev.ClientID != 1 || ev.Error != "" || times([]parsed{p}) != "h0 k0 p40 k80" {
			t.Errorf("%+v: %v, %v", ev, p.properties["keyframes"], err)
		}
	})
}

// TestLostBeforeACrash: what a growing file is known to lack is told with it after a
// crash, whether it was to be complete at that moment or not.
func TestLostBeforeACrash(t *testing.T) {
	const lost = "before it: not a directory: 2 frames lost"
	for name, c := range map[string]struct {
		change func(*conf.DVR)
		leave  func(s *site, f *feed) error
	}{
		"growing":  {func(*conf.DVR) {}, func(s *site, f *feed) error { return nil }},
		"appended": {func(d *conf.DVR) { d.Plan = planAppend }, func(s *site, f *feed) error { return nil }},
		"complete but for its name": {func(*conf.DVR) {}, func(s *site, f *feed) error {
			// No mark can be made, nor the folder be opened for its fsync.
			dir := s.cwd + "/rec/live"
			err := errors.Join(os.Rename(dir, dir+".away"), os.Symlink(dir+".away", dir))
			f.unpublish()
			return errors.Join(err, os.Remove(dir), os.Rename(dir+".away", dir))
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv", c.change)
			write(t, s.cwd+"/rec", "a file where a directory should be")
			f := s.start("x")
			f.send(key(0), inter(40))
			time.Sleep(flushAfter) // of the bubble
			synctest.Wait()
			if err := os.Remove(s.cwd + "/rec"); err != nil {
				t.Fatal(err)
			}
			f.send(key(80), inter(120))
			time.Sleep(retryAfter + flushAfter)
			synctest.Wait()
			if err := c.leave(s, f); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(s.cwd + "/rec/live/x.flv.tmp")
			if err != nil {
				t.Fatal(name, err)
			}
			n := again(t, t.TempDir(), c.change)
			write(t, n.cwd+"/rec/live/x.flv.tmp", string(b))
			n.run()
			synctest.Wait()
			if ev := n.only(); ev.Error != lost || ev.ClientID != 1 {
				t.Errorf("%s: %+v", name, ev)
			}
			if !f.ended {
				f.unpublish()
			}
		})
	}
}

// TestNoMarkOfNothing: no mark stays of a file that was removed or moved away, nor
// does it become that of another.
func TestNoMarkOfNothing(t *testing.T) {
	for name, take := range map[string]func(dir string) error{
		"removed": func(dir string) error { return os.Remove(dir + "/sub/x.flv.tmp") },
		"moved":   func(dir string) error { return os.Rename(dir+"/sub/x.flv.tmp", dir+"/y.flv.tmp") },
		"replaced": func(dir string) error {
			return errors.Join(os.Remove(dir+"/sub/x.flv.tmp"), os.WriteFile(dir+"/sub/x.flv.tmp", nil, 0o644))
		},
		"folder": func(dir string) error { return os.Rename(dir+"/sub", dir+"/away") },
	} {
		for _, when := range []time.Duration{0, testSync} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "root/sub/[stream].flv")
				f := s.start("x")
				f.send(videoHeader, key(0))
				time.Sleep(flushAfter) // of the bubble
				synctest.Wait()
				if err := take(s.cwd + "/root"); err != nil {
					t.Fatal(err)
				}
				f.send(inter(40))
				time.Sleep(when)
				f.unpublish()
				for _, pattern := range []string{"/root/*", "/root/*/*"} {
					if left, err := filepath.Glob(s.cwd + pattern + done); err != nil || len(left) > 0 {
						t.Errorf("%s, %v: left is %q, %v", name, when, left, err)
					}
				}
				if ev := s.only(); ev.Size != 0 || lostIn(ev.Error) != 2 || len(s.owned) > 0 {
					t.Errorf("%s, %v: %+v, %v", name, when, ev, s.owned)
				}
			})
		}
	}
}

package dvr

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestMountedLater: what is on a disk that is mounted after the start is found
// then, whether its directory was not there or an empty one. Where was recorded
// to before, that is said.
func TestMountedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		dir := t.TempDir()
		write(t, dir+"/state/recordings", fmt.Sprintf(`{"vhost":"v","dvr_path":"former/disk/[stream].flv","cwd":%q}`+"\n", dir))
		for i, at := range []string{"former", "rec", "here"} {
			write(t, fmt.Sprintf("%s/%s.away/disk/%d.flv.tmp", dir, at, i), leftover)
		}
		if err := os.MkdirAll(dir+"/here/disk", 0o755); err != nil {
			t.Fatal(err)
		}
		s := remembering(t, dir, "rec/disk/[stream].flv")
		other := *s.Conf().Vhosts[2]
		other.Name, other.DVR.Path = "w", "here/disk/[stream].flv"
		s.Conf().Vhosts = append(s.Conf().Vhosts, &other)
		s.run()
		time.Sleep(10 * lookEvery)
		synctest.Wait()
		if len(s.events()) != 0 || strings.Count(s.log(), "a directory of recordings is not there") != 1 || strings.Count(s.log(), "path="+dir+"/former/disk") != 1 {
			t.Errorf("%+v\n%s", s.events(), s.log())
		}
		if err := os.RemoveAll(dir + "/here"); err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{"former", "rec", "here"} {
			if err := os.Rename(dir+"/"+at+".away", dir+"/"+at); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * lookEvery)
		synctest.Wait()
		s.wantFiles("former/disk/0.flv", "here/disk/2.flv", "rec/disk/1.flv", "state/recordings")
		if len(s.events()) != 3 || strings.Count(s.log(), "leftovers looked at") != 3 {
			t.Errorf("%+v\n%s", s.events(), s.log())
		}
	})
}

// TestUnmarkLater: a mark that cannot be removed goes when it can, and nobody takes
// it meanwhile for one that a killed server has left.
func TestUnmarkLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		s.run()
		f := s.start("x")
		f.send(key(0), inter(40))
		f.unpublish()
		rec := s.cwd + "/rec"
		wantMarks(t, rec, 1)
		if err := errors.Join(os.Rename(rec, rec+".away"), os.WriteFile(rec, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*lookEvery - 1500*time.Millisecond) // both look next time
		if err := errors.Join(os.Remove(rec), os.Rename(rec+".away", rec)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		wantMarks(t, rec, 0)
		s.only()
	})
}

func wantMarks(t *testing.T, dir string, want int) {
	t.Helper()
	if marks, _ := filepath.Glob(dir + "/live/*" + done); len(marks) != want {
		t.Errorf("marks %q, want %d", marks, want)
	}
}

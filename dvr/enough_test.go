package dvr

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestDeadLink: a dvr_path through a symbolic link to nothing is named as what it is,
// by a look beforehand and by who records there.
func TestDeadLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/nowhere/at/all", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	_, _, err := create(dir+"/link", place{"", "x.flv"})
	for _, err := range []error{err, Check("link/[stream].flv", dir), Check("link/sub/[stream].flv", dir)} {
		if err == nil || !strings.Contains(err.Error(), "the symbolic link leads to /nowhere/at/all") {
			t.Error(err)
		}
	}
}

// TestNeverEnough: a dvr_min_free that the disk cannot meet removes nothing, and is
// told of, once.
func TestNeverEnough(t *testing.T) {
	s := newSite(t, "rec/[stream].flv")
	s.Conf().Vhosts[2].DVR.MinFree = 1 << 60
	recorded(t, s.cwd+"/rec/x.flv", "v", 1000)
	p := s.patterns()[0]
	for range 3 {
		s.cleanVhost(p, s.Conf().Vhosts[2].DVR, true, time.Now())
	}
	s.wantFiles("rec/x.flv")
	if n := strings.Count(s.log(), "more than the disk holds"); n != 1 {
		t.Errorf("%d lines\n%s", n, s.log())
	}
	if err := Enough("rec/sub/[stream].flv", s.cwd, 1<<60); err == nil || !strings.Contains(err.Error(), "altogether") {
		t.Error(err)
	}
	if err := Enough("rec/[stream].flv", s.cwd, 1); err != nil {
		t.Error(err)
	}
}

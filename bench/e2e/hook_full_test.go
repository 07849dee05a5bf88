package e2e

import (
	"fmt"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestPR04OwnDisk fills the journal's disk with nothing but the journal. When the
// endpoint is back all is delivered, the disk is free again, the alarm is over, and
// a killed server has nothing to tell once more.
func TestPR04OwnDisk(t *testing.T) {
	t.Parallel()
	const clients, each = 4, 3000
	down, free := reserve(t)
	defer free()
	s := startServer(t, defaultVhost(block("http_hooks", "enabled on;", "on_unpublish http://"+down+"/;")))
	s.stop(t, syscall.SIGTERM)
	disk := s.dir + "/objs/hooks"
	mount := func(make string) *srs {
		return s.again(t, "unshare", "-m", "sh", "-e", "-c", make+`mount -o loop "$0.img" "$0"; exec "$@"`, disk)
	}
	s = mount(`truncate -s 4M "$0.img"; mkfs.ext4 -q -F -O ^has_journal "$0.img"; `)
	used := func() (percent uint64) {
		var f syscall.Statfs_t
		if err := syscall.Statfs(fmt.Sprintf("/proc/%d/root%s", s.pid, disk), &f); err != nil {
			t.Fatal(err)
		}
		return 100 * (f.Blocks - f.Bavail) / f.Blocks
	}
	var crowd sync.WaitGroup
	for i := range clients {
		crowd.Go(func() { publishAndLeave(t, s, fmt.Sprint("s", i), each) })
	}
	crowd.Wait()
	s.waitLog(t, "journal of http hooks cannot be written.*no space left on device")
	full := used()
	free()
	b := openBooks(t, down)
	eventually(t, longest, "all notices delivered", func() bool { return b.heard() == clients*each })
	s.waitLog(t, "journal of http hooks is written again")
	if now := used(); now > full*3/4 {
		t.Errorf("%d %% of the disk is used, it was %d %%", now, full)
	}
	if n := len(s.matching(0, "cannot be written")); n != 1 {
		t.Errorf("%d alarms", n)
	}
	log, err := exec.Command(srsBinary, "hook", "log", "--dir", fmt.Sprintf("/proc/%d/root%s", s.pid, disk)).CombinedOutput()
	if err != nil || !regexp.MustCompile(down+` +0 `).Match(log) {
		t.Errorf("%v\n%s", err, log)
	}
	t.Logf("%d %% of the disk, then %d %%", full, used())
	publishAndLeave(t, s, "last", 1)
	eventually(t, longest, "the last notice", func() bool { return b.heard() == clients*each+1 })
	<-time.After(200 * time.Millisecond) // a commit takes 20 ms
	s.sigkill()
	s = mount("")
	if lines := s.matching(0, "are taken up"); len(lines) > 0 {
		t.Errorf("after the kill: %q", lines)
	}
}

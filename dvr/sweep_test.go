package dvr

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/hook"
)

// TestDV07 has system calls fail, one kind at a time: the n-th and those of that
// kind that follow for a while. Whatever fails, the recording goes on when the
// disk does, every file there is is whole, and no frame is missing that nobody
// was told of. The calls fail in a process of its own under strace.
func TestDV07(t *testing.T) { sweepCalls(t, planSegment, 10) }

// TestDV07Append is that of publishes that continue the file of the one before.
func TestDV07Append(t *testing.T) { sweepCalls(t, planAppend, 4) }

// sweepCalls sweeps calls of each kind, the first n or as many as the environment says.
func sweepCalls(t *testing.T, plan string, n int) {
	if os.Getenv("DVR_TEST_SWEEP") != "" {
		sweep(t, plan, 60, func(*site, []hook.Event) {})
		return
	}
	errnos := 1                                     // the short form takes them in turn
	if text := os.Getenv("DVR_SWEEP"); text != "" { // make stress
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		errnos = len(sweepErrnos)
	}
	for i, call := range []string{"openat", "write", "pwrite64", "fdatasync", "fsync", "renameat2", "mkdirat"} {
		for first := 1; first <= n; first++ {
			for j := range errnos {
				errno := sweepErrnos[(i+first+j)%len(sweepErrnos)]
				t.Run(fmt.Sprintf("%s %s %d", call, errno, first), func(t *testing.T) {
					t.Parallel()
					struck(t, call, errno, fmt.Sprintf("%d..%d", first, first+2))
				})
			}
		}
	}
}

var sweepErrnos = []string{"EIO", "EROFS", "EDQUOT", "EACCES"}

// struck runs a test in a process of its own under strace, which has a system call
// fail. There it is to call sweep.
func struck(t *testing.T, call, errno, when string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(dir+"/site/rec", 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"-f", "-qq", "-o", dir + "/strace.log", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%s", call, errno, when)}
	switch {
	case strings.HasSuffix(call, "at"): // in these directories only: the test itself opens files, too
		args = append(args, "-P", dir+"/site", "-P", dir+"/site/rec", "-P", dir+"/site/rec/live")
	case call == "write": // to recordings only: the runtime wakes itself with writes, and dies where these fail
		args = append(args, "-P", dir+"/site/rec/live/x.flv.tmp")
		for i := range 200 {
			args = append(args, "-P", fmt.Sprintf("%s/site/rec/live/x-%d.flv.tmp", dir, i+1))
		}
	}
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command("strace", append(args, os.Args[0], "-test.run=^"+name+"$")...)
	cmd.Env = append(os.Environ(), "DVR_TEST_SWEEP="+dir)
	out, err := cmd.CombinedOutput()
	if _, failed := os.Lstat(dir + "/passed"); failed != nil {
		t.Errorf("%s: %v\n%s", errno, err, out)
	}
}

// TestDV06: a disk that is full from some write on, and stays so, costs what
// would have been written and no more; one line says so, however often it is tried.
func TestDV06(t *testing.T) {
	if os.Getenv("DVR_TEST_SWEEP") == "" {
		struck(t, "write", "ENOSPC", "3+") // of the writes to recordings, as each thread counts them
		return
	}
	sweep(t, planSegment, 200, func(s *site, events []hook.Event) {
		// Each thread has its own count, so some writes succeed for a while.
		failed, again := strings.Count(s.log(), `msg="recording failed"`), strings.Count(s.log(), `msg="recording again"`)
		if last := events[len(events)-1]; failed == 0 || failed > again+1 || !strings.Contains(last.Error, "no space left on device") {
			t.Errorf("%d lines, %d times again\n%+v\n%s", failed, again, last, s.log())
		}
	})
}

// sweep records while calls fail, and looks what became of all frames. Its verdict
// is a link: writing may fail.
func sweep(t *testing.T, plan string, seconds int, more func(s *site, events []hook.Event)) {
	dir := os.Getenv("DVR_TEST_SWEEP")
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv", segments(2), func(d *conf.DVR) { d.Plan = plan })
		s.cwd, s.goesOn = dir+"/site", plan == planAppend
		s.Recorder.Cwd = s.cwd
		s.run()
		synctest.Wait() // who repairs leaves an empty file alone for five minutes that is about to be locked
		frames := seconds * 25 * 2
		publish := func() *feed {
			f := s.start("x")
			f.send(videoHeader, audioHeader)
			return f
		}
		f := publish()
		for i := range uint32(seconds * 25) {
			if plan == planAppend && i > 0 && i%100 == 0 {
				f.unpublish()
				f = publish()
			}
			tag := inter(i * 40)
			if i%100 == 0 {
				tag = key(i * 40)
			}
			f.send(tag, audio(i*40+20))
			time.Sleep(40 * time.Millisecond) // of the bubble
		}
		f.unpublish()
		time.Sleep(restFor + 12*retryAfter) // an empty file that was looked at before it was locked goes then
		synctest.Wait()
		have, lost := 0, 0
		files := map[string]hook.Event{} // by name, as they were told of last
		for _, ev := range s.events() {
			if ev.Size > 0 {
				if before := files[ev.File]; ev.Size < before.Size {
					t.Errorf("%s was told of with %d bytes, and then with %d\n%s", ev.File, before.Size, ev.Size, s.log())
				}
				files[ev.File] = ev
			}
			lost += lostIn(ev.Error)
		}
		for _, ev := range files {
			have += s.read(ev).frames()
		}
		for _, name := range filesInSpite(t, s.cwd) {
			if !strings.HasSuffix(name, ".flv") { // nor a mark, of a file that is announced or gone
				t.Errorf("left: %s\n%s", name, s.log())
			}
		}
		// strace counts the calls of each thread, so a failing disk may seem to last.
		if have+lost != frames {
			t.Errorf("%d frames recorded, %d lost of %d\n%s", have, lost, frames, s.log())
		}
		more(s, s.events())
	})
	if !t.Failed() {
		os.Symlink("yes", dir+"/passed") // a call that is left alone
	}
}

// TestDV08: a fdatasync that fails ends its file, which is announced as suspect,
// and another begins; nothing is synced again and called good.
func TestDV08(t *testing.T) {
	if os.Getenv("DVR_TEST_SWEEP") == "" {
		struck(t, "fdatasync", "EIO", "1")
		return
	}
	sweep(t, planSegment, 60, func(_ *site, events []hook.Event) {
		// The first call of each thread fails, also of one that is new at the end.
		good := func(ev hook.Event) bool { return ev.Error == "" && ev.File != events[0].File }
		if first := events[0]; !strings.Contains(first.Error, "input/output error") || first.Size == 0 || !slices.ContainsFunc(events, good) {
			t.Errorf("%+v", events)
		}
	})
}

// filesInSpite lists the files below a directory although calls fail: they do so
// three times for each thread, and it may be the test's turn.
func filesInSpite(t *testing.T, dir string) (names []string) {
	t.Helper()
	const tries = 100
	var err error
	for range tries {
		names = nil
		err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				names = append(names, path)
			}
			return err
		})
		if err == nil {
			return names
		}
	}
	t.Fatal(err)
	return nil
}

// lostIn adds up what an error says of lost frames.
func lostIn(text string) (n int) {
	words := strings.Fields(text)
	for i, word := range words {
		if strings.HasPrefix(word, "frames") && i > 0 {
			lost, _ := strconv.Atoi(words[i-1])
			n += lost
		}
	}
	return n
}

package dvr

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"srs/conf"
)

// TestOpenFails: one line names path, uid and error; a file is tried every ten
// seconds, and begins with metadata, headers and a keyframe.
func TestOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "./root/[stream].flv")
		write(t, s.cwd+"/root", "a file where a directory should be")
		f := s.start("x")
		f.send(videoHeader, audioHeader)
		const frames = 2 * 40
		for i := range uint32(frames / 2) {
			f.send(key(i*1000), inter(i*1000+500))
			time.Sleep(time.Second) // of the bubble
			if i == 22 {
				synctest.Wait()
				if n := strings.Count(s.log(), "\n"); n != 1 {
					t.Errorf("%d lines\n%s", n, s.log())
				}
				for _, part := range []string{"path=./root/x.flv", "uid=", "not a directory", "stream=x", "client=1", `retry="in 10s"`} {
					if !strings.Contains(s.log(), part) {
						t.Errorf("%q is not in %s", part, s.log())
					}
				}
				if err := os.Remove(s.cwd + "/root"); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.unpublish()
		ev := s.only()
		got := s.read(ev).tags
		wantTags(t, got[:2], videoHeader, audioHeader)
		if lost := frames - (len(got) - 2); lost < 58 || lost > 64 || got[2].Data[0] != 0x17 || got[2].Timestamp != 0 ||
			ev.Error != fmt.Sprintf("before it: not a directory: %d frames lost", lost) {
			t.Errorf("%d frames lost, error %q", lost, ev.Error)
		}
	})
}

// TestDV23: a file, or a directory, that goes away costs its frames, is found at
// the next sync and told of, and the recording goes on in a new one.
func TestDV23(t *testing.T) {
	for name, take := range map[string]func(dir string) error{
		"file":      func(dir string) error { return os.Remove(dir + "/sub/x.flv.tmp") },
		"removed":   os.RemoveAll,
		"renamed":   func(dir string) error { return os.Rename(dir, dir+".away") },
		"unmounted": func(dir string) error { return os.Rename(dir+"/sub", dir+".away") }, // what was below it
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "root/sub/[stream].flv")
			f := s.start("x")
			f.send(videoHeader, key(0))
			time.Sleep(time.Second)
			synctest.Wait()
			if err := take(s.cwd + "/root"); err != nil {
				t.Fatal(err)
			}
			f.send(inter(40))
			time.Sleep(testSync)
			synctest.Wait()
			if n := strings.Count(s.log(), "level=ERROR"); n != 1 || logged(s.log(), "recording failed", "error") != "record root/sub/x.flv.tmp: "+errMoved.Error() || !strings.Contains(s.log(), "srs dvr repair FILE") || !strings.Contains(s.log(), `retry="with the next keyframe or sound, then every 10s"`) {
				t.Errorf("%s: log\n%s", name, s.log())
			}
			f.send(key(80))
			time.Sleep(flushAfter)
			synctest.Wait()
			if !strings.Contains(s.log(), `"recording again" client=1 vhost=v app=live stream=x ip=127.0.0.1 path=root/sub/x.flv.tmp errors=1 lost=2`) {
				t.Errorf("%s: log\n%s", name, s.log())
			}
			f.send(key(120), inter(160))
			f.unpublish()
			if ev := s.only(); !strings.HasPrefix(ev.Error, "before it: "+errMoved.Error()) || lostIn(ev.Error) != 2 {
				t.Errorf("%s: error %q", name, ev.Error)
			}
			wantTags(t, s.read(s.only()).tags, videoHeader, at(key(80), 0), at(key(120), 40), at(inter(160), 80))
			if !strings.HasSuffix(strings.TrimSpace(s.files()[0]), "sub/x.flv") {
				t.Errorf("%s: files %q", name, s.files())
			}
		})
	}
}

// TestRemovedAtTheEnd: no on_dvr for a file that is not there.
func TestRemovedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "root/[stream].flv")
		f := s.start("x")
		time.Sleep(time.Hour) // of the bubble
		begun := time.Now().Truncate(flushAfter).Format(time.DateTime)
		f.send(key(0))
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := os.RemoveAll(s.cwd + "/root"); err != nil {
			t.Fatal(err)
		}
		f.unpublish()
		s.wantLost("root/x.flv", errMoved.Error()+": 1 frames lost")
		if strings.Count(s.log(), "level=ERROR") != 2 || !strings.Contains(s.log(), `retry="with the next publish"`) ||
			!strings.Contains(s.log(), `"frames are in no recording" client=1 vhost=v app=live stream=x ip=127.0.0.1 path=root/x.flv frames=1 since="`+begun+`" error="`+errMoved.Error()+`"`) {
			t.Error(s.log())
		}
	})
}

// fileLimit is the size beyond which files cannot grow in limited.
const fileLimit = 300_001

// limited runs a test in a process of its own whose files cannot grow beyond a
// size: a write that is cut short in the middle of a tag, as by a full disk.
func limited(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getenv("DVR_TEST_LIMIT") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "DVR_TEST_LIMIT=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(unix.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: fileLimit, Max: fileLimit}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, test)
}

// fatFrames are in publishFat, several files that are limited.
const fatFrames = 1300

// publishFat is a publish of frames of a kilobyte, 25 a second.
func (s *site) publishFat() {
	f := s.start("x")
	f.send(videoHeader)
	for i := range fatFrames {
		tag := inter(uint32(i) * 40)
		if i%25 == 0 {
			tag = key(uint32(i) * 40)
		}
		tag.Data = append(tag.Data, make([]byte, 1000)...)
		f.send(tag)
		time.Sleep(40 * time.Millisecond) // of the bubble
	}
	f.unpublish()
}

// TestAppendNoSpace: a full file that is tried again and again is announced once,
// and the rest is said at the end.
func TestAppendNoSpace(t *testing.T) {
	limited(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
		other := s.start("x") // its file is another one
		other.send(audioHeader, audio(0))
		other.unpublish()
		s.publishFat()
		ev := s.events()[1:]
		if len(ev) != 2 || ev[0].File != "x-1.flv" || ev[1].File != ev[0].File || ev[0].Size == 0 || ev[1].Size != ev[0].Size || ev[1].Duration != ev[0].Duration {
			t.Fatalf("%+v\n%s", ev, s.log())
		}
		if got := len(s.read(ev[0]).tags) - 1; got+lostIn(ev[0].Error)+lostIn(ev[1].Error) != fatFrames {
			t.Errorf("%d frames, %q, %q", got, ev[0].Error, ev[1].Error)
		}
		if n := strings.Count(s.log(), "\n"); n != 7 { // begins, recorded, why in another; begins, the error, recorded, and what no file has
			t.Errorf("%d lines\n%s", n, s.log())
		}
		s.wantFiles("x-1.flv", "x.flv")
	})
}

// TestNoSpace: what is written is whole tags, and the next file begins at once.
func TestNoSpace(t *testing.T) {
	limited(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		s.publishFat()
		events := s.events()
		if len(events) < 2 {
			t.Fatalf("%d files\n%s", len(events), s.log())
		}
		for i, ev := range events {
			p := s.read(ev)
			wantTags(t, p.tags[:1], videoHeader)
			first := p.tags[1]
			if first.Data[0] != 0x17 || first.Timestamp != 0 {
				t.Errorf("file %d begins with % x at %d", i, first.Data[:6], first.Timestamp)
			}
			for j, tag := range p.tags[1:] {
				if tag.Timestamp != uint32(j)*40 {
					t.Fatalf("file %d: tag %d at %d", i, j, tag.Timestamp)
				}
			}
			if p.size > fileLimit || ev.Size != p.size {
				t.Errorf("file %d has %d bytes", i, p.size)
			}
			if full := i < len(events)-1; full != (ev.Error != "") && i == 0 || full && !strings.Contains(ev.Error, "file too large: ") {
				t.Errorf("file %d: error %q", i, ev.Error)
			}
			if i == 0 && len(p.tags)-1 < (fileLimit-40_000)/1022 {
				t.Errorf("the first file has %d frames only", len(p.tags)-1)
			}
		}
		if n := strings.Count(s.log(), "level=ERROR"); n != len(events)-1 {
			t.Errorf("%d errors for %d files\n%s", n, len(events), s.log())
		}
		if n := strings.Count(s.log(), "recording again"); n != len(events)-1 {
			t.Errorf("%d files again\n%s", n, s.log())
		}
		for _, name := range s.files() {
			if !strings.HasSuffix(name, ".flv") {
				t.Errorf("left: %s", name)
			}
		}
	})
}

// TestNoPermission: EACCES on open.
func TestNoPermission(t *testing.T) {
	withoutPower(t, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv")
			if err := os.Chmod(s.cwd, 0o555); err != nil {
				t.Fatal(err)
			}
			f := s.start("x")
			f.send(key(0))
			f.unpublish()
			if err := os.Chmod(s.cwd, 0o755); err != nil {
				t.Fatal(err)
			}
			s.wantLost("x.flv", "permission denied: 1 frames lost")
			if !strings.Contains(s.log(), "permission denied") {
				t.Errorf("log %q", s.log())
			}
		})
	})
}

// withoutPower runs a test as somebody who may not write everywhere. Root may,
// so for root it runs in a process of its own without that power.
func withoutPower(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if os.Getuid() != 0 || os.Getenv("DVR_TEST_POWERLESS") != "" {
		test(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "DVR_TEST_POWERLESS=1")
	done := make(chan error)
	go func() { // on a thread that is not used again
		runtime.LockOSThread()
		err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_DAC_OVERRIDE, 0, 0, 0)
		if err == nil {
			var out []byte
			if out, err = cmd.CombinedOutput(); err != nil {
				err = fmt.Errorf("%w\n%s", err, out)
			}
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestWriteFails: a descriptor that fails at everything. The file keeps the first
// error, and what was appended counts as lost.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	f := openTestFile(t, dir)
	now := time.Now()
	f.append(key(0), now)
	f.append(inter(40), now)
	good, size := f.os, f.size
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.os, f.size = full, 0 // as large as it is
	if err := f.flush(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("flush: %v", err)
	}
	if f.lost != 2 || !errors.Is(f.err, unix.ENOSPC) || f.size != 0 || len(f.buf) != 0 {
		t.Errorf("lost %d, error %v, size %d", f.lost, f.err, f.size)
	}
	full.Close()
	f.os, f.size = good, size
	// Nothing of it is on the disk: there is no file to complete.
	if to, err := f.complete(facts{}, true); to.name != "" || err != nil {
		t.Errorf("complete: %v, %v", to, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "x.flv.tmp")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf(".tmp: %v", err)
	}
}

// TestSyncFails: EIO and the like are kept, whatever a second sync says.
func TestSyncFails(t *testing.T) {
	dir := t.TempDir()
	f := openTestFile(t, dir)
	f.append(key(0), time.Now())
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	good := f.os
	pipe, other, err := os.Pipe() // fdatasync of a pipe: EINVAL
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	f.os = other
	if err := f.settle(); err == nil {
		t.Error("sync of a pipe worked")
	}
	other.Close()
	f.os = good
	to, err := f.complete(facts{}, true)
	if to.name != "x.flv" || err != nil || f.err == nil {
		t.Errorf("complete: %v, %v; %v", to, err, f.err)
	}
}

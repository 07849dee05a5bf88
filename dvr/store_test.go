package dvr

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"srs/conf"
	"srs/hook"
)

// write makes a file of the test.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func wantText(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); string(got) != want || err != nil {
		t.Errorf("%s has %q, %v, want %q", path, got, err, want)
	}
}

func TestCreateTakesFreeNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a/x.flv", "an earlier recording")
	write(t, dir+"/a/x-1.flv.tmp", "left by a killed server")
	if err := errors.Join(
		os.Symlink("/etc/passwd", dir+"/a/x-2.flv"),
		os.Symlink("/etc/srs-test", dir+"/a/x-3.flv.tmp"),
		os.Mkdir(dir+"/a/x-4.flv.tmp", 0o755),
	); err != nil {
		t.Fatal(err)
	}
	c, f, err := create(dir, place{"", "a/x.flv"})
	if err != nil || c.name() != "a/x-5.flv" {
		t.Fatalf("%q, %v", c.name(), err)
	}
	defer f.Close()
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	// The name comes into use while the file is recorded.
	write(t, dir+"/a/x-5.flv", "foreign")
	to, err := c.publish(f, true)
	if err != nil || to.name != "a/x-6.flv" {
		t.Fatalf("%q, %v", to.name, err)
	}
	wantText(t, dir+"/a/x.flv", "an earlier recording")
	wantText(t, dir+"/a/x-1.flv.tmp", "left by a killed server")
	wantText(t, dir+"/a/x-5.flv", "foreign")
	wantText(t, dir+"/a/x-6.flv", "new")
	if _, err := os.Lstat(dir + "/a/x-5.flv.tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf(".tmp is still there: %v", err)
	}
}

// TestLinkNew is the way of file systems without RENAME_NOREPLACE.
func TestLinkNew(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/x.flv.tmp", "new")
	write(t, dir+"/x.flv", "old")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := linkNew(root, "x.flv.tmp", "x.flv"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over an existing file: %v", err)
	}
	if err := linkNew(root, "x.flv.tmp", "x-1.flv"); err != nil {
		t.Error(err)
	}
	wantText(t, dir+"/x.flv", "old")
	wantText(t, dir+"/x-1.flv", "new")
	if _, err := os.Lstat(dir + "/x.flv.tmp"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf(".tmp is still there: %v", err)
	}
}

// TestAppendRenameUnknown: on such a file system a publish can continue a file,
// too. That call fails in a process of its own under strace.
func TestAppendRenameUnknown(t *testing.T) {
	if os.Getenv("DVR_TEST_RENAME") != "" {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
			for range 2 {
				f := s.start("x")
				f.send(key(0), inter(40))
				f.unpublish()
			}
			s.wantFiles("x.flv")
		})
		return
	}
	cmd := exec.Command("strace", "-f", "-qq", "-o", t.TempDir()+"/strace.log", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL",
		os.Args[0], "-test.run=^TestAppendRenameUnknown$")
	cmd.Env = append(os.Environ(), "DVR_TEST_RENAME=yes")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDV03: links that an operator or an intruder has put in the root lead
// nowhere: to a folder the recording fails and says so, to a file it takes another
// name. The publish is untouched.
func TestDV03(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outside := t.TempDir()
		s := newSite(t, "root/[app]/[stream].flv")
		if err := errors.Join(os.Mkdir(s.cwd+"/root", 0o755), os.Symlink(outside, s.cwd+"/root/live")); err != nil {
			t.Fatal(err)
		}
		f := s.start("x")
		f.send(audio(0), audio(23))
		f.unpublish()
		entries, err := os.ReadDir(outside)
		if len(entries) != 0 || err != nil {
			t.Errorf("outside: %v, %v", entries, err)
		}
		s.wantLost("root/live/x.flv", "path escapes from parent: 2 frames lost")
		if !strings.Contains(s.log(), "recording failed") || !strings.Contains(s.log(), "root/live/x.flv") || !strings.Contains(s.log(), `hint="a symbolic link leads out`) {
			t.Errorf("log %q", s.log())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		outside := t.TempDir() + "/passwd"
		write(t, outside, "root:x:0:0")
		s := newSite(t, "root/[stream].flv")
		if err := errors.Join(os.Mkdir(s.cwd+"/root", 0o755), os.Symlink(outside, s.cwd+"/root/x.flv"), os.Symlink(outside, s.cwd+"/root/x-1.flv.tmp")); err != nil {
			t.Fatal(err)
		}
		f := s.start("x")
		f.send(audio(0), audio(23))
		f.unpublish()
		wantText(t, outside, "root:x:0:0")
		if ev := s.only(); ev.File != "root/x-2.flv" || len(s.read(ev).tags) != 2 {
			t.Errorf("%+v", ev)
		}
	})
}

// TestDV03Append: nor does append look beyond such a link for the file that it would go
// on in, or open what is no regular file, not even to say what was lost.
func TestDV03Append(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "root/[app]/[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
		publish := func() hook.Event {
			f := s.start("x")
			f.send(audio(0), audio(23))
			f.unpublish()
			ev := s.events()
			return ev[len(ev)-1]
		}
		publish()
		outside := t.TempDir() + "/live"
		if err := errors.Join(os.Rename(s.cwd+"/root/live", outside), os.Symlink(outside, s.cwd+"/root/live")); err != nil {
			t.Fatal(err)
		}
		opened := watchOpens(t, outside+"/x.flv")
		if ev := publish(); ev.File != "root/live/x.flv" || ev.Size != 0 || ev.Error != "path escapes from parent: 2 frames lost" || opened() {
			t.Errorf("%+v, or what is outside is opened", ev)
		}
		if err := errors.Join(os.Remove(s.cwd+"/root/live"), os.Mkdir(s.cwd+"/root/live", 0o755), mkfifo(s.cwd+"/root/live/x.flv")); err != nil {
			t.Fatal(err)
		}
		opened = watchOpens(t, s.cwd+"/root/live/x.flv")
		if _, _, size := standing(s.cwd+"/root", place{"root/", "live/x.flv"}, facts{}); size != 0 || opened() {
			t.Error("a pipe is opened")
		}
		if ev := publish(); ev.File != "root/live/x-1.flv" || opened() {
			t.Errorf("%+v, or a pipe is opened", ev)
		}
	})
}

// watchOpens says whether a file has been opened since.
func watchOpens(t *testing.T, path string) (opened func() bool) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func() bool {
		n, err := unix.Read(fd, make([]byte, 4096))
		return n > 0 || err != unix.EAGAIN
	}
}

// TestDV13: the recording of an earlier publish stays.
func TestDV13(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "./[stream].flv")
		var before []byte
		for range 3 {
			f := s.start("x")
			f.send(audio(0))
			f.unpublish()
			first, err := os.ReadFile(s.cwd + "/x.flv")
			if err != nil || before != nil && !bytes.Equal(first, before) {
				t.Errorf("the first recording has changed: %v", err)
			}
			before = first
		}
		for i, ev := range s.events() {
			if want := []string{"./x.flv", "./x-1.flv", "./x-2.flv"}[i]; ev.File != want {
				t.Errorf("file %q, want %q", ev.File, want)
			}
		}
		s.wantFiles("x-1.flv", "x-2.flv", "x.flv")
	})
}

// TestSwappedTmp: what lies at the name of a recording and is not its file is
// neither renamed nor removed.
func TestSwappedTmp(t *testing.T) {
	dir := t.TempDir()
	c, f, err := create(dir, place{"", "x.flv"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := c.present(f); err != nil {
		t.Error(err)
	}
	if err := os.Remove(dir + "/x.flv.tmp"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/x.flv.tmp", "foreign")
	if err := c.present(f); !errors.Is(err, errMoved) {
		t.Error(err)
	}
	if _, err := c.publish(f, true); !errors.Is(err, errMoved) {
		t.Error(err)
	}
	if err := c.remove(f); !errors.Is(err, errMoved) {
		t.Error(err)
	}
	wantText(t, dir+"/x.flv.tmp", "foreign")
}

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

package dvr

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"srs/conf"
	"srs/flv"
)

// usualMode is what rights a new file of others has.
func usualMode(t *testing.T) fs.FileMode {
	t.Helper()
	path := t.TempDir() + "/new"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, madeMode)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return modeOf(t, path)
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func wantMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	if got := modeOf(t, path); got != want {
		t.Errorf("%s has the rights %v, want %v", path, got, want)
	}
}

// wantNoSecret checks that a file that others may read does not say what the client
// has sent.
func wantNoSecret(t *testing.T, path string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), "?k=v") {
		t.Errorf("%s says who has published, %v", path, err)
	}
}

// TestRights: a recording that grows, which says who has published, is its owner's
// alone to read; one that is complete has the rights of any new file. One that is
// continued gets back those it had.
func TestRights(t *testing.T) {
	for _, plan := range []string{"session", planSegment, planAppend} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv", func(d *conf.DVR) { d.Plan = plan })
			path := s.cwd + "/rec/live/x.flv"
			record := func() {
				f := s.start("x")
				f.send(videoHeader, key(0), inter(40))
				time.Sleep(2 * flushAfter) // of the bubble
				synctest.Wait()
				name := path + tmp
				if _, err := os.Stat(name); err != nil {
					name = s.cwd + "/rec/live/x-1.flv.tmp"
				}
				if b, err := os.ReadFile(name); err != nil || !strings.Contains(string(b), "?k=v") {
					t.Fatalf("%s does not say who has published, %v", name, err)
				}
				wantMode(t, name, 0o600)
				f.unpublish()
			}
			record()
			wantMode(t, path, usualMode(t))
			wantNoSecret(t, path)
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			record()
			wantMode(t, path, 0o640)
			wantNoSecret(t, path)
			if plan != planAppend {
				wantMode(t, s.cwd+"/rec/live/x-1.flv", usualMode(t))
			}
		})
	}
}

// TestRightsAfterACrash: a leftover gets the rights that its recording would have got,
// and what another program has left keeps its own. Nor do those change that somebody
// has given a recording meanwhile.
func TestRightsAfterACrash(t *testing.T) {
	for name, c := range map[string]struct {
		before, after fs.FileMode // of the complete file that is continued, of the leftover; 0: as they are
		want          fs.FileMode
	}{
		"new":       {0, 0, usualMode(t)},
		"continued": {0o640, 0, 0o640},
		"given":     {0, 0o660, 0o660},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
			path := "/rec/live/x.flv"
			if c.before != 0 {
				f := s.start("x")
				f.send(key(0))
				f.unpublish()
				if err := os.Chmod(s.cwd+path, c.before); err != nil {
					t.Fatal(err)
				}
			}
			text := left(t, s, "x", key(0), inter(40))
			n := again(t, t.TempDir())
			write(t, n.cwd+path+tmp, text)
			if c.after == 0 {
				c.after = hidden
			}
			foreign := "/rec/live/y.flv"
			write(t, n.cwd+foreign+tmp, string(flv.AppendTag(flv.AppendHeader(nil, true, true), key(0))))
			if err := errors.Join(os.Chmod(n.cwd+path+tmp, c.after), os.Chmod(n.cwd+foreign+tmp, 0o600)); err != nil {
				t.Fatal(err)
			}
			rest(t, n.cwd+foreign+tmp)
			n.run()
			synctest.Wait()
			wantMode(t, n.cwd+path, c.want)
			wantNoSecret(t, n.cwd+path)
			wantMode(t, n.cwd+foreign, 0o600)
			if t.Failed() {
				t.Logf("%s\n%s", name, n.log())
			}
		})
	}
}

// TestRightsWithoutMark: a file that keeps its facts until it has its name, because no
// mark can be written, stays hidden until they are gone.
func TestRightsWithoutMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		f := s.start("x")
		f.send(key(0), inter(40))
		time.Sleep(flushAfter) // of the bubble
		synctest.Wait()
		if err := os.Mkdir(s.cwd+"/rec/live/x.flv.done", 0o755); err != nil {
			t.Fatal(err)
		}
		f.unpublish()
		wantMode(t, s.cwd+"/rec/live/x.flv", usualMode(t))
		wantNoSecret(t, s.cwd+"/rec/live/x.flv")
	})
}

// TestRightsOfAnotherUser: a file that is continued and cannot be hidden, for it is
// another user's, says nothing that may be a secret. To change rights fails in a
// process of its own under strace.
func TestRightsOfAnotherUser(t *testing.T) {
	if os.Getenv("DVR_TEST_CHMOD") == "" {
		cmd := exec.Command("strace", "-f", "-qq", "-o", t.TempDir()+"/strace.log", "-e", "trace=fchmod", "-e", "inject=fchmod:error=EPERM",
			os.Args[0], "-test.run=^TestRightsOfAnotherUser$")
		cmd.Env = append(os.Environ(), "DVR_TEST_CHMOD=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
		path := s.cwd + "/rec/x.flv"
		f := s.start("x")
		f.send(key(0))
		f.unpublish()
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		f = s.start("x")
		f.send(key(0))
		time.Sleep(2 * flushAfter) // of the bubble
		synctest.Wait()
		wantMode(t, path+tmp, 0o666)
		wantNoSecret(t, path+tmp)
		f.unpublish()
		wantMode(t, path, 0o666)
		if ev := s.events(); len(ev) != 2 || ev[1].Param != "?k=v" || ev[1].Error != "" {
			t.Errorf("%+v\n%s", ev, s.log())
		}
	})
}

// TestNewMode: the umask is read, not set; where it cannot be read it is the usual one.
// A folder's default ACL stands above it.
func TestNewMode(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/status", "Name:\tsrs\nUmask:\t0027\nState:\tR\n")
	if mask, err := readUmask(dir + "/status"); mask != 0o027 || err != nil {
		t.Errorf("%v, %v", mask, err)
	}
	write(t, dir+"/old", "Name:\tsrs\n")
	for _, name := range []string{"/old", "/none"} {
		if _, err := readUmask(dir + name); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	folder, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	if got := newMode(folder); got != usualMode(t) {
		t.Errorf("%v, want %v", got, usualMode(t))
	}
	acl := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][2]uint16{{1, 7}, {4, 6}, {32, 0}} { // user, group, others
		acl = binary.LittleEndian.AppendUint16(acl, e[0])
		acl = binary.LittleEndian.AppendUint16(acl, e[1])
		acl = binary.LittleEndian.AppendUint32(acl, 1<<32-1)
	}
	if err := unix.Setxattr(dir, "system.posix_acl_default", acl, 0); err != nil {
		t.Log("no ACLs here:", err)
		return
	}
	if got := newMode(folder); got != 0o660 {
		t.Errorf("with a default ACL %v", got)
	}
}

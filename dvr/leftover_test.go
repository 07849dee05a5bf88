package dvr

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// asNobody runs a test in a process of its own that may not do everything, where
// this one may. It says whether this is that one.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	dir, err := os.MkdirTemp("/tmp", "dvr")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	return false
}

// TestLeftoversThatCannotBeRead: what cannot be looked into, read or completed at
// the start is one line, and is repaired within a minute when it can be.
func TestLeftoversThatCannotBeRead(t *testing.T) {
	if !asNobody(t) {
		return
	}
	for name, c := range map[string]struct {
		path string
		mode os.FileMode
		line string
	}{
		"directory not readable": {"rec", 0, `msg="leftovers cannot be looked for" path=rec/ uid=`},
		"folder not readable":    {"rec/live", 0, `msg="leftovers cannot be looked for" path=rec/live uid=`},
		"folder not searchable":  {"rec/live", 0o444, `msg="leftovers cannot be looked for" path=rec/live uid=`},
		"folder not writable":    {"rec/live", 0o555, `msg="recording not repaired; it is left as it is" vhost=v app=live stream=x path=rec/live/x.flv.tmp uid=`},
		"file not readable":      {"rec/live/x.flv.tmp", 0o200, `msg="recording not repaired; it is left as it is" vhost=v app=live stream=x path=rec/live/x.flv.tmp uid=`},
	} {
		for _, place := range []string{"present", "former"} {
			synctest.Test(t, func(t *testing.T) {
				leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
				dir := t.TempDir()
				write(t, dir+"/rec/live/x.flv.tmp", leftover)
				line := fmt.Sprintf(`{"vhost":"v","dvr_path":"rec/[app]/[stream].flv","cwd":%q}`+"\n", dir)
				write(t, dir+"/state/recordings", line)
				template := "rec/[app]/[stream].flv"
				if place == "former" {
					template = "now/[app]/[stream].flv"
				}
				chmod(t, dir+"/"+c.path, c.mode)
				s := remembering(t, dir, template)
				s.run()
				time.Sleep(10 * lookEvery)
				synctest.Wait()
				if strings.Count(s.log(), "\n") != 1 || !strings.Contains(s.log(), "level=ERROR "+c.line) ||
					!strings.Contains(s.log(), "permission denied") || !strings.Contains(s.log(), "retry=1m0s") || len(s.events()) != 0 {
					t.Errorf("%s: %+v\n%s", name, s.events(), s.log())
				}
				wantText(t, dir+"/state/recordings", line)
				chmod(t, dir+"/"+c.path, 0o755)
				time.Sleep(lookEvery + careEvery)
				synctest.Wait()
				if ev := s.only(); ev.File != "rec/live/x.flv" || !ev.Recovered || strings.Count(s.log(), "leftovers looked at") != 1 {
					t.Errorf("%s: %+v\n%s", name, ev, s.log())
				}
			})
		}
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(path, 0o755) })
}

// TestMarkThatCannotBeRead: what is to be announced waits until it can be read.
func TestMarkThatCannotBeRead(t *testing.T) {
	if !asNobody(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir+"/rec/live/x.flv", "complete")
		mark := markOf(t, dir+"/rec/live/x.flv")
		write(t, mark, `{"client_id":7,"vhost":"v","stream":"x"}`)
		chmod(t, mark, 0)
		s := again(t, dir)
		s.run()
		time.Sleep(5 * lookEvery)
		synctest.Wait()
		if strings.Count(s.log(), "\n") != 1 || !strings.Contains(s.log(), "a finished recording is not announced yet") || len(s.events()) != 0 {
			t.Errorf("%+v\n%s", s.events(), s.log())
		}
		chmod(t, mark, 0o600)
		time.Sleep(lookEvery + careEvery)
		synctest.Wait()
		if ev := s.only(); ev.ClientID != 7 || ev.File != "rec/live/x.flv" {
			t.Errorf("%+v", ev)
		}
	})
}

// TestMountedBelow: a disk that is mounted below an empty directory is found, too.
func TestMountedBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		s := newSite(t, "rec/[app]/[stream].flv")
		if err := os.MkdirAll(s.cwd+"/rec/live", 0o755); err != nil {
			t.Fatal(err)
		}
		s.run()
		time.Sleep(5 * lookEvery)
		synctest.Wait()
		write(t, s.cwd+"/rec/live/x.flv.tmp", leftover)
		time.Sleep(lookEvery + careEvery)
		synctest.Wait()
		if ev := s.only(); ev.File != "rec/live/x.flv" {
			t.Errorf("%+v", ev)
		}
	})
}

// TestLeftoversChange: each other reason is a line, and what nobody can repair is
// not tried again.
func TestLeftoversChange(t *testing.T) {
	if !asNobody(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		dir := t.TempDir()
		write(t, dir+"/rec/live/x.flv.tmp", leftover)
		write(t, dir+"/rec/lost+found/x.flv.tmp", leftover)
		write(t, dir+"/rec/.snapshot/daily/live/x.flv.tmp", leftover)
		write(t, dir+"/rec/live/text.flv.tmp", "no recording at all")
		rest(t, dir+"/rec/live/text.flv.tmp")
		chmod(t, dir+"/rec/lost+found", 0) // of the file system
		chmod(t, dir+"/rec/.snapshot/daily/live", 0o555)
		chmod(t, dir+"/rec/live", 0)
		s := again(t, dir)
		s.run()
		for i, mode := range []os.FileMode{0, 0o555, 0, 0o755} {
			chmod(t, dir+"/rec/live", mode)
			time.Sleep(5 * lookEvery)
			synctest.Wait()
			want := []int{1, 3, 4, 7}[i] // the last ones: of the text again, the repair, how many
			if n := strings.Count(s.log(), "\n"); n != want {
				t.Errorf("%d lines, want %d\n%s", n, want, s.log())
			}
		}
		if n := strings.Count(s.log(), `retry="with the next start"`); n != 1 {
			t.Errorf("%d lines of what cannot be repaired\n%s", n, s.log())
		}
		s.only()
	})
}

// TestLeftoversInTurn: what streams have left is announced in the order in which it
// was left, by time and then by number.
func TestLeftoversInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		dir := t.TempDir()
		at := time.Now().Add(-time.Hour)
		names := []string{"zz", "zz-1", "x", "x-1", "x-2", "x-10", "a"}
		for i, name := range names {
			path := dir + "/rec/live/" + name + ".flv.tmp"
			write(t, path, leftover)
			if i < 3 || i > 5 {
				at = at.Add(time.Second)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		s := again(t, dir)
		s.run()
		synctest.Wait()
		var got []string
		for _, ev := range s.events() {
			got = append(got, strings.TrimSuffix(strings.TrimPrefix(ev.File, "rec/live/"), ".flv"))
		}
		if strings.Join(got, " ") != strings.Join(names, " ") {
			t.Errorf("%q, want %q", got, names)
		}
	})
}

// TestLeftoversInBatches: however many there are, each comes once, the oldest first.
func TestLeftoversInBatches(t *testing.T) {
	dir := t.TempDir()
	const n = 2*maxLeftovers + 5
	for i := range n {
		if err := os.WriteFile(fmt.Sprintf("%s/x-%d.flv.tmp", dir, n-i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now()
	for i := range n {
		if err := os.Chtimes(fmt.Sprintf("%s/x-%d.flv.tmp", dir, i+1), at, at); err != nil {
			t.Fatal(err)
		}
	}
	p := newPattern("v", "[stream].flv", dir)
	var last found
	count := 0
	for more := true; more; {
		var list []found
		var ours bool
		var err error
		list, more, ours, err = p.leftovers(last, nil, func(name string, err error) { t.Error(name, err) })
		if err != nil || !ours || len(list) == 0 || len(list) > maxLeftovers {
			t.Fatalf("%d, %v", len(list), err)
		}
		for _, last = range list {
			if count++; last.name != fmt.Sprintf("x-%d.flv", count) {
				t.Fatalf("%d: %s", count, last.name)
			}
		}
	}
	if count != n {
		t.Errorf("%d, want %d", count, n)
	}
}

// TestDiskBackBetweenLooks: what a recording has lost to a disk that went and came
// back before anybody looked is repaired.
func TestDiskBackBetweenLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		s.run()
		f := s.start("x")
		f.send(key(0), inter(40))
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if err := os.Rename(s.cwd+"/rec", s.cwd+"/away"); err != nil {
			t.Fatal(err)
		}
		f.send(inter(80))
		time.Sleep(2 * testSync)
		synctest.Wait()
		if err := os.Rename(s.cwd+"/away", s.cwd+"/rec"); err != nil || !strings.Contains(s.log(), "recording failed") {
			t.Error(err, s.log())
		}
		time.Sleep(lookEvery + careEvery)
		synctest.Wait()
		announced := len(s.events())
		f.unpublish()
		if announced != 1 {
			t.Fatalf("%+v\n%s", s.events(), s.log())
		}
		if ev := s.events()[0]; ev.File != "rec/live/x.flv" || !ev.Recovered || times([]parsed{s.read(ev)}) != "k0 p40 p80" {
			t.Errorf("%+v\n%s", ev, s.log())
		}
	})
}

// TestLeftoversWhereAReloadLeads: a dvr_path that comes with a reload is looked
// through within a minute, and is looked after from then on.
func TestLeftoversWhereAReloadLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		s := newSite(t, "rec/[stream].flv")
		s.run()
		time.Sleep(2 * lookEvery)
		write(t, s.cwd+"/new/y.flv.tmp", leftover)
		reloaded := *s.Conf()
		other := *reloaded.Vhosts[2]
		other.DVR.Path = "new/[stream].flv"
		reloaded.Vhosts = append(reloaded.Vhosts[:2:2], &other)
		s.conf.Store(&reloaded)
		time.Sleep(lookEvery + careEvery)
		synctest.Wait()
		if ev := s.only(); ev.File != "new/y.flv" {
			t.Errorf("%+v", ev)
		}
		write(t, s.cwd+"/disk/z.flv.tmp", leftover) // now one is mounted there
		if err := errors.Join(os.Rename(s.cwd+"/new", s.cwd+"/below"), os.Rename(s.cwd+"/disk", s.cwd+"/new")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery + careEvery)
		synctest.Wait()
		if ev := s.events(); len(ev) != 2 || ev[1].File != "new/z.flv" {
			t.Errorf("%+v", ev)
		}
	})
}

// TestNoLeftovers: where there are none nothing is said, though something is being
// recorded.
func TestNoLeftovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		s.run()
		f := s.start("x")
		f.send(key(0))
		time.Sleep(10 * lookEvery)
		f.unpublish()
		if strings.Contains(s.log(), "leftover") {
			t.Error(s.log())
		}
	})
}

// TestHiddenFolders: they are ours only where the template says so.
func TestHiddenFolders(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"/.rec/live/x.flv.tmp", "/live/.rec/x.flv.tmp", "/live/x/y.flv.tmp"} {
		write(t, dir+name, "")
	}
	for template, want := range map[string]string{"[app]/[stream].flv": "live/x/y.flv", "./[app]/.rec/[stream].flv": "live/.rec/x.flv"} {
		p := newPattern("v", template, dir)
		list, _, _, err := p.leftovers(found{}, nil, func(name string, err error) { t.Error(name, err) })
		if err != nil || len(list) != 1 || list[0].name != want {
			t.Errorf("%s: %+v, %v, want %s", template, list, err, want)
		}
	}
}

// TestLookRests: a look that takes long, and is of no use, is not repeated each minute.
func TestLookRests(t *testing.T) {
	for _, c := range []struct {
		took  time.Duration
		files int
		want  time.Duration
	}{{0, 0, 0}, {500 * time.Millisecond, 0, 30 * time.Second}, {10 * time.Second, 0, 10 * time.Minute}, {1 << 62, 0, maxLookRest}, {time.Hour, 1, 0}} {
		if got := restAfter(c.took, c.files); got != c.want {
			t.Errorf("%v, %d files: %v, want %v", c.took, c.files, got, c.want)
		}
	}
	if !asNobody(t) {
		return
	}
	synctest.Test(t, func(t *testing.T) {
		leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		s := newSite(t, "rec/[app]/[stream].flv")
		write(t, s.cwd+"/rec/live/x.flv.tmp", leftover)
		chmod(t, s.cwd+"/rec/live", 0o555)
		answers := s.hang(s.cwd + "/rec")
		s.run()
		time.Sleep(10 * time.Second)
		close(answers)
		synctest.Wait()
		chmod(t, s.cwd+"/rec/live", 0o755)
		time.Sleep(8 * time.Minute)
		synctest.Wait()
		if n := len(s.events()); n != 0 {
			t.Errorf("%d on_dvr\n%s", n, s.log())
		}
		s.doubt(s.cwd + "/rec")
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		s.only()
	})
}

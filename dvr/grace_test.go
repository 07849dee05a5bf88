package dvr

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/rtmp/live"
)

func graceOf(d time.Duration) func(*conf.DVR) { return func(s *conf.DVR) { s.ReconnectGrace = d } }

// publishAs begins a publish of stream x with a param.
func (s *site) publishAs(client uint64, param string) *feed {
	f := newFeed()
	s.record(live.Publisher{ClientID: client, IP: "127.0.0.1", Vhost: "v", App: "live", Stream: "x", Param: param}, func() source { return f })
	return f
}

// TestGraceNames: on_dvr of a file names the publish that has written the last frames of
// it, not one that has arrived. So does that of a file that a killed server has left.
func TestGraceNames(t *testing.T) {
	other := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 9}}
	long := "?token=" + strings.Repeat("b", 600) // more than there is room for in the note of a short segment
	for name, c := range map[string]struct {
		change func(*conf.DVR)
		param  string // of bob
		second []flv.Tag
		client uint64 // that is named in the first file
		told   string // its param after a crash
	}{
		"nothing":       {func(*conf.DVR) {}, "?bob", nil, 1, "?alice"},
		"headers":       {func(*conf.DVR) {}, "?bob", []flv.Tag{videoHeader}, 1, "?alice"},
		"other headers": {func(*conf.DVR) {}, "?bob", []flv.Tag{other, key(0), inter(40)}, 1, "?alice"},
		"frames":        {func(*conf.DVR) {}, "?bob", []flv.Tag{videoHeader, key(0), inter(40)}, 2, "?bob"},
		"append":        {func(d *conf.DVR) { d.Plan = planAppend }, "?bob", []flv.Tag{videoHeader, key(0), inter(40)}, 2, "?bob"},
		"no room":       {segments(1), long, []flv.Tag{videoHeader, key(0), inter(40)}, 2, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv", graceOf(10*time.Second), c.change)
			write(t, s.cwd+"/rec", "a file where a directory should be")
			alice := s.publishAs(1, "?alice")
			alice.send(videoHeader, key(0), inter(40))
			time.Sleep(flushAfter) // of the bubble
			synctest.Wait()
			if err := os.Remove(s.cwd + "/rec"); err != nil {
				t.Fatal(err)
			}
			alice.send(key(80), inter(120))
			time.Sleep(retryAfter + flushAfter)
			synctest.Wait()
			alice.unpublish()
			bob := s.publishAs(2, c.param)
			bob.send(c.second...)
			time.Sleep(2 * flushAfter)
			synctest.Wait()
			path := "/rec/live/x.flv"
			if b, err := os.ReadFile(s.cwd + path + tmp); err == nil { // else it is complete
				n := again(t, t.TempDir())
				write(t, n.cwd+path+tmp, string(b))
				n.run()
				synctest.Wait()
				if ev := n.only(); ev.ClientID != c.client || ev.Param != c.told || !strings.HasPrefix(ev.Error, "before it: not a directory: ") {
					t.Errorf("%s: after a crash %+v", name, ev)
				}
			}
			bob.unpublish()
			time.Sleep(10*time.Second + flushAfter)
			synctest.Wait()
			param := "?alice"
			if c.client == 2 {
				param = c.param
			}
			if ev := s.events()[0]; ev.ClientID != c.client || ev.Param != param {
				t.Errorf("%s: %+v", name, ev)
			}
			if n := strings.Count(s.log(), "recording goes on"); n != int(c.client)-1 || n > 0 && logged(s.log(), "recording goes on", "client") != "2" {
				t.Errorf("%s: %s", name, s.log())
			}
			if ends := logged(s.log(), "msg=recorded", "ends"); name == "other headers" && ends != name || name != "other headers" && ends != "" {
				t.Errorf("%s: ends for %q", name, ends)
			}
			if client := logged(s.log(), "msg=recorded", "client"); client != fmt.Sprint(c.client) {
				t.Errorf("%s: recorded by %s", name, client)
			}
		})
	}
}

// TestAppendRefused: the error of a file that cannot get its other name back says what
// was tried, and where. The call fails in a process of its own under strace.
func TestAppendRefused(t *testing.T) {
	appends := func(d *conf.DVR) { d.Plan = planAppend }
	publish := func(s *site) {
		f := s.start("x")
		f.send(key(0))
		f.unpublish()
	}
	dir, child := os.LookupEnv("DVR_TEST_RENAME")
	if !child {
		dir = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[stream].flv", appends)
		s.cwd, s.Recorder.Cwd = dir, dir
		publish(s)
		if got := logged(s.log(), "recording failed", "error"); child && got != "rename rec/x.flv rec/x.flv.tmp: permission denied" {
			t.Errorf("%q\n%s", got, s.log())
		}
	})
	if child {
		return
	}
	cmd := exec.Command("strace", "-f", "-qq", "-o", t.TempDir()+"/strace.log", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EACCES",
		os.Args[0], "-test.run=^TestAppendRefused$")
	cmd.Env = append(os.Environ(), "DVR_TEST_RENAME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLostInside: what is lost in front of a part that append adds to a file is told with
// the time in the file, also after a crash.
func TestLostInside(t *testing.T) {
	const lost = "at 0.080 s: not a directory: 2 frames lost"
	synctest.Test(t, func(t *testing.T) {
		appends := func(d *conf.DVR) { d.Plan = planAppend }
		s := newSite(t, "rec/[app]/[stream].flv", appends)
		f := s.start("x")
		f.send(videoHeader, key(0), inter(40))
		f.unpublish()
		if err := os.Rename(s.cwd+"/rec", s.cwd+"/away"); err != nil {
			t.Fatal(err)
		}
		write(t, s.cwd+"/rec", "a file where a directory should be")
		f = s.start("x")
		f.send(videoHeader, key(0), inter(40))
		time.Sleep(flushAfter) // of the bubble
		synctest.Wait()
		if err := errors.Join(os.Remove(s.cwd+"/rec"), os.Rename(s.cwd+"/away", s.cwd+"/rec")); err != nil {
			t.Fatal(err)
		}
		f.send(key(80), inter(120))
		time.Sleep(retryAfter + flushAfter)
		synctest.Wait()
		b, err := os.ReadFile(s.cwd + "/rec/live/x.flv.tmp")
		if err != nil {
			t.Fatal(err)
		}
		f.unpublish()
		if ev := s.events()[1]; ev.Error != lost || ev.File != "rec/live/x.flv" {
			t.Errorf("%+v", ev)
		}
		n := again(t, t.TempDir(), appends)
		write(t, n.cwd+"/rec/live/x.flv.tmp", string(b))
		n.run()
		synctest.Wait()
		if ev := n.only(); ev.Error != lost {
			t.Errorf("after a crash %+v", ev)
		}
	})
}

// TestAppendSaysWhy: the log says once why a publish begins another file.
func TestAppendSaysWhy(t *testing.T) {
	for want, change := range map[string]func(path string) error{
		"x.flv is damaged, srs dvr repair mends it": func(path string) error { return os.Truncate(path, 32<<10) },
		"x.flv is of another program, or damaged":   func(path string) error { return os.WriteFile(path, []byte("foreign"), 0o644) },
		"x.flv: other headers":                      func(string) error { return nil },
		"":                                          os.Remove,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
			f := s.start("x")
			f.send(videoHeader, key(0), inter(40), key(80))
			f.unpublish()
			if err := change(s.cwd + "/x.flv"); err != nil {
				t.Fatal(err)
			}
			f = s.start("x")
			f.send(flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 9}}, key(0), inter(40))
			f.unpublish()
			if got := logged(s.log(), "no recording is continued", "reason"); got != want || strings.Count(s.log(), "is continued") > 1 {
				t.Errorf("%q, want %q\n%s", got, want, s.log())
			}
		})
	}
}

// TestLostToAppend: on_dvr of frames that were to go on in a file names that file, of
// several of a name the right one, and says what it has. One of frames that were to
// begin a file does not.
func TestLostToAppend(t *testing.T) {
	other := flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 9}}
	withoutPower(t, func(t *testing.T) {
		for _, c := range []struct {
			header flv.Tag
			file   string
			stands bool
		}{{other, "x-1.flv", true}, {videoHeader, "x.flv", false}} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "[stream].flv", func(d *conf.DVR) { d.Plan = planAppend })
				s.publishEach([]flv.Tag{videoHeader, key(0)}, []flv.Tag{other, key(0), inter(40), inter(80)})
				if err := os.Chmod(s.cwd, 0o555); err != nil {
					t.Fatal(err)
				}
				s.publishEach([]flv.Tag{c.header, key(0), inter(40)})
				if err := os.Chmod(s.cwd, 0o755); err != nil {
					t.Fatal(err)
				}
				s.wantFiles("x-1.flv", "x.flv")
				ev := s.events()
				last := ev[len(ev)-1]
				if last.File != c.file || last.Error != "permission denied: 2 frames lost" || c.stands != (last.Size == ev[1].Size && last.Duration == ev[1].Duration) || !c.stands && last.Size > 0 {
					t.Errorf("%+v, of %+v", last, ev[:2])
				}
				for _, line := range []string{"recording failed", "frames are in no recording"} {
					if path := logged(s.log(), line, "path"); path != c.file {
						t.Errorf("%s: path %s\n%s", line, path, s.log())
					}
				}
			})
		}
	})
}

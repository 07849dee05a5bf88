package dvr

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/hook"
)

// left plays a publish and leaves its file as a killed server does.
func left(t *testing.T, s *site, stream string, tags ...flv.Tag) string {
	t.Helper()
	f := s.start(stream)
	f.send(tags...)
	time.Sleep(2 * flushAfter) // of the bubble
	synctest.Wait()
	b, err := os.ReadFile(s.cwd + "/rec/live/" + stream + ".flv.tmp")
	if err != nil {
		t.Fatal(err)
	}
	f.unpublish()
	return string(b)
}

// rest makes files that nobody has written for an hour.
func rest(t *testing.T, paths ...string) {
	t.Helper()
	before := time.Now().Add(-time.Hour)
	for _, path := range paths {
		if err := os.Chtimes(path, before, before); err != nil {
			t.Fatal(err)
		}
	}
}

// sites are those that again may have to kill.
var sites sync.Map

// markOf gives the path of a mark for a file that is there.
func markOf(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	its := claim{want: place{"", filepath.Base(path)}}.newMark(inode(info))
	return filepath.Join(filepath.Dir(path), its.name)
}

// again is a server that starts on the directory of one that was killed.
func again(t *testing.T, dir string, change ...func(*conf.DVR)) *site {
	s := newSite(t, "rec/[app]/[stream].flv", change...)
	if err := os.RemoveAll(s.cwd); err != nil {
		t.Fatal(err)
	}
	s.cwd, s.Recorder.Cwd = dir, dir
	kill(dir)
	return s
}

// kill ends the servers on a directory, as far as others are concerned.
func kill(dir string) {
	sites.Range(func(s, _ any) bool {
		if s := s.(*site); s.cwd == dir {
			s.killed()
		}
		return true
	})
}

// TestRepair: what a killed server has left is whole a moment after the next
// start, and announced as if it had been completed.
func TestRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		whole := left(t, s, "x", videoHeader, key(0), inter(40), inter(80))
		dir := t.TempDir()
		n := again(t, dir)
		write(t, dir+"/rec/live/x.flv.tmp", whole[:len(whole)-1])
		write(t, dir+"/rec/live/sub/y-1.flv.tmp", whole) // its name says less than what is in it
		write(t, dir+"/rec/live/header.flv.tmp", whole[:9])
		write(t, dir+"/rec/live/empty.flv.tmp", "")
		write(t, dir+"/rec/live/text.flv.tmp", "no recording at all")
		rest(t, dir+"/rec/live/header.flv.tmp", dir+"/rec/live/empty.flv.tmp", dir+"/rec/live/text.flv.tmp")
		write(t, dir+"/rec/top.flv.tmp", whole) // not where the template leads
		write(t, dir+"/rec/live/x.flv", "an earlier recording")
		if err := errors.Join(os.Symlink("/etc/passwd", dir+"/rec/live/link.flv.tmp"), mkfifo(dir+"/rec/live/pipe.flv.tmp")); err != nil {
			t.Fatal(err)
		}
		n.run()
		synctest.Wait()
		if len(n.events()) != 2 {
			t.Fatalf("%+v\n%s", n.events(), n.log())
		}
		for i, want := range []struct{ file, got string }{{"rec/live/x-1.flv", "h0 k0 p40"}, {"rec/live/sub/y-1.flv", "h0 k0 p40 p80"}} {
			ev := n.events()[i]
			if ev.File != want.file || times([]parsed{n.read(ev)}) != want.got || !ev.Recovered || ev.ClientID != 1 || ev.Stream != "x" ||
				ev.IP != "127.0.0.1" || ev.Vhost != "v" || ev.App != "live" || ev.Param != "?k=v" || ev.TcURL != "rtmp://h/live" || ev.Cwd != dir || ev.Error != "" {
				t.Errorf("%+v", ev)
			}
		}
		wantText(t, dir+"/rec/live/x.flv", "an earlier recording")
		n.wantFiles("rec/live/link.flv.tmp", "rec/live/pipe.flv.tmp", "rec/live/sub/y-1.flv", "rec/live/text.flv.tmp",
			"rec/live/x-1.flv", "rec/live/x.flv", "rec/top.flv.tmp")
		if !strings.Contains(n.log(), "rec/live/text.flv.tmp") {
			t.Error(n.log())
		}
		// The parameters, which may be secret, are in no complete file.
		for _, ev := range n.events() {
			if b, err := os.ReadFile(dir + "/" + ev.File); err != nil || bytes.Contains(b, []byte("k=v")) {
				t.Errorf("%s has the parameters: %v", ev.File, err)
			}
		}
	})
}

// TestRepairLeavesRecordingsAlone: a file that somebody writes is not repaired.
func TestRepairLeavesRecordingsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		f := s.start("x")
		f.send(key(0), inter(40))
		time.Sleep(time.Second)
		s.run()
		synctest.Wait()
		f.send(inter(80))
		f.unpublish()
		if got := times([]parsed{s.read(s.only())}); got != "k0 p40 p80" || s.only().Recovered {
			t.Errorf("%s, %+v", got, s.only())
		}
	})
}

// TestRepairForeign: leftovers of SRS have neither facts nor space; the name says
// what is needed.
func TestRepairForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := again(t, dir)
		b := flv.AppendTag(flv.AppendTag(flv.AppendHeader(nil, true, true), metadata()), key(0))
		write(t, dir+"/rec/a/b/%2Ex.flv.tmp", string(flv.AppendTag(b, inter(40))))
		rest(t, dir+"/rec/a/b/%2Ex.flv.tmp")
		s.run()
		synctest.Wait()
		ev := s.only()
		want := hook.Event{Action: hook.OnDVR, Vhost: "v", App: "a/b", Stream: ".x", Cwd: dir, File: "rec/a/b/%2Ex.flv",
			Duration: 80 * time.Millisecond, Size: ev.Size, Recovered: true, ID: ev.ID}
		if ev != want {
			t.Errorf("%+v, want %+v", ev, want)
		}
	})
}

// TestRepairLeavesOthersAlone: what may be another program's, which takes no lock,
// is touched only when nobody has written it for a while, without another start.
func TestRepairLeavesOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := again(t, dir)
		b := string(flv.AppendTag(flv.AppendTag(flv.AppendHeader(nil, true, true), metadata()), key(0)))
		names := []string{"empty.flv.tmp", "ended.flv.tmp", "growing.flv.tmp"}
		now := func(names ...string) {
			for _, name := range names {
				if err := os.Chtimes(dir+"/rec/live/"+name, time.Now(), time.Now()); err != nil { // of the bubble
					t.Fatal(err)
				}
			}
		}
		for i, text := range []string{"", b, b + b[flv.HeaderSize:len(b)-3]} {
			write(t, dir+"/rec/live/"+names[i], text)
		}
		now(names...)
		s.run()
		for range 2 {
			time.Sleep(restFor - time.Second)
			synctest.Wait()
			now("growing.flv.tmp")
			if len(s.events()) > 0 || strings.Count(s.log(), "left alone for now") != len(names) {
				t.Errorf("%+v\n%s", s.events(), s.log())
			}
			s.wantFiles("rec/live/empty.flv.tmp", "rec/live/ended.flv.tmp", "rec/live/growing.flv.tmp")
			wantText(t, dir+"/rec/live/growing.flv.tmp", b+b[flv.HeaderSize:len(b)-3])
			now(names[:2]...)
		}
		time.Sleep(2 * restFor)
		synctest.Wait()
		s.wantFiles("rec/live/ended.flv", "rec/live/growing.flv")
		if ev := s.events(); len(ev) != 2 || !ev[0].Recovered || strings.Count(s.log(), "left alone for now") != len(names) {
			t.Errorf("%+v\n%s", ev, s.log())
		}
	})
}

// TestMarks: killed between its name and its announcement, a file is announced
// by the next server; killed in front of its name, it is repaired.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := again(t, dir)
		whole := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		write(t, dir+"/rec/live/x.flv.tmp", whole)
		s.run()
		synctest.Wait()
		marks, err := filepath.Glob(dir + "/rec/live/x.flv.*" + done)
		if err != nil || len(marks) != 1 {
			t.Fatal(marks, err)
		}
		mark, err := os.ReadFile(marks[0])
		if err != nil {
			t.Fatal(err)
		}
		first := s.only().ID
		time.Sleep(3 * time.Second) // of the bubble
		synctest.Wait()
		if _, err := os.Stat(marks[0]); err == nil {
			t.Error("the mark stays")
		}
		for name, text := range map[string]string{"with its mark": string(mark), "with a mark that a power cut has emptied": ""} {
			write(t, marks[0], text)
			n := again(t, dir)
			n.run()
			synctest.Wait()
			ev := n.only()
			if ev.File != "rec/live/x.flv" || !ev.Recovered || ev.Stream != "x" || ev.App != "live" || ev.Duration != 80*time.Millisecond || ev.ID != first || ev.ID == "" || text != "" && ev.ClientID != 1 {
				t.Errorf("%s: %+v", name, ev)
			}
			n.Settle()
		}
		// Killed when the mark was made and nothing was in it yet.
		write(t, dir+"/rec/live/y.flv.tmp", whole)
		write(t, strings.Replace(markOf(t, dir+"/rec/live/y.flv.tmp"), ".tmp", "", 1), "")
		early := again(t, dir)
		early.run()
		synctest.Wait()
		if ev := early.only(); ev.File != "rec/live/y.flv" || ev.ClientID != 1 || ev.Stream != "x" {
			t.Errorf("%+v", ev)
		}
		early.Settle()
		if err := os.Remove(dir + "/rec/live/y.flv"); err != nil {
			t.Fatal(err)
		}
		// That the file is gone meanwhile is said.
		write(t, marks[0], string(mark))
		if err := os.Rename(dir+"/rec/live/x.flv", dir+"/taken.flv"); err != nil {
			t.Fatal(err)
		}
		n := again(t, dir)
		n.run()
		synctest.Wait()
		ev := n.only()
		if left, _ := filepath.Glob(dir + "/rec/live/*"); len(left) != 0 || ev.ID != first || !strings.Contains(ev.Error, "removed or moved") || strings.Count(n.log(), "surely announced") != 1 {
			t.Errorf("%+v, %q\n%s", ev, left, n.log())
		}
	})
}

// TestCompletedLater: a file that cannot get its name now gets it later.
func TestCompletedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		s.run()
		f := s.start("x")
		f.send(key(0), inter(40))
		time.Sleep(time.Second)
		synctest.Wait()
		// Nobody can open the directory for its fsync.
		dir := s.cwd + "/rec/live"
		if err := errors.Join(os.Rename(dir, dir+".away"), os.Symlink(dir+".away", dir)); err != nil {
			t.Fatal(err)
		}
		f.unpublish()
		if len(s.events()) != 0 || !strings.Contains(s.log(), "to be completed later") {
			t.Errorf("%+v\n%s", s.events(), s.log())
		}
		if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
			t.Fatal(err)
		}
		// What is recorded meanwhile is announced behind it; other streams do not wait.
		s.brief("x")
		s.brief("y")
		if ev := s.only(); ev.Stream != "y" {
			t.Errorf("%+v", ev)
		}
		time.Sleep(2 * retryAfter)
		synctest.Wait()
		ev := s.events()
		if len(ev) != 3 || ev[1].File != "rec/live/x.flv" || ev[1].Recovered || ev[1].ClientID != 1 || times([]parsed{s.read(ev[1])}) != "k0 p40" || ev[2].File != "rec/live/x-1.flv" {
			t.Errorf("%+v", ev)
		}
		if len(s.held) > 0 {
			t.Errorf("held %v", s.held)
		}
	})
}

// TestHeldNews: a file that never gets its name keeps the on_dvr of others for a
// while, and not when the server stops.
func TestHeldNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		s.run()
		m := mark{facts: facts{Vhost: "v", App: "live", Stream: "x"}}
		s.comesLate(&m)
		s.brief("x")
		time.Sleep(heldFor - 2*careEvery)
		synctest.Wait()
		if n := len(s.events()); n != 0 {
			t.Errorf("%d events", n)
		}
		time.Sleep(3 * careEvery)
		synctest.Wait()
		s.only()
		s.brief("x")
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(s.events()); n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

// TestCompletedWhenBack: a file that is to be completed is not forgotten while its
// folder is away. Is the folder there, and the file not, that is said once; and a
// file that somebody has completed meanwhile is announced.
func TestCompletedWhenBack(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(dir string) error
		file, log string
		want      string // that the event's error begins with
	}{
		"as it was": {func(string) error { return nil }, "rec/live/x.flv", "recording repaired", ""},
		"removed":   {func(dir string) error { return os.Remove(dir + "/x.flv.tmp") }, "rec/live/x.flv", "recording lost", errGone.Error() + ": 2 frames lost"},
		"completed": {func(dir string) error { // no mark says so
			return errors.Join(os.WriteFile(dir+"/x.flv", nil, 0o644), os.Rename(dir+"/x.flv.tmp", dir+"/x-1.flv"))
		}, "rec/live/x-1.flv", "recording was completed by hand", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv")
			s.run()
			f := s.start("x")
			f.send(key(0), inter(40))
			time.Sleep(time.Second)
			synctest.Wait()
			dir, away := s.cwd+"/rec/live", s.cwd+"/away/live"
			if err := errors.Join(os.Rename(s.cwd+"/rec", s.cwd+"/away"), os.MkdirAll(s.cwd+"/rec", 0o755), os.Symlink(away, dir)); err != nil {
				t.Fatal(err)
			}
			f.unpublish()
			if err := os.RemoveAll(s.cwd + "/rec"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2*lookEvery - 1500*time.Millisecond) // both look next time
			synctest.Wait()
			if ev := s.events(); len(ev) != 0 {
				t.Fatalf("%s: %+v", name, ev)
			}
			if err := errors.Join(c.meanwhile(away), os.Rename(s.cwd+"/away", s.cwd+"/rec")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * retryAfter)
			synctest.Wait()
			ev := s.only()
			if ev.File != c.file || !strings.HasPrefix(ev.Error, c.want) || (ev.Size == 0) != (c.want != "") || ev.Stream != "x" || ev.ClientID != 1 || strings.Count(s.log(), c.log) != 1 {
				t.Errorf("%s: %+v\n%s", name, ev, s.log())
			}
			if left, _ := filepath.Glob(dir + "/*" + done); len(left) > 0 {
				t.Errorf("%s: left %q", name, left)
			}
		})
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		template, name string
		want           string // app, stream; empty: no match
	}{
		{"./rec/[app]/[stream].flv", "live/x.flv", "live x"},
		{"./rec/[app]/[stream].flv", "a/b/x-1.flv", "a/b x-1"},
		{"./rec/[app]/[stream].flv", "x.flv", ""},
		{"./rec/[app]/[stream].flv", "live/x.mp4", ""},
		{"./rec", "livestream." + thirdMillis + ".flv", " livestream"},
		{"./rec", "livestream.flv", ""},
		{"./rec", "sub/livestream.1.flv", ""},
		{"/d/[vhost]/[app]/[stream]/[2006]/[01]/[02]/[15].[04].[05].[999].flv", "v/live/x/2015/01/03/05.07.09.004.flv", "live x"},
		{"/d/[vhost]/[app]/[stream]/[2006]/[01]/[02]/[15].[04].[05].[999].flv", "v/live/x/2015/1/03/05.07.09.004.flv", ""},
		{"[stream]-[stream].flv", "x-x.flv", " x"},
		{"a+b(/[stream].flv", "%2Ex.flv", " .x"},
		{"same.flv", "same-3.flv", " same-3"},
		{"./rec/[app]/[stream].flv", "live/s%2Eflv/x.flv", "live/s.flv x"},
		{"./rec/[app]/[stream].flv", "live/s.flv/x.flv", "live/s.flv x"}, // of an earlier version
		{"[app]lv/[stream].flv", "s%2Eflv/x.flv", "s.f x"},
		{"[app].flv/[stream].flv", "s%2Eflv/x.flv", "s x"},
		{"[app].flv/[stream].flv", "s.flv/x.flv", "s x"},
	} {
		p := newPattern("v", c.template, "/nowhere")
		got := ""
		if p.name.MatchString(c.name) {
			who := p.publisher(c.name)
			got = who.App + " " + who.Stream
		}
		if got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.template, c.name, got, c.want)
		}
	}
	// Every name that a template can give is found.
	for _, vhost := range []string{"v.flv", "v.tmp", "x.done"} {
		at := expand("[vhost]/x.[vhost]/[app]/[stream].flv", subject{vhost, "live", "x", third})
		p := newPattern(vhost, "[vhost]/x.[vhost]/[app]/[stream].flv", "/nowhere")
		if who := p.publisher(at.name); !p.name.MatchString(at.name) || who.Vhost != vhost || who.App != "live" || who.Stream != "x" {
			t.Errorf("%q is of %+v", at.name, who)
		}
	}
	for _, c := range hostile {
		for _, template := range []string{"[vhost]/[app]/[stream].flv", "[app].[stream].[timestamp].flv", "r/[stream]/[2006]-[999]"} {
			at := expand(template, subject{"v", "live", c.name, third})
			p := newPattern("v", template, "/nowhere")
			for n := range 2 {
				if name := at.numbered(n).name; !p.name.MatchString(name) {
					t.Errorf("%s: %q is not found", template, name)
				}
			}
		}
	}
	long := expand("[app]/[stream].[timestamp].flv", subject{"v", "live", strings.Repeat("x", 256), third})
	if p := newPattern("v", "[app]/[stream].[timestamp].flv", "/nowhere"); !p.name.MatchString(long.name) {
		t.Errorf("%q is not found", long.name)
	}
}

// TestNote: what is too long is left out, and what is not stays.
func TestNote(t *testing.T) {
	who := facts{ClientID: 1 << 52, IP: "::1", Vhost: "v", App: "a", Stream: "\"s\"", TcURL: "rtmp://h/a", Param: "?x"}
	if got, ok := noted(who.note()); !ok || got != who {
		t.Errorf("%+v", got)
	}
	who.Param = "?" + strings.Repeat("x", maxNote)
	got, ok := noted(who.note())
	if who.Param, who.TcURL = "", ""; !ok || got != who {
		t.Errorf("%+v", got)
	}
	for _, text := range []string{"", "   ", "x", "{}", fmt.Sprint(1)} {
		if got, ok := noted(text); ok {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// TestMarkThatNobodyHears: a mark from before on_dvr was taken out of the
// configuration goes, too.
func TestMarkThatNobodyHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir+"/rec/live/x.flv", "complete")
		write(t, markOf(t, dir+"/rec/live/x.flv"), "")
		n := again(t, dir)
		n.Conf().Vhosts[2].Hooks.OnDVR = nil
		n.run()
		time.Sleep(2 * time.Minute) // of the bubble
		synctest.Wait()
		n.wantFiles("rec/live/x.flv")
		if strings.Contains(n.log(), "announced again") {
			t.Error(n.log())
		}
	})
}

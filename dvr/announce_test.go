package dvr

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
)

// killed lets go of the marks, as the end of a process does.
func (s *site) killed() {
	s.Recorder.mu.Lock()
	defer s.Recorder.mu.Unlock()
	for i := range s.marks {
		s.marks[i].file.unlock()
	}
	for _, u := range s.unmended {
		if u.known != nil {
			u.known.file.unlock()
		}
	}
}

func appending(d *conf.DVR) { d.Plan = planAppend }

// brief publishes some frames and ends.
func (s *site) brief(stream string) {
	f := s.start(stream)
	f.send(videoHeader, key(0), inter(40))
	f.unpublish()
}

// TestAnnouncedOnce: each on_dvr about a file that goes on has a mark of its own,
// and that of one is not taken for another's.
func TestAnnouncedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := again(t, dir, appending)
		s.forgetful = true
		s.brief("x")
		s.forgetful = false
		s.brief("x")
		wantMarks(t, dir+"/rec", 2)
		if ev := s.events(); len(ev) != 2 || ev[0].File != ev[1].File || ev[0].ID == ev[1].ID {
			t.Fatalf("%+v", ev)
		}
		s.Settle() // of the second
		wantMarks(t, dir+"/rec", 1)
		n := again(t, dir, appending)
		n.run()
		synctest.Wait()
		if ev := n.only(); ev.ClientID != 1 || ev.ID != s.events()[0].ID || ev.Size != s.events()[1].Size || ev.Duration != s.events()[1].Duration {
			t.Errorf("%+v", ev)
		}
	})
}

// TestKeptBeforeForgotten: a mark stays as long as on_dvr is nowhere else, also when
// the server stops.
func TestKeptBeforeForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := again(t, dir)
		s.forgetful = true
		s.run()
		s.brief("x")
		time.Sleep(time.Hour) // of the bubble
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		s.Settle()
		wantMarks(t, dir+"/rec", 1)
		n := again(t, dir)
		n.run()
		time.Sleep(2 * careEvery)
		synctest.Wait()
		want := s.only()
		want.Recovered = true
		if ev := n.only(); ev != want {
			t.Errorf("%+v, want %+v", ev, want)
		}
		wantMarks(t, dir+"/rec", 0)
	})
}

// TestMarkOfPublishBefore: of a growing file its own note says who has published,
// not the mark of the publish that it continues.
func TestMarkOfPublishBefore(t *testing.T) {
	for _, grown := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			s := again(t, dir, appending)
			s.forgetful = true
			s.brief("x")
			path := dir + "/rec/live/x.flv"
			first, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			f := s.start("x")
			f.send(videoHeader, key(0), inter(40))
			time.Sleep(2 * flushAfter)
			synctest.Wait()
			growing, err := os.ReadFile(path + tmp)
			if err != nil {
				t.Fatal(err)
			}
			f.unpublish()
			if ev := s.events(); len(ev) != 2 {
				t.Fatalf("%d events: %+v\n%s", len(ev), ev, s.log())
			}
			// Back to the moment in which it grew, or was to.
			marks, _ := filepath.Glob(path + ".*" + done)
			for _, m := range marks {
				if b, _ := os.ReadFile(m); bytes.Contains(b, []byte(`"client_id":2`)) {
					os.Remove(m)
				}
			}
			if !grown {
				growing = first
			}
			if err := errors.Join(os.WriteFile(path, growing, 0o644), os.Rename(path, path+tmp)); err != nil {
				t.Fatal(err)
			}
			n := again(t, dir, appending)
			n.run()
			synctest.Wait()
			ev := n.events()
			if grown && (len(ev) != 2 || ev[0].ClientID != 2 || ev[1].ClientID != 1 || ev[0].ID == ev[1].ID) {
				t.Errorf("%+v", ev)
			} else if !grown && (len(ev) != 1 || ev[0].ClientID != 1 || ev[0].ID != s.events()[0].ID) {
				t.Errorf("%+v", ev)
			}
		})
	}
}

// TestMovedAway: a file that is away with its folder when it is to be complete says
// who has published when it is back.
func TestMovedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		f := s.start("x")
		f.send(videoHeader, key(0))
		time.Sleep(flushAfter) // of the bubble
		synctest.Wait()
		if err := os.Rename(s.cwd+"/rec", s.cwd+"/away"); err != nil {
			t.Fatal(err)
		}
		f.unpublish()
		if err := os.Rename(s.cwd+"/away", s.cwd+"/rec"); err != nil {
			t.Fatal(err)
		}
		n := again(t, s.cwd)
		n.run()
		synctest.Wait()
		if ev := n.only(); ev.ClientID != 1 || ev.Param != "?k=v" || ev.App != "live" || !ev.Recovered || times([]parsed{n.read(ev)}) != "h0 k0" {
			t.Errorf("%+v", ev)
		}
	})
}

// TestMarkThatSaysNothing: where a full disk has kept the mark empty the file has
// what is to be announced, until it is; without that it still knows its owner.
func TestMarkThatSaysNothing(t *testing.T) {
	for name, note := range map[string]string{"noted": facts{ClientID: 9, Vhost: "v", App: "a", Stream: "s", Lost: "2 lost"}.note(), "owned": ""} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			s := again(t, dir)
			s.brief("x")
			s.Settle()
			path := dir + "/rec/live/x.flv"
			o, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			rep, err := flv.Scan(o)
			if err := errors.Join(err, rep.Repair(o, note), o.Close(), os.Rename(path, dir+"/rec/live/other.flv")); err != nil {
				t.Fatal(err)
			}
			write(t, markOf(t, dir+"/rec/live/other.flv"), "")
			n := again(t, dir)
			n.run()
			synctest.Wait()
			ev := n.only()
			if ev.Duration != s.only().Duration || ev.Size != s.only().Size || ev.File != "rec/live/other.flv" || !ev.Recovered {
				t.Errorf("%s: %+v", name, ev)
			}
			if who := [3]string{ev.App, ev.Stream, ev.Error}; note != "" && who != [3]string{"a", "s", "2 lost"} || note == "" && who != [3]string{"live", "x", ""} {
				t.Errorf("%s: %+v", name, ev)
			}
			if b, err := os.ReadFile(dir + "/rec/live/other.flv"); err != nil || bytes.Contains(b, []byte("client_id")) {
				t.Errorf("%s: the note stays, %v", name, err)
			}
		})
	}
}

// TestTwoServers: what one server is about to announce in a directory of both the
// other leaves alone, until the one is gone.
func TestTwoServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := again(t, dir)
		s.forgetful = true
		s.brief("x")
		n := again(t, t.TempDir())
		n.cwd, n.Recorder.Cwd = dir, dir
		n.run()
		time.Sleep(time.Hour) // of the bubble
		synctest.Wait()
		if ev := n.events(); len(ev) != 0 {
			t.Fatalf("%+v", ev)
		}
		wantMarks(t, dir+"/rec", 1)
		s.killed()
		time.Sleep(2 * lookEvery)
		synctest.Wait()
		if ev := n.only(); ev.ID != s.only().ID {
			t.Errorf("%+v", ev)
		}
	})
}

// TestNested: a recording that two templates find is announced once.
func TestNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[app]/[stream].flv")
		more := *s.Conf().Vhosts[2]
		more.Name, more.DVR.Path = "w", "rec/live/[stream].flv"
		config := *s.Conf()
		config.Vhosts = append(config.Vhosts, &more)
		s.conf.Store(&config)
		s.forgetful = true
		s.run()
		time.Sleep(lookEvery - careEvery)
		s.brief("x")
		time.Sleep(10 * lookEvery)
		synctest.Wait()
		s.only()
		n := again(t, s.cwd)
		n.conf.Store(&config)
		n.run()
		time.Sleep(10 * lookEvery)
		synctest.Wait()
		if ev := n.only(); !strings.HasSuffix(ev.File, "live/x.flv") || ev.Vhost != "v" {
			t.Errorf("%+v", ev)
		}
	})
}

// TestByHand: what was completed by hand before the next start is announced by that.
func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		whole := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", videoHeader, key(0), inter(40))
		path := dir + "/rec/live/x.flv"
		write(t, path+tmp, whole)
		f, err := os.OpenFile(path+tmp, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rep, err := flv.Scan(f)
		if err != nil {
			t.Fatal(err)
		}
		name, release, err := MarkByHand(f, path+tmp, rep, 0)
		if name == "" || err != nil {
			t.Fatal(name, err)
		}
		release()
		if err := errors.Join(rep.Repair(f, ""), os.Rename(path+tmp, path)); err != nil {
			t.Fatal(err)
		}
		n := again(t, dir)
		n.run()
		time.Sleep(2 * careEvery)
		synctest.Wait()
		if ev := n.only(); ev.ClientID != 1 || ev.Param != "?k=v" || !ev.Recovered || times([]parsed{n.read(ev)}) != "h0 k0 p40" {
			t.Errorf("%+v", ev)
		}
		wantMarks(t, dir+"/rec", 0)
	})
}

// TestNewsInOrder: what is told of a stream is so in the order in which its files
// ended, whichever of those that are completed late is so first; other streams do not
// wait, nor anybody for a file of which there is nothing to tell.
func TestNewsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[stream].flv")
		about := func(stream string, n int) news {
			ev := facts{Vhost: "v", App: "live", Stream: stream}.event()
			ev.File, ev.Error = strconv.Itoa(n), "lost"
			return news{event: ev}
		}
		late := func() *mark {
			m := &mark{facts: facts{Vhost: "v", App: "live", Stream: "x"}}
			s.comesLate(m)
			return m
		}
		told := func(want string) {
			t.Helper()
			var files []string
			for _, ev := range s.events() {
				files = append(files, ev.File)
			}
			if got := strings.Join(files, " "); got != want {
				t.Errorf("told of %q, want %q", got, want)
			}
		}
		one := late()
		s.announce(about("x", 2))
		three := late()
		s.announce(about("x", 4))
		none := late()
		s.announce(about("x", 6))
		s.announce(about("y", 10))
		told("10")
		s.announceLate(three, about("x", 3))
		told("10")
		s.announceLate(one, about("x", 1))
		told("10 1 2 3 4")
		s.announceLate(nil, about("x", 6)) // found as a leftover, for it was to be continued
		s.announceLate(nil, about("x", 0)) // of a server before
		told("10 1 2 3 4 0")
		s.notLate(none)
		s.tellHeld(s.born, false)
		told("10 1 2 3 4 0 6 6")
		s.announceLate(none, about("x", 5)) // nobody has kept its place
		s.announce(about("x", 7))
		told("10 1 2 3 4 0 6 6 5 7")
	})
}

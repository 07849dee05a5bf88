package dvr

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// remembering makes a site on a directory, whose recorder remembers where it
// recorded to.
func remembering(t *testing.T, dir, template string) *site {
	s := newSite(t, template)
	if err := os.RemoveAll(s.cwd); err != nil {
		t.Fatal(err)
	}
	s.cwd, s.Recorder.Cwd, s.origins.file = dir, dir, dir+"/state/recordings"
	kill(dir)
	return s
}

// TestOrigins: what a killed server has left is found although dvr_path was
// changed meanwhile, once.
func TestOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := remembering(t, dir, "rec/[app]/[stream].flv")
		leftover := left(t, s, "x", key(0), inter(40)) // and the place is remembered
		write(t, dir+"/rec/live/y.flv.tmp", leftover)
		s.Settle() // it has been announced

		s = remembering(t, dir, "other/[stream].flv")
		s.run()
		synctest.Wait()
		if ev := s.only(); ev.File != "rec/live/y.flv" || !ev.Recovered || times([]parsed{s.read(ev)}) != "k0 p40" {
			t.Errorf("%+v", ev)
		}
		wantText(t, dir+"/state/recordings", "")
		f := s.start("z")
		f.send(key(0))
		time.Sleep(2 * flushAfter)
		f.unpublish()
		wantText(t, dir+"/state/recordings", fmt.Sprintf(`{"vhost":"v","dvr_path":"other/[stream].flv","cwd":%q}`+"\n", dir))
	})
}

// TestOriginsStay: a place that is not there at the moment, or where something
// could not be repaired, is looked at again by the next start. A server that
// begins in another directory finds it, too.
func TestOriginsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		lines := fmt.Sprintf(`{"vhost":"gone","dvr_path":"rec","cwd":%q}`+"\n"+`{"vhost":"v","dvr_path":"/nowhere/at/all/[stream].flv","cwd":"/"}`+"\n", dir+"/before")
		write(t, dir+"/state/recordings", lines+"no JSON\n"+lines)
		write(t, dir+"/before/rec/x.7.flv.tmp", "no recording at all")
		rest(t, dir+"/before/rec/x.7.flv.tmp")
		s := remembering(t, dir, "rec/[stream].flv")
		s.run()
		synctest.Wait()
		if !strings.Contains(s.log(), "recording not repaired; it is left as it is") || !strings.Contains(s.log(), dir+"/before/rec/x.7.flv.tmp") {
			t.Error(s.log())
		}
		f := s.start("z")
		f.send(key(0))
		time.Sleep(2 * flushAfter)
		f.unpublish()
		lines = strings.Replace(lines, `"cwd":"/"}`, `"cwd":"/","nothing_since":"2000-01-01T00:00:00Z"}`, 1)
		wantText(t, dir+"/state/recordings", lines+fmt.Sprintf(`{"vhost":"v","dvr_path":"rec/[stream].flv","cwd":%q}`+"\n", dir))
	})
}

// TestOriginsCannot: a place that cannot be remembered is recorded to, and said.
func TestOriginsCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := remembering(t, dir, "rec/[stream].flv")
		write(t, dir+"/state", "a file")
		f := s.start("x")
		f.send(key(0), inter(40))
		f.unpublish()
		if ev := s.only(); ev.File != "rec/x.flv" || !strings.Contains(s.log(), "found only while dvr_path stays as it is") {
			t.Errorf("%+v\n%s", ev, s.log())
		}
	})
}

// TestOriginsBounded: the newest are remembered, however many there are.
func TestOriginsBounded(t *testing.T) {
	o := origins{file: t.TempDir() + "/state/recordings"}
	for i := range maxOrigins + 10 {
		if one := (origin{"v", fmt.Sprint(i), "/"}); !o.enter(one) || o.enter(one) {
			t.Errorf("%d is not new once", i)
		}
	}
	if err := o.write(nil); err != nil {
		t.Fatal(err)
	}
	next := origins{file: o.file}
	if all, err := next.before(nil); err != nil || len(all) != maxOrigins || all[0].Path != "10" {
		t.Errorf("%d, %v: %+v", len(all), err, all[0])
	}
}

// TestOriginsOnce: what was recorded to before and is again counts once.
func TestOriginsOnce(t *testing.T) {
	o := origins{file: t.TempDir() + "/state/recordings"}
	for i := range maxOrigins {
		o.enter(origin{"v", fmt.Sprint(i), "/"})
	}
	if err := o.write(nil); err != nil {
		t.Fatal(err)
	}
	o = origins{file: o.file}
	before, err := o.before(nil)
	for _, one := range before[100:] {
		if o.enter(one.origin) {
			t.Fatal("one that is in the file is new")
		}
	}
	if err := errors.Join(err, o.write(nil)); err != nil {
		t.Fatal(err)
	}
	o = origins{file: o.file}
	if all, err := o.before(nil); err != nil || len(all) != maxOrigins || all[0].Path != "0" {
		t.Errorf("%d, %v", len(all), err)
	}
}

// TestOriginsHang: a file that nobody can read keeps nothing from being recorded,
// nor from being repaired, and nothing in it is lost.
func TestOriginsHang(t *testing.T) {
	const line = `{"vhost":"v","dvr_path":"/nowhere/at/all/[stream].flv","cwd":"/","nothing_since":"1999-12-24T00:00:00Z"}` + "\n"
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := remembering(t, dir, "rec/[app]/[stream].flv")
		leftover := left(t, s, "x", key(0), inter(40))
		write(t, dir+"/rec/live/y.flv.tmp", leftover)
		write(t, dir+"/state/recordings", line)

		s = remembering(t, dir, "rec/[app]/[stream].flv")
		answer := make(chan struct{})
		s.origins.read = func(file string) ([]byte, error) { <-answer; return readSmall(file) }
		s.run()
		f := s.start("z")
		f.send(key(0), inter(40))
		f.unpublish()
		if n := len(s.events()); n != 3 { // of x once more, as its mark is still there
			t.Errorf("%d events\n%s", n, s.log())
		}
		wantText(t, dir+"/state/recordings", line)
		close(answer)
		synctest.Wait()
		wantText(t, dir+"/state/recordings", line+fmt.Sprintf(`{"vhost":"v","dvr_path":"rec/[app]/[stream].flv","cwd":%q}`+"\n", dir))

		// Closing waits for nobody who waits for it.
		s = remembering(t, dir, "rec/[stream].flv")
		answer = make(chan struct{})
		s.origins.read = func(file string) ([]byte, error) { <-answer; return nil, nil }
		s.Start()
		f = s.start("z")
		f.send(key(0))
		f.unpublish()
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		close(answer)
	})
}

// TestOriginsPipe: what is no file is not waited for, and replaced.
func TestOriginsPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := remembering(t, dir, "rec/[stream].flv")
		write(t, dir+"/state/x", "")
		for _, name := range []string{"recordings", "recordings.new"} {
			if err := mkfifo(dir + "/state/" + name); err != nil {
				t.Fatal(err)
			}
		}
		s.run()
		f := s.start("z")
		f.send(key(0))
		f.unpublish()
		if ev := s.only(); ev.File != "rec/z.flv" || !strings.Contains(s.log(), "not a regular file") {
			t.Errorf("%+v\n%s", ev, s.log())
		}
		wantText(t, dir+"/state/recordings", fmt.Sprintf(`{"vhost":"v","dvr_path":"rec/[stream].flv","cwd":%q}`+"\n", dir))
	})
}

// TestOriginsAgain: the place of a disk that is not mounted at a start is
// remembered, although dvr_path leads there; what could not be noted is later.
func TestOriginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		line := fmt.Sprintf(`{"vhost":"v","dvr_path":"rec/[stream].flv","cwd":%q}`+"\n", dir)
		write(t, dir+"/state/recordings", line)
		s := remembering(t, dir, "rec/[stream].flv")
		s.run()
		synctest.Wait()
		wantText(t, dir+"/state/recordings", strings.Replace(line, "}", `,"nothing_since":"2000-01-01T00:00:00Z"}`, 1))
		f := s.start("x")
		f.send(key(0))
		time.Sleep(2 * flushAfter)
		wantText(t, dir+"/state/recordings", line) // it is in use
		f.unpublish()

		dir = t.TempDir()
		s = remembering(t, dir, "rec/[stream].flv")
		write(t, dir+"/state", "a file")
		s.run()
		f = s.start("x")
		f.send(key(0), inter(40))
		f.unpublish()
		if err := os.Remove(dir + "/state"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(retryAfter + careEvery) // of the bubble
		synctest.Wait()
		wantText(t, dir+"/state/recordings", strings.ReplaceAll(line, line[strings.Index(line, `"cwd"`):], fmt.Sprintf(`"cwd":%q}`+"\n", dir)))
	})
}

// TestOriginsEmpty: a directory where nothing of ours is may be that of a disk which
// is not mounted: it is remembered until something of ours was there, or for thirty
// days.
func TestOriginsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leftover := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		dir := t.TempDir()
		line := func(at, more string) string {
			return fmt.Sprintf(`{"vhost":"v","dvr_path":"%s/[stream].flv","cwd":%q%s}`+"\n", at, dir, more)
		}
		write(t, dir+"/disk/not.ours", "")
		write(t, dir+"/state/recordings", line("disk", "")+line("removed", ""))
		restart := func() *site {
			s := remembering(t, dir, "rec/[stream].flv")
			s.Start()
			synctest.Wait()
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s
		}
		stamp := `,"nothing_since":"2000-01-01T00:00:00Z"`
		for range 3 {
			if s := restart(); strings.Count(s.log(), "a directory of recordings is not there") != 1 || !strings.Contains(s.log(), "until=2000-01-31") {
				t.Error(s.log())
			}
			wantText(t, dir+"/state/recordings", line("disk", stamp)+line("removed", stamp))
			time.Sleep(9 * 24 * time.Hour)
		}
		write(t, dir+"/disk/x.flv.tmp", leftover)
		if ev := restart().only(); ev.File != "disk/x.flv" {
			t.Errorf("%+v", ev)
		}
		wantText(t, dir+"/state/recordings", line("removed", stamp))
		time.Sleep(4 * 24 * time.Hour)
		if s := restart(); strings.Count(s.log(), "a place of recordings is forgotten") != 1 {
			t.Error(s.log())
		}
		wantText(t, dir+"/state/recordings", "")
		if s := restart(); s.log() != "" {
			t.Error(s.log())
		}
	})
}

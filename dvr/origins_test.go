package dvr

import (
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
		if err := os.Remove(dir + "/rec/live/x.flv.done"); err != nil { // it has been announced
			t.Fatal(err)
		}

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
	if err := o.write(); err != nil {
		t.Fatal(err)
	}
	next := origins{file: o.file}
	if all, err := next.load(); err != nil || len(all) != maxOrigins || all[0].Path != "10" {
		t.Errorf("%d, %v: %+v", len(all), err, all[0])
	}
}

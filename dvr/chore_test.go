package dvr

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
)

// hang has the disk of a directory answer nobody, until the channel is closed.
func (s *site) hang(dir string) (answers chan struct{}) {
	answers = make(chan struct{})
	for range diskCalls {
		go s.disk(dir, func() { <-answers })
	}
	synctest.Wait()
	return answers
}

// underway counts the chores.
func (s *site) underway() int {
	s.Recorder.mu.Lock()
	defer s.Recorder.mu.Unlock()
	return len(s.chores)
}

// TestHungDiskBesideAnother: a disk that does not answer keeps its own leftovers,
// marks, unfinished and old files waiting, and those of no other directory. It is
// told of once, nothing piles up, and the server stops in its time.
func TestHungDiskBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		limits := func(d *conf.DVR) { d.MaxAge, d.MinFree = time.Hour, 1 }
		s := newSite(t, "hung/[stream].flv", limits)
		healthy := *s.Conf().Vhosts[2]
		healthy.Name, healthy.DVR.Path = "w", "well/[stream].flv"
		s.Conf().Vhosts = append(s.Conf().Vhosts, &healthy)
		for dir, vhost := range map[string]string{"hung": "v", "well": "w"} {
			write(t, s.cwd+"/"+dir+"/y.flv.tmp", whole)
			recorded(t, s.cwd+"/"+dir+"/old.flv", vhost, 1000)
			if err := os.Chtimes(s.cwd+"/"+dir+"/old.flv", time.Now(), time.Now()); err != nil { // of the bubble
				t.Fatal(err)
			}
		}
		hung, well := s.cwd+"/hung", s.cwd+"/well"
		answers := s.hang(hung)
		s.Start()
		synctest.Wait()
		if ev := s.only(); ev.File != "well/y.flv" || !ev.Recovered {
			t.Errorf("%+v", ev)
		}
		// Something to do of each kind, in both.
		at := func(name string) {
			write(t, well+name, whole)
			write(t, hung+name, whole)
		}
		at("/later.flv.tmp")
		for i, dir := range []string{hung, well} {
			v := s.Conf().Vhosts[2+i]
			s.mendLater(unmended{pattern: newPattern(v.Name, v.DVR.Path, dir), name: "later.flv", known: &mark{}})
		}
		s.announce(news{file: claim{dir: hung, want: place{"hung/", "y.flv"}}.newMark(1), event: s.events()[0]})
		time.Sleep(2 * retryAfter) // of the bubble
		synctest.Wait()
		if got := fmt.Sprint(s.files()); got != "[hung/later.flv.tmp hung/old.flv hung/y.flv.tmp well/later.flv well/old.flv well/y.flv]" {
			t.Errorf("files %s\n%s", got, s.log())
		}
		goroutines := inBubble()
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		if got := fmt.Sprint(s.files()); got != "[hung/later.flv.tmp hung/old.flv hung/y.flv.tmp well/later.flv well/y.flv]" {
			t.Errorf("files %s\n%s", got, s.log())
		}
		if n := strings.Count(s.log(), "does not answer"); n != 1 || !strings.Contains(s.log(), "path="+hung+" ") {
			t.Errorf("%d lines of the disk that hangs\n%s", n, s.log())
		}
		if n := inBubble(); n > goroutines || s.underway() != 4 {
			t.Errorf("%d goroutines, %d two hours ago; %d chores", n, goroutines, s.underway())
		}

		// The server stops, and completes what it can.
		f := s.startAs("w", "last")
		f.send(key(0), inter(40))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		f.end()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		s.Settle()
		if took := time.Since(begun); took > 2*closeGrace+time.Second {
			t.Errorf("stopped after %v", took)
		}
		if !slices.Contains(s.files(), "well/last.flv") || !strings.Contains(s.log(), "the next start goes on with it") {
			t.Errorf("files %s\n%s", s.files(), s.log())
		}
		close(answers)
		synctest.Wait()
		if n := s.underway(); n != 0 {
			t.Errorf("%d still under way", n)
		}
	})
}

// TestHungDiskAnswers: what has waited is done, and that it answers is said.
func TestHungDiskAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		whole := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", key(0), inter(40))
		s := newSite(t, "rec/[stream].flv")
		write(t, s.cwd+"/rec/y.flv.tmp", whole)
		answers := s.hang(s.cwd + "/rec")
		s.run()
		time.Sleep(time.Minute) // of the bubble
		close(answers)
		time.Sleep(2 * answersFor)
		synctest.Wait()
		if ev := s.only(); ev.File != "rec/y.flv" || strings.Count(s.log(), "does not answer") != 1 || strings.Count(s.log(), "answers again") != 1 {
			t.Errorf("%+v\n%s", ev, s.log())
		}
		if s.files()[0] != "rec/y.flv" || s.underway() != 0 {
			t.Errorf("%q, %d chores", s.files(), s.underway())
		}
	})
}

// inBubble counts the goroutines of this test's bubble, whatever other tests begin.
func inBubble() int {
	own := make([]byte, 128)
	_, bubble, _ := strings.Cut(string(own[:runtime.Stack(own, false)]), "synctest bubble ")
	bubble, _, _ = strings.Cut(bubble, "]")
	all := make([]byte, 1<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "synctest bubble "+bubble+"]")
}

package dvr

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// wantHang counts what was said of directories that do not answer, and do again.
func (s *site) wantHang(when string, mute, again int, parts ...string) {
	s.t.Helper()
	synctest.Wait()
	if m, a := strings.Count(s.log(), "does not answer"), strings.Count(s.log(), "answers again"); m != mute || a != again {
		s.t.Errorf("%s: %d and %d lines, want %d and %d\n%s", when, m, a, mute, again, s.log())
	}
	for _, part := range parts {
		if !strings.Contains(s.log(), part) {
			s.t.Errorf("%s: %q is missing\n%s", when, part, s.log())
		}
	}
}

// TestHungDiskOfRecordings: a disk that does not answer those who record to it has one
// line while it does not, with how many wait, however long that lasts, and one when it
// answers again. A short halt has none, nor has another directory.
func TestHungDiskOfRecordings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "hung/[stream].flv")
		healthy := *s.Conf().Vhosts[2]
		healthy.Name, healthy.DVR.Path = "w", "well/[stream].flv"
		s.Conf().Vhosts = append(s.Conf().Vhosts, &healthy)
		s.run()
		feeds := []*feed{s.start("a"), s.start("b"), s.start("c"), s.startAs("w", "x")}
		at := uint32(0)
		play := func(seconds int) {
			for range seconds * 5 {
				for _, f := range feeds {
					f.send(key(at))
				}
				at += 200
				time.Sleep(200 * time.Millisecond) // of the bubble
			}
		}
		play(60)
		s.wantHang("a disk that works", 0, 0)
		answers := s.hang(s.cwd + "/hung")
		play(3)
		close(answers)
		play(10)
		s.wantHang("a short halt", 0, 0)
		answers = s.hang(s.cwd + "/hung")
		play(8)
		line := "level=WARN msg=\"a directory of recordings does not answer; "
		s.wantHang("a long one", 1, 0, line, "path="+s.cwd+"/hung ", "recordings=3", "since=5s")
		play(600)
		s.wantHang("a very long one", 1, 0)
		close(answers)
		play(20)
		s.wantHang("its end", 1, 1, "path="+s.cwd+"/hung after=10m")

		// Files that end wait, too.
		answers = s.hang(s.cwd + "/hung")
		for _, f := range feeds {
			f.end()
		}
		time.Sleep(10 * time.Second)
		s.wantHang("at the end of files", 2, 1, "recordings=3")
		close(answers)
		time.Sleep(2 * answersFor)
		s.wantHang("all is over", 2, 2)
		s.wantFiles("hung/a.flv", "hung/b.flv", "hung/c.flv", "well/x.flv")
	})
}

// TestHungDiskNowAndThen: a disk that answers once in a while is told of once.
func TestHungDiskNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		s.run()
		over := make(chan struct{})
		calls := 2 * diskCalls
		go func() {
			defer close(over)
			for range calls {
				s.write(s.cwd, func() { time.Sleep(6 * time.Second) }) // of the bubble
			}
		}()
		<-over
		s.wantHang("slow", 1, 0, "recordings=1")
		time.Sleep(2 * answersFor)
		s.wantHang("over", 1, 1)
	})
}

// TestHungSync: that recordings can write and a sync does not come back is told of when
// that lasts long: one that takes its time is no trouble.
func TestHungSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		s.run()
		answers := make(chan struct{})
		for range 2 {
			s.aside(s.cwd, func() { <-answers })
		}
		time.Sleep(hungAfter - 2*time.Second) // of the bubble
		s.wantHang("slow", 0, 0)
		time.Sleep(4 * time.Second)
		s.wantHang("hung", 1, 0, "a power cut would take it", "recordings=2", "since=30s")
		close(answers)
		time.Sleep(2 * answersFor)
		s.wantHang("over", 1, 1)
	})
}

package dvr

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/rtmp/live"
)

// closeHung stops a site whose disk does not answer.
func closeHung(t *testing.T, s *site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Close(ctx); err == nil || !strings.Contains(err.Error(), "recordings not completed, their disks did not answer") {
		t.Errorf("Close: %v", err)
	}
	synctest.Wait()
}

// TestLeft: what a disk that hangs keeps from its file when the server stops is told
// of, once, with the recording's name and since when; the rest the next start
// completes. Nothing more is told should the disk answer a moment later, whatever
// the recording was about.
func TestLeft(t *testing.T) {
	session := func(*conf.DVR) {}
	for name, c := range map[string]struct {
		change func(*conf.DVR)
		play   func(f *feed) // while the disk hangs
		lost   int           // events of that
		files  []int         // that the next start completes: frames in each
	}{
		"grows":  {session, func(f *feed) { f.send(inter(1000)); f.end() }, 1, []int{4}},
		"stays":  {session, func(f *feed) { f.send(inter(1000)) }, 1, []int{4}},
		"ends":   {session, func(f *feed) { f.end() }, 0, []int{3}},
		"cuts":   {segments(1), func(f *feed) { f.send(key(1000), inter(1040)); f.end() }, 1, []int{3, 2}},
		"waits":  {graceOf(time.Hour), func(f *feed) { f.end() }, 0, []int{3}},
		"paused": {session, func(f *feed) { time.Sleep(time.Minute); f.end() }, 0, []int{3}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "rec/[app]/[stream].flv", c.change)
			f := s.start("x")
			f.send(videoHeader, key(0), inter(40), inter(80))
			time.Sleep(3 * testSync) // of the bubble: all of it is on the disk
			synctest.Wait()
			since := time.Now()
			answers := s.hang(s.cwd + "/rec")
			c.play(f)
			time.Sleep(7 * time.Second)
			closeHung(t, s)
			told := s.events()
			if len(told) != c.lost {
				t.Errorf("%s: %+v\n%s", name, told, s.log())
			}
			for _, ev := range told {
				at := logged(s.log(), "recording not completed", "lost_since")
				when, err := time.ParseInLocation(time.DateTime, at, time.Local)
				if ev.Size != 0 || ev.ClientID != 1 || ev.File != "rec/live/x.flv" || !strings.Contains(ev.Error, "what came since "+at+" is lost") ||
					err != nil || since.Sub(when) > 2*time.Second || when.After(since) {
					t.Errorf("%s: %+v, want one since %v, %v", name, ev, since, err)
				}
			}
			if logged(s.log(), "recording not completed", "path") != "rec/live/x.flv.tmp" || !strings.Contains(s.log(), "stream=x") {
				t.Errorf("%s: %s", name, s.log())
			}
			close(answers)
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := len(s.events()); got != c.lost {
				t.Errorf("%s: told when the disk answers, too: %+v", name, s.events())
			}
			n := again(t, s.cwd)
			n.run()
			time.Sleep(time.Second)
			synctest.Wait()
			told = n.events()
			if len(told) != len(c.files) {
				t.Fatalf("%s: %+v", name, told)
			}
			for i, frames := range c.files {
				if ev := told[i]; !ev.Recovered || ev.Error != "" || n.read(ev).frames() != frames {
					t.Errorf("%s: %+v, want %d frames", name, ev, frames)
				}
			}
		})
	}
}

// TestLate: what came while the disk hung is in the file when it answers at the very last
// moment of a stop.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		f.send(videoHeader, key(0), inter(40))
		time.Sleep(2 * time.Second) // of the bubble
		synctest.Wait()
		answers := s.hang(s.cwd)
		f.send(inter(80))
		time.Sleep(time.Second)
		f.send(inter(120), inter(160))
		f.end()
		time.AfterFunc(4500*time.Millisecond, func() { close(answers) })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil || s.only().Error != "" || times([]parsed{s.read(s.only())}) != "h0 k0 p40 p80 p120 p160" {
			t.Errorf("%v, %+v\n%s", err, s.events(), s.log())
		}
	})
}

// TestLateError: what came while the disk hung is in the file, or told of, also when the
// disk then fails for good, in the last moment of a stop.
func TestLateError(t *testing.T) {
	limited(t, func(t *testing.T) {
		for range 10 {
			s := newSite(t, "[stream].flv")
			f := s.start("x")
			f.send(videoHeader, key(0))
			time.Sleep(2 * time.Second) // of the bubble
			synctest.Wait()
			answers := s.hang(s.cwd)
			f.send(key(40))
			time.Sleep(time.Second)
			const fat = 20
			for i := range uint32(fat) {
				f.send(flv.Tag{Type: flv.TypeVideo, Timestamp: 80 + 40*i, Data: append([]byte{0x17, 1, 0, 0, 0}, make([]byte, fileLimit/fat*2)...)})
			}
			f.end()
			time.AfterFunc(4500*time.Millisecond, func() { close(answers) })
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if err := s.Close(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			frames := 0
			for _, ev := range s.events() {
				if frames += lostIn(ev.Error); ev.Size > 0 {
					frames += s.read(ev).frames()
				}
			}
			if frames != fat+2 {
				t.Errorf("%d frames in files or told of\n%s", frames, s.log())
			}
		}
	})
}

// TestLeftBehindOther: a publish is told of that waits for the file of the one before,
// which other settings end.
func TestLeftBehindOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", graceOf(time.Hour))
		f := s.start("x")
		f.send(videoHeader, key(0), inter(40))
		f.unpublish()
		v := *s.Conf().Vhosts[2]
		v.DVR.Sync += time.Second
		s.conf.Store(&conf.Config{Vhosts: []*conf.Vhost{&v, &v, &v}})
		answers := s.hang(s.cwd)
		g := s.start("x")
		g.send(videoHeader, key(0), inter(40))
		g.end()
		time.Sleep(time.Second) // of the bubble
		closeHung(t, s)
		if ev := s.only(); ev.ClientID != 2 || ev.Size != 0 || !strings.Contains(ev.Error, "when the server stopped") ||
			strings.Count(s.log(), "recording not completed") != 2 || strings.Count(s.log(), "the next start completes") != 1 {
			t.Errorf("%+v\n%s", ev, s.log())
		}
		close(answers)
		synctest.Wait()
	})
}

// TestLeftMany: each publish is told of, also those that wait for the one before to be
// recorded; of very many the log has some, and how many more there are.
func TestLeftMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "rec/[stream].flv", appending)
		answers := s.hang(s.cwd + "/rec")
		const streams, waiting = maxLeftLines, 3
		for i := range streams {
			s.start(fmt.Sprint("s", i)).send(key(0))
		}
		for range waiting {
			f := s.start("s0")
			f.send(key(0))
			f.end()
		}
		closeHung(t, s)
		clients := map[uint64]bool{}
		for _, ev := range s.events() {
			if clients[ev.ClientID] = true; ev.Size != 0 || !strings.Contains(ev.Error, "when the server stopped") {
				t.Errorf("%+v", ev)
			}
		}
		if len(clients) != streams+waiting || len(s.events()) != len(clients) || strings.Count(s.log(), "recording not completed") != maxLeftLines ||
			!strings.Contains(s.log(), fmt.Sprint(`their disks do not answer" recordings=`, waiting)) {
			t.Errorf("%d clients, %d events\n%s", len(clients), len(s.events()), s.log())
		}
		close(answers)
		time.Sleep(time.Minute) // of the bubble
		synctest.Wait()
		if n := len(s.events()); n != len(clients) {
			t.Errorf("%d events when the disk answers", n)
		}
	})
}

// TestLeftWhileNamed: a file that has everything and is on its way to its name is told
// of with its name, by this server or the next, and not as lost, too.
func TestLeftWhileNamed(t *testing.T) {
	s := newSite(t, "[stream].flv")
	r := newRecording(s.Recorder, "", 0)
	s.active[r] = true
	r.turn, r.log = turn{publisher: live.Publisher{Stream: "x"}}, s.Log
	r.stands("x.flv")
	r.secure(nothing)
	if !r.goes(false) || !r.goes(true) {
		t.Error("it does not go on")
	}
	if n := s.giveUp(); n != 1 || len(s.events()) != 0 || !strings.Contains(s.log(), "path=x.flv.tmp") {
		t.Errorf("%d, %+v\n%s", n, s.events(), s.log())
	}
	if r.goes(false) {
		t.Error("it goes on")
	}
}

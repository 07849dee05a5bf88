package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"srs/flv"
)

// TestDV11 kills the server at random moments while 20 streams are recorded, as
// sessions and as segments of one second, and while it repairs. After the
// restart every stream has its files, each whole and announced as what it is, recovered
// if the killed server had not completed it, and lacks no more than a second.
func TestDV11(t *testing.T) {
	const streams = 20
	rounds := kills(t, "DVR_KILLS", 3)
	clipTags(t)
	rcv := newReceiver(t)
	s := startServer(t,
		vhost("127.0.0.1", hooks(rcv, "on_dvr"), recordTo("./rec/[stream].flv")),
		vhost("localhost", hooks(rcv, "on_dvr"), block("dvr", "enabled on;", "dvr_plan segment;", "dvr_duration 1;", "dvr_path ./seg/[stream].[timestamp].flv;")))
	var lost []int // ms
	for round := range rounds {
		var urls []string
		for i := range streams {
			url := s.url(fmt.Sprintf("live/r%d-%d", round, i))
			if i%2 == 1 {
				url = strings.Replace(url, "127.0.0.1", "localhost", 1)
			}
			urls = append(urls, url)
		}
		feeders, sent := feedFor(t, time.Second+rand.N(1500*time.Millisecond), urls)
		s.kill()
		for _, f := range feeders {
			f.end()
		}
		left := recordings(t, s.dir+"/seg")
		for _, c := range rcv.of("on_dvr", "") {
			if strings.HasPrefix(c.text("stream"), fmt.Sprintf("r%d-", round)) && c.recovered() {
				t.Errorf("before the restart on_dvr says %s", c.body)
			}
		}
		if round%2 == 1 { // and once more, most likely within the repair
			s = s.again(t)
			early := time.NewTimer(rand.N(30 * time.Millisecond))
			<-early.C
			s.kill()
		}
		s = s.again(t)
		for i := range streams {
			name := fmt.Sprintf("r%d-%d", round, i)
			if i%2 == 1 {
				lost = append(lost, sent[i]-wantSurvived(t, rcv, s.dir+"/seg", name, left))
			} else {
				lost = append(lost, sent[i]-wantSurvived(t, rcv, s.dir+"/rec", name, nil))
			}
		}
		if t.Failed() {
			t.Fatalf("in round %d; left are %q", round, recordings(t, s.dir))
		}
	}
	wantLost(t, fmt.Sprint(rounds, " kills"), lost, 1000)
}

// TestDVRSlowSync: a disk that takes three seconds for each sync costs a killed
// server no more than any other, few recordings or many.
func TestDVRSlowSync(t *testing.T) {
	for _, streams := range []int{3, 20} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			s := startServer(t, defaultVhost(hooks(rcv, "on_dvr"), block("dvr", "enabled on;", "dvr_path ./rec/[stream].flv;", "dvr_sync 1000;")))
			s.stop(t, 15)
			s = s.again(t, "strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync,syncfs", "-e", "inject=fdatasync,syncfs:delay_enter=3s")
			var urls []string
			for i := range streams {
				urls = append(urls, s.url(fmt.Sprint("live/slow", i)))
			}
			feeders, sent := feedFor(t, 3*time.Second+rand.N(time.Second), urls)
			s.kill()
			for _, f := range feeders {
				f.end()
			}
			s = s.again(t)
			var lost []int // ms
			for i := range streams {
				lost = append(lost, sent[i]-wantSurvived(t, rcv, s.dir+"/rec", fmt.Sprint("slow", i), nil))
			}
			wantLost(t, "a kill", lost, 1000)
		})
	}
}

// TestDVRFormerPath: what a killed server has left is found although dvr_path is
// another when the next one starts.
func TestDVRFormerPath(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_dvr"), recordTo("./before/[stream].flv")))
	f := feed(t, s.url("live/x"))
	eventually(t, longest, "a recording", func() bool { return f.sent.Load() > 1500 })
	s.kill()
	f.end()
	s.writeConf(t, defaultVhost(hooks(rcv, "on_dvr"), recordTo("./now/[app]/[stream].[timestamp].flv")))
	s = s.again(t)
	c := rcv.wait(t, "on_dvr", "x", 1)
	if c.text("file") != "./before/x.flv" {
		t.Errorf("on_dvr says %s", c.body)
	}
	wantWholeFile(t, s.dir+"/before/x.flv")
}

// wantSurvived waits until all files of a stream are complete and announced, and
// gives how many milliseconds they have together. Left are the files that the killed
// server had; without them it was one, and growing.
func wantSurvived(t *testing.T, rcv *receiver, dir, stream string, left []string) (length int) {
	t.Helper()
	var files []string
	eventually(t, longest, "the files of "+stream+" to be complete", func() bool {
		files = nil
		for _, name := range recordings(t, dir) {
			if !strings.HasPrefix(name, stream+".") {
				continue
			}
			if strings.HasSuffix(name, ".tmp") && !begun(dir+"/"+name) {
				continue // killed as it was created; it is removed when it has been at rest
			}
			if !strings.HasSuffix(name, ".flv") {
				return false
			}
			files = append(files, name)
		}
		return len(files) > 0
	})
	if left == nil && len(files) != 1 {
		t.Errorf("files of %s: %q", stream, files)
	}
	for i, name := range files {
		path := dir + "/" + name
		var calls []call
		rcv.until(t, "on_dvr of "+name, func() bool {
			calls = slices.DeleteFunc(rcv.of("on_dvr", stream), func(c call) bool { return !strings.HasSuffix(c.text("file"), "/"+name) })
			return len(calls) > 0
		})
		wantPlayable(t, path)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := flv.Scan(f)
		f.Close()
		if err != nil || !rep.Whole() {
			t.Fatalf("%s: %+v, %v", path, rep, err)
		}
		for _, c := range calls { // a repeat says the same
			size, duration := json.Number(fmt.Sprint(rep.Size)), json.Number(fmt.Sprintf("%.3f", rep.Duration().Seconds()))
			if c.fields["size"] != size || c.fields["duration"] != duration || c.header.Get("Webhook-Id") != calls[0].header.Get("Webhook-Id") {
				t.Errorf("%s has %s bytes and %s s, on_dvr says %s", path, size, duration, c.body)
			}
			if !c.recovered() && (left == nil || slices.Contains(left, name+".tmp")) {
				t.Errorf("%s is recovered, on_dvr says %s", path, c.body)
			}
		}
		if length += int(rep.Last); i < len(files)-1 {
			length = length - int(rep.Last) + int(rep.Duration().Milliseconds())
		}
	}
	return length
}

// recovered says whether an on_dvr is of a file that a killed server has left.
func (c call) recovered() bool {
	is, _ := c.fields["recovered"].(bool)
	return is
}

// begun says whether a file has its first tag.
func begun(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // it has got its name meanwhile
	}
	defer f.Close()
	rep, err := flv.Scan(f)
	return err == nil && rep.Tags > 0
}

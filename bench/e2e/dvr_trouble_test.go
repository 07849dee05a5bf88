package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
)

// recordAgain is how soon a recording goes on when its disk is back: the time
// between two tries, and some more for a busy machine.
const recordAgain = 15 * time.Second

// onDisk starts a server whose directory "rec" is a file system of its own, which
// script mounts at $0 in a mount namespace of the server.
func onDisk(t *testing.T, script string, rcv *receiver, directives ...string) (s *srs, dir string) {
	t.Helper()
	directives = append([]string{"enabled on;", "dvr_apply rec/*;", "dvr_path ./rec/[stream].[timestamp].flv;"}, directives...)
	s = startServer(t, defaultVhost(hooks(rcv, "on_dvr"), block("dvr", directives...)))
	s.stop(t, 15)
	if err := os.Mkdir(s.dir+"/rec", 0o755); err != nil {
		t.Fatal(err)
	}
	return s.againOn(t, script)
}

// againOn is again with such a file system.
func (s *srs) againOn(t *testing.T, script string) (n *srs, dir string) {
	t.Helper()
	n, dir = s.beginOn(t, script)
	n.wantUp(t)
	return n, dir
}

// beginOn is begin with such a file system.
func (s *srs) beginOn(t *testing.T, script string) (n *srs, dir string) {
	t.Helper()
	dir = s.dir + "/rec"
	n = s.begin(t, "unshare", "-m", "sh", "-e", "-c", script+`; exec "$@"`, dir)
	return n, fmt.Sprintf("/proc/%d/root%s", n.pid, dir)
}

// TestDV06: a full disk does not touch the stream. The file ends with a whole
// tag and says why; when there is room again the recording goes on.
func TestDV06(t *testing.T) {
	for name, script := range map[string]string{
		"tmpfs": `mount -t tmpfs -o size=8m none "$0"`,
		"ext4":  `truncate -s 8M "$0.img"; mkfs.ext4 -q -F "$0.img"; mount -o loop "$0.img" "$0"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			s, dir := onDisk(t, script, rcv)
			other := startCanary(t, s, "canary/c")
			f := feed(t, s.url("rec/s"))
			player := playWith(t, s.url("rec/s"))
			played := make(chan error, 1)
			go func() {
				player.SetDeadline(time.Time{})
				for {
					if _, err := player.ReadMessage(); err != nil {
						played <- err
						return
					}
				}
			}()
			eventually(t, longest, "a recording", func() bool { return f.sent.Load() > 1500 })
			before := other.over(t, 25)
			fill(t, dir+"/filler")
			ended := rcv.wait(t, "on_dvr", "s", 1)
			if !strings.Contains(ended.text("error"), "no space left on device") {
				t.Errorf("on_dvr says %s", ended.body)
			}
			wantWholeFile(t, dir+"/"+strings.TrimPrefix(ended.text("file"), "./rec/"))
			other.atLeast(t, 50)
			if err := os.Remove(dir + "/filler"); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			s.waitLog(t, "recording again")
			took := time.Since(begun)
			if took > recordAgain {
				t.Errorf("recording again after %v", took)
			}
			at := f.sent.Load()
			eventually(t, longest, "more media", func() bool { return f.sent.Load() > at+1500 })
			f.end()
			last := rcv.wait(t, "on_dvr", "s", 2)
			if !strings.Contains(last.text("error"), "before it: no space left on device: ") {
				t.Errorf("on_dvr says %s", last.body)
			}
			wantWholeFile(t, dir+"/"+strings.TrimPrefix(last.text("file"), "./rec/"))
			if lines := s.matching(0, "recording failed"); len(lines) != 1 {
				t.Errorf("%d lines: %q", len(lines), lines)
			}
			select {
			case err := <-played:
				t.Errorf("the player: %v", err)
			default:
			}
			other.undisturbed(t, before)
			t.Logf("recording again after %v", took.Round(time.Millisecond))
		})
	}
}

// TestDV09: a disk that does not answer for a while (its file system is frozen)
// costs nobody anything, and when it answers everything is recorded: the memory
// is enough for some minutes of this stream. dvr has the form in which it is not. A
// line says so meanwhile, for nobody knows whether it ever answers.
func TestDV09(t *testing.T) {
	t.Parallel()
	frozen := time.Duration(kills(t, "DVR_FREEZE", 4)) * time.Second
	rcv := newReceiver(t)
	s, dir := onDisk(t, `truncate -s 32M "$0.img"; mkfs.ext4 -q -F "$0.img"; mount -o loop "$0.img" "$0"`, rcv)
	other := startCanary(t, s, "canary/c")
	f := feed(t, s.url("rec/s"))
	eventually(t, longest, "a recording", func() bool { return f.sent.Load() > 1000 })
	before := other.over(t, 25)
	if err := diskCall(dir, fiFreeze); err != nil {
		t.Fatalf("freeze: %v", err)
	}
	defer diskCall(dir, fiThaw) // a server that hangs there cannot be killed
	other.atLeast(t, int(frozen/canaryEvery))
	s.waitLog(t, "a directory of recordings does not answer.* recordings=1 ")
	if err := diskCall(dir, fiThaw); err != nil {
		t.Fatalf("thaw: %v", err)
	}
	other.undisturbed(t, before)
	at := f.sent.Load()
	eventually(t, longest, "more media", func() bool { return f.sent.Load() > at+500 })
	f.end()
	ended := rcv.wait(t, "on_dvr", "s", 1)
	if lines := s.matching(0, "does not answer"); len(lines) != 1 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	tags := wantAll(t, dir+"/"+strings.TrimPrefix(ended.text("file"), "./rec/"), ended, f.sent.Load())
	for i, tag := range tags[1:] {
		if step := int32(tag.Timestamp - tags[i].Timestamp); step > 100 {
			t.Errorf("%d ms are missing at %d ms", step, tag.Timestamp)
		}
	}
}

// wantAll checks that a recording is whole, announced without an error, and goes up
// to the time that was sent last. It returns its tags.
func wantAll(t *testing.T, path string, ended call, sent uint32) []flv.Tag {
	t.Helper()
	wantWholeFile(t, path)
	tags, err := readFLV(path)
	if err != nil || ended.text("error") != "" {
		t.Fatalf("%v; on_dvr says %s", err, ended.body)
	}
	if last := tags[len(tags)-1].Timestamp; last != sent {
		t.Errorf("the recording ends at %d ms, sent were %d", last, sent)
	}
	return tags
}

// TestDV09Write: likewise a single write that takes long (strace delays the fifth of
// each thread).
func TestDV09Write(t *testing.T) {
	t.Parallel()
	delay := time.Duration(kills(t, "DVR_FREEZE", 3)) * time.Second
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_dvr"), block("dvr", "enabled on;", "dvr_apply rec/*;", "dvr_path ./rec/[stream].flv;")))
	s.stop(t, 15)
	trace := s.dir + "/strace.log"
	s = s.again(t, "strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", trace, "-P", s.dir+"/rec/s.flv.tmp", "-e", "trace=write",
		"-e", fmt.Sprintf("inject=write:delay_enter=%ds:when=5", int(delay.Seconds())))
	other := startCanary(t, s, "canary/c")
	f := feed(t, s.url("rec/s"))
	before := other.over(t, 25)
	eventually(t, longest+delay, "a write that is delayed", func() bool {
		log, err := os.ReadFile(trace)
		return err == nil && strings.Contains(string(log), "DELAYED")
	})
	other.undisturbed(t, before)
	f.end()
	eventually(t, longest+2*delay, "on_dvr", func() bool { return len(rcv.of("on_dvr", "s")) > 0 }) // the last write may be delayed, too
	ended := rcv.wait(t, "on_dvr", "s", 1)
	wantAll(t, s.dir+"/"+strings.TrimPrefix(ended.text("file"), "./"), ended, f.sent.Load())
}

// Of linux/fs.h: a file system takes no changes, and takes them again.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// diskCall makes such a call to the file system of a directory.
func diskCall(dir string, call uint) error {
	disk, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer disk.Close()
	return unix.IoctlSetInt(int(disk.Fd()), call, 0)
}

// fill takes all the room that a file system has.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	f.Sync()
}

// wantWholeFile checks a complete recording.
func wantWholeFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if rep, err := flv.Scan(f); err != nil || !rep.Whole() {
		t.Errorf("%s: %+v, %v", path, rep, err)
	}
}

// TestDV18: a place that cannot be written to stops neither the start nor the
// stream. One line says which, who and why; recording is tried every ten seconds.
func TestDV18(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s, dir := onDisk(t, `mount -t tmpfs -o ro none "$0"`, rcv)
	inside := func(script string) (string, error) { // the server's mount namespace
		out, err := exec.Command("nsenter", "-t", strconv.Itoa(s.pid), "-m", "sh", "-e", "-c", script).CombinedOutput()
		return string(out), err
	}
	if out, err := inside("cd " + s.dir + "; " + srsBinary + " -t -c " + s.conf); err != nil || !strings.Contains(out, "nothing can be recorded there at the moment") {
		t.Errorf("-t: %v\n%s", err, out)
	}
	s.waitLog(t, "dvr_path ./rec/.* read-only file system .*as uid 0.*ReadWritePaths=")
	f := feed(t, s.url("rec/s"))
	player := playWith(t, s.url("rec/s"))
	line := s.waitLog(t, "recording failed")
	for _, part := range []string{"path=./rec/s.", "uid=0", "read-only file system", "ReadWritePaths="} {
		if !strings.Contains(line, part) {
			t.Errorf("%q is not in %s", part, line)
		}
	}
	for range 50 {
		if _, err := player.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := inside("mount -o remount,rw " + s.dir + "/rec"); err != nil {
		t.Fatal(err, out)
	}
	s.waitLog(t, "recording again")
	f.end()
	c := rcv.wait(t, "on_dvr", "s", 1)
	if !strings.Contains(c.text("error"), "before it: read-only file system") {
		t.Errorf("on_dvr says %s", c.body)
	}
	wantWholeFile(t, dir+"/"+strings.TrimPrefix(c.text("file"), "./rec/"))
	if lines := s.matching(0, "recording failed"); len(lines) != 1 {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

// TestDV22: while a hundred streams begin a new file in the same second, each
// second, players of another notice nothing, and no frame is missing.
func TestDV22(t *testing.T) {
	const streams = 100
	rcv := newReceiver(t)
	s := startServer(t, vhost("localhost"), defaultVhost(hooks(rcv, "on_dvr"),
		block("dvr", "enabled on;", "dvr_plan segment;", "dvr_duration 1;", "dvr_path ./rec/[stream].[timestamp].flv;")))
	other := startCanary(t, s, "canary/c")
	before := other.over(t, 50)
	var feeders []*feeder
	for i := range streams {
		feeders = append(feeders, feed(t, s.url(fmt.Sprintf("live/s%d", i))))
	}
	other.atLeast(t, 125)
	other.undisturbed(t, before)
	for _, f := range feeders {
		f.end()
	}
	rcv.until(t, "the last files", func() bool {
		_, err := os.Stat(s.dir + "/rec")
		left := 0
		for _, name := range recordings(t, s.dir+"/rec") {
			if strings.HasSuffix(name, ".tmp") && strings.HasPrefix(name, "s") {
				left++
			}
		}
		return err == nil && left == 0
	})
	for _, c := range rcv.of("on_dvr", "") {
		if c.text("error") != "" {
			t.Errorf("on_dvr says %s", c.body)
		}
	}
	t.Logf("%d files", len(rcv.of("on_dvr", "")))
}

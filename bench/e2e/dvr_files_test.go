package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"srs/flv"
	"srs/rtmp"
)

// TestSegmentsConcatenated: the frames of twenty segments, one behind the other,
// are the published ones, with B-frames, and each segment plays by itself.
func TestSegmentsConcatenated(t *testing.T) {
	t.Parallel()
	const seconds = 21
	source := encode(t, seconds, "-c:v", "libx264", "-bf", "3", "-c:a", "aac")
	want := framesOf(t, source)
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_dvr"), block("dvr", "enabled on;", "dvr_plan segment;", "dvr_duration 1;", "dvr_path ./rec/[stream].[timestamp].flv;")))
	publisher := startFFmpeg(t, "-readrate", "4", "-i", source, "-map", "0", "-c", "copy", "-f", "flv", s.url("live/s"))
	if code := publisher.exit(t, 2*longest); code != 0 {
		t.Fatalf("the publisher ended with %d:\n%s", code, publisher.text())
	}
	s.waitLog(t, "publish ended")
	s.stop(t, 15)
	got := frames{}
	calls := rcv.of("on_dvr", "s")
	for _, c := range calls {
		path := c.text("cwd") + "/" + c.text("file")
		wantPlayable(t, path)
		wantIndex(t, path)
		part := framesOf(t, path)
		for kind, list := range part {
			got[kind] = append(got[kind], list...)
		}
		first := part["video"][0]
		if first.dts > 100 {
			t.Errorf("%s begins at %d ms", path, first.dts)
		}
	}
	if len(calls) < 20 {
		t.Errorf("%d segments", len(calls))
	}
	for kind, list := range want {
		same := slices.EqualFunc(got[kind], list, func(a, b frame) bool { return a.hash == b.hash && a.size == b.size && a.offset == b.offset })
		if !same {
			t.Errorf("%s: the %d frames of %d segments are not the %d that were published", kind, len(got[kind]), len(calls), len(list))
		}
	}
	t.Logf("%d segments, %d pictures, %d sounds", len(calls), len(got["video"]), len(got["audio"]))
}

// wantIndex checks the keyframe index of a file against its bytes.
func wantIndex(t testing.TB, path string) []flv.IndexEntry {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tag, _, ok := flv.Split(b[flv.HeaderSize:])
	if !ok {
		t.Fatalf("%s has no metadata", path)
	}
	rep, err := flv.Scan(strings.NewReader(string(b)))
	if err != nil || !rep.Whole() {
		t.Errorf("%s: %+v, %v", path, rep, err)
	}
	index := flv.ReadIndex(tag.Data)
	if len(index) != rep.Keyframes && rep.Keyframes > 1 {
		t.Errorf("%s: %d keyframes in the index of %d", path, len(index), rep.Keyframes)
	}
	for _, k := range index {
		tag, _, ok := flv.Split(b[k.Position:])
		if !ok || int64(tag.Timestamp) != k.Time || flv.Sniff(tag.Type, tag.Data)&flv.Keyframe == 0 {
			t.Errorf("%s: no keyframe of %d ms at byte %d", path, k.Time, k.Position)
		}
	}
	return index
}

// TestSeek: a player that seeks lands on the keyframe in front of where it wants
// to be, at once.
func TestSeek(t *testing.T) {
	t.Parallel()
	const seconds = 12
	source := encode(t, seconds, "-c:v", "libx264", "-bf", "2", "-c:a", "aac") // a keyframe each second
	s := startServer(t, defaultVhost(recordTo("./rec/[stream].flv")))
	publisher := startFFmpeg(t, "-readrate", "4", "-i", source, "-map", "0", "-c", "copy", "-f", "flv", s.url("live/s"))
	publisher.exit(t, longest)
	s.waitLog(t, "recorded ")
	path := s.dir + "/rec/s.flv"
	all := framesOf(t, path)["video"]
	index := wantIndex(t, path)
	if len(index) != seconds {
		t.Fatalf("index %v", index)
	}
	for _, k := range index[1:] {
		// Into the middle of its GOP.
		at := float64(k.Time)/1000 + 0.5
		out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-ss", strconv.FormatFloat(at, 'f', 3, 64), "-copyts", "-i", path,
			"-map", "0:v", "-c", "copy", "-frames:v", "1", "-f", "framemd5", "-").Output()
		if err != nil {
			t.Fatal(err)
		}
		got := parseFrames(t, string(out))["video"]
		i := slices.IndexFunc(all, func(f frame) bool { return f.dts-all[0].dts == int(k.Time-index[0].Time) })
		if len(got) != 1 || i < 0 || got[0].hash != all[i].hash {
			t.Errorf("seeking to %.3f s leads to %+v, want %+v", at, got, all[max(i, 0)])
		}
	}
}

// TestFlvmeta: flvmeta has nothing to say of what we wrote.
func TestFlvmeta(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_dvr"), recordTo("./rec/[stream].flv")))
	f := feed(t, s.url("live/s"))
	eventually(t, longest, "some media", func() bool { return f.sent.Load() > 3500 })
	f.end()
	c := rcv.wait(t, "on_dvr", "s", 1)
	out, err := exec.Command("flvmeta", "--check", "--level=warning", c.text("cwd")+"/"+c.text("file")).CombinedOutput()
	if err != nil {
		t.Errorf("flvmeta: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// What the publisher says of itself is the publisher's, and flvmeta takes
		// the decoder's configuration for a keyframe of its own (W81071).
		known := strings.Contains(line, "datarate") || strings.Contains(line, "stereo") || strings.Contains(line, "W81071")
		if strings.Contains(line, "warning ") && !known {
			t.Errorf("flvmeta: %s", line)
		}
	}
}

// TestDV19: with thousands of leftovers the server listens first, records while
// it repairs, stops at once when it is told, and the next one does the rest, in
// little memory. Each file is whole then, and announced.
func TestDV19(t *testing.T) {
	t.Parallel()
	files := kills(t, "DVR_LEFTOVERS", 300)
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_dvr"), recordTo("./rec/[app]/[stream].flv")))
	s.stop(t, 15)
	begun := time.Now()
	s = s.again(t)
	alone, rss := time.Since(begun), s.memory(t, "VmHWM")
	s.stop(t, 15)
	writeLeftovers(t, s.dir+"/rec/old", files)
	begun = time.Now()
	s = s.again(t)
	beside := time.Since(begun)
	s.waitLog(t, "recording repaired")
	if all, _ := s.since(0); slices.IndexFunc(all, func(l string) bool { return strings.Contains(l, "listening for RTMP") }) >
		slices.IndexFunc(all, func(l string) bool { return strings.Contains(l, "recording repaired") }) {
		t.Error("it repairs before it listens")
	}
	c := publishWith(t, s.url("live/now"))
	sendMedia(t, c, 10)
	c.Close()
	wantComplete(t, s.dir+"/"+rcv.wait(t, "on_dvr", "now", 1).text("file"))
	peak := s.memory(t, "VmHWM")
	if code, _ := s.stop(t, 15); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s = s.again(t)
	eventually(t, longest+time.Duration(files)*20*time.Millisecond, "all to be repaired and announced", func() bool {
		return len(s.matching(0, "leftovers looked at")) > 0 && len(rcv.of("on_dvr", "")) > files
	})
	took := time.Since(begun)
	peak = max(peak, s.memory(t, "VmHWM"))
	announced := map[string]bool{}
	for _, c := range rcv.of("on_dvr", "") {
		announced[c.text("file")] = true
	}
	whole := 0
	for _, name := range recordings(t, s.dir+"/rec/old") {
		if strings.HasSuffix(name, ".flv") && announced["./rec/old/"+name] {
			whole++
		}
	}
	if whole != files {
		t.Errorf("%d of %d are complete and announced", whole, files)
	}
	wantWholeFile(t, s.dir+"/rec/old/0.flv")
	if grown := peak - rss; grown > memoryBound() {
		t.Errorf("the memory grew by %d bytes", grown)
	}
	t.Logf("%d leftovers: listening after %v, without any after %v; all repaired and announced after %v, another start included; peak RSS %d KiB, %d without",
		files, beside, alone, took.Round(time.Millisecond), peak>>10, rss>>10)
}

// writeLeftovers writes what a killed server leaves into a directory: N.flv.tmp, of two
// frames, the last of which lacks a byte in every other file.
func writeLeftovers(t *testing.T, dir string, files int) {
	t.Helper()
	b := flv.AppendHeader(nil, true, true)
	b = flv.AppendTag(b, flv.Tag{Type: flv.TypeScript, Data: flv.NewFileMetadata(nil, 10, "", "").Body})
	b = flv.AppendTag(b, flv.Tag{Type: flv.TypeVideo, Data: avcFrame(true, []byte("frame"))})
	b = flv.AppendTag(b, flv.Tag{Type: flv.TypeVideo, Timestamp: 40, Data: avcFrame(false, make([]byte, 20_000))})
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := os.WriteFile(fmt.Sprintf("%s/%d.flv.tmp", dir, i), b[:len(b)-1+i%2], 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDV19Frozen: a server listens and relays before any leftover is repaired, for here
// none can be: their disk takes no write until it is thawed. Then all are, and what was
// published meanwhile is recorded, too.
func TestDV19Frozen(t *testing.T) {
	t.Parallel()
	const files, frames = 50, 10
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_dvr"), recordTo("./rec/[stream].flv")))
	s.stop(t, 15)
	writeLeftovers(t, s.dir+"/rec.left", files)
	if err := os.Mkdir(s.dir+"/rec", 0o755); err != nil {
		t.Fatal(err)
	}
	s, dir := s.beginOn(t, `truncate -s 32M "$0.img"; mkfs.ext4 -q -F "$0.img"; mount -o loop "$0.img" "$0"; cp "$0.left"/* "$0"; fsfreeze -f "$0"`)
	defer diskCall(dir, fiThaw) // a server that hangs there cannot be killed
	s.wantUp(t)
	player := playWith(t, s.url("live/now"))
	c := publishWith(t, s.url("live/now"))
	sendMedia(t, c, frames)
	for n := 0; n < frames+1; { // and a header
		m, err := player.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == rtmp.TypeVideo {
			n++
		}
	}
	leftovers := 0
	for _, name := range recordings(t, dir) {
		if strings.HasSuffix(name, ".flv.tmp") {
			leftovers++
		}
	}
	if leftovers != files || len(s.matching(0, "recording repaired")) > 0 || len(rcv.of("on_dvr", "")) > 0 {
		t.Errorf("%d of %d leftovers while their disk takes no write\n%s", leftovers, files, s.text())
	}
	if err := diskCall(dir, fiThaw); err != nil {
		t.Fatal(err)
	}
	c.Close()
	wantComplete(t, dir+"/"+strings.TrimPrefix(rcv.wait(t, "on_dvr", "now", 1).text("file"), "./rec/"))
	rcv.until(t, "all leftovers", func() bool { return len(rcv.of("on_dvr", "")) == files+1 })
	for _, c := range rcv.of("on_dvr", "") {
		if c.recovered() != (c.text("stream") != "now") {
			t.Errorf("on_dvr says %s", c.body)
		}
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"srs/flv"
	"srs/rtmp"
)

// readFLV reads a file to its end; anything but a clean one is an error.
func readFLV(path string) ([]flv.Tag, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var tags []flv.Tag
	for r := flv.NewReader(f); ; {
		tag, err := r.Next()
		if err == io.EOF {
			return tags, nil
		}
		if err != nil {
			return tags, err
		}
		tag.Data = bytes.Clone(tag.Data)
		tags = append(tags, tag)
	}
}

// arrival is what the receiver saw of a recording when its on_dvr came.
type arrival struct {
	tags []flv.Tag
	size int64
	err  error
	tmp  bool // PATH.tmp still exists
}

// TestDVRHook: when on_dvr arrives the file is there under its name, whole,
// and nothing changes it later; however the publisher ended.
func TestDVRHook(t *testing.T) {
	const frames = 100
	for _, test := range []struct {
		name string
		end  func(c *rtmp.Conn) error
	}{
		{"FCUnpublish", func(c *rtmp.Conn) error {
			return c.WriteCommand(rtmp.CommandFCUnpublish, 6.0, nil, c.URL.Stream)
		}},
		{"deleteStream", func(c *rtmp.Conn) error {
			return c.WriteCommand(rtmp.CommandDeleteStream, 0.0, nil, 1.0)
		}},
		{"FIN", func(c *rtmp.Conn) error { return c.Close() }},
		{"RST", func(c *rtmp.Conn) error {
			(&client{Conn: c.Conn}).reset()
			return nil
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			// Relative, as in the default configuration: cwd + "/" + file.
			s := startServer(t, defaultVhost(hooks(rcv), recordTo("./rec/[vhost]/[app]/[stream].flv")))
			seen := make(chan arrival, 1)
			rcv.script("on_dvr", func(c call) reply {
				var a arrival
				path := filepath.Join(c.text("cwd"), c.text("file"))
				if info, err := os.Stat(path); err == nil {
					a.size = info.Size()
				}
				_, err := os.Stat(path + ".tmp")
				a.tmp = err == nil
				a.tags, a.err = readFLV(path)
				seen <- a
				return reply{}
			})
			c := publishWith(t, s.url("live/s?k=v"))
			player := playWith(t, s.url("live/s"))
			sendMedia(t, c, frames)
			for n := 0; n < frames+1; { // RST throws away what is under way
				m, err := player.ReadMessage()
				if err != nil {
					t.Fatal(err)
				}
				if m.Type == rtmp.TypeVideo {
					n++
				}
			}
			if err := test.end(c); err != nil {
				t.Fatal(err)
			}
			hook := rcv.wait(t, "on_dvr", "s", 1)
			a := <-seen
			wantFrames(t, a, frames)
			if got, want := hook.text("file"), "./rec/__defaultVhost__/live/s.flv"; got != want {
				t.Errorf("file %q, want %q", got, want)
			}
			if hook.text("cwd") != s.dir || hook.text("param") != "?k=v" {
				t.Errorf("got %s", hook.body)
			}
			if size := fmt.Sprint(a.size); hook.fields["size"] != json.Number(size) {
				t.Errorf("size %v, the file has %s bytes", hook.fields["size"], size)
			}
			// 99 steps of 40 ms; the last frame may count as one more.
			if d := hook.fields["duration"]; d != json.Number("3.960") && d != json.Number("4.000") {
				t.Errorf("duration %v", d)
			}
			s.stop(t, syscall.SIGTERM)
			after, err := os.Stat(filepath.Join(s.dir, "rec/__defaultVhost__/live/s.flv"))
			if err != nil || after.Size() != a.size {
				t.Errorf("the file changed behind on_dvr: %v, %v", after, err)
			}
			wantNoLeftovers(t, filepath.Join(s.dir, "rec"))
			if n := len(rcv.of("on_dvr", "")); n != 1 {
				t.Errorf("%d times on_dvr", n)
			}
		})
	}
}

// wantFrames checks what sendMedia sends: metadata, a header, the frames.
func wantFrames(t testing.TB, a arrival, frames int) {
	t.Helper()
	if a.err != nil || a.tmp || len(a.tags) != 2+frames {
		t.Fatalf("when on_dvr came: %d tags, want %d; error %v; a .tmp beside it: %t", len(a.tags), 2+frames, a.err, a.tmp)
	}
	if a.tags[0].Type != flv.TypeScript || !bytes.Equal(a.tags[1].Data, avcHeader) {
		t.Error("the file must begin with metadata and the sequence header")
	}
	for i, tag := range a.tags[2:] {
		if tag.Type != flv.TypeVideo || tag.Timestamp != uint32(i*40) || !bytes.Equal(tag.Data, avcFrame(i == 0, []byte("frame"))) {
			t.Fatalf("frame %d is %+v", i, tag)
		}
	}
}

// TestDVROfKilledFFmpeg decodes with ffmpeg what a killed ffmpeg published.
func TestDVROfKilledFFmpeg(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	files := t.TempDir()
	s := startServer(t, defaultVhost(hooks(rcv), recordTo(files+"/[stream].flv")))
	pub := publishFFmpeg(t, s.url("live/s"))
	player := playWith(t, s.url("live/s"))
	for range 60 {
		if _, err := player.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	pub.kill()
	path := rcv.wait(t, "on_dvr", "s", 1).text("file")
	wantComplete(t, path)
	decode := startFFmpeg(t, "-v", "warning", "-i", path, "-f", "null", "-")
	if code := decode.exit(t, longest); code != 0 || strings.Contains(decode.text(), "rror") {
		t.Errorf("ffmpeg cannot decode the recording, exit code %d:\n%s", code, decode.text())
	}
}

// TestDVRNeverOverwrites: a second publish under the same name leaves the
// first file alone.
func TestDVRNeverOverwrites(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	files := t.TempDir()
	s := startServer(t, defaultVhost(hooks(rcv), recordTo(files+"/[stream].flv")))
	names := make(map[string]bool)
	for n := 1; n <= 3; n++ {
		c := publishWith(t, s.url("live/s"))
		sendMedia(t, c, n*10)
		c.Close()
		path := rcv.wait(t, "on_dvr", "s", n).text("file")
		names[path] = true
		if tags := wantComplete(t, path); len(tags) != 2+n*10 {
			t.Errorf("%s has %d tags, want %d", path, len(tags), 2+n*10)
		}
		rcv.wait(t, "on_unpublish", "s", n)
	}
	if len(names) != 3 {
		t.Errorf("three recordings, files %v", names)
	}
}

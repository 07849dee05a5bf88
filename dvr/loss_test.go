package dvr

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
)

// TestPicturesBesideSound: pictures that wait for a keyframe are counted also when
// their sound is recorded, whatever has taken the keyframe before them, and with
// whatever files: published is what is in files and what is told as lost.
func TestPicturesBesideSound(t *testing.T) {
	const pictures, gop = 1000, 250 // 40 s, 10 s
	type row struct {
		begin, end func(t *testing.T, s *site) // of the trouble
		reason     string
	}
	remove := func(t *testing.T, s *site) {
		for _, name := range s.files() {
			if strings.HasSuffix(name, tmp) {
				if err := os.Remove(s.cwd + "/" + name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	away := func(t *testing.T, s *site) {
		if err := os.Rename(s.cwd+"/rec", s.cwd+"/away"); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func(*testing.T, *site) {}
	answers := make(chan struct{})
	for name, c := range map[string]row{
		"removed":  {remove, nothing, errMoved.Error()},
		"folder":   {away, nothing, errMoved.Error()},
		"no place": {func(t *testing.T, s *site) { away(t, s); write(t, s.cwd+"/rec", "no folder") }, func(_ *testing.T, s *site) { os.Remove(s.cwd + "/rec") }, "not a directory"},
		"slow disk": {func(_ *testing.T, s *site) {
			answers = make(chan struct{}) // of the bubble
			for range diskCalls {
				go s.disk(s.cwd+"/rec", func() { <-answers })
			}
		}, func(*testing.T, *site) { close(answers) }, slowDisk},
	} {
		for _, change := range []func(*conf.DVR){func(*conf.DVR) {}, segments(2)} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "rec/[stream].flv", change)
				s.run()
				p := s.publishLive("x")
				p.Write(videoHeader)
				p.Write(audioHeader)
				for i := range uint32(pictures) {
					tag := inter(i * 40)
					if i%gop == 0 {
						tag = key(i * 40)
					}
					tag.Data = append(tag.Data, make([]byte, 50_000)...)
					p.Write(tag)
					p.Write(audio(i*40 + 20))
					time.Sleep(40 * time.Millisecond) // of the bubble
					switch i {
					case 260: // a moment behind a keyframe
						c.begin(t, s)
					case 560:
						c.end(t, s)
					}
				}
				p.Close()
				if err := s.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				have, lost, why := 0, 0, false
				for _, name := range s.files() {
					if strings.HasSuffix(name, ".flv") {
						have += parse(t, s.cwd+"/"+name).frames()
					}
				}
				for _, ev := range s.events() {
					lost += lostIn(ev.Error)
					why = why || strings.Contains(ev.Error, c.reason)
				}
				if have+lost != 2*pictures || lost == 0 || !why {
					t.Errorf("%s: %d frames recorded, %d lost of %d\n%+v\n%s", name, have, lost, 2*pictures, s.events(), s.log())
				}
			})
		}
	}
}

// TestSinceWhen: what no file has is told with the time and the path of the first of
// it, those of the error line, however often it was tried since.
func TestSinceWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "root/[stream].[timestamp].flv")
		s.Recorder.Now = time.Now
		write(t, s.cwd+"/root", "a file where a directory should be")
		time.Sleep(time.Hour) // of the bubble
		f := s.start("x")
		begun := time.Now().Truncate(flushAfter)
		for i := range uint32(60) {
			f.send(key(i*1000), audio(i*1000+500))
			time.Sleep(time.Second)
		}
		f.unpublish()
		ev := s.only()
		path := strings.TrimSuffix(logged(s.log(), "recording failed", "path"), tmp)
		if ev.Error != "not a directory: 120 frames lost" || path == "" || ev.File != path || logged(s.log(), "frames are in no recording", "path") != path {
			t.Errorf("%+v, want the path %s\n%s", ev, path, s.log())
		}
		if since := logged(s.log(), "frames are in no recording", "since"); since != begun.Format(time.DateTime) {
			t.Errorf("since %s, want %v", since, begun)
		}
	})
}

// logged gives a value of the one line of a log that has a text.
func logged(log, text, key string) string {
	_, line, _ := strings.Cut(log, text)
	line, _, _ = strings.Cut(line, "\n")
	_, value, _ := strings.Cut(line, " "+key+"=")
	if quoted, err := strconv.QuotedPrefix(value); err == nil {
		value, _ = strconv.Unquote(quoted)
		return value
	}
	value, _, _ = strings.Cut(value, " ")
	return value
}

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"srs/rtmp"
)

// TestDV02: names that no file should have are refused, as a stream's, an app's and a
// vhost's, and nothing is recorded; what a file may be called is encoded. Whatever a
// client calls itself, there is nothing outside the directory of the recordings, and the
// server serves on.
func TestDV02(t *testing.T) {
	t.Parallel()
	const refused, alike = "", "alike" // a vhost that nobody has configured is the default one
	rcv := newReceiver(t)
	dvr := recordTo("./rec/[vhost]/[app]/[stream].flv")
	s := startServer(t, vhost("%2e%2e", hooks(rcv, "on_dvr"), dvr), defaultVhost(hooks(rcv, "on_dvr"), dvr))
	var want []string
	for i, c := range []struct{ name, encoded, asHost string }{
		{"a\x00b", refused, refused},
		{"a\nb", refused, refused},
		{"\x7f", refused, refused},
		{"\x01", refused, refused},
		{"a\xffb", refused, refused},
		{".", refused, refused},
		{"..", refused, refused},
		{"../x", refused, refused},
		{"a/../../b", refused, refused},
		{"%2e%2e", "%252e%252e", "%252e%252e"},
		{"%2e%2e%2fx", "%252e%252e%252fx", alike},
		{"%00", "%2500", alike},
		{"....", "%2E..%2E", alike},
		{`..\..\x`, "%2E.%5C..%5Cx", alike},
		{"~root", "%7Eroot", alike},
		{"x.flv", "x.flv", alike},
	} {
		other := fmt.Sprint("s", i)
		folder := strings.Replace(c.encoded, ".flv", "%2Eflv", 1)
		for _, as := range []struct{ place, tcURL, app, stream, file string }{
			{"stream", s.url("live"), "live", c.name, "__defaultVhost__/live/" + c.encoded + ".flv"},
			{"app", s.url(c.name), c.name, other, "__defaultVhost__/" + folder + "/" + other + ".flv"},
			{"host", "rtmp://" + c.name + "/live", "live", other + "h", c.asHost + "/live/" + other + "h.flv"},
			{"vhost", s.url("live"), "live", other + "v?vhost=" + c.name, c.asHost + "/live/" + other + "v.flv"},
		} {
			accepted := publishOnce(t, s, as.tcURL, as.app, as.stream)
			if accepted != (c.encoded != refused) {
				t.Errorf("%q as the %s: accepted %t", c.name, as.place, accepted)
			}
			if accepted {
				file := strings.Replace(as.file, alike+"/", "__defaultVhost__/", 1)
				want = append(want, file)
				if got := rcv.wait(t, "on_dvr", "", len(want)).text("file"); got != "./rec/"+file {
					t.Errorf("%q as the %s: recorded as %s, want %s", c.name, as.place, got, file)
				}
			}
		}
	}
	if code, _ := s.stop(t, 15); code != 0 {
		t.Errorf("exit code %d", code)
	}
	slices.Sort(want)
	got := recordings(t, s.dir+"/rec")
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("recorded: %q, want %q", got, want)
	}
	above := filepath.Dir(s.dir)
	for _, name := range recordings(t, above) {
		if below, _ := filepath.Rel(s.dir, filepath.Join(above, name)); below != "srs.conf" && below != "srs.pid" && !strings.HasPrefix(below, "objs/") && !strings.HasPrefix(below, "rec/") {
			t.Errorf("outside of the recordings: %s", below)
		}
	}
}

// publishOnce publishes a picture and leaves. It says whether the server has accepted.
func publishOnce(t *testing.T, s *srs, tcURL, app, stream string) bool {
	t.Helper()
	c := dial(t, s).shake(t)
	defer c.Close()
	if c.connect(t, tcURL, app) != rtmp.CodeConnectSuccess {
		return false
	}
	c.send(t, cmdCreateStream(), cmdPublish(stream))
	if _, code, err := c.command("onStatus"); err != nil || code != rtmp.CodePublishStart {
		return false
	}
	c.send(t, message(6, rtmp.TypeVideo, avcHeader), message(6, rtmp.TypeVideo, avcFrame(true, []byte("frame"))))
	return true
}

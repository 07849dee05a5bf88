package e2e

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"srs/rtmp"
)

// TestTakeover: with on_conflict takeover a newcomer that the endpoint accepts
// has the stream. The endpoint hears of the old publisher's end before the
// newcomer begins, players go on, and each publish has its recording.
func TestTakeover(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	dir := t.TempDir()
	s := startServer(t, defaultVhost(hooks(rcv), recordTo(dir+"/[stream].[timestamp].flv"), block("publish", "on_conflict takeover;")))
	old := publishFFmpeg(t, s.url("live/s"))
	first := rcv.wait(t, "on_publish", "s", 1).client()
	player := playWith(t, s.url("live/s"))
	var last uint32
	next := func() {
		t.Helper()
		for {
			m, err := player.ReadMessage()
			if err != nil {
				t.Fatalf("the player: %v", err)
			}
			if m.Type == rtmp.TypeVideo {
				if m.Timestamp < last {
					t.Errorf("the player's time goes back from %d to %d", last, m.Timestamp)
				}
				last = m.Timestamp
				return
			}
		}
	}
	for range 25 {
		next()
	}

	rcv.always("on_publish", reply{body: "1"})
	denied, err := connect(t, s.url("live/s"))
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, denied.Publish(), rtmp.CodePublishDenied)
	for range 25 {
		next() // the old one is not disturbed
	}

	rcv.always("on_publish", reply{})
	heard := make(chan struct{})
	rcv.always("on_unpublish", reply{until: heard})
	c := dial(t, s).shake(t)
	c.connect(t, s.url("live"), "live")
	c.send(t, cmdCreateStream(), cmdPublish("s"))
	end := rcv.wait(t, "on_unpublish", "s", 1)
	if end.client() != first || end.text("reason") != "takeover" {
		t.Errorf("the end of the old publish: %s", end.body)
	}
	if started := s.matching(0, "publish started"); len(started) != 1 {
		t.Errorf("the newcomer began before the endpoint had heard of the end: %q", started)
	}
	close(heard)
	if code := c.status(t, nil); code != rtmp.CodePublishStart {
		t.Fatalf("the newcomer was told %s", code)
	}
	if code := old.exit(t, longest); code == 0 {
		t.Errorf("the old publisher ended with 0:\n%s", old.text())
	}
	for n := range 50 {
		c.send(t, message(6, rtmp.TypeVideo, avcFrame(n == 0, []byte("of the newcomer"))))
	}
	for range 50 {
		next()
	}
	c.Close()
	second := rcv.wait(t, "on_unpublish", "s", 2).client()
	rcv.wait(t, "on_dvr", "s", 2)
	if got, want := rcv.actions(first), []string{"on_connect", "on_publish", "on_unpublish", "on_close"}; !slices.Equal(inOrder(got), want) {
		t.Errorf("calls of the old client %q", got)
	}
	if got, want := rcv.actions(second), []string{"on_connect", "on_publish", "on_unpublish", "on_close"}; !slices.Equal(inOrder(got)[:3], want[:3]) {
		t.Errorf("calls of the newcomer %q", got)
	}
	if n := len(rcv.of("on_stop", "")); n != 0 {
		t.Errorf("%d times on_stop", n)
	}
	files, _ := filepath.Glob(dir + "/*.flv")
	if len(files) != 2 {
		t.Fatalf("recordings: %q", files)
	}
	for _, f := range files {
		if _, err := readFLV(f); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// TestTakeoverOfWhoLeft: a publisher has left while its on_publish is pending. A
// newcomer does not wait for the moment that the endpoint has to answer.
func TestTakeoverOfWhoLeft(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv), block("publish", "on_conflict takeover;")))
	rcv.always("on_publish", reply{until: make(chan struct{})})
	for _, stream := range []string{"s", "other"} {
		c := dial(t, s).shake(t)
		c.connect(t, s.url("live"), "live")
		c.send(t, cmdCreateStream(), cmdPublish(stream))
		rcv.wait(t, "on_publish", stream, 1)
		c.Close()
	}
	rcv.always("on_publish", reply{})
	publishWith(t, s.url("live/s"))
	left := rcv.of("on_publish", "s")[0].client()
	end, other := rcv.wait(t, "on_unpublish", "s", 1), rcv.wait(t, "on_unpublish", "other", 1)
	if end.client() != left {
		t.Errorf("%s", end.body)
	}
	if sooner := other.at.Sub(end.at); sooner < time.Second/2 {
		t.Errorf("the end that the newcomer waited for came only %v before the other", sooner)
	}
	rcv.wait(t, "on_close", "", 2)
	if got, want := rcv.actions(left), []string{"on_connect", "on_publish", "on_unpublish", "on_close"}; !slices.Equal(got, want) {
		t.Errorf("calls of who had left: %q", got)
	}
}

// inOrder leaves out on_dvr, which comes when it comes.
func inOrder(actions []string) []string {
	return slices.DeleteFunc(actions, func(a string) bool { return a == "on_dvr" })
}

package e2e

import (
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"srs/rtmp"
)

// TestRefusedWhilePushing has an encoder push 10 Mbit/s while the endpoint
// thinks about its no: the encoder still reads it, and a FIN behind it.
func TestRefusedWhilePushing(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	open := make(chan struct{})
	rcv.always("on_publish", reply{body: "1", until: open})
	c := dial(t, s).shake(t)
	c.connect(t, s.url("live"), "live")
	c.send(t, cmdCreateStream(), cmdPublish("s"))
	rcv.wait(t, "on_publish", "s", 1)
	pushed := make(chan struct{})
	go func() {
		defer close(pushed)
		tick := time.NewTicker(canaryEvery)
		defer tick.Stop()
		frame := message(6, rtmp.TypeVideo, make([]byte, 50_000))
		for n := 0; ; n++ {
			if n == 25 {
				close(open) // a second's worth is on its way
			}
			if _, err := c.Write(frame); err != nil {
				return
			}
			<-tick.C
		}
	}()
	if code := c.status(t, nil); code != rtmp.CodePublishDenied {
		t.Errorf("the encoder was told %q", code)
	}
	if got := c.end(t, longest); got != endFIN {
		t.Errorf("the connection ends with %s", got)
	}
	c.Close()
	<-pushed
}

// TestSilentPublishers: a publisher that sends nothing is taken for dead, its
// name is free, and its end says why; frozen by a signal or just silent.
func TestSilentPublishers(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv), block("publish", "firstpkt_timeout 1000;", "normal_timeout 1000;")))
	publishWith(t, s.url("live/first"))
	sendMedia(t, publishWith(t, s.url("live/normal")), 1)
	frozen := publishFFmpeg(t, s.url("live/frozen"))
	rcv.wait(t, "on_publish", "frozen", 1)
	player := playWith(t, s.url("live/frozen"))
	for range 10 {
		if _, err := player.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	frozen.signal(t, syscall.SIGSTOP)
	for _, stream := range []string{"first", "normal", "frozen"} {
		end := rcv.wait(t, "on_unpublish", stream, 1)
		if end.text("reason") != "pub.timeout" {
			t.Errorf("%s: %s", stream, end.body)
		}
		if took := end.at.Sub(rcv.of("on_publish", stream)[0].at); stream != "frozen" && (took < 900*time.Millisecond || took > 3*time.Second) {
			t.Errorf("%s: taken for dead after %v", stream, took)
		}
		publishWith(t, s.url("live/"+stream))
	}
}

// TestPlayersStay: a player that came before the publisher gets everything
// from its first frame on, and again from the next publisher; nothing in
// between tells it to leave.
func TestPlayersStay(t *testing.T) {
	t.Parallel()
	const rounds, frames = 3, 20
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	player := playWith(t, s.url("live/s"))
	var last uint32
	for round := range rounds {
		c := publishWith(t, s.url("live/s"))
		sendMedia(t, c, frames)
		for n := 0; n < 1+frames; {
			m, err := player.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			switch m.Type {
			case rtmp.TypeVideo:
				if m.Timestamp < last {
					t.Errorf("round %d: time goes back from %d to %d", round, last, m.Timestamp)
				}
				last = m.Timestamp
				n++
			case rtmp.TypeCommand:
				t.Errorf("round %d: the player was told %q", round, m.Body)
			}
		}
		c.Close()
		rcv.wait(t, "on_unpublish", "s", round+1)
	}
	if len(rcv.of("on_play", "")) != 1 || len(rcv.of("on_stop", "")) != 0 {
		t.Errorf("calls: %q", rcv.actions(""))
	}
}

// TestStopWithStalledPlayers: players that take nothing do not hold up a stop.
func TestStopWithStalledPlayers(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	pub := publishWith(t, s.url("live/s"))
	const players = 10
	for range players {
		c := dial(t, s)
		c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		c.shake(t)
		c.connect(t, s.url("live"), "live")
		c.send(t, cmdCreateStream(), cmdPlay("s"))
	}
	rcv.wait(t, "on_play", "s", players)
	big := avcFrame(true, make([]byte, 1<<20))
	for i := range 12 { // more than the sockets hold
		if err := pub.WriteTag(6, rtmp.TypeVideo, uint32(i*40), big); err != nil {
			t.Fatal(err)
		}
	}
	if code, took := s.stop(t, syscall.SIGTERM); code != 0 || took > 5*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	wantPairs(t, rcv, players+1)
}

// TestReloadWithoutTheVhost: ends of what was accepted go where the begins
// went; hooks that are switched off get none.
func TestReloadWithoutTheVhost(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, vhost("gone.example", hooks(rcv)), vhost("quiet.example", hooks(rcv)), defaultVhost())
	open := func(v string) *client {
		c := dial(t, s).shake(t)
		c.connect(t, "rtmp://"+v+"/live", "live")
		if code := c.status(t, cmdPublish("s")); code != rtmp.CodePublishStart {
			t.Fatalf("publish: %s", code)
		}
		return c
	}
	gone, quiet := open("gone.example"), open("quiet.example")
	s.writeConf(t, vhost("quiet.example", block("http_hooks", "enabled off;")), defaultVhost())
	s.signal(t, syscall.SIGHUP)
	s.waitLog(t, "configuration reloaded")
	quiet.Close()
	s.waitLog(t, "client gone .*phase=publish")
	gone.Close()
	rcv.wait(t, "on_close", "", 1)
	s.stop(t, syscall.SIGTERM)
	var got []string
	for _, c := range rcv.all()[4:] {
		got = append(got, c.text("vhost")+" "+c.action())
	}
	if want := []string{"gone.example on_unpublish", "gone.example on_close"}; !slices.Equal(got, want) {
		t.Errorf("calls after the reload: %q, want %q", got, want)
	}
	for _, end := range []string{"on_close", "on_unpublish"} {
		if n := len(s.matching(0, "are not sent: .*they are switched off vhost=quiet.example endpoint=.* "+end+"=1")); n != 1 {
			t.Errorf("%d lines of %s", n, end)
		}
	}
}

// TestRecordingWithoutTheVhost: the recording of a vhost that a reload has removed is
// announced where it would have been; of one that is gone at the start the log names it.
func TestRecordingWithoutTheVhost(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	with := vhost("gone.example", hooks(rcv, "on_dvr"), block("dvr", "enabled on;", "dvr_path ./rec/[stream].flv;"))
	s := startServer(t, with, defaultVhost())
	for _, reload := range []bool{true, false} {
		f := feed(t, s.url(fmt.Sprintf("live/%v?vhost=gone.example", reload)))
		eventually(t, longest, "a recording", func() bool {
			info, err := os.Stat(fmt.Sprintf("%s/rec/%v.flv.tmp", s.dir, reload))
			return err == nil && info.Size() > 10_000
		})
		if reload {
			s.writeConf(t, defaultVhost())
			s.signal(t, syscall.SIGHUP)
			s.waitLog(t, "configuration reloaded")
			f.end()
			if got := rcv.wait(t, "on_dvr", "true", 1); got.text("file") != "./rec/true.flv" {
				t.Errorf("on_dvr says %s", got.body)
			}
			s.writeConf(t, with, defaultVhost())
			s.signal(t, syscall.SIGHUP)
			s.waitCount(t, "configuration reloaded", 2)
			continue
		}
		s.sigkill()
		s.writeConf(t, defaultVhost())
		s = s.again(t)
		s.waitLog(t, "are not sent: recordings of a vhost that is not in the configuration .*vhost=gone.example on_dvr=1 files=.*./rec/false.flv")
	}
}

// TestRestartWithoutTheVhost: what has begun at a vhost that is gone has its end
// told also when the server has crashed or was stopped meanwhile, and nobody has
// hooks any more.
func TestRestartWithoutTheVhost(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		rcv := newReceiver(t)
		for _, end := range []string{"on_unpublish", "on_close"} {
			rcv.always(end, reply{status: 503})
		}
		s := startServer(t, vhost("gone.example", hooks(rcv)), defaultVhost())
		c := dial(t, s).shake(t)
		c.connect(t, "rtmp://gone.example/live", "live")
		if code := c.status(t, cmdPublish("s")); code != rtmp.CodePublishStart {
			t.Fatalf("publish: %s", code)
		}
		s.writeConf(t, defaultVhost())
		s.signal(t, syscall.SIGHUP)
		s.waitLog(t, "configuration reloaded")
		if sig == syscall.SIGKILL {
			s.sigkill()
		} else if code, _ := s.stop(t, sig); code != 0 {
			t.Errorf("exit code %d", code)
		}
		for _, end := range []string{"on_unpublish", "on_close"} {
			rcv.always(end, reply{})
		}
		before := len(rcv.all())
		s = s.again(t)
		eventually(t, longest, "two calls", func() bool { return len(rcv.all()) >= before+2 })
		var got []string
		for _, c := range rcv.all()[before:] {
			got = append(got, c.text("vhost")+" "+c.action())
		}
		if want := []string{"gone.example on_unpublish", "gone.example on_close"}; !slices.Equal(got, want) {
			t.Errorf("calls after %v and a new start: %q, want %q", sig, got, want)
		}
		s.stop(t, syscall.SIGTERM)
	}
}

package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"srs/amf0"
	"srs/conf"
	"srs/flv"
	"srs/rtmp"
)

func conf1(text string) (*conf.Config, error) { return conf.Parse("test.conf", []byte(text)) }

func TestPublishAndPlay(t *testing.T) {
	s := start(t, allHooks)
	early := s.play("x?token=abc")
	p := s.publish("x?key=1")
	meta := amf0.Append(nil, "@setDataFrame", "onMetaData", amf0.ECMAArray{{Key: "width", Value: 2.0}})
	send(t, p, 18, 0, meta)
	send(t, p, 9, 0, videoHeader())
	send(t, p, 8, 0, audioHeader())
	send(t, p, 9, 1000, videoFrame(true, 1, 100))
	send(t, p, 8, 1010, []byte{0xaf, 1, 7})
	send(t, p, 9, 1040, videoFrame(false, 2, 200_000))
	want := []struct {
		typ  uint8
		time uint32
		body []byte
	}{
		{18, 0, meta[len("\x02\x00\x0d@setDataFrame"):]}, {9, 0, videoHeader()}, {8, 0, audioHeader()},
		{9, 0, videoFrame(true, 1, 100)}, {8, 10, []byte{0xaf, 1, 7}}, {9, 40, videoFrame(false, 2, 200_000)},
	}
	for i, w := range want {
		m := nextMedia(t, early)
		if m.Type != w.typ || m.Timestamp != w.time || !bytes.Equal(m.Body, w.body) {
			t.Errorf("early player, message %d: type %d time %d, %d bytes", i, m.Type, m.Timestamp, len(m.Body))
		}
	}
	late := s.play("x")
	for i, w := range []int{0, 2, 1, 3, 4, 5} { // metadata, audio header, video header, from the keyframe
		m := nextMedia(t, late)
		if m.Type != want[w].typ || !bytes.Equal(m.Body, want[w].body) {
			t.Errorf("late player, message %d: type %d, %d bytes", i, m.Type, len(m.Body))
		}
	}
	p.Close()
	s.await(8) // 3 connects, 2 plays, publish, unpublish, close
	// The player that stays sees the stream go on.
	again := s.publish("x")
	send(t, again, 9, 0, videoHeader())
	send(t, again, 9, 5000, videoFrame(true, 3, 50))
	for _, c := range []*rtmp.Conn{early, late} {
		if m := nextMedia(t, c); !bytes.Equal(m.Body, videoHeader()) || m.Timestamp != 80 {
			t.Errorf("after the return: type %d at %d, want the header at 80", m.Type, m.Timestamp)
		}
		if m := nextMedia(t, c); m.Timestamp != 80 || m.Body[5] != 3 {
			t.Errorf("the first frame is at %d, want the last time and 40 ms more", m.Timestamp)
		}
	}
	early.Close()
	late.Close()
	again.Close()
	got := s.await(16)
	slices.Sort(got)
	if want := []string{
		"on_close", "on_close", "on_close", "on_close", "on_connect", "on_connect", "on_connect", "on_connect",
		"on_play", "on_play", "on_publish", "on_publish", "on_stop", "on_stop", "on_unpublish", "on_unpublish",
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("events %v", got)
	}
	if strings.Contains(s.log.String(), "abc") || strings.Contains(s.log.String(), "key=1") {
		t.Errorf("a token is in the log:\n%s", s.log)
	}
}

// Each refusal is told in RTMP, then FIN; nothing was begun, nothing ends.
func TestRefusals(t *testing.T) {
	for _, v := range []struct {
		gate string
		do   func(*site) (*rtmp.Conn, error)
		code string
		want []string
	}{
		{"on_connect", func(s *site) (*rtmp.Conn, error) { return s.tryDial("x") }, "NetConnection.Connect.Rejected", []string{"on_connect"}},
		{"on_publish", func(s *site) (*rtmp.Conn, error) { c := s.dial("x"); return c, c.Publish() }, "NetStream.Publish.Denied",
			[]string{"on_connect", "on_publish", "on_close"}},
		{"on_play", func(s *site) (*rtmp.Conn, error) { c := s.dial("x"); return c, c.Play() }, "NetStream.Play.Failed",
			[]string{"on_connect", "on_play", "on_close"}},
	} {
		for name, answer := range map[string]func(http.ResponseWriter, *http.Request){
			"1":        deny,
			"500":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); io.WriteString(w, "0") },
			"garbage":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
			"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
			"cut":      func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		} {
			t.Run(v.gate+" "+name, func(t *testing.T) {
				s := start(t, allHooks)
				s.script(v.gate, answer)
				c, err := v.do(s)
				var status *rtmp.StatusError
				if !errors.As(err, &status) || status.Code != v.code {
					t.Fatalf("the client got %v, want %s", err, v.code)
				}
				if c != nil {
					if err := readEnd(c); err != nil {
						t.Errorf("then %v, want FIN", err)
					}
				}
				if got := s.await(len(v.want)); !reflect.DeepEqual(got, v.want) {
					t.Errorf("events %v, want %v", got, v.want)
				}
				if n := s.server.Registry.Streams(); n != 0 {
					t.Errorf("%d streams are left", n)
				}
			})
		}
	}
}

func TestUnknownVhost(t *testing.T) {
	s := start(t, "")
	c, err := conf1("listen 1; vhost other {}")
	if err != nil {
		t.Fatal(err)
	}
	s.config.Store(c)
	_, err = s.tryDial("x")
	var status *rtmp.StatusError
	if !errors.As(err, &status) || status.Code != "NetConnection.Connect.InvalidApp" {
		t.Errorf("the client got %v", err)
	}
}

func TestBusyName(t *testing.T) {
	s := start(t, allHooks)
	first, player := s.publish("x"), s.play("x")
	send(t, first, 9, 0, videoFrame(true, 1, 100))
	second := s.dial("x")
	err := second.Publish()
	var status *rtmp.StatusError
	if !errors.As(err, &status) || status.Code != "NetStream.Publish.BadName" {
		t.Errorf("the second publisher got %v", err)
	}
	send(t, first, 9, 40, videoFrame(false, 2, 100))
	if m := nextMedia(t, player); m.Body[5] != 1 {
		t.Error("the first frame is not the first publisher's")
	}
	if m := nextMedia(t, player); m.Body[5] != 2 {
		t.Error("the first publisher was disturbed")
	}
	if n := slices.Index(s.actions(), "on_unpublish"); n >= 0 {
		t.Error("an end of what never began")
	}
}

// One connection publishes, stops and publishes again, in each way there is.
func TestPublishAgainOnOneConnection(t *testing.T) {
	s := start(t, allHooks)
	c := s.dial("x")
	n := 1
	for i, stop := range []string{"FCUnpublish", "deleteStream", "closeStream"} {
		if err := c.Publish(); err != nil {
			t.Fatalf("round %d: %v\n%s", i, err, s.log)
		}
		send(t, c, 9, uint32(i)*1000, videoFrame(true, 1, 100))
		if err := c.WriteCommand(stop, 9.0, amf0.Null{}, "x"); err != nil {
			t.Fatal(err)
		}
		n += 2
		s.await(n)
		send(t, c, 9, uint32(i)*1000+40, videoFrame(false, 1, 100)) // late, and ignored
	}
	c.Close()
	want := []string{"on_connect", "on_publish", "on_unpublish", "on_publish", "on_unpublish", "on_publish", "on_unpublish", "on_close"}
	if got := s.await(len(want)); !reflect.DeepEqual(got, want) {
		t.Errorf("events %v", got)
	}
}

func TestPlayThenPlayAnother(t *testing.T) {
	s := start(t, allHooks)
	p := s.publish("x")
	send(t, p, 9, 0, videoFrame(true, 1, 100))
	c := s.play("x")
	nextMedia(t, c)
	if err := c.WriteCommand("closeStream", 0.0, amf0.Null{}); err != nil {
		t.Fatal(err)
	}
	s.await(5)
	if err := c.Play(); err != nil {
		t.Fatal(err)
	}
	if m := nextMedia(t, c); m.Body[5] != 1 {
		t.Error("not the keyframe again")
	}
	c.Close()
	want := []string{"on_connect", "on_publish", "on_connect", "on_play", "on_stop", "on_play", "on_stop", "on_close"}
	if got := s.await(len(want)); !reflect.DeepEqual(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestSecondStreamOnOneConnection(t *testing.T) {
	s := start(t, "")
	c := s.publish("x")
	err := c.Publish()
	var status *rtmp.StatusError
	if !errors.As(err, &status) || status.Code != "NetStream.Publish.BadName" {
		t.Errorf("publish while publishing gives %v", err)
	}
	if err := c.Play(); !errors.As(err, &status) || status.Code != "NetStream.Play.Failed" {
		t.Errorf("play while publishing gives %v", err)
	}
	if got := s.server.Counters(); got.Publishers != 1 || got.Connections != 1 {
		t.Errorf("%+v", got)
	}
}

func TestPause(t *testing.T) {
	s := start(t, "")
	p, c := s.publish("x"), s.play("x")
	send(t, p, 9, 0, videoFrame(true, 1, 100))
	nextMedia(t, c)
	status := func(code string) {
		t.Helper()
		for {
			m, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if m.Type == flv.TypeVideo {
				t.Fatalf("video before %s", code)
			}
			if m.Type == rtmp.TypeCommand && bytes.Contains(m.Body, []byte(code)) {
				return
			}
		}
	}
	c.WriteCommand("pause", 0.0, amf0.Null{}, true, 0.0)
	status("NetStream.Pause.Notify")
	send(t, p, 9, 40, videoFrame(false, 2, 100))
	send(t, p, 9, 80, videoFrame(false, 3, 100))
	s.eventually(func() bool { return s.server.Counters().Connections == 2 }, "gone")
	c.WriteCommand("pause", 0.0, amf0.Null{}, false, 0.0)
	status("NetStream.Unpause.Notify")
	for _, n := range []byte{2, 3} {
		if m := nextMedia(t, c); m.Body[5] != n {
			t.Errorf("frame %d after the pause, want %d", m.Body[5], n)
		}
	}
}

func TestReceiveAudioOff(t *testing.T) {
	s := start(t, "min_latency on;")
	p, c := s.publish("x"), s.play("x")
	c.WriteCommand("receiveAudio", 0.0, amf0.Null{}, false)
	c.WriteCommand("getStreamLength", 77.0, amf0.Null{}, "x") // its answer: the order was taken
	for {
		m, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == rtmp.TypeCommand && bytes.Contains(m.Body, []byte("_result")) {
			break
		}
	}
	send(t, p, 8, 0, []byte{0xaf, 1, 1})
	send(t, p, 9, 0, videoFrame(true, 1, 100))
	send(t, p, 8, 20, []byte{0xaf, 1, 2})
	send(t, p, 9, 40, videoFrame(false, 2, 100))
	for range 2 {
		if m := nextMedia(t, c); m.Type != flv.TypeVideo {
			t.Error("audio in spite of receiveAudio(false)")
		}
	}
}

// A publisher that falls silent is closed and its name is free.
func TestPublishTimeouts(t *testing.T) {
	s := start(t, "publish_1stpkt_timeout 300; publish_normal_timeout 200;"+allHooks)
	s.publish("a")
	s.awaitLog("for 300ms")
	b := s.publish("b")
	send(t, b, 9, 0, videoFrame(true, 1, 100))
	s.awaitLog("for 200ms")
	s.await(8)
	s.publish("a")
}

// One that goes on, slowly, is not.
func TestSlowPublisherIsNotSilent(t *testing.T) {
	t.Parallel()
	s := start(t, "publish_normal_timeout 1500;")
	c := s.publish("a")
	tick := time.NewTicker(400 * time.Millisecond)
	defer tick.Stop()
	for i := range 8 {
		send(t, c, 9, uint32(i)*400, videoFrame(i == 0, byte(i), 100))
		<-tick.C
	}
	if strings.Contains(s.log.String(), "pub.timeout") {
		t.Error("closed while it was sending")
	}
}

// Pings do not stand for media: the name becomes free.
func TestPingsKeepNoName(t *testing.T) {
	t.Parallel()
	s := start(t, "publish_normal_timeout 500;")
	c := s.publish("a")
	send(t, c, 9, 0, videoFrame(true, 1, 100))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !strings.Contains(s.log.String(), "reason=pub.timeout"); <-tick.C {
		c.Write(rtmp.AppendUserControl(nil, rtmp.EventPing, 1))
		if time.Now().After(end) {
			t.Fatal("pings keep the name")
		}
	}
}

// A player that asks without taking the answers is closed, whatever blocks
// its socket, and costs no memory.
func TestPlayerFlood(t *testing.T) {
	s := start(t, "")
	p := s.publish("x")
	c := s.play("x")
	for i := range 400 { // its socket is full of media
		send(t, p, 9, uint32(i)*40, videoFrame(i == 0, 1, 60_000))
	}
	ping := bytes.Repeat(rtmp.AppendUserControl(nil, rtmp.EventPing, 1), 1000)
	sent := 0
	for {
		n, err := c.Write(ping)
		sent += n
		if err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatalf("%d bytes of pings were taken", sent)
		}
	}
	s.awaitLog("reason=ctrl.flood")
	send(t, p, 9, 20_000, videoFrame(true, 1, 100))
}

// Clients that leave while the endpoint says yes: each begin has its end, and
// the next begin of the name comes after it.
func TestLeavingMeansAnEnd(t *testing.T) {
	s := start(t, allHooks)
	const clients = 60
	for i := range clients {
		c := s.shaken()
		c.Write(publishing("x"))
		s.await(i*2 + 1) // more or less in the middle of something
		if i%2 == 0 {
			c.(*net.TCPConn).SetLinger(0)
		}
		c.Close()
		s.eventually(func() bool { return s.server.Counters().Connections == 0 }, "the connection stays")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.hooks.Close(ctx); err != nil {
		t.Fatal(err)
	}
	open := map[string]bool{}
	count := map[string]int{}
	for _, a := range s.actions() {
		count[a]++
		switch a {
		case "on_publish":
			if open[a] {
				t.Fatal("a begin before the end of the one before")
			}
			open[a] = true
		case "on_unpublish":
			open["on_publish"] = false
		}
	}
	if count["on_connect"] != count["on_close"] || count["on_publish"] != count["on_unpublish"] || count["on_connect"] != clients {
		t.Errorf("%v", count)
	}
}

// A client that leaves while its gate is pending: its question is given up
// after a moment, and since the endpoint has heard it, it hears an end too.
func TestLeavingWhileTheGateIsPending(t *testing.T) {
	s := start(t, allHooks)
	withdrawn := make(chan struct{})
	s.script("on_publish", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(withdrawn)
	})
	c := s.dial("x")
	go c.Publish()
	s.await(2)
	c.Close()
	select {
	case <-withdrawn:
	case <-time.After(patience):
		t.Fatal("the call goes on")
	}
	s.script("on_publish", nil)
	s.eventually(func() bool { return s.server.Registry.Streams() == 0 }, "the name is taken still")
	got := s.await(4)
	if want := []string{"on_connect", "on_publish", "on_unpublish", "on_close"}; !reflect.DeepEqual(got, want) {
		t.Errorf("events %v", got)
	}
	s.publish("x")
}

// What a client sends while its gate is pending is not lost.
func TestInputWhileTheGateIsPending(t *testing.T) {
	s := start(t, allHooks)
	decide := make(chan struct{})
	s.script("on_publish", func(w http.ResponseWriter, _ *http.Request) {
		<-decide
		io.WriteString(w, "0")
	})
	player := s.play("x")
	c := s.shaken()
	b := publishing("x")
	b = append(b, message(6, 9, videoHeader())...)
	for i := range byte(100) {
		b = append(b, message(6, 9, videoFrame(i == 0, i, 2000))...)
	}
	c.Write(b)
	s.await(4)
	close(decide)
	nextMedia(t, player)
	for i := range byte(100) {
		if m := nextMedia(t, player); m.Body[5] != i || len(m.Body) != 2000 {
			t.Fatalf("frame %d where %d was due", m.Body[5], i)
		}
	}
}

// The same for a player: its commands keep their order over the hand-over.
func TestPlayerInputKeepsItsOrder(t *testing.T) {
	s := start(t, allHooks)
	decide := make(chan struct{})
	s.script("on_play", func(w http.ResponseWriter, _ *http.Request) {
		<-decide
		io.WriteString(w, "0")
	})
	c := s.dial("x")
	ping := func(n uint32) []byte { return rtmp.AppendUserControl(nil, rtmp.EventPing, n) }
	b := rtmp.AppendCommand(nil, 4096, 1, "play", 3.0, amf0.Null{}, "x")
	c.Write(append(append(b, ping(1)...), ping(2)[:5]...))
	s.await(2)
	c.Write(ping(2)[5:])
	for n := range uint32(1000) { // a burst is no flood
		c.Write(ping(3 + n))
	}
	close(decide)
	var raw []byte
	for next := uint32(1); next <= 1002; {
		piece := make([]byte, 4096)
		n, err := c.Conn.Read(piece)
		if err != nil {
			t.Fatalf("pong %d: %v\n%s", next, err, s.log)
		}
		raw = append(raw, piece[:n]...)
		for pong := rtmp.AppendUserControl(nil, rtmp.EventPong, next); ; pong = rtmp.AppendUserControl(nil, rtmp.EventPong, next) {
			i := bytes.Index(raw, pong)
			if i < 0 {
				break
			}
			raw = raw[i+len(pong):]
			next++
		}
	}
}

// More than is kept waits in the socket.
func TestMuchInputWhileTheGateIsPending(t *testing.T) {
	s := start(t, allHooks)
	decide := make(chan struct{})
	s.script("on_publish", func(w http.ResponseWriter, _ *http.Request) {
		<-decide
		io.WriteString(w, "0")
	})
	player := s.play("x")
	c := s.shaken()
	go func() {
		b := publishing("x")
		for i := range byte(200) {
			b = append(b, message(6, 9, videoFrame(i == 0, i, 10_000))...)
		}
		c.Write(b)
	}()
	s.await(4)
	close(decide)
	for i := range byte(200) {
		if m := nextMedia(t, player); m.Body[5] != i {
			t.Fatalf("frame %d where %d was due", m.Body[5], i)
		}
	}
}

// A slow player is moved to a keyframe: it gets whole messages, in order, and
// after a gap a keyframe; the stream goes on for the others.
func TestSlowPlayerSkips(t *testing.T) {
	t.Parallel()
	s := start(t, "queue_length 1;")
	p, slow, quick := s.publish("x"), s.play("x"), s.play("x")
	const frames, size = 700, 60_000
	got := make(chan int)
	go func() {
		n := 0
		for n < frames {
			m, err := quick.ReadMessage()
			if err != nil {
				break
			}
			if m.Type == flv.TypeVideo {
				n++
			}
		}
		got <- n
	}()
	// Senders sweep once a second: send for longer than that.
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range frames {
		b := videoFrame(i%25 == 0, 1, size)
		b[6], b[7] = byte(i>>8), byte(i)
		send(t, p, 9, uint32(i)*40, b)
		<-tick.C
	}
	if n := <-got; n != frames {
		t.Errorf("the quick player got %d of %d frames", n, frames)
	}
	s.awaitLog("slow player skipped")
	last, gaps := -1, 0
	for last < frames-1 {
		m := nextMedia(t, slow)
		n := int(m.Body[6])<<8 | int(m.Body[7])
		if len(m.Body) != size || n <= last {
			t.Fatalf("frame %d of %d bytes after %d", n, len(m.Body), last)
		}
		if n != last+1 {
			gaps++
			if flv.Sniff(m.Type, m.Body)&flv.Keyframe == 0 {
				t.Errorf("frame %d after %d is no keyframe", n, last)
			}
		}
		last = n
	}
	if gaps == 0 || s.server.Counters().Skips == 0 {
		t.Errorf("%d gaps, counters %+v", gaps, s.server.Counters())
	}
}

// A player whose socket takes nothing any more is closed, and told of.
func TestStalledPlayerIsClosed(t *testing.T) {
	t.Parallel()
	s := start(t, allHooks)
	p := s.publish("x")
	s.play("x") // and never reads
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	begun := time.Now()
	for i := 0; !strings.Contains(s.log.String(), "reason=play.stalled"); i++ {
		send(t, p, 9, uint32(i)*40, videoFrame(i == 0, 1, 20_000)) // no newer keyframe to go to
		<-tick.C
		if time.Since(begun) > stallTime+5*time.Second {
			t.Fatalf("still there after %v\n%s", time.Since(begun), s.log)
		}
	}
	if took := time.Since(begun); took < stallTime {
		t.Errorf("closed after %v", took)
	}
	got := s.await(6)
	if want := []string{"on_stop", "on_close"}; !reflect.DeepEqual(got[4:], want) {
		t.Errorf("events %v", got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events[4:] {
		if e["reason"] != "play.stalled" {
			t.Errorf("%v", e)
		}
	}
}

func TestShutdownTellsEverybody(t *testing.T) {
	s := start(t, allHooks)
	p, c := s.publish("x"), s.play("x")
	send(t, p, 9, 0, videoFrame(true, 1, 100))
	nextMedia(t, c)
	hang := make(chan struct{})
	defer close(hang)
	s.script("on_play", func(http.ResponseWriter, *http.Request) { <-hang })
	waiting := s.dial("x")
	go waiting.Play()
	s.await(6)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	begun := time.Now()
	if err := s.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	for _, c := range []*rtmp.Conn{p, c} {
		if err := readEnd(c); err != nil {
			t.Errorf("a client's end is %v, want FIN", err)
		}
	}
	got := s.await(6 + 6)
	for action, n := range map[string]int{"on_connect": 3, "on_close": 3, "on_publish": 1, "on_unpublish": 1, "on_play": 2, "on_stop": 2} {
		count := 0
		for _, a := range got {
			if a == action {
				count++
			}
		}
		if count != n {
			t.Errorf("%d × %s, want %d", count, action, n)
		}
	}
}

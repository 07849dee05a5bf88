package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"srs/rtmp"
)

const takeover = `publish { on_conflict takeover; } ` + allHooks

// named lists the events of the stream, with their reasons.
func (s *site) named() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, e := range s.events {
		text := e["action"].(string)
		if reason, ok := e["reason"].(string); ok {
			text += " " + reason
		}
		list = append(list, text)
	}
	return list
}

// background publishes and hands over how that ended.
func background(c *rtmp.Conn) <-chan error {
	done := make(chan error, 1)
	go func() { done <- c.Publish() }()
	return done
}

func wantStatus(t *testing.T, err error, code string) {
	t.Helper()
	var status *rtmp.StatusError
	if !errors.As(err, &status) || status.Code != code {
		t.Errorf("the client got %v, want %s", err, code)
	}
}

// The newcomer is asked about, the old publisher ends, the endpoint hears of
// that, and only then the newcomer begins. Players stay.
func TestTakeover(t *testing.T) {
	s := start(t, takeover)
	old, player := s.publish("x"), s.play("x")
	send(t, old, 9, 0, videoFrame(true, 1, 100))
	send(t, old, 9, 1000, videoFrame(false, 2, 100))
	nextMedia(t, player)
	nextMedia(t, player)
	heard := make(chan struct{})
	s.script("on_unpublish", func(w http.ResponseWriter, r *http.Request) {
		<-heard
		io.WriteString(w, "0")
	})
	next := s.dial("x")
	began := background(next)
	for {
		m, err := old.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Body), "NetStream.Publish.BadName") {
			break
		}
	}
	if err := readEnd(old); err != nil {
		t.Errorf("the old publisher's connection ends with %v, want FIN", err)
	}
	s.await(7)
	select {
	case err := <-began:
		t.Errorf("the newcomer was answered (%v) before the endpoint had heard of the end", err)
	default:
	}
	close(heard)
	if err := <-began; err != nil {
		t.Fatalf("the newcomer got %v\n%s", err, s.log)
	}
	send(t, next, 9, 5000, videoFrame(true, 3, 100))
	if m := nextMedia(t, player); m.Body[5] != 3 || m.Timestamp != 1040 {
		t.Errorf("the player goes on with frame %d at %d, want the newcomer's at 1040", m.Body[5], m.Timestamp)
	}
	s.await(8)
	want := []string{
		"on_connect", "on_publish", "on_connect", "on_play", "on_connect",
		"on_publish", "on_unpublish takeover", "on_close takeover",
	}
	if got := s.named(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// Nobody is asked: the newcomer has it at once.
func TestTakeoverWithoutHooks(t *testing.T) {
	s := start(t, "publish { on_conflict takeover; }")
	player := s.play("x")
	for n := byte(1); n < 5; n++ {
		send(t, s.publish("x"), 9, 0, videoFrame(true, n, 100))
		if m := nextMedia(t, player); m.Body[5] != n {
			t.Errorf("frame %d, want %d", m.Body[5], n)
		}
	}
	s.eventually(func() bool { return s.server.Counters().Connections == 2 }, "the old ones stay")
}

func TestTakeoverDenied(t *testing.T) {
	s := start(t, takeover)
	old := s.publish("x")
	s.script("on_publish", deny)
	wantStatus(t, s.dial("x").Publish(), rtmp.CodePublishDenied)
	send(t, old, 9, 0, videoFrame(true, 1, 100))
	if n := s.server.Counters().Publishers; n != 1 {
		t.Errorf("%d publishers", n)
	}
}

// One whose question is pending has the name, and loses it like any other.
func TestTakeoverOfAPendingGate(t *testing.T) {
	s := start(t, takeover)
	hang := make(chan struct{})
	s.script("on_publish", func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	first := background(s.dial("x"))
	s.await(2)
	s.script("on_publish", nil)
	s.publish("x")
	wantStatus(t, <-first, rtmp.CodePublishBadName)
	s.await(6)
	if got := s.named(); !slices.Contains(got, "on_unpublish takeover") {
		t.Errorf("events %v: the endpoint may have said yes to the first", got)
	}
}

// A newcomer that leaves while the old one's end is not delivered was accepted:
// it has an end too, and the name is free.
func TestTakeoverAndLeave(t *testing.T) {
	s := start(t, takeover)
	s.publish("x")
	heard := make(chan struct{})
	s.script("on_unpublish", func(w http.ResponseWriter, r *http.Request) {
		<-heard
		io.WriteString(w, "0")
	})
	next := s.dial("x")
	background(next)
	s.await(5)
	next.Close()
	s.awaitLog("reason=takeover")
	close(heard)
	s.await(8)
	if got := s.actions(); len(got) != 8 || slices.Index(got, "on_unpublish") < 4 {
		t.Errorf("events %v", got)
	}
	s.eventually(func() bool { return s.server.Counters().Streams == 0 }, "the name is not free")
	s.publish("x")
}

// A crowd takes one name over and over: each that was accepted has one end,
// and one is left.
func TestTakeoverCrowd(t *testing.T) {
	s := start(t, takeover)
	const crowd = 40
	var wg sync.WaitGroup
	for range crowd {
		c := s.dial("x")
		wg.Go(func() {
			err := c.Publish()
			var status *rtmp.StatusError
			if err != nil && (!errors.As(err, &status) || status.Code != rtmp.CodePublishBadName) {
				t.Errorf("a client got %v", err)
			}
		})
	}
	wg.Wait()
	s.eventually(func() bool {
		n := map[string]int{}
		for _, a := range s.actions() {
			n[a]++
		}
		return n["on_connect"] == crowd && n["on_close"] == crowd-1 && n["on_publish"] == n["on_unpublish"]+1
	}, "not one that is left:\n%v\n%s", s.named(), s.log)
	if c := s.server.Counters(); c.Publishers != 1 || c.Streams != 1 {
		t.Errorf("%+v", c)
	}
}

// The server stops while newcomers wait for the old ones' ends to be delivered:
// that is why theirs come.
func TestTakeoverAndShutdown(t *testing.T) {
	s := start(t, takeover)
	heard := make(chan struct{})
	s.script("on_unpublish", func(w http.ResponseWriter, r *http.Request) {
		<-heard
		io.WriteString(w, "0")
	})
	const streams = 8
	for i := range streams {
		name := fmt.Sprint("x", i)
		s.publish(name)
		background(s.dial(name))
	}
	s.await(5 * streams) // connect and publish of both, and the old one's end
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := s.server.Shutdown(ctx)
	close(heard)
	if err != nil {
		t.Fatal(err)
	}
	s.await(8 * streams)
	n := map[string]int{}
	for _, e := range s.named() {
		n[e]++
	}
	if n["on_unpublish takeover"] != streams || n["on_unpublish server.shutdown"] != streams || n["on_close server.shutdown"] != streams {
		t.Errorf("%v", n)
	}
}

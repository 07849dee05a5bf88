package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"srs/rtmp"
)

// TestPublish: streams without players are measured by what was sent.
func TestPublish(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	var out bytes.Buffer
	args := strings.Fields("publish -publishers 20 -duration 700ms -o " + file + " -url rtmp://" + startFloor(t, 0) + "/live/x")
	if code := run(t.Context(), args, &out, &out); code != exitOK {
		t.Fatalf("exit status %d\n%s", code, out.String())
	}
	b, err := os.ReadFile(file)
	var r report
	if err != nil || json.Unmarshal(b, &r) != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	// 68 frames/s and 500 kb/s each.
	if r.Sent < 20*40 || r.Bytes < 20*30_000 || r.Bytes >= r.SentBytes || r.Late == nil || r.Seconds < 0.5 {
		t.Errorf("%s", b)
	}
}

// TestPublishDiscard: a floor that only reads takes publishers, knows when
// they are gone, and has nothing for players.
func TestPublishDiscard(t *testing.T) {
	t.Parallel()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var said bytes.Buffer
	go func() { done <- run(ctx, []string{"floor", "-discard", "-listen", address}, &said, &said) }()
	url := "rtmp://" + address + "/live/x"
	deadline := time.Now().Add(10 * time.Second)
	for round := 0; round < 2; { // the name is free again
		var out bytes.Buffer
		switch code := run(t.Context(), strings.Fields("publish -publishers 3 -duration 200ms -url "+url), &out, &out); {
		case code == exitOK && strings.Contains(out.String(), "publish: 3 streams"):
			round++
		case !strings.Contains(out.String(), "refused") || time.Now().After(deadline): // or it does not listen yet
			t.Fatalf("exit status %d\n%s", code, out.String())
		}
	}
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("exit status %d\n%s", code, said.String())
	}
}

// relayUntil passes a connection on to a server; of what comes beyond limit
// nothing is read until the gate is open.
func relayUntil(ln net.Listener, server string, limit int64, gate <-chan struct{}) error {
	in, err := ln.Accept()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := net.Dial("tcp", server)
	if err != nil {
		return err
	}
	defer out.Close()
	go io.Copy(in, out)
	if _, err := io.CopyN(out, in, limit); err != nil {
		return err
	}
	<-gate
	_, err = io.Copy(out, in)
	return err
}

// TestPublisherWaits: while a server does not read, a publisher sends nothing;
// then it catches up, and all is whole.
func TestPublisherWaits(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	server := startFloor(t, 0)
	gate, relayed := make(chan struct{}), make(chan error, 1)
	go func() { relayed <- relayUntil(ln, server, 1<<20, gate) }()
	player := dialFloor(t, "rtmp://"+server+"/live/x", (*rtmp.Conn).Play)

	crowd, err := newCrowd()
	if err != nil {
		t.Fatal(err)
	}
	defer crowd.leave()
	request, err := newPublishRequest("rtmp://" + ln.Addr().String() + "/live/x")
	if err != nil {
		t.Fatal(err)
	}
	load, ended := newLoad(new(atomic.Pointer[window]), nil), make(chan error, 1)
	p := newPublisher(request, workload{Kbps: 80_000, FPS: 50, GOP: time.Second}, load)
	p.ended = func(err error) { ended <- err }
	crowd.join(&p.client)

	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(10 * time.Second)
	for same, last := 0, uint32(0); same < 6; same++ { // 15 frames' time
		<-ticker.C
		if n := p.sequence.Load(); n != last || n == 0 {
			same, last = 0, n
		}
		if time.Now().After(deadline) {
			t.Fatalf("it still sends, %d frames", p.sequence.Load())
		}
	}
	sent := int64(p.sequence.Load())
	close(gate)
	if sum := player.receive(p.stream, sent+20); sum.damage() > 0 {
		t.Errorf("%d faults", sum.damage())
	}
	if late := load.late.max(); late < 200*time.Millisecond {
		t.Errorf("late by %v at most", late)
	}
	crowd.do(p.quit)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := <-relayed; err != nil {
		t.Error(err)
	}
}

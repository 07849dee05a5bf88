package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"srs/rtmp"
)

// connect opens a connection for app/stream, or says why not.
func connect(t testing.TB, url string) (*rtmp.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	c, err := rtmp.Dial(ctx, url, 4096)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * longest)) // no test hangs; a canary lifts it
	return c, nil
}

// publishWith is a publisher that has been accepted.
func publishWith(t testing.TB, url string) *rtmp.Conn {
	t.Helper()
	c, err := connect(t, url)
	if err == nil {
		err = c.Publish()
	}
	if err != nil {
		t.Fatalf("publish %s: %v", url, err)
	}
	return c
}

// playWith is a player that has been accepted.
func playWith(t testing.TB, url string) *rtmp.Conn {
	t.Helper()
	c, err := connect(t, url)
	if err == nil {
		err = c.Play()
	}
	if err != nil {
		t.Fatalf("play %s: %v", url, err)
	}
	return c
}

// sendMedia sends an AVC sequence header and n frames, 40 ms apart in time
// stamps, as fast as they go; the first is a keyframe.
func sendMedia(t testing.TB, c *rtmp.Conn, n int) {
	t.Helper()
	if err := c.WriteTag(6, rtmp.TypeVideo, 0, avcHeader); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if err := c.WriteTag(6, rtmp.TypeVideo, uint32(i*40), avcFrame(i == 0, []byte("frame"))); err != nil {
			t.Fatal(err)
		}
	}
}

// avcHeader is a decoder configuration as x264 writes it for 320x180.
var avcHeader = []byte("\x17\x00\x00\x00\x00" +
	"\x01\x64\x00\x0d\xff\xe1\x00\x19\x67\x64\x00\x0d\xac\xd9\x41\x41\x9f\x9f\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\x20\xf1\x42\x99\x60\x01\x00\x06\x68\xeb\xe3\xcb\x22\xc0")

// avcFrame is a video body with that payload.
func avcFrame(key bool, payload []byte) []byte {
	head := []byte("\x27\x01\x00\x00\x00")
	if key {
		head[0] = 0x17
	}
	return append(head, payload...)
}

// wantStatus checks that a refusal has that code.
func wantStatus(t testing.TB, err error, code string) {
	t.Helper()
	var status *rtmp.StatusError
	if !errors.As(err, &status) || status.Code != code {
		t.Errorf("the client was told %v, want status %s", err, code)
	}
}

// wantFIN checks that the server closes in order: all it said arrives, no RST.
func wantFIN(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(longest))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the connection ends with %v, want FIN", err)
	}
}

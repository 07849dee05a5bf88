package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"srs/rtmp"
)

// rawEndpoint runs a function for each connection, once a request was read;
// without one it resets the connections at the first byte.
func rawEndpoint(t testing.TB, serve func(c *net.TCPConn, req *http.Request)) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if serve == nil {
					c.Read(make([]byte, 1)) // else connecting may fail already
					c.(*net.TCPConn).SetLinger(0)
					return
				}
				c.SetDeadline(time.Now().Add(2 * longest))
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				io.Copy(io.Discard, req.Body)
				serve(c.(*net.TCPConn), req)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return "http://" + ln.Addr().String() + "/"
}

// onPlay is an http_hooks block that asks URLs about on_play.
func onPlay(urls string, more ...string) string {
	return block("http_hooks", append([]string{"enabled on;", "on_play " + urls + ";"}, more...)...)
}

// play asks for a stream and returns the code of the answer, and how long it took.
func play(t testing.TB, s *srs, vhost, stream string) (code string, took time.Duration) {
	t.Helper()
	c := dial(t, s).shake(t)
	c.connect(t, "rtmp://"+vhost+"/live", "live")
	begun := time.Now()
	code = c.status(t, cmdPlay(stream))
	took = time.Since(begun)
	c.Close()
	return code, took
}

// answers are endpoints that each do one thing wrong, and what the log says of it.
type answers []struct {
	name, reason string
	serve        func(c *net.TCPConn, req *http.Request)
}

// refuse has a server ask each endpoint.
func (all answers) refuse(t *testing.T) {
	t.Helper()
	all.ask(t, all.serve(t))
}

// serve starts a server with a vhost for each endpoint and a timeout of 1 s.
func (all answers) serve(t *testing.T) *srs {
	t.Helper()
	var blocks []string
	for i, a := range all {
		blocks = append(blocks, vhost(fmt.Sprintf("v%d", i), onPlay(rawEndpoint(t, a.serve), "timeout 1000;")))
	}
	return startServer(t, blocks...)
}

// ask has a server ask them, and checks what the client hears and the log says.
func (all answers) ask(t *testing.T, s *srs) {
	t.Helper()
	for i, a := range all {
		mark := s.mark()
		code, took := play(t, s, fmt.Sprintf("v%d", i), "s")
		want := rtmp.CodePlayFailed
		if a.reason == "" {
			want = rtmp.CodePlayStart
		}
		if code != want || took > 3*time.Second {
			t.Errorf("%s: the client was told %q after %v, want %q", a.name, code, took, want)
		}
		if a.reason != "" {
			s.waitLine(t, mark, fmt.Sprintf(`on_play refused.*vhost=v%d .*reason=%s\b`, i, a.reason))
		}
	}
}

const ok = "HTTP/1.1 200 OK\r\n"

// says sends fixed bytes and hangs up.
func says(text string) func(*net.TCPConn, *http.Request) {
	return func(c *net.TCPConn, _ *http.Request) { io.WriteString(c, text) }
}

// repeats sends fixed bytes, then others for ever.
func repeats(first, again string) func(*net.TCPConn, *http.Request) {
	return func(c *net.TCPConn, _ *http.Request) {
		_, err := io.WriteString(c, first)
		for err == nil {
			_, err = io.WriteString(c, again)
		}
	}
}

// drips sends a byte each tenth of a second, for ever.
func drips(first string) func(*net.TCPConn, *http.Request) {
	return func(c *net.TCPConn, _ *http.Request) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		_, err := io.WriteString(c, first)
		for err == nil {
			<-tick.C
			_, err = io.WriteString(c, " ")
		}
	}
}

// resets sends fixed bytes and a RST.
func resets(text string) func(*net.TCPConn, *http.Request) {
	return func(c *net.TCPConn, _ *http.Request) {
		io.WriteString(c, text)
		c.SetLinger(0)
	}
}

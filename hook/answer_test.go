package hook

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// HK-04, HK-05, HK-06: answers that are none, over TCP.
func TestHK04(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name, want string
		serve      func(*net.TCPConn)
	}{
		{"reset", ReasonBadResponse, func(c *net.TCPConn) { c.SetLinger(0) }},
		{"nothing", ReasonBadResponse, func(c *net.TCPConn) {}},
		{"half a header, reset", ReasonBadResponse, func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 20"); c.SetLinger(0) }},
		{"half a header", ReasonBadResponse, func(c *net.TCPConn) { io.WriteString(c, ok+"Content-Le") }},
		{"short body", ReasonBadResponse, func(c *net.TCPConn) { io.WriteString(c, ok+"Content-Length: 10\r\n\r\n0") }},
		{"short chunk", ReasonBadResponse, func(c *net.TCPConn) {
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n1\r\n0\r\n")
		}},
		{"short body, status says no", ReasonStatus, func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 403 SECRET\r\nContent-Length: 10\r\n\r\n0")
		}},
		{"no HTTP", ReasonBadResponse, func(c *net.TCPConn) { io.WriteString(c, "SECRET SECRET SECRET\r\n\r\n") }},
		{"status SECRET", ReasonBadResponse, func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 SECRET x\r\n\r\n") }},
		{"until close", "", func(c *net.TCPConn) { io.WriteString(c, ok+"\r\n0") }},
		{"chunked", "", func(c *net.TCPConn) {
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n1\r\n0\r\n0\r\n\r\n")
		}},
		{"endless chunks", ReasonTooBig, func(c *net.TCPConn) {
			io.WriteString(c, ok+"Transfer-Encoding: chunked\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "4\r\n    \r\n"); err != nil {
					return
				}
			}
		}},
		{"10 GiB", ReasonTooBig, func(c *net.TCPConn) { io.WriteString(c, ok+"Content-Length: 10737418240\r\n\r\n0") }},
		{"another protocol", ReasonStatus, func(c *net.TCPConn) {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			io.Copy(io.Discard, c)
		}},
		{"one endless header", ReasonTooBig, func(c *net.TCPConn) {
			io.WriteString(c, ok+"X: ")
			for {
				if _, err := io.WriteString(c, strings.Repeat("x", 4096)); err != nil {
					return
				}
			}
		}},
		{"many headers", ReasonTooBig, func(c *net.TCPConn) {
			io.WriteString(c, ok)
			io.WriteString(c, strings.Repeat("a: b\r\n", 100_000)+"\r\n0")
		}},
		{"endless 100 Continue", ReasonTooBig, func(c *net.TCPConn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1000)+"\r\n\r\n"); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := rawServer(t, func(conn *net.TCPConn) {
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				io.Copy(io.Discard, req.Body)
				c.serve(conn)
			})
			err := testEngine(t, all(url)).Client().Ask(t.Context(), event(OnPublish, 1, "s"))
			if got := reason(t, err); got != c.want {
				t.Fatalf("%q, want %q (%v)", got, c.want, err)
			}
			if err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("the endpoint's text is in %q", err)
			}
		})
	}
}

// A tap is our side of a connection in memory: nothing stands in between, so what
// was read is known to the byte.
type tap struct {
	net.Conn
	read   atomic.Int64
	closed atomic.Bool
}

func (p *tap) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.read.Add(int64(n))
	return n, err
}

func (p *tap) Close() error {
	p.closed.Store(true)
	return p.Conn.Close()
}

// refusedCheaply asks an endpoint that answers with first, and then with again
// for ever, and checks what that costs: bytes read, bytes allocated, whether the
// connection is closed.
func refusedCheaply(t *testing.T, want string, mostRead int64, first, again string) (refusal error) {
	t.Helper()
	const mostMemory = 1 << 20
	ours, theirs := net.Pipe()
	conn, ended := &tap{Conn: ours}, make(chan struct{})
	defer func() { theirs.Close(); <-ended }()
	go func() {
		defer close(ended)
		req, err := http.ReadRequest(bufio.NewReader(theirs))
		if err == nil {
			io.Copy(io.Discard, req.Body)
			_, err = io.WriteString(theirs, first)
		}
		for more := []byte(again); err == nil && len(more) > 0; {
			_, err = theirs.Write(more)
		}
	}()
	e := newEngine(Options{Rules: rulesOf(all("http://h/"))}, func(context.Context, string, string) (net.Conn, error) { return conn, nil })
	defer closeNow(t, e)
	client := e.Client()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := client.Ask(t.Context(), event(OnPublish, 1, "s"))
	runtime.ReadMemStats(&after)
	if got := reason(t, err); got != want {
		t.Errorf("%v, want %s", err, want)
	}
	read, memory := conn.read.Load(), after.TotalAlloc-before.TotalAlloc
	t.Logf("%d bytes read, %d allocated: %v", read, memory, err)
	if read > mostRead {
		t.Errorf("%d bytes read", read)
	}
	if memory > mostMemory {
		t.Errorf("%d bytes allocated", memory)
	}
	if !settles(conn.closed.Load) {
		t.Error("the connection is still open")
	}
	return err
}

const answerOK = "HTTP/1.1 200 OK\r\n"

// HK-05: of a body that has no end 64 KiB are read, and what net/http reads ahead.
func TestHK05(t *testing.T) {
	const most = maxBody + 8<<10
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	z.Write(make([]byte, 10<<20))
	z.Close()
	for _, c := range []struct{ name, want, first, again string }{
		{"endless chunks", ReasonTooBig, "Transfer-Encoding: chunked\r\n\r\n", "1000\r\n" + strings.Repeat(" ", 4096) + "\r\n"},
		{"chunks of a byte", ReasonTooBig, "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
		{"until the connection ends", ReasonTooBig, "\r\n", strings.Repeat(" ", 4096)},
		{"10 GiB", ReasonTooBig, "Content-Length: 10737418240\r\n\r\n", strings.Repeat(" ", 4096)},
		{"gzip bombs, one behind the other", ReasonTooBig, "Content-Encoding: gzip\r\n\r\n", bomb.String()},
		{"a gzip bomb of 10 KiB", ReasonBadResponse, "Content-Encoding: gzip\r\nConnection: close\r\nContent-Length: " +
			fmt.Sprint(bomb.Len()) + "\r\n\r\n" + bomb.String(), ""}, // not unpacked
	} {
		t.Run(c.name, func(t *testing.T) {
			read := int64(most)
			if c.again == "1\r\n \r\n" {
				read *= 6 // of which each sixth byte counts
			}
			err := refusedCheaply(t, c.want, read, answerOK+c.first, c.again)
			if c.want == ReasonBadResponse && !strings.Contains(err.Error(), "compressed") {
				t.Error(err)
			}
		})
	}
}

// HK-06: of headers that have no end 64 KiB are read at most.
func TestHK06(t *testing.T) {
	for _, c := range []struct{ name, want, first, again string }{
		{"one header", ReasonTooBig, answerOK + "X: ", strings.Repeat("x", 4096)},
		{"many headers", ReasonTooBig, answerOK, "a: b\r\n"},
		{"1xx", ReasonTooBig, "", "HTTP/1.1 103 Early Hints\r\nX: " + strings.Repeat("x", 1000) + "\r\n\r\n"},
		{"trailers", ReasonBadResponse, answerOK + "Transfer-Encoding: chunked\r\n\r\n0\r\n", "a: b\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) { refusedCheaply(t, c.want, 64<<10, c.first, c.again) })
	}
}

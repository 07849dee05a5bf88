package hook

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What an endpoint sends unasked is told at debug, without its text.
func TestStrayLog(t *testing.T) {
	var book logBook
	defer TakeStandardLog(book.logger())()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0SECRET"))
			c.Read(make([]byte, 1))
		}
	}()
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	resp, err := client.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Read(make([]byte, 1))
	resp.Body.Close()
	settles(func() bool { return book.String() != "" })
	if got := book.String(); !strings.Contains(got, "level=DEBUG") || !strings.Contains(got, "sent something it was not asked for") || strings.Contains(got, "SECRET") {
		t.Errorf("logged %q", got)
	}
}

package hook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shortQueue listens at a unix socket where few connections wait to be accepted.
func shortQueue(t testing.TB, backlog int) (l net.Listener, url string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := dir + "/s"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	if l, err = net.FileListener(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, "http://unix:" + path + ":/"
}

// unhurried takes its time to accept.
type unhurried struct{ net.Listener }

func (u unhurried) Accept() (net.Conn, error) {
	<-time.After(2 * time.Millisecond)
	return u.Listener.Accept()
}

// A socket whose queue is full is asked again, as the kernel does with TCP: nobody
// is refused for it, and no breaker opens.
func TestSocketQueueIsFull(t *testing.T) {
	for _, backlog := range []int{0, 1} {
		l, url := shortQueue(t, backlog)
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "0") })}
		var served sync.WaitGroup
		served.Go(func() { srv.Serve(unhurried{l}) })
		t.Cleanup(func() { srv.Close(); served.Wait() })
		var book logBook
		e := openEngine(t, Options{Rules: rulesOf(all(url)), Log: book.logger()})
		const clients = 60
		answers := make(chan error, clients)
		for i := range uint64(clients) {
			go func() {
				c := e.Client()
				err := c.Ask(t.Context(), event(OnPlay, i, "s"))
				if err == nil {
					c.Tell(event(OnStop, i, "s"))
				}
				answers <- err
			}()
		}
		for range clients {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if !settles(func() bool { return e.Counters()[OnStop].Delivered == clients }) {
			t.Errorf("%+v", e.Counters()[OnStop])
		}
		if log := book.String(); strings.Contains(log, "endpoint") {
			t.Errorf("a breaker opens:\n%s", log)
		}
	}
}

// If it stays full the call ends with its own time.
func TestSocketQueueStaysFull(t *testing.T) {
	_, url := shortQueue(t, 0)
	rules := all(url)
	rules.Timeout = 300 * time.Millisecond
	e := testEngine(t, rules)
	var asked sync.WaitGroup
	for i := range uint64(5) {
		asked.Go(func() {
			started := time.Now()
			err := e.Client().Ask(t.Context(), event(OnPlay, i, "s"))
			if reason(t, err) != ReasonTimeout || time.Since(started) < rules.Timeout {
				t.Errorf("%v after %v", err, time.Since(started))
			}
		})
	}
	asked.Wait()
}

// Who leaves before there was a connection owes no end: nobody has heard of it.
func TestLeftWithoutConnection(t *testing.T) {
	_, url := shortQueue(t, 0)
	path := strings.TrimSuffix(strings.TrimPrefix(url, "http://unix:"), ":/")
	for range 10 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if unix.Connect(fd, &unix.SockaddrUnix{Name: path}) == unix.EAGAIN {
			break
		}
	}
	e := testEngine(t, all(url))
	for _, wait := range []time.Duration{0, 100 * time.Millisecond} {
		ctx, cancel := context.WithCancel(t.Context())
		c := e.Client()
		if wait == 0 {
			cancel() // as for whom nobody seems to be asked
		} else {
			time.AfterFunc(wait, func() { c.Leave(); cancel() })
		}
		var r *Refusal
		if err := c.Ask(ctx, event(OnConnect, 1, "")); !errors.As(err, &r) || r.Reason != ReasonCanceled || r.Sent || r.Owed {
			t.Errorf("after %v: %+v", wait, r)
		}
		cancel()
	}
}

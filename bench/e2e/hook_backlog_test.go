package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"srs/rtmp"
)

// A bookkeeper is a receiver for many calls: it keeps numbers, not bodies.
// Streams are called NAME-NUMBER, and each client's numbers must grow.
type bookkeeper struct {
	server *http.Server
	served chan struct{}

	mu       sync.Mutex
	first    time.Time
	last     time.Time
	calls    int
	repeated int
	ids      map[string]bool // webhook-ids
	numbers  map[uint64]int  // by client: the highest number
	wrong    []string        // what was out of order
}

// openBooks listens on an address that was free before.
func openBooks(t testing.TB, addr string) *bookkeeper {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	b := &bookkeeper{served: make(chan struct{}), ids: make(map[string]bool), numbers: make(map[uint64]int)}
	b.server = &http.Server{Handler: b}
	go func() { defer close(b.served); b.server.Serve(ln) }()
	t.Cleanup(b.close)
	return b
}

func (b *bookkeeper) close() {
	b.server.Close()
	<-b.served
}

func (b *bookkeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var ev struct {
		Client uint64 `json:"client_id"`
		Stream string `json:"stream"`
	}
	json.Unmarshal(body, &ev)
	_, digits, _ := strings.Cut(ev.Stream, "-")
	number, _ := strconv.Atoi(digits)
	id := r.Header.Get("Webhook-Id")
	b.mu.Lock()
	b.last = time.Now()
	if b.calls == 0 {
		b.first = b.last
	}
	b.calls++
	if b.ids[id] {
		b.repeated++
	} else if want := b.numbers[ev.Client] + 1; number != want {
		b.wrong = append(b.wrong, fmt.Sprintf("client %d: %s, want number %d", ev.Client, ev.Stream, want))
	}
	b.ids[id] = true
	b.numbers[ev.Client] = max(b.numbers[ev.Client], number)
	b.mu.Unlock()
	io.WriteString(w, "0")
}

// heard returns how many different events have come.
func (b *bookkeeper) heard() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ids)
}

// publishAndLeave publishes n streams one after the other on one connection,
// as fast as they go: NAME-1 to NAME-n.
func publishAndLeave(t testing.TB, s *srs, name string, n int) {
	c := dial(t, s).shake(t)
	c.SetDeadline(time.Now().Add(10 * longest))
	c.connect(t, s.url("live"), "live")
	var sent sync.WaitGroup
	sent.Go(func() {
		var b bytes.Buffer
		for i := range n {
			b.Write(cmdPublish(fmt.Sprint(name, "-", i+1)))
			b.Write(rtmp.AppendCommand(nil, 128, rtmp.StreamID, rtmp.CommandCloseStream, 0.0, nil))
			if b.Len() > 4<<10 || i == n-1 {
				c.Write(b.Bytes())
				b.Reset()
			}
		}
	})
	for range n {
		if _, code, err := c.command("onStatus"); err != nil || code != rtmp.CodePublishStart {
			t.Errorf("publish: %q %v", code, err)
			break
		}
	}
	sent.Wait()
	c.Close()
}

// TestHK10 has an endpoint down while 120,000 notices are made: none is lost,
// each client's are in order, the memory is bounded, and when it is back it hears
// of it within 5 s and gets at least 2,000 a second.
func TestHK10(t *testing.T) {
	const clients, each = 60, 2000
	down, free := reserve(t)
	s := startServer(t, defaultVhost(block("http_hooks", "enabled on;", "on_unpublish http://"+down+"/;")))
	s.writeConf(t, "srs_log_level warn;", defaultVhost(block("http_hooks", "enabled on;", "on_unpublish http://"+down+"/;")))
	s.signal(t, syscall.SIGHUP)
	publishAndLeave(t, s, "warm", 500)
	before := s.rss(t)
	s.resetPeak(t)
	begun := time.Now()
	var crowd sync.WaitGroup
	for i := range 8 {
		crowd.Go(func() {
			for n := i; n < clients; n += 8 {
				publishAndLeave(t, s, fmt.Sprint("s", n), each)
			}
		})
	}
	crowd.Wait()
	made := time.Since(begun)
	peak := s.memory(t, "VmHWM")

	free()
	b := openBooks(t, down)
	back := time.Now()
	all := 500 + clients*each
	eventually(t, 4*longest, "all notices delivered", func() bool { return b.heard() >= all })
	b.mu.Lock()
	defer b.mu.Unlock()
	drained := s.memory(t, "VmHWM")
	drain := float64(all) / b.last.Sub(b.first).Seconds()
	t.Logf("%d notices made in %v; memory %d MiB before, %d MiB at most while they waited, %d until all were delivered; first after %v, then %.0f a second; %d repeated",
		all, made.Round(time.Millisecond), before>>20, peak>>20, drained>>20, b.first.Sub(back).Round(time.Millisecond), drain, b.repeated)
	if len(b.ids) != all || len(b.wrong) > 0 {
		t.Errorf("%d events of %d, out of order: %d %.3q", len(b.ids), all, len(b.wrong), b.wrong)
	}
	if drained-before > 64<<20 && os.Getenv("SRS_RACE") != "1" { // the race detector takes its own
		t.Errorf("%d MiB for what waits and is delivered", (drained-before)>>20)
	}
	if first := b.first.Sub(back); first > 5*time.Second {
		t.Errorf("the first came after %v", first)
	}
	if drain < 2000 {
		t.Errorf("%.0f notices a second", drain)
	}
	if journal, err := os.ReadDir(s.dir + "/objs/hooks"); err == nil {
		t.Logf("%d files in the journal", len(journal))
	}
}

// reserve returns an address that nobody listens on, and what lets go of it.
func reserve(t testing.TB) (addr string, free func()) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	free = sync.OnceFunc(func() { syscall.Close(fd) })
	t.Cleanup(free)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port)), free
}

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"srs/rtmp"
)

// sigkill ends the server at once.
func (s *srs) sigkill() {
	syscall.Kill(s.pid, syscall.SIGKILL)
	<-s.done
}

// ends are the events that end another.
var ends = map[string]string{"on_connect": "on_close", "on_publish": "on_unpublish", "on_play": "on_stop"}

// begins are the events that others end.
var begins = map[string]string{"on_close": "on_connect", "on_unpublish": "on_publish", "on_stop": "on_play"}

// A ledger is what one client's calls come to: repeats, known by their
// webhook-id, count once.
type ledger struct {
	order  []string       // actions, in the order they came first
	counts map[string]int // of different events, by action
}

// ledgers sorts calls by client and checks what must hold for each of them:
// begins come before their ends, nothing ends twice.
func ledgers(t testing.TB, calls []call) (by map[string]*ledger, repeats int) {
	t.Helper()
	by = make(map[string]*ledger)
	bodies := make(map[string]string) // by webhook-id
	for _, c := range calls {
		l := by[c.client()]
		if l == nil {
			l = &ledger{counts: make(map[string]int)}
			by[c.client()] = l
		}
		id := c.header.Get("Webhook-Id")
		if body, again := bodies[id]; again {
			repeats++
			if body != c.body && c.text("reason") != "server_restart" {
				t.Errorf("%s came with two bodies:\n%s\n%s", id, body, c.body)
			}
			continue
		}
		bodies[id] = c.body
		l.order = append(l.order, c.action())
		l.counts[c.action()]++
	}
	for id, l := range by {
		for begin, end := range ends {
			if l.counts[begin] > 0 && l.counts[begin] != l.counts[end] {
				t.Errorf("client %s: %d times %s, %d times %s: %q", id, l.counts[begin], begin, l.counts[end], end, l.order)
			}
		}
		if i, n := slices.Index(l.order, "on_close"), len(l.order); i >= 0 && i != n-1 {
			t.Errorf("client %s: %q", id, l.order)
		}
		if i := slices.Index(l.order, "on_connect"); i > 0 {
			t.Errorf("client %s: %q", id, l.order)
		}
	}
	return by, repeats
}

// kills is how often a test kills: the long form says so in the environment.
func kills(t testing.TB, variable string, short int) int {
	text := os.Getenv(variable)
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// TestPR01 kills the server again and again while clients come and go at 200
// events a second: each begin that the receiver has heard of has one end, in
// order. What is repeated has the same webhook-id, and is what was under way.
func TestPR01(t *testing.T) {
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	stop := make(chan struct{})
	var crowd sync.WaitGroup
	crowd.Go(func() { // 50 a second, of 4 events each, whatever the server does
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		places := make(chan struct{}, 100)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			select {
			case places <- struct{}{}:
				crowd.Go(func() {
					defer func() { <-places }()
					visit(t, s.url(fmt.Sprintf("live/s%d", n%15)), n%3 == 0)
				})
			default: // the server is slow
			}
		}
	})
	var killed []time.Time
	up, now := time.Duration(0), s
	for range kills(t, "SRS_KILLS", 12) {
		begun := time.Now()
		<-time.After(time.Duration(rand.IntN(int(700 * time.Millisecond))))
		now.sigkill()
		killed = append(killed, time.Now())
		up += killed[len(killed)-1].Sub(begun)
		now = now.again(t)
	}
	heard := rcv.all()
	close(stop)
	crowd.Wait()
	now.stop(t, syscall.SIGTERM)

	calls := rcv.all()
	by, repeats := ledgers(t, calls)
	restarted, unheard := 0, 0
	for _, c := range calls {
		if c.text("reason") == "server_restart" {
			restarted++
		}
	}
	for id, l := range by {
		for action, n := range l.counts {
			if n > 1 { // a repeat under another webhook-id counts here
				t.Errorf("client %s: %d times %s", id, n, action)
			}
			if begin := l.counts[begins[action]]; begins[action] != "" && begin == 0 {
				unheard++
			}
		}
	}
	earliest, most := underWay(t, calls, killed)
	t.Logf("%d kills, %d clients, %.0f events a second; %d calls, %d of them repeats, %d at most after one kill, of what came %v before it or later; "+
		"%d ends told after a restart, %d of begins that the kill kept from being asked", len(killed), len(by), float64(len(heard))/up.Seconds(),
		len(calls), repeats, most, earliest.Round(100*time.Microsecond), restarted, unheard)
}

// underWay checks that what is repeated was under way at a kill, or not yet written
// down as heard: never more than calls there may be, and on average what comes in
// the 20 ms of a commit. It returns how it really was.
func underWay(t testing.TB, calls []call, killed []time.Time) (earliest time.Duration, most int) {
	t.Helper()
	const (
		calling = 64 // workers
		average = 8  // twice what 200 events a second are in 20 ms
	)
	first := make(map[string]time.Time)  // by webhook-id
	repeated := make([]int, len(killed)) // by kill
	total := 0
	for _, c := range calls {
		id := c.header.Get("Webhook-Id")
		at, again := first[id]
		if !again {
			first[id] = c.at
			continue
		}
		n, _ := slices.BinarySearchFunc(killed, at, time.Time.Compare) // the next kill
		n = min(n, len(killed)-1)                                      // what came behind it was sent before
		repeated[n]++
		total++
		most = max(most, repeated[n])
		earliest = max(earliest, killed[n].Sub(at))
	}
	if most > calling || total > average*len(killed) {
		t.Errorf("%d events came again after %d kills, %d after one", total, len(killed), most)
	}
	return earliest, most
}

// visit publishes or plays for a moment. Servers that are killed meanwhile are
// what it is for.
func visit(t testing.TB, url string, play bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	c, err := rtmp.Dial(ctx, url, 4096)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if play {
		c.Play()
	} else if c.Publish() == nil {
		c.WriteTag(6, rtmp.TypeVideo, 0, avcHeader)
	}
	<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond)
}

// TestPR02 kills a server with publishers and players; new ones come as soon as
// it is back. What was open ends with reason server_restart before anything new
// of the same stream.
func TestPR02(t *testing.T) {
	const publishers, players = 100, 1000
	rcv := newReceiver(t)
	s := startServer(t, "max_connections 2000;", defaultVhost(hooks(rcv)))
	var crowd sync.WaitGroup
	for i := range 10 {
		crowd.Go(func() {
			for n := i; n < publishers; n += 10 {
				publishWith(t, s.url(fmt.Sprint("live/s", n)))
			}
			for n := i; n < players; n += 10 {
				playWith(t, s.url(fmt.Sprint("live/s", n%publishers)))
			}
		})
	}
	crowd.Wait()
	old := len(rcv.all())
	if old != 2*(publishers+players) {
		t.Fatalf("%d begins", old)
	}
	begun := time.Now()
	s.sigkill()
	s = s.again(t)
	for i := range 10 {
		crowd.Go(func() {
			for n := i; n < publishers; n += 10 {
				publishWith(t, s.url(fmt.Sprint("live/s", n)))
				playWith(t, s.url(fmt.Sprint("live/s", n)))
			}
		})
	}
	crowd.Wait()
	rcv.until(t, "all ends", func() bool { return len(rcv.of("on_close", "")) >= publishers+players })
	t.Logf("%d ends told %v after the kill, before anything new of their streams", 2*(publishers+players), time.Since(begun).Round(time.Millisecond))
	streams := make(map[string]string) // by client of before
	open := make(map[string]int)       // by stream: clients of before
	for i, c := range rcv.all() {
		if stream := c.text("stream"); i < old && stream != "" {
			streams[c.client()] = stream
			open[stream]++
		}
		if i < old {
			continue
		}
		switch stream := c.text("stream"); c.action() {
		case "on_publish", "on_play":
			if open[stream] > 0 {
				t.Errorf("%s of %s came before the ends of %d clients of it", c.action(), stream, open[stream])
			}
		case "on_unpublish", "on_stop", "on_close":
			if c.text("reason") != "server_restart" {
				t.Errorf("%s", c.body)
			}
			if c.action() == "on_close" {
				open[streams[c.client()]]--
			}
		}
	}
	s.stop(t, syscall.SIGTERM)
	ledgers(t, rcv.all())
}

// TestPR03 leaves a journal with a torn end, a file without a byte and one of
// somebody else's: the server starts, and all but the torn record is delivered.
func TestPR03(t *testing.T) {
	t.Parallel()
	down, free := reserve(t)
	s := startServer(t, defaultVhost(block("http_hooks", "enabled on;", "on_unpublish http://"+down+"/;")))
	publishAndLeave(t, s, "s", 3)
	s.waitCount(t, "publish ended", 3)
	<-time.After(200 * time.Millisecond) // a commit takes 20 ms
	s.sigkill()
	dir := s.dir + "/objs/hooks/"
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".journal") {
			b, err := os.ReadFile(dir + f.Name())
			if err == nil { // the last record is that of the third end
				err = os.WriteFile(dir+f.Name(), b[:len(b)-20], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	os.WriteFile(dir+"0000000007.journal", nil, 0o600)
	os.WriteFile(dir+"0000000008.journal", []byte("#!/bin/sh\necho no journal at all\n"), 0o600)
	free()
	b := openBooks(t, down)
	s = s.again(t)
	s.waitLog(t, "none of ours and was moved aside file=.*0000000008.journal.bad")
	s.waitLog(t, "torn end")
	// The begin of the third is there, its end is not: it is told anew.
	eventually(t, longest, "three ends", func() bool { return b.heard() == 3 })
	if n := len(s.matching(0, "missing_ends=1")); n != 1 {
		t.Errorf("the log: %q", s.matching(0, "taken up"))
	}
}

// TestPR04 fills the disk under the journal: clients are served, gates decide,
// notices are delivered, the log says it once; when there is room again what
// waits is durable, and a killed server still knows of it.
func TestPR04(t *testing.T) {
	rcv := newReceiver(t)
	down, free := reserve(t)
	s := startServer(t, defaultVhost(hooks(rcv, append(gates, "on_close", "on_unpublish "+rcv.url("on_unpublish")+" http://"+down+"/;")...)))
	canary := startCanary(t, s, "live/canary")
	publishWith(t, s.url("live/before-0")).Close()
	rcv.wait(t, "on_close", "", 1)
	limit(t, s, 8)
	canary.take(t)
	for i := range 50 {
		publishWith(t, s.url(fmt.Sprintf("live/full-%d", i+1))).Close()
	}
	rcv.until(t, "all ends", func() bool { return len(rcv.of("on_close", "")) == 51 })
	if h := canary.over(t, 25); h.lost > 0 {
		t.Errorf("the canary lost %d frames", h.lost)
	}
	s.waitLog(t, "journal of http hooks cannot be written")
	limit(t, s, 1<<30)
	s.waitLog(t, "journal of http hooks is written again")
	if n := len(s.matching(0, "cannot be written")); n != 1 {
		t.Errorf("%d alarms", n)
	}
	publishWith(t, s.url("live/after-1")).Close()
	rcv.until(t, "the last end", func() bool { return len(rcv.of("on_close", "")) == 52 })
	canary.stop()
	rcv.wait(t, "on_unpublish", "canary", 1)
	eventually(t, longest, "all is stored", func() bool { // a commit takes 20 ms
		mark := s.mark()
		s.signal(t, syscall.SIGUSR2)
		return s.waitLine(t, mark, "counters endpoint=http://"+down) != ""
	})
	<-time.After(100 * time.Millisecond)
	s.sigkill()
	free()
	b := openBooks(t, down)
	s.again(t)
	eventually(t, longest, "all notices delivered", func() bool { return b.heard() >= 53 })
}

// limit bounds the size of the files that a server may write.
func limit(t testing.TB, s *srs, size uint64) {
	t.Helper()
	l := unix.Rlimit{Cur: size, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(s.pid, unix.RLIMIT_FSIZE, &l, nil); err != nil {
		t.Fatal(err)
	}
}

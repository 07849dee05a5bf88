package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"srs/rtmp"
)

// crowd lets n clients ask for something at the same moment and counts what they
// were told, and how long the slowest waited.
func crowd(t testing.TB, s *srs, n int, app string, command func(i int) []byte) (codes map[string]int, longest time.Duration) {
	t.Helper()
	var all []*client
	for range n {
		c := dial(t, s).shake(t)
		c.connect(t, s.url(app), app)
		all = append(all, c)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes = make(map[string]int)
	begun := time.Now()
	for i, c := range all {
		wg.Go(func() {
			code := c.status(t, command(i))
			mu.Lock()
			defer mu.Unlock()
			codes[code]++
			longest = max(longest, time.Since(begun))
		})
	}
	wg.Wait()
	for _, c := range all {
		c.Close()
	}
	return codes, longest
}

// TestHK02: an endpoint accepts and never answers; 500 publishers at once are all
// refused in the gate's time, and a stream of another vhost notices nothing.
func TestHK02(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	rcv.always("on_publish", reply{until: make(chan struct{})})
	s := startServer(t, defaultVhost(), vhost("hangs.example", hooks(rcv, "on_publish", "timeout 1500;")))
	canary := startCanary(t, s, "live/canary")
	canary.take(t)
	var others sync.WaitGroup
	others.Go(func() { // those who ask nobody are served meanwhile
		rcv.wait(t, "on_publish", "", 1)
		for range 10 {
			if code, _ := play(t, s, "a", "s"); code != rtmp.CodePlayStart {
				t.Errorf("another player: %s", code)
			}
			publishWith(t, s.url("live/s")).Close()
		}
	})
	codes, slowest := crowd(t, s, 500, "live...vhost...hangs.example", func(i int) []byte { return cmdPublish(fmt.Sprint("s", i)) })
	others.Wait()
	s.waitCount(t, `on_publish refused.*reason=hook\.(timeout|breaker)\b`, 500)
	if codes[rtmp.CodePublishDenied] != 500 || slowest > 5*time.Second {
		t.Errorf("%v, the last after %v", codes, slowest)
	}
	h := canary.over(t, 5)
	t.Logf("500 refused within %v; the canary's largest gap %v over its own", slowest.Round(time.Millisecond), h.gap.Round(time.Millisecond))
	if h.lost > 0 {
		t.Errorf("the canary lost %d frames", h.lost)
	}
	if n := len(rcv.of("on_publish", "")); n > 64+16 { // those until the breaker opens, and a few to see whether it is back
		t.Errorf("%d calls", n)
	}
}

// TestHK11: what neither is asked nor may wait is refused at once.
func TestHK11(t *testing.T) {
	t.Parallel()
	const workers, queue, publishers = 8, 16, 60
	rcv := newReceiver(t)
	var now, most atomic.Int32
	open := make(chan struct{})
	rcv.script("on_publish", func(call) reply {
		for n, old := now.Add(1), most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		return reply{until: open}
	})
	s := startServer(t, defaultVhost(hooks(rcv, "on_publish", fmt.Sprintf("workers %d;", workers), fmt.Sprintf("queue %d;", queue))))
	go func() {
		for range 1000 {
			if now.Load() >= workers && len(s.matching(0, "on_publish refused action=.*hook.overload")) >= publishers-workers-queue {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		now.Store(-publishers) // from here on they are answered at once
		close(open)
	}()
	codes, _ := crowd(t, s, publishers, "live", func(i int) []byte { return cmdPublish(fmt.Sprint("s", i)) })
	if codes[rtmp.CodePublishStart] != workers+queue || codes[rtmp.CodePublishDenied] != publishers-workers-queue || most.Load() != workers {
		t.Errorf("%v, %d at once", codes, most.Load())
	}
}

// TestBreaker: an endpoint that fails again and again is not asked any more; the
// log says so once; when it is back it is asked again by itself.
func TestBreaker(t *testing.T) {
	t.Parallel()
	down, free := reserve(t)
	url := "http://" + down + "/"
	s := startServer(t, vhost("deny", onPlay(url)), vhost("allow", onPlay(url, "on_fail allow;")))
	s.waitLog(t, "vhost allow: on_fail allow: while an endpoint fails, every client is accepted")
	for range 30 {
		if code, _ := play(t, s, "deny", "s"); code != rtmp.CodePlayFailed {
			t.Error(code)
		}
		if code, _ := play(t, s, "allow", "s"); code != rtmp.CodePlayStart {
			t.Error(code)
		}
	}
	s.waitCount(t, "on_play refused.*reason=hook.breaker", 20)
	if n := len(s.matching(0, "endpoint fails: ")); n != 1 {
		t.Errorf("%d lines about the breaker", n)
	}
	mark := s.mark()
	s.signal(t, syscall.SIGUSR2)
	s.waitLine(t, mark, "counters endpoint=http://"+down+" breaker=open")
	free()
	openBooks(t, down)
	eventually(t, longest, "a yes", func() bool {
		code, _ := play(t, s, "deny", "s")
		return code == rtmp.CodePlayStart
	})
	s.waitLog(t, "endpoint answers again")
	if code, _ := play(t, s, "deny", "s"); code != rtmp.CodePlayStart {
		t.Error(code)
	}
}

// TestHangingNeighbour: one of two endpoints hangs for ever while its clients
// come again and again; the decisions of the other and the frames of 100 players
// are as before. The bounds are for a machine that does other things too: "bench
// hooks -hang" measures.
func TestHangingNeighbour(t *testing.T) {
	const (
		gates, players = 300, 100
		guard          = 250 * time.Millisecond
	)
	good, bad := newReceiver(t), newReceiver(t)
	bad.always("on_play", reply{until: make(chan struct{})})
	s := startServer(t, defaultVhost(), vhost("good", hooks(good, "on_play", "on_stop")),
		vhost("bad", hooks(bad, "on_play", "on_stop", "timeout 1000;")))
	canary := startCanary(t, s, "live/canary")
	largest := watch(t, s.url("live/canary"), players)
	measure := func() (p99, gap time.Duration) {
		canary.take(t)
		largest()
		var took []time.Duration
		for range gates {
			code, d := play(t, s, "good", "s")
			if code != rtmp.CodePlayStart {
				t.Fatal(code)
			}
			took = append(took, d)
		}
		if h := canary.over(t, 25); h.lost > 0 {
			t.Errorf("%d frames lost", h.lost)
		}
		slices.Sort(took)
		return took[len(took)*99/100], largest()
	}
	alone, before := measure()
	var stop atomic.Bool
	var trouble sync.WaitGroup
	for range 20 {
		trouble.Go(func() {
			for !stop.Load() {
				if code, _ := play(t, s, "bad", "s"); code == rtmp.CodePlayStart {
					t.Error("accepted")
				}
				<-time.After(20 * time.Millisecond)
			}
		})
	}
	s.waitLog(t, "endpoint fails: ")
	beside, after := measure()
	stop.Store(true)
	trouble.Wait()
	t.Logf("p99 of %d decisions: %v alone, %v beside an endpoint that hangs; largest gap between frames of %d players: %v, %v",
		gates, alone.Round(10*time.Microsecond), beside.Round(10*time.Microsecond), players, before.Round(time.Millisecond), after.Round(time.Millisecond))
	if beside > alone+guard {
		t.Errorf("p99 %v, it was %v", beside, alone)
	}
	if after > before+guard {
		t.Errorf("a gap of %v between frames, it was %v", after, before)
	}
}

// watch has so many players read a stream. What it returns tells the largest gap
// between two frames of any of them since it was called last.
func watch(t testing.TB, url string, players int) (largest func() time.Duration) {
	t.Helper()
	var most atomic.Int64
	var all sync.WaitGroup
	var conns []*rtmp.Conn
	for range players {
		c := playWith(t, url)
		c.SetDeadline(time.Time{})
		conns = append(conns, c)
		all.Go(func() {
			last := time.Now()
			for {
				m, err := c.ReadMessage()
				if err != nil {
					return
				}
				if m.Type == rtmp.TypeVideo {
					gap := int64(time.Since(last))
					for old := most.Load(); gap > old && !most.CompareAndSwap(old, gap); old = most.Load() {
					}
					last = time.Now()
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
		all.Wait()
	})
	return func() time.Duration { return time.Duration(most.Swap(0)) }
}

// TestUnusableJournalDir: the server starts without a journal_dir it can use,
// says so in one line, and takes the directory as soon as it can.
func TestUnusableJournalDir(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, "journal_dir "+file+"/hooks;", defaultVhost(hooks(rcv)))
	publishWith(t, s.url("live/s")).Close()
	rcv.wait(t, "on_close", "", 1)
	if lines := s.matching(0, `\[error\]`); len(lines) != 1 || !strings.Contains(lines[0], "not a directory") || !strings.Contains(lines[0], "uid=") {
		t.Errorf("error lines: %q", lines)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.waitLog(t, "journal of http hooks is written again")
	publishWith(t, s.url("live/s")).Close()
	rcv.wait(t, "on_close", "", 2)
	if files, _ := filepath.Glob(file + "/hooks/*.journal"); len(files) != 1 {
		t.Errorf("journal files: %q", files)
	}
}

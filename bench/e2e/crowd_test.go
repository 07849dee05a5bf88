package e2e

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"srs/rtmp"
)

// linesOf sums up what the log says of connections that ended for a reason:
// lines, and connections including those that lines count as left out.
func linesOf(s *srs, mark int, reason string) (lines, connections int) {
	lines = len(s.matching(mark, `client (gone|closed).* reason=`+reason+`( |$)`))
	connections = lines
	left := `left out reason=` + reason + ` lines=(\d+)`
	for _, line := range s.matching(mark, left) {
		n, _ := strconv.Atoi(regexp.MustCompile(left).FindStringSubmatch(line)[1])
		connections += n
	}
	return lines, connections
}

// The log's limit for each reason.
const linesPerSecond = 10

// TestHalfHandshakes opens a crowd of connections that stop within C1, hold
// or hang up. They cost little, end in time, and the log says how many.
func TestHalfHandshakes(t *testing.T) {
	const (
		holding = 200
		leaving = 100             // in each of two ways
		within  = 5 * time.Second // of the handshake
	)
	s := startServer(t, defaultVhost())
	other := startCanary(t, s, "canary/c")
	before := other.over(t, 50)
	rss, fds, mark := s.rss(t), s.fds(t), s.mark()
	s.resetPeak(t)

	half := append([]byte{rtmp.Version}, make([]byte, 700)...)
	begun := time.Now()
	var crowd []*client
	for range holding {
		c := dial(t, s)
		c.send(t, half)
		crowd = append(crowd, c)
	}
	leave := func(how func(c *client)) {
		c := dial(t, s)
		c.send(t, half)
		how(c)
	}
	fin, rst := func(c *client) { c.Close() }, (*client).reset
	for range leaving {
		leave(fin)
		leave(rst)
	}
	// A last one of each kind falls into another window of the log's limit.
	other.atLeast(t, 75)
	leave(fin)
	leave(rst)
	last := dial(t, s)
	last.send(t, half)
	for _, c := range append(crowd, last) {
		c.end(t, longest)
		if c == crowd[holding-1] {
			if took := time.Since(begun); took < within-time.Second || took > within+2*time.Second {
				t.Errorf("the crowd was closed after %v, want %v", took, within)
			}
		}
	}
	for reason, want := range map[string]int{"hs.timeout": holding + 1, "hs.eof": leaving + 1, "hs.reset": leaving + 1} {
		eventually(t, longest, "the log to account for all of "+reason, func() bool {
			_, n := linesOf(s, mark, reason)
			return n == want
		})
		if lines, _ := linesOf(s, mark, reason); lines > 2*linesPerSecond {
			t.Errorf("%d lines with %s", lines, reason)
		}
	}
	eventually(t, longest, "the descriptors to be closed", func() bool { return s.fds(t) <= fds })
	grown := s.memory(t, "VmHWM") - rss
	t.Logf("memory at its peak: %+.1f MiB", float64(grown)/(1<<20))
	if grown > memoryBound() {
		t.Errorf("it cost the server %d MiB", grown>>20)
	}
	other.undisturbed(t, before)
}

// TestHostileStorm runs all attacks over and over, as fast as they go.
func TestHostileStorm(t *testing.T) {
	const seconds = 4
	s := startServer(t, defaultVhost())
	other := startCanary(t, s, "canary/c")
	before := other.over(t, 50)
	rss, fds, mark := s.rss(t), s.fds(t), s.mark()
	s.resetPeak(t)
	tries := make(map[string]int)
	begun := time.Now()
	for time.Since(begun) < seconds*time.Second {
		for _, a := range attacks {
			c := a.stage.reach(t, s)
			c.send(t, a.send...)
			if a.stays {
				c.pingUntilAnswered(t)
			} else {
				c.end(t, longest)
				tries[a.reason]++
			}
			c.Close()
		}
	}
	took := time.Since(begun)
	other.undisturbed(t, before)
	total := 0
	for reason, n := range tries {
		total += n
		lines, counted := linesOf(s, mark, reason)
		if most := linesPerSecond * (int(took.Seconds()) + 2); lines > most || lines == 0 || counted > n {
			t.Errorf("reason %s: %d connections, %d lines that account for %d, at most %d lines are due", reason, n, lines, counted, most)
		}
	}
	t.Logf("%d hostile connections in %v", total, took.Round(time.Millisecond))
	peak := s.memory(t, "VmHWM") - rss
	t.Logf("memory at its peak: %+.1f MiB", float64(peak)/(1<<20))
	if peak > 2*memoryBound() { // several attacks' garbage at a time
		t.Errorf("it cost the server %d MiB", peak>>20)
	}
	eventually(t, longest, "the descriptors to be closed", func() bool { return s.fds(t) <= fds })
	s.wantMemoryBack(t, rss)
}

// TestTooManyConnections: beyond max_connections clients are closed at once,
// with a line; those that are there stay.
func TestTooManyConnections(t *testing.T) {
	s := startServer(t, defaultVhost()) // max_connections 600
	other := startCanary(t, s, "canary/c")
	mark := s.mark()
	var crowd []*client
	for range 598 {
		crowd = append(crowd, dial(t, s))
	}
	extra := dial(t, s)
	extra.end(t, longest)
	s.waitLine(t, mark, "reason=server.full")
	for _, c := range crowd {
		c.Close()
	}
	eventually(t, longest, "places to be free", func() bool {
		c, err := connect(t, s.url("live/s"))
		if err != nil {
			return false
		}
		return c.Publish() == nil
	})
	if h := other.over(t, 5); h.lost > 0 {
		t.Errorf("the canary lost %d frames", h.lost)
	}
}

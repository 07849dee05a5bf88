package tank

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// closed writes with f to a tank on a buffer and returns what came out.
func closed(t *testing.T, level slog.Level, f func(log *slog.Logger)) string {
	t.Helper()
	var out bytes.Buffer
	tank := Console(&out, level)
	f(slog.New(tank))
	tank.Close()
	return out.String()
}

func TestLine(t *testing.T) {
	got := closed(t, LevelTrace, func(log *slog.Logger) {
		log.With("client", uint64(7), "ip", "127.0.0.1").Info("play started", "app", "live", "n", 3)
	})
	want := `^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[trace\]\[` + strconv.Itoa(os.Getpid()) + `\]\[7\] play started ip=127\.0\.0\.1 app=live n=3\n$`
	if !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("line %q, want %s", got, want)
	}
}

// What a client says cannot end the line, forge another or steer a terminal.
func TestValuesAreQuoted(t *testing.T) {
	for _, v := range []struct{ name, value, want string }{
		{"word", "live/a-b_c.1", `k=live/a-b_c.1`},
		{"umlaut", "küche", `k=küche`},
		{"empty", "", `k=""`},
		{"space", "a b", `k="a b"`},
		{"line break", "a\r\n[2026-01-01 00:00:00.000][error]", `k="a\r\n[2026-01-01 00:00:00.000][error]"`},
		{"escape", "\x1b[2J", `k="\x1b[2J"`},
		{"NUL", "a\x00b", `k="a\x00b"`},
		{"quote", `a"b`, `k="a\"b"`},
		{"equals", "a=b", `k="a=b"`},
		{"invalid UTF-8", "a\xffb", `k="a\xffb"`},
		{"right-to-left override", "a\u202eb", `k="a\u202eb"`},
		{"line separator", "a\u2028b", `k="a\u2028b"`},
	} {
		t.Run(v.name, func(t *testing.T) {
			got := closed(t, LevelTrace, func(log *slog.Logger) { log.Info("x", "k", v.value) })
			if !strings.HasSuffix(got, " x "+v.want+"\n") || strings.Count(got, "\n") != 1 {
				t.Errorf("line %q, want …%s", got, v.want)
			}
		})
	}
	got := closed(t, LevelTrace, func(log *slog.Logger) { log.Info("a\nb\x1b") })
	if !strings.HasSuffix(got, ` a\nb\x1b`+"\n") {
		t.Errorf("message %q", got)
	}
	got = closed(t, LevelTrace, func(log *slog.Logger) { log.Info("x", ClientKey, "1]\n[") })
	if !strings.Contains(got, `["1]\n["] x`) {
		t.Errorf("client %q", got)
	}
}

func TestNamesAreMasked(t *testing.T) {
	got := closed(t, LevelTrace, func(log *slog.Logger) {
		log.Info("x", "app", "live", "stream", "b&sign=SECRET-2==&x", "ip", "a=b")
	})
	if got := closed(t, LevelTrace, func(log *slog.Logger) { log.Info("x", "app", "live/rtmp:/u:SECRET@h") }); strings.Contains(got, "SECRET") {
		t.Errorf("line %q", got)
	}
	if want := `x app=live stream="b&sign=***&x" ip="a=b"`; !strings.HasSuffix(got, want+"\n") {
		t.Errorf("line %q, want …%s", got, want)
	}
}

func TestLevels(t *testing.T) {
	words := []string{"verbose", "info", "trace", "warn", "error"}
	shown := []string{"verb", "debug", "trace", "warn", "error"}
	for i, level := range words {
		got := closed(t, ParseLevel(level), func(log *slog.Logger) {
			for _, l := range words {
				log.Log(t.Context(), ParseLevel(l), l)
			}
		})
		if n := strings.Count(got, "\n"); n != len(words)-i {
			t.Errorf("level %s lets %d lines through, want %d", level, n, len(words)-i)
		}
		for _, w := range shown[i:] {
			if !strings.Contains(got, "]["+w+"][") {
				t.Errorf("level %s: no line with %s in %q", level, w, got)
			}
		}
	}
	if ParseLevel("nonsense") != LevelTrace {
		t.Error("an unknown word is trace, as in SRS")
	}
}

func TestLongLinesAreCut(t *testing.T) {
	got := closed(t, LevelTrace, func(log *slog.Logger) { log.Info(strings.Repeat("x", 10*maxLine)) })
	if len(got) != maxLine || !strings.HasSuffix(got, "...\n") {
		t.Errorf("%d bytes, end %q", len(got), got[len(got)-8:])
	}
}

func TestGroupsAndAttributes(t *testing.T) {
	got := closed(t, LevelTrace, func(log *slog.Logger) {
		a := log.With("a", 1)
		b, c := a.With("b", 2), a.With("c", 3)
		b.WithGroup("g").Info("x", "y", 4)
		c.Info("x")
		log.WithGroup("g").Info("x", "z", 5)
	})
	for i, want := range []string{" x a=1 b=2 y=4", " x a=1 c=3", " x z=5"} {
		if line := strings.Split(got, "\n")[i]; !strings.HasSuffix(line, want) {
			t.Errorf("line %d is %q, want …%q", i, line, want)
		}
	}
}

func TestFileAndReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "srs.log")
	var console bytes.Buffer
	tank := Console(&console, LevelTrace)
	log := slog.New(tank)
	if err := tank.Use(path, nil, LevelTrace); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	log.Info("one")
	waitFor(t, path, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := tank.Reopen(); err != nil {
		t.Fatal(err)
	}
	log.Info("two")
	if err := tank.Use("/nonexistent/dir/x.log", nil, LevelTrace); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a bad path gives %v", err)
	}
	log.Info("three")
	tank.Close()
	old, _ := os.ReadFile(path + ".1")
	if s := string(old); !strings.HasPrefix(s, "before\n") || !strings.Contains(s, "one") || strings.Contains(s, "two") {
		t.Errorf("the rotated file has %q", s)
	}
	now, _ := os.ReadFile(path)
	if s := string(now); !strings.Contains(s, "two") || !strings.Contains(s, "three") {
		t.Errorf("the new file has %q", s)
	}
	if console.Len() != 0 {
		t.Errorf("the console has %q", console.String())
	}
}

func TestReopenOfAConsoleIsNothing(t *testing.T) {
	tank := Console(io.Discard, LevelTrace)
	defer tank.Close()
	if err := tank.Reopen(); err != nil {
		t.Error(err)
	}
}

func waitFor(t *testing.T, path, text string) {
	t.Helper()
	for range 1000000 {
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(text)) {
			return
		}
	}
	t.Fatalf("%q does not appear in %s", text, path)
}

// stuck is a pipe that nobody reads, until it is let go.
type stuck struct {
	mu      sync.Mutex
	written bytes.Buffer
	release chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.Write(b)
}

// A log that nobody takes costs lines and never a wait; the loss is told.
func TestNobodyWaitsForTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{release: make(chan struct{})}
		tank := Console(out, LevelTrace)
		log := slog.New(tank)
		line := strings.Repeat("x", 1000)
		log.Info("first")
		synctest.Wait() // the writer is stuck with the first line
		const lines = 3 * maxWaiting / 1000
		for range lines {
			log.Info(line)
		}
		close(out.release)
		tank.Close()
		got := out.written.String()
		kept := strings.Count(got, line)
		m := regexp.MustCompile(`log lines were lost.* lines=(\d+)`).FindStringSubmatch(got)
		if m == nil {
			t.Fatalf("%d of %d lines kept and no word of the rest", kept, lines)
		}
		lost, _ := strconv.Atoi(m[1])
		if kept+lost != lines || kept < maxWaiting/2000 {
			t.Errorf("%d lines kept and %d told lost, of %d", kept, lost, lines)
		}
	})
}

// Close gives up after a while: a stuck log does not hold up the exit.
func TestCloseDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{release: make(chan struct{})}
		tank := Console(out, LevelTrace)
		slog.New(tank).Info("x")
		synctest.Wait()
		tank.Close()
		close(out.release)
		synctest.Wait()
	})
}

func BenchmarkLine(b *testing.B) {
	tank := Console(io.Discard, LevelTrace)
	defer tank.Close()
	log := slog.New(tank).With("client", 3074358864142337)
	b.ReportAllocs()
	for b.Loop() {
		log.Info("play started", "ip", "127.0.0.1", "vhost", "__defaultVhost__", "app", "live", "stream", "livestream")
	}
}

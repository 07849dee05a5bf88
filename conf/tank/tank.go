// Package tank is where log lines go, in SRS's form:
//
//	[2026-01-31 12:00:00.000][trace][pid][cid] text key=value ...
//
// A Tank is a slog.Handler over the console or a file. Lines are written by
// one goroutine of its own: a pipe that nobody reads or a full disk costs
// lines, which are counted, and never makes a caller wait. Values that are not
// plain words are quoted, so that nothing a client says can forge a line.
package tank

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Levels of srs_log_level beside slog's own. SRS's order is verbose, info,
// trace, warn, error, and trace is what it prints by default.
const (
	LevelVerbose = slog.LevelDebug - 4
	LevelInfo    = slog.LevelDebug
	LevelTrace   = slog.LevelInfo
)

// ParseLevel returns the level of a word of srs_log_level.
func ParseLevel(word string) slog.Level {
	switch word {
	case "verbose":
		return LevelVerbose
	case "info":
		return LevelInfo
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	}
	return LevelTrace
}

// word is what a line shows for a level: SRS's words.
func word(l slog.Level) string {
	switch {
	case l < LevelInfo:
		return "verb"
	case l < LevelTrace:
		return "debug"
	case l < slog.LevelWarn:
		return "trace"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

// Bounds of a Tank.
const (
	maxWaiting = 1 << 20 // bytes of lines that wait to be written
	maxLine    = 4096    // bytes of one line, as in SRS
	closeWait  = time.Second
)

// ClientKey is the attribute that stands in the line's fourth bracket.
const ClientKey = "client"

// Tank writes lines. Its methods are safe for concurrent use.
type Tank struct {
	pid    int
	now    func() time.Time
	notify chan struct{} // capacity 1: lines wait
	quit   chan struct{} // closed by Close
	done   chan struct{} // closed by run

	mu      sync.Mutex
	level   slog.Level
	path    string // of the file; empty for the console
	out     io.Writer
	waiting []byte
	lost    int
}

// Console returns a Tank on w.
func Console(w io.Writer, level slog.Level) *Tank {
	t := &Tank{
		pid: os.Getpid(), now: time.Now, level: level, out: w,
		notify: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go t.run()
	return t
}

// Use turns the tank to a file, or with an empty path to w, at a level. On an
// error everything stays as it was.
func (t *Tank) Use(path string, w io.Writer, level slog.Level) error {
	if path != "" {
		f, err := openLog(path)
		if err != nil {
			return err
		}
		w = f
	}
	t.mu.Lock()
	old := t.out
	if t.path == "" {
		old = nil // the console is not ours to close
	}
	t.out, t.path, t.level = w, path, level
	t.mu.Unlock()
	closeLog(old)
	return nil
}

// Reopen opens the file anew, after it was rotated away.
func (t *Tank) Reopen() error {
	t.mu.Lock()
	path, level := t.path, t.level
	t.mu.Unlock()
	if path == "" {
		return nil
	}
	return t.Use(path, nil, level)
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
}

func closeLog(w io.Writer) {
	if c, ok := w.(io.Closer); ok && w != nil {
		c.Close()
	}
}

// Close writes what waits, for a second at most.
func (t *Tank) Close() {
	close(t.quit)
	select {
	case <-t.done:
	case <-time.After(closeWait):
	}
}

func (t *Tank) run() {
	defer close(t.done)
	for {
		select {
		case <-t.notify:
			t.drain()
		case <-t.quit:
			t.drain()
			return
		}
	}
}

// drain writes the lines that wait. The file cannot be exchanged under a
// write: a line goes to the old one or the new one, whole.
func (t *Tank) drain() {
	for {
		t.mu.Lock()
		lines, lost, out := t.waiting, t.lost, t.out
		t.waiting, t.lost = nil, 0
		t.mu.Unlock()
		if lost > 0 {
			r := slog.NewRecord(t.now(), slog.LevelWarn, "log lines were lost: the log was not taken fast enough", 0)
			r.Add("lines", lost)
			lines = append(lines, t.line(r, nil)...)
		}
		if len(lines) == 0 {
			return
		}
		if _, err := out.Write(lines); err != nil {
			t.mu.Lock()
			again := t.out != out // exchanged meanwhile: once more
			if again {
				t.waiting = append(lines, t.waiting...)
			}
			t.mu.Unlock()
		}
	}
}

// Enabled implements slog.Handler.
func (t *Tank) Enabled(_ context.Context, l slog.Level) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return l >= t.level
}

// Handle implements slog.Handler.
func (t *Tank) Handle(_ context.Context, r slog.Record) error {
	t.put(t.line(r, nil))
	return nil
}

// WithAttrs implements slog.Handler.
func (t *Tank) WithAttrs(attrs []slog.Attr) slog.Handler { return &bound{tank: t, attrs: attrs} }

// WithGroup implements slog.Handler. Lines are flat: the group is dropped.
func (t *Tank) WithGroup(string) slog.Handler { return t }

// bound is a Tank with attributes that every line carries.
type bound struct {
	tank  *Tank
	attrs []slog.Attr
}

func (b *bound) Enabled(ctx context.Context, l slog.Level) bool { return b.tank.Enabled(ctx, l) }

func (b *bound) Handle(_ context.Context, r slog.Record) error {
	b.tank.put(b.tank.line(r, b.attrs))
	return nil
}

func (b *bound) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &bound{tank: b.tank, attrs: append(b.attrs[:len(b.attrs):len(b.attrs)], attrs...)}
}

func (b *bound) WithGroup(string) slog.Handler { return b }

func (t *Tank) put(line []byte) {
	t.mu.Lock()
	if len(t.waiting)+len(line) > maxWaiting {
		t.lost++
	} else {
		t.waiting = append(t.waiting, line...)
	}
	t.mu.Unlock()
	select {
	case t.notify <- struct{}{}:
	default:
	}
}

func (t *Tank) line(r slog.Record, attrs []slog.Attr) []byte {
	client := "0"
	find := func(a slog.Attr) bool {
		if a.Key == ClientKey {
			client = a.Value.String()
		}
		return true
	}
	for _, a := range attrs {
		find(a)
	}
	r.Attrs(find)
	b := fmt.Appendf(nil, "[%s][%s][%d][%s] ", r.Time.Format("2006-01-02 15:04:05.000"), word(r.Level), t.pid, plain(client))
	b = append(b, safe(r.Message)...)
	add := func(a slog.Attr) bool {
		if a.Key != ClientKey {
			b = append(append(append(append(b, ' '), a.Key...), '='), plain(masked(a))...)
		}
		return true
	}
	for _, a := range attrs {
		add(a)
	}
	r.Attrs(add)
	if len(b) > maxLine {
		b = append(b[:maxLine-4], "..."...)
	}
	return append(b, '\n')
}

// masked is an attribute's text without what may be a secret: clients that cut
// a URL at another place than we do put "key=token" into the name of a stream.
func masked(a slog.Attr) string {
	s := a.Value.String()
	if a.Key != "app" && a.Key != "stream" || !strings.ContainsAny(s, "=@") {
		return s
	}
	segments := strings.Split(s, "/")
	for i, segment := range segments { // "user:password@host" of a whole URL
		if at := strings.LastIndex(segment, "@"); at >= 0 {
			segments[i] = "***" + segment[at:]
		}
	}
	s = strings.Join(segments, "/")
	pairs := strings.Split(s, "&")
	for i, pair := range pairs {
		if key, _, found := strings.Cut(pair, "="); found {
			pairs[i] = key + "=***"
		}
	}
	return strings.Join(pairs, "&")
}

// plain returns a value as it is when it is a word, else quoted.
func plain(s string) string {
	if s == "" {
		return `""`
	}
	for _, r := range s {
		if r <= ' ' || r == '"' || r == '=' || r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

// safe returns a text without control characters.
func safe(s string) string {
	for _, r := range s {
		if r < ' ' || r == utf8.RuneError || !strconv.IsPrint(r) {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}

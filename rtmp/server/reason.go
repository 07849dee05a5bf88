package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"srs/amf0"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// Reasons why a session ended, as log lines show them. They are stable:
// people filter for them. Those of the chunk layer are in rtmp/chunk, those of
// callbacks in hook, those of names in rtmp.
const (
	reasonClosed    = "client.closed" // the client closed the connection
	reasonReset     = "client.reset"
	reasonWrite     = "client.write_error"
	reasonShutdown  = "server.shutdown"
	reasonHSTimeout = "hs.timeout"
	reasonHSEOF     = "hs.eof"
	reasonHSReset   = "hs.reset"
	reasonHSVersion = "hs.version"
	reasonHSTLS     = "hs.tls_on_plain"
	reasonHSProxy   = "hs.proxy_denied"
	reasonCmdTime   = "cmd.timeout"
	reasonOrder     = "state.order"
	reasonTwice     = "state.connect_twice"
	reasonStreams   = "state.streams"
	reasonNoVhost   = "vhost.unknown"
	reasonBusy      = "stream.busy"
	reasonTakeover  = "takeover"
	reasonPubTime   = "pub.timeout"
	reasonStalled   = "play.stalled"
	reasonFlood     = "ctrl.flood"
	reasonUnknown   = "msg.unknown_flood"
	reasonAggregate = "msg.aggregate"
	reasonNoCommand = "amf.command"
)

// An ending is why a session ends: an error with a reason code. expected
// endings are no fault of anybody and are logged as part of normal life.
type ending struct {
	reason   string
	text     string
	expected bool
}

func (e *ending) Error() string { return e.text + " (" + e.reason + ")" }

func end(reason, text string) error { return &ending{reason: reason, text: text} }

// reasonOf finds the reason code in an error of any layer.
func reasonOf(err error) string {
	var e *ending
	var c *chunk.Error
	var n *rtmp.NameError
	var h *hook.Refusal
	switch {
	case errors.As(err, &h):
		return h.Reason
	case errors.As(err, &e):
		return e.reason
	case errors.As(err, &c):
		return c.Reason
	case errors.As(err, &n):
		return n.Reason
	case errors.Is(err, amf0.ErrDepth):
		return "amf.depth"
	case errors.Is(err, amf0.ErrValues):
		return "amf.elements"
	case errors.Is(err, amf0.ErrTruncated):
		return "amf.truncated"
	case errors.Is(err, amf0.ErrString):
		return "amf.string"
	case errors.Is(err, amf0.ErrMarker):
		return "amf.marker"
	case errors.Is(err, rtmp.ErrCommand):
		return reasonNoCommand
	}
	return "internal"
}

// readEnding turns an error of reading the socket into an ending.
func readEnding(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return &ending{reason: reasonClosed, text: "the client closed the connection", expected: true}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrClosed):
		return &ending{reason: reasonReset, text: "the connection broke", expected: true}
	}
	return &ending{reason: reasonReset, text: err.Error(), expected: true}
}

// A line of one reason is written at most this often; the rest are counted
// and summed up, so that a hostile crowd cannot fill the disk.
const (
	linesPerReason = 10
	lineWindow     = time.Second
)

// lineLimit writes log lines about misbehaving clients, a bounded number per
// second and reason. What was left out is summed up when the second is over.
type lineLimit struct {
	log *slog.Logger // static after construction

	mu      sync.Mutex
	windows map[string]*window // those that are open
}

type window struct {
	level   slog.Level
	written int
	left    int // lines left out
}

func (l *lineLimit) warn(reason, text string, args ...any) {
	l.write(slog.LevelWarn, reason, text, args...)
}

func (l *lineLimit) write(level slog.Level, reason, text string, args ...any) {
	if l.allow(level, reason) {
		l.log.Log(context.Background(), level, text, args...)
	}
}

// allow reports whether a line may be written.
func (l *lineLimit) allow(level slog.Level, reason string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.windows[reason]
	if w == nil {
		if l.windows == nil {
			l.windows = make(map[string]*window)
		}
		w = &window{level: level}
		l.windows[reason] = w
		time.AfterFunc(lineWindow, func() { l.close(reason) })
	}
	if w.written >= linesPerReason {
		w.left++
		return false
	}
	w.written++
	return true
}

// close ends a reason's second.
func (l *lineLimit) close(reason string) {
	l.mu.Lock()
	w := l.windows[reason]
	delete(l.windows, reason)
	l.mu.Unlock()
	if w != nil && w.left > 0 {
		l.log.Log(context.Background(), w.level, "more lines like it were left out", "reason", reason, "lines", w.left)
	}
}

// flush sums up what is left out so far.
func (l *lineLimit) flush() {
	l.mu.Lock()
	reasons := slices.Collect(maps.Keys(l.windows))
	l.mu.Unlock()
	for _, r := range reasons {
		l.close(r)
	}
}

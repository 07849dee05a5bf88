package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/chunk"
	"srs/rtmp/live"
)

// engine is how the servers of these tests send; eachEngine changes it. "make
// test" runs all of them with both.
var engine = cmp.Or(os.Getenv("SEND_ENGINE"), EngineAuto)

// eachEngine runs a test with both. Where the kernel or a sandbox forbids
// io_uring the second is the first once more, as it is for users.
func eachEngine(t *testing.T, test func(t *testing.T)) {
	for _, e := range []string{EngineEpoll, EngineUring} {
		t.Run(e, func(t *testing.T) {
			defer func(before string) { engine = before }(engine)
			engine = e
			test(t)
		})
	}
}

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// site is a server on loopback with a receiver of callbacks.
type site struct {
	t      *testing.T
	server *Server
	hooks  *hook.Engine
	addr   string
	log    *logBuffer
	config atomic.Pointer[conf.Config]

	mu     sync.Mutex
	events []map[string]any
	ids    map[string]bool                                         // of the calls that came
	answer map[string]func(w http.ResponseWriter, r *http.Request) // by action; nil: 0
	came   *sync.Cond
}

// logBuffer is a log that tests look at.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a server whose default vhost has the given directives; URL in
// them is the receiver's address.
func start(t *testing.T, directives string) *site {
	t.Helper()
	s := &site{t: t, log: &logBuffer{}, answer: map[string]func(http.ResponseWriter, *http.Request){}}
	s.came = sync.NewCond(&s.mu)
	receiver := httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(receiver.Close)
	s.configure(strings.ReplaceAll(directives, "URL", receiver.URL))
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.hooks = hook.New(hook.Options{ServerID: "test", Log: log, Rules: func(vhost string) (*hook.Rules, bool) {
		for _, v := range s.config.Load().Vhosts {
			if v.Name == vhost {
				h := v.Hooks
				return &hook.Rules{
					Enabled: h.Enabled, OnConnect: h.OnConnect, OnClose: h.OnClose, OnPublish: h.OnPublish,
					OnUnpublish: h.OnUnpublish, OnPlay: h.OnPlay, OnStop: h.OnStop, Timeout: h.Timeout,
				}, true
			}
		}
		return nil, false
	}})
	var err error
	s.server, err = New(Options{
		Conf: s.config.Load, Hooks: s.hooks, Registry: live.NewRegistry(), Log: log, Version: "test", FirstID: 100, Engine: engine,
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
		if err := s.hooks.Close(ctx); err != nil {
			t.Errorf("hooks: %v", err)
		}
		if c := s.server.Counters(); c.Connections != 0 || c.Publishers != 0 || c.Players != 0 || c.Streams != 0 {
			t.Errorf("left at the end: %+v", c)
		}
	})
	return s
}

func (s *site) configure(directives string) {
	s.t.Helper()
	c, err := conf.Parse("test.conf", []byte("listen 1935; vhost __defaultVhost__ { "+directives+" }"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.config.Store(c)
}

const allHooks = `http_hooks { enabled on; on_connect URL; on_close URL; on_publish URL; on_unpublish URL; on_play URL; on_stop URL; }`

func (s *site) receive(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var event map[string]any
	if err := json.Unmarshal(body, &event); err != nil {
		s.t.Errorf("callback %q: %v", body, err)
	}
	action, _ := event["action"].(string)
	id := r.Header.Get("webhook-id")
	s.mu.Lock()
	if s.ids == nil {
		s.ids = map[string]bool{}
	}
	if !s.ids[id] { // else the repeat of a call whose connection broke
		s.events = append(s.events, event)
	}
	s.ids[id] = true
	answer := s.answer[action]
	s.came.Broadcast()
	s.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	io.WriteString(w, "0")
}

// script sets how an action is answered.
func (s *site) script(action string, f func(http.ResponseWriter, *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer[action] = f
}

func deny(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "1") }

// actions are the events so far, in order.
func (s *site) actions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, e := range s.events {
		list = append(list, e["action"].(string))
	}
	return list
}

// await waits until n events have come and returns their actions.
func (s *site) await(n int) []string {
	s.t.Helper()
	late := time.AfterFunc(patience, s.came.Broadcast)
	defer late.Stop()
	end := time.Now().Add(patience)
	s.mu.Lock()
	for len(s.events) < n && time.Now().Before(end) {
		s.came.Wait()
	}
	s.mu.Unlock()
	got := s.actions()
	if len(got) < n {
		s.t.Fatalf("%d of %d events: %v\n%s", len(got), n, got, s.log)
	}
	return got
}

func (s *site) url(stream string) string { return "rtmp://" + s.addr + "/live/" + stream }

func (s *site) dial(stream string) *rtmp.Conn {
	s.t.Helper()
	c, err := s.tryDial(stream)
	if err != nil {
		s.t.Fatalf("dial: %v\n%s", err, s.log)
	}
	return c
}

func (s *site) tryDial(stream string) (*rtmp.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := rtmp.Dial(ctx, s.url(stream), 4096)
	if err == nil {
		s.t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
	}
	return c, err
}

func (s *site) publish(stream string) *rtmp.Conn {
	s.t.Helper()
	c := s.dial(stream)
	if err := c.Publish(); err != nil {
		s.t.Fatalf("publish: %v\n%s", err, s.log)
	}
	return c
}

func (s *site) play(stream string) *rtmp.Conn {
	s.t.Helper()
	c := s.dial(stream)
	if err := c.Play(); err != nil {
		s.t.Fatalf("play: %v\n%s", err, s.log)
	}
	return c
}

// awaitLog waits until the log has a text.
func (s *site) awaitLog(text string) {
	s.t.Helper()
	s.eventually(func() bool { return strings.Contains(s.log.String(), text) }, "no %q in the log:\n%s", text, s.log)
}

// eventually waits for a condition that other goroutines bring about.
func (s *site) eventually(f func() bool, format string, args ...any) {
	s.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !f(); <-tick.C {
		if time.Now().After(end) {
			s.t.Fatalf(format, args...)
		}
	}
}

// Bodies that look like H.264 and AAC from the outside.
func videoHeader() []byte { return []byte{0x17, 0, 0, 0, 0, 1, 2, 3} }
func audioHeader() []byte { return []byte{0xaf, 0, 0x12, 0x10} }

func videoFrame(key bool, n byte, size int) []byte {
	b := make([]byte, max(size, 6))
	b[0], b[1], b[5] = 0x27, 1, n
	if key {
		b[0] = 0x17
	}
	return b
}

func send(t *testing.T, c *rtmp.Conn, typ uint8, time uint32, body []byte) {
	t.Helper()
	if err := c.WriteTag(6, typ, time, body); err != nil {
		t.Fatal(err)
	}
}

// nextMedia reads up to the next audio, video or metadata message.
func nextMedia(t *testing.T, c *rtmp.Conn) chunk.Message {
	t.Helper()
	for {
		m, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == flv.TypeAudio || m.Type == flv.TypeVideo || flv.Sniff(m.Type, m.Body)&flv.Metadata != 0 {
			m.Body = bytes.Clone(m.Body)
			return m
		}
	}
}

// readEnd reads until the server closes and returns how: nil for FIN.
func readEnd(c net.Conn) error {
	c.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, c)
	return err
}

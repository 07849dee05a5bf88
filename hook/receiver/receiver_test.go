package receiver

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"srs/hook"
)

// An output collects lines; ready is closed with the first.
type output struct {
	mu    sync.Mutex
	b     strings.Builder
	ready chan struct{}
}

func newOutput() *output { return &output{ready: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() == 0 {
		close(o.ready)
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var stamp = regexp.MustCompile(`(?m)^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\]\[trace\] `)

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestAnswers(t *testing.T) {
	out := newOutput()
	srv := httptest.NewServer(New(Options{Output: out, Deny: []hook.Action{hook.OnPlay}}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	const common = `"client_id":4,"ip":"192.168.1.10","vhost":"v","app":"live"`
	for _, c := range []struct {
		path, body   string
		status       int
		answer, line string
	}{
		{"clients", `{"action":"on_connect",` + common + `,"tcUrl":"rtmp://v/live","pageUrl":"","server_id":"x"}`, 200, "0",
			"srs on_connect: client id=4, ip=192.168.1.10, vhost=v, app=live, tcUrl=rtmp://v/live, pageUrl="},
		{"clients/", `{"action":"on_close",` + common + `,"send_bytes":9007199254740993,"recv_bytes":0,"reason":"timeout"}`, 200, "0",
			"srs on_close: client id=4, ip=192.168.1.10, vhost=v, app=live, send_bytes=9007199254740993, recv_bytes=0, reason=timeout"},
		{"streams?k=v", `{"action":"on_publish",` + common + `,"stream":"s","tcUrl":"rtmp://v/live","param":"?a=b"}`, 200, "0",
			"srs on_publish: client id=4, ip=192.168.1.10, vhost=v, app=live, stream=s, param=?a=b"},
		{"streams", `{"action":"on_unpublish",` + common + `,"stream":"s","recovered":true,"error":"no, \"x\""}`, 200, "0",
			`srs on_unpublish: client id=4, ip=192.168.1.10, vhost=v, app=live, stream=s, recovered=true, error="no, \"x\""`},
		{"sessions", `{"action":"on_play",` + common + `,"stream":"s","pageUrl":"p"}`, 200, "403",
			"srs on_play: client id=4, ip=192.168.1.10, vhost=v, app=live, stream=s, pageUrl=p (answered 403)"},
		{"sessions", `{"action":"on_stop","client_id":"a1","ip":"::1","vhost":"v","app":"a/b","stream":"日本"}`, 200, "0",
			"srs on_stop: client id=a1, ip=::1, vhost=v, app=a/b, stream=日本"},
		{"dvrs", `{"action":"on_dvr",` + common + `,"stream":"s","cwd":"/srs","file":"./a.flv","duration":1.500,"size":7}`, 200, "0",
			"srs on_dvr: client id=4, ip=192.168.1.10, vhost=v, app=live, stream=s, cwd=/srs, file=./a.flv, duration=1.500, size=7"},
		{"streams", `{"action":"on_stop",` + common + `}`, 200, "200", "unknown action on_stop on /api/v1/streams"},
		{"streams", `{"action":"x\ny"}`, 200, "200", `unknown action "x\ny" on /api/v1/streams`},
		{"streams", `{}`, 200, "200", "unknown action  on /api/v1/streams"},
		{"streams", `{"action":`, 200, "100", "invalid request on /api/v1/streams: no JSON object, 10 bytes"},
		{"streams", `[1]`, 200, "100", "invalid request on /api/v1/streams: no JSON object, 3 bytes"},
		{"streams", `null`, 200, "100", "invalid request on /api/v1/streams: no JSON object, 4 bytes"},
		{"streams", ``, 200, "100", "invalid request on /api/v1/streams: no JSON object, 0 bytes"},
		{"streams", strings.Repeat(" ", maxBody+1), 413, "request body too large or cut short\n", ""},
		{"other", `{}`, 404, "404 page not found\n", ""},
		// A name must not make a second line, nor a second field.
		{"streams", `{"action":"on_publish",` + common + `,"stream":"a\r\n[2026-01-01 00:00:00][trace] b","param":"\u001b[2J, ip=1.1.1.1"}`, 200, "0",
			`srs on_publish: client id=4, ip=192.168.1.10, vhost=v, app=live, stream="a\r\n[2026-01-01 00:00:00][trace] b", param="\x1b[2J, ip=1.1.1.1"`},
	} {
		before := len(out.String())
		status, answer := post(t, srv.URL+"/api/v1/"+c.path, c.body)
		if status != c.status || answer != c.answer {
			t.Errorf("%.60s: %d %q, want %d %q", c.body, status, answer, c.status, c.answer)
		}
		line := out.String()[before:]
		if c.line == "" && line != "" || c.line != "" && (!stamp.MatchString(line) || stamp.ReplaceAllString(line, "") != c.line+"\n") {
			t.Errorf("%.60s printed\n%swant\n%s", c.body, line, c.line)
		}
	}
}

func TestGet(t *testing.T) {
	srv := httptest.NewServer(New(Options{}))
	defer srv.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for path := range paths {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || string(text) != "{}" {
			t.Errorf("%s: %d %q", path, resp.StatusCode, text)
		}
	}
}

// The engine and the receiver understand each other, in every event.
func TestWithEngine(t *testing.T) {
	var mu sync.Mutex
	var events []Event
	out := newOutput()
	srv := httptest.NewServer(New(Options{Output: out, Deny: []hook.Action{hook.OnPublish}, OnEvent: func(ev Event) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, ev)
	}}))
	defer srv.Close()
	api := srv.URL + "/api/v1/"
	clients, streams, sessions := []string{api + "clients"}, []string{api + "streams"}, []string{api + "sessions"}
	e := hook.New(hook.Options{ServerID: "sid", Rules: func(string) (*hook.Rules, bool) {
		return &hook.Rules{
			Enabled: true, OnConnect: clients, OnClose: clients, OnPublish: streams, OnUnpublish: streams,
			OnPlay: sessions, OnStop: sessions, OnDVR: []string{api + "dvrs"},
		}, true
	}})
	c := e.Client()
	ev := hook.Event{ClientID: 7, IP: "10.0.0.1", Vhost: "v", App: "live", Stream: "s,\n"}
	for _, a := range []hook.Action{hook.OnConnect, hook.OnPublish, hook.OnPlay} {
		ev.Action = a
		if err := c.Ask(t.Context(), ev); (err != nil) != (a == hook.OnPublish) {
			t.Errorf("%s: %v", a, err)
		}
	}
	for _, a := range []hook.Action{hook.OnStop, hook.OnUnpublish, hook.OnClose} {
		ev.Action = a
		c.Tell(ev)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	var got []string
	for _, ev := range events {
		got = append(got, string(ev.Action))
		if ev.Text("client_id") != "7" || ev.Text("vhost") != "v" || ev.ID == "" || (ev.Code != 0) != (ev.Action == hook.OnPublish) {
			t.Errorf("%+v", ev)
		}
	}
	if s := strings.Join(got, " "); s != "on_connect on_publish on_play on_stop on_unpublish on_close" {
		t.Error(s)
	}
	if n := strings.Count(out.String(), "\n"); n != len(events) {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

// A delay holds the answer back, and ends with the client.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Options{Delay: 3 * time.Second})
		ask := func(ctx context.Context) (string, time.Duration) {
			started, w := time.Now(), httptest.NewRecorder()
			r.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/api/v1/dvrs", strings.NewReader(`{"action":"on_dvr"}`)))
			return w.Body.String(), time.Since(started)
		}
		if answer, took := ask(t.Context()); answer != "0" || took != 3*time.Second {
			t.Errorf("%q after %v", answer, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if answer, took := ask(ctx); answer != "" || took != time.Second {
			t.Errorf("%q after %v", answer, took)
		}
	})
}

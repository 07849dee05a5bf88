package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"srs/hook"
)

// output runs the subcommand.
func output(t testing.TB, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, "1.0", &out, &errs)
	return code, out.String(), errs.String()
}

func endpoint(t testing.TB, answer func(w http.ResponseWriter, r *http.Request)) string {
	srv := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestTestAnswers(t *testing.T) {
	var body, agent string
	status, answer := 200, "0"
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body, agent = string(b), r.UserAgent()
		w.WriteHeader(status)
		io.WriteString(w, answer)
	})
	for _, c := range []struct {
		event, answer string
		status        int
		code          int
		want          string
	}{
		{"on_publish", "0", 200, 0, "ACCEPTED"},
		{"on_connect", `{"code":0}`, 201, 0, "ACCEPTED"},
		{"on_play", "1", 200, 1, "REFUSED, hook.denied: the endpoint says no with a code that is not 0 (code 1)"},
		{"on_play", "OK", 200, 1, "REFUSED, hook.bad_response"},
		{"on_play", "0", 302, 1, "REFUSED, hook.redirect"},
		{"on_stop", "0", 200, 0, "DELIVERED: the endpoint has taken it"},
		{"on_unpublish", "no", 403, 0, "DELIVERED, although the answer would refuse a gate"},
		{"on_close", "0", 503, 1, "NOT DELIVERED, it would be repeated: hook.status"},
		{"on_dvr", "\x00\x01", 200, 0, `"\x00\x01"`},
		{"on_close", strings.Repeat("x", 70_000), 200, 0, "DELIVERED, although the answer would refuse a gate: hook.too_big"},
	} {
		status, answer = c.status, c.answer
		code, out, errs := output(t, "test", c.event, "--url", url+"/x?k=SECRET", "--stream", "a/b/s?token=1", "--vhost", "v.example")
		if code != c.code || !strings.Contains(out, c.want) || errs != "" {
			t.Errorf("%s: exit %d, %q\n%s", c.event, code, errs, out)
		}
		for _, want := range []string{"POST " + url + "/x?k=***\n", `"action":"` + c.event + `"`, body, "Webhook-Id: ", fmt.Sprint(c.status)} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %s in\n%s", c.event, want, out)
			}
		}
		if strings.Contains(out, "SECRET") || agent != "SRS/1.0" {
			t.Errorf("%s by %s", out, agent)
		}
		if c.event == "on_play" && !strings.Contains(body, `"app":"a/b","stream":"s","tcUrl":"rtmp://v.example/a/b","param":"?token=1"`) {
			t.Error(body)
		}
	}
	if code, out, _ := output(t, "test", "on_play", "--url", "http://127.0.0.1:1/"); code != 1 || !strings.Contains(out, "REFUSED, hook.refused: there is no connection") {
		t.Errorf("%d %s", code, out)
	}
}

func TestTestConfigured(t *testing.T) {
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Webhook-Signature") == "" || r.URL.Path == "/2" {
			io.WriteString(w, "1")
			return
		}
		if r.URL.Path == "/503" {
			w.WriteHeader(503)
		}
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), `"server_id":"hook-test"`) {
			t.Errorf("body %s", body)
		}
		io.WriteString(w, "0")
	})
	dir := t.TempDir()
	t.Chdir(dir)
	os.WriteFile("secret", []byte("whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0\n"), 0o600)
	text := fmt.Sprintf(`listen 1935; vhost a { http_hooks { enabled on; secret file:secret; on_play %s/1; on_publish %s/1 %s/2; on_connect %s/2 %s/1; on_close %s/1 %s/503; on_unpublish %s/1 %s/2; } } vhost off { }
		vhost easy { http_hooks { enabled on; secret file:secret; on_fail allow; retry off; on_play %s/503; on_publish %s/2; on_stop %s/503; } }`,
		url, url, url, url, url, url, url, url, url, url, url, url)
	os.WriteFile("srs.conf", []byte(text), 0o644)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"on_play --vhost a", 0, "ACCEPTED"},
		{"on_publish --vhost a", 1, "\nALL 2 URLs: REFUSED by the first no, of URL 2, the last.\n"},
		{"on_connect --vhost a", 1, "\nALL 2 URLs: REFUSED by the first no, of URL 1. The server does not ask those behind it.\n"},
		{"on_close --vhost a", 1, "\nALL 2 URLs: not delivered to each."},
		{"on_unpublish --vhost a", 0, "\nALL 2 URLs: delivered.\n"},
		{"on_stop --vhost a", 1, "no URL for on_stop"},
		{"on_play --vhost easy", 0, "ACCEPTED, because on_fail is allow: the endpoint has not decided, hook.status"},
		{"on_publish --vhost easy", 1, "REFUSED, hook.denied"},
		{"on_stop --vhost easy", 1, "NOT DELIVERED, and because retry is off it would not be repeated: hook.status"},
		{"on_play --vhost off", 1, "not enabled"},
		{"on_play --vhost b", 1, "no vhost b"},
	} {
		code, out, errs := output(t, append(append([]string{"test"}, strings.Fields(c.args)...), "--conf", "srs.conf")...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit %d\n%s%s", c.args, code, out, errs)
		}
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "test or log?",
		"nothing":                            `neither test nor log: "nothing"`,
		"test on_play --url a --stream ../x": `would be refused without a call: app has a segment ".."`,
		"test on_play --url a --stream live/x?vhost=v": `ask for the vhost "v": say so with --vhost`,
		"test":                                           "which event?",
		"test on_hls --url http://h/":                    "no such event",
		"test on_play":                                   "either --url or --conf",
		"test on_play --url a --conf b":                  "either --url or --conf",
		"test on_play --url a --stream x":                "APP/NAME",
		"test on_play --nonsense":                        "not defined",
		"test on_play --url ftp://h/":                    "--url begins with http://",
		"test on_play --url h:80/x":                      "--url begins with http://",
		"test on_play --url http://h/ --ip me":           "--ip is an IP address",
		"test on_play --url http://h/ --timeout 0":       "for flag -timeout: it is longer than 0",
		"test on_play --url http://h/ --timeout -1s":     "for flag -timeout: it is longer than 0",
		"test on_play --url http://h/ --timeout 5":       "missing unit in duration",
		"test on_play --url http://h/ --vhost [::1]":     "--vhost is the name of a vhost",
		"test on_play --url http://h/ --vhost good:1935": "--vhost is the name of a vhost",
		"log --dir a --conf b":                           "either --dir or --conf",
		"log x":                                          "unexpected argument",
	} {
		code, out, errs := output(t, strings.Fields(args)...)
		if code != 2 || !strings.Contains(errs, want) || out != "" {
			t.Errorf("%q: exit %d, %q %q", args, code, out, errs)
		}
	}
	if code, _, errs := output(t, "-h"); code != 0 || !strings.HasPrefix(errs, "usage:") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := output(t, "log", "-h"); code != 0 || !strings.Contains(errs, "-follow") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := output(t, "log", "--dir", filepath.Join(t.TempDir(), "none")); code != 1 || !strings.Contains(errs, "cannot be read") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, errs := output(t, "log", "--dir", t.TempDir()); code != 1 || out != "" || !strings.Contains(errs, "no server has kept a journal there") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// A log shows what waits where, and follows what happens.
func TestLog(t *testing.T) {
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "0") })
	bad := endpoint(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })
	dir := t.TempDir()
	urls := []string{url + "/?k=SECRET", bad, "http://127.0.0.1:1/"}
	rules := &hook.Rules{Enabled: true, OnClose: urls, OnUnpublish: urls[:1]}
	e := hook.New(hook.Options{Rules: func(string) (*hook.Rules, bool) { return rules, true }})
	if err := e.OpenJournal(dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var followed synced
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx, []string{"log", "--dir", dir, "--follow"}, "", &followed, io.Discard) })
	for i := range 5 {
		c := e.Client()
		ev := hook.Event{Action: hook.OnConnect, ClientID: uint64(i + 1), Vhost: "v"}
		if err := c.Ask(t.Context(), ev); err != nil {
			t.Fatal(err)
		}
		if i < 3 {
			ev.Action = hook.OnClose
			c.Tell(ev)
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if text := followed.String(); strings.Count(text, "delivered on_close") == 3 && strings.Count(text, "objected  on_close") == 3 {
			break
		}
		<-tick.C
	}
	cancel()
	wg.Wait()
	code, out, errs := output(t, "log", "--dir", dir)
	closing, done := context.WithTimeout(t.Context(), 5*time.Second)
	defer done()
	e.Close(closing)
	if code != 0 || errs != "" {
		t.Errorf("%d %s", code, errs)
	}
	text := followed.String() + out
	for _, want := range []string{
		"begun     on_connect client=1", "told      on_close client=1", "k=***", "id=",
		"journal " + dir + ", written last ",
		"http://127.0.0.1:1  ", "2 connections, 0 publishes, 0 plays",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "SECRET") {
		t.Error(text)
	}
	counts := map[string]string{url: "0 3 0 0 0 -", bad: "0 0 3 0 0 -", "http://127.0.0.1:1": "3 0 0 0 0"}
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if want, ok := counts[f[0]]; ok && !strings.HasPrefix(strings.Join(f[1:], " "), want) {
			t.Errorf("%q, want %s", line, want)
		}
		delete(counts, f[0])
	}
	if len(counts) > 0 {
		t.Errorf("not in the log: %v\n%s", counts, out)
	}
}

// A synced is a buffer for two goroutines.
type synced struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

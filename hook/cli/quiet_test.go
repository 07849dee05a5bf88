package cli

import (
	"bytes"
	"context"
	"io"
	stdlog "log"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"srs/hook"
)

// What the standard library says of an endpoint that sends more than it was asked
// for is not printed.
func TestTestIsQuiet(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0"
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(c, answer+answer)
		c.Close()
	})
	var stray bytes.Buffer
	before := stdlog.Writer()
	defer stdlog.SetOutput(before)
	stdlog.SetOutput(&stray)
	for range 20 {
		if code, out, errs := output(t, "test", "on_play", "--url", url); code != 0 || errs != "" || stray.Len() > 0 {
			t.Fatalf("%d, %q, %q, %q", code, out, errs, stray.String())
		}
	}
}

// Lines of what is done have the time it was seen at.
func TestFollowedLinesHaveTimes(t *testing.T) {
	release := make(chan struct{})
	url := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
		io.WriteString(w, "0")
	})
	dir := t.TempDir()
	rules := &hook.Rules{Enabled: true, OnStop: []string{url}}
	e := hook.New(hook.Options{Rules: func(string) (*hook.Rules, bool) { return rules, true }})
	if err := e.OpenJournal(dir); err != nil {
		t.Fatal(err)
	}
	e.Client().Tell(hook.Event{Action: hook.OnStop, ClientID: 1, Vhost: "v"})
	ctx, cancel := context.WithCancel(t.Context())
	var followed synced
	var wg sync.WaitGroup
	wg.Go(func() { run(ctx, []string{"log", "--dir", dir, "--follow"}, "", &followed, io.Discard) })
	await := func(text string) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 500 {
			if strings.Contains(followed.String(), text) {
				return
			}
			<-tick.C
		}
	}
	await("told      on_stop")
	close(release)
	await("delivered on_stop")
	cancel()
	wg.Wait()
	closing, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	e.Close(closing)
	if !regexp.MustCompile(`(?m)^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} delivered on_stop`).MatchString(followed.String()) {
		t.Error(followed.String())
	}
}

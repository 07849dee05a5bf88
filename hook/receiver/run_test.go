package receiver

import (
	"context"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"srs/hook"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args, listen string
		deny         []hook.Action
		delay        time.Duration
		err          string
	}{
		{args: "", listen: ":8085"},
		{args: "9000", listen: ":9000"},
		{args: "-listen 127.0.0.1:1", listen: "127.0.0.1:1"},
		{args: "-deny on_publish,on_play 9000 -deny on_connect -delay 1s", listen: ":9000",
			deny: []hook.Action{hook.OnPublish, hook.OnPlay, hook.OnConnect}, delay: time.Second},
		{args: "-deny on_hls", err: "no such event"},
		{args: "-deny=", err: "no such event"},
		{args: "-x", err: "not defined"},
		{args: "0", err: "port must be"},
		{args: "65536", err: "port must be"},
		{args: "x", err: "port must be"},
		{args: "1 2", err: "one port only"},
		{args: "-listen :1 2", err: "either"},
	} {
		var o Options
		listen, err := parse(strings.Fields(c.args), &o, nil)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		if err != nil || listen != c.listen || !slices.Equal(o.Deny, c.deny) || o.Delay != c.delay {
			t.Errorf("%s: %q %v %v %v", c.args, listen, o.Deny, o.Delay, err)
		}
	}
}

func TestExitStatus(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"-h"}, 0, "usage: srs api-server"},
		{[]string{"-help"}, 0, "-deny actions"},
		{[]string{"-bad"}, 2, "srs api-server: flag provided but not defined"},
		{[]string{"-listen", l.Addr().String()}, 1, "address already in use"},
	} {
		out, errs := newOutput(), newOutput()
		if code := Run(c.args, out, errs); code != c.code || !strings.Contains(errs.String(), c.text) || out.String() != "" {
			t.Errorf("%v: %d\n%s%s", c.args, code, out, errs)
		}
	}
}

// Signals end it with status 0, a kept connection and an answer under way too.
func TestRun(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		before := runtime.NumGoroutine()
		out, errs, code := newOutput(), newOutput(), make(chan int)
		go func() { code <- Run([]string{"-listen", "127.0.0.1:0"}, out, errs) }()
		<-out.ready
		m := regexp.MustCompile(`^\[.*\]\[trace\] api server listen at (127\.0\.0\.1:\d+)\n$`).FindStringSubmatch(out.String())
		if m == nil {
			t.Fatalf("%q", out)
		}
		if status, answer := post(t, "http://"+m[1]+"/api/v1/dvrs", `{"action":"on_dvr"}`); status != 200 || answer != "0" {
			t.Errorf("%d %q", status, answer)
		}
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-code:
			if got != 0 || errs.String() != "" {
				t.Errorf("status %d\n%s", got, errs)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("does not end")
		}
		http.DefaultClient.CloseIdleConnections()
		ticks := time.NewTicker(10 * time.Millisecond)
		for range 300 {
			if runtime.NumGoroutine() <= before+2 { // os/signal keeps its own
				break
			}
			<-ticks.C
		}
		ticks.Stop()
		if n := runtime.NumGoroutine(); n > before+2 {
			t.Errorf("%d goroutines, %d before", n, before)
		}
	}
}

// A listener that breaks is an error, not a silent end.
func TestServeFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := serve(context.Background(), l, Options{}); err == nil {
		t.Error("no error")
	}
}

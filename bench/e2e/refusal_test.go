package e2e

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"testing"

	"srs/rtmp"
)

// refusals are answers that say no. The empty name is the one that says yes.
var refusals = []struct {
	name  string
	reply reply
}{
	{"answer 1", reply{body: "1"}},
	{"status 500", reply{status: 500}},
	{"status 204", reply{status: 204, empty: true}},
	{"a body that is no verdict", reply{body: "OK"}},
	{"no HTTP", reply{raw: "garbage\r\n\r\n"}},
	{"hangs up", reply{cut: true}},
	{"redirect", reply{status: 302, header: map[string]string{"Location": "/elsewhere"}}},
	{"code 1", reply{body: `{"code":1}`}},
	{"code as text", reply{body: `{"code":"0"}`}},
	{"two codes", reply{body: `{"code":0,"code":0}`}},
	{"00", reply{body: "00"}},
	{"empty body", reply{empty: true}},
	{"connection refused", reply{}}, // by the vhost that has a dead endpoint
}

// denials are the codes that a client is refused with.
var denials = map[string]string{
	"on_connect": rtmp.CodeConnectRejected,
	"on_publish": rtmp.CodePublishDenied,
	"on_play":    rtmp.CodePlayFailed,
}

// deadPort is a port that is taken and that nobody listens on.
func deadPort(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return addr.(*syscall.SockaddrInet4).Port
}

// TestRefusal has each gate say no in each way.
func TestRefusal(t *testing.T) {
	for _, gate := range gates {
		t.Run(gate, func(t *testing.T) {
			t.Parallel()
			testRefusals(t, gate)
		})
	}
}

func testRefusals(t *testing.T, gate string) {
	rcv := newReceiver(t)
	files := t.TempDir()
	dead := slices.DeleteFunc(slices.Clone(allEvents), func(e string) bool { return e == gate })
	dead = append(dead, fmt.Sprintf("%s http://127.0.0.1:%d/dead;", gate, deadPort(t)))
	record := recordTo(files + "/[app]-[stream].flv")
	s := startServer(t, defaultVhost(hooks(rcv), record), vhost("dead.example", hooks(rcv, dead...), record))
	replies := make(map[string]reply)
	rcv.script(gate, func(c call) reply { return replies[c.text("app")] })
	for i, r := range refusals {
		replies[fmt.Sprintf("case%d", i)] = r.reply
	}
	other := startCanary(t, s, "canary/c")
	other.take(t)
	for i, r := range refusals {
		t.Run(r.name, func(t *testing.T) {
			app := fmt.Sprintf("case%d", i)
			if r.name == "connection refused" {
				app += "...vhost...dead.example"
			}
			refusedOnce(t, s, gate, app)
			refusedByConn(t, s, gate, app)
		})
	}
	if h := other.over(t, 10); h.lost > 0 {
		t.Errorf("another stream lost %d frames", h.lost)
	}
	other.stop()
	s.stop(t, syscall.SIGTERM)
	wantNoEnds(t, rcv, gate)
	if left, _ := os.ReadDir(files); len(left) != 1 || left[0].Name() != "canary-c.flv" {
		t.Errorf("recordings: %v; only the canary's was accepted", left)
	}
}

// refusedOnce is refused as a client that does not wait: it sends media while
// the gate is asked. A player of that stream must get none of it.
func refusedOnce(t *testing.T, s *srs, gate, app string) {
	t.Helper()
	c := dial(t, s).shake(t)
	code := c.connect(t, s.url(app), app)
	switch gate {
	case "on_publish":
		c.send(t, cmdCreateStream(), cmdPublish("s"), message(6, rtmp.TypeVideo, avcHeader),
			message(6, rtmp.TypeVideo, avcFrame(true, []byte("refused"))))
		code = c.status(t, nil)
	case "on_play":
		code = c.status(t, cmdPlay("s"))
	}
	if code != denials[gate] {
		t.Errorf("the client was told %q, want %q", code, denials[gate])
	}
	if got := c.end(t, longest); got != endFIN {
		t.Errorf("the connection ends with %s", got)
	}
}

// refusedByConn is refused as srs/rtmp.Conn sees it.
func refusedByConn(t *testing.T, s *srs, gate, app string) {
	t.Helper()
	c, err := connect(t, s.url(app+"/s"))
	switch {
	case gate == "on_connect":
		wantStatus(t, err, denials[gate])
		return
	case err != nil:
		t.Error(err)
		return
	case gate == "on_publish":
		err = c.Publish()
	case gate == "on_play":
		err = c.Play()
	}
	wantStatus(t, err, denials[gate])
	wantFIN(t, c)
}

// wantNoEnds checks, when all calls are in, that nothing was ended that had
// not begun, and that nothing went where a redirect said.
func wantNoEnds(t testing.TB, rcv *receiver, gate string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, c := range rcv.all() {
		if c.uri == "/elsewhere" {
			t.Error("a redirect was followed")
		}
		if seen[c.client()] || c.text("app") == "canary" {
			continue
		}
		seen[c.client()] = true
		got, dead := rcv.actions(c.client()), c.text("vhost") == "dead.example"
		want := []string{"on_connect", gate, "on_close"}
		switch {
		case gate == "on_connect":
			want = want[:1]
		case dead: // the gate did not reach us
			want = []string{"on_connect", "on_close"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("client of app %s: %q, want %q", c.text("app"), got, want)
		}
	}
	want := 2 * len(refusals)
	if gate == "on_connect" {
		want -= 2 // those of the dead endpoint left no trace
	}
	if len(seen) != want {
		t.Errorf("the receiver heard of %d refused clients, want %d", len(seen), want)
	}
}

// TestRefusedMediaStaysOut publishes against a no and then for a yes: the
// waiting player gets the second only.
func TestRefusedMediaStaysOut(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	player := playWith(t, s.url("live/s"))
	rcv.always("on_publish", reply{body: "1"})
	refusedOnce(t, s, "on_publish", "live")
	rcv.always("on_publish", reply{})
	sendMedia(t, publishWith(t, s.url("live/s")), 3)
	for n := 0; n < 4; {
		m, err := player.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type != rtmp.TypeVideo {
			continue
		}
		want := avcFrame(n == 1, []byte("frame"))
		if n == 0 {
			want = avcHeader
		}
		if string(m.Body) != string(want) {
			t.Fatalf("message %d for the player is %q, want %q", n, m.Body, want)
		}
		n++
	}
}

// TestAcceptance has the gates say yes in every way there is.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	for i, a := range []reply{
		{body: "0"}, {body: " 0\n"}, {body: "\t0\r\n"}, {body: `{"code":0}`}, {body: ` {"data":{"code":7},"code": 0}` + "\n"},
		{status: 201, body: "0"}, {status: 201, body: `{"code":0}`},
	} {
		t.Run(fmt.Sprintf("%d %q", a.status, a.body), func(t *testing.T) {
			for _, gate := range gates {
				rcv.always(gate, a)
			}
			url := s.url(fmt.Sprintf("live/s%d", i))
			publishWith(t, url)
			playWith(t, url)
		})
	}
}

// TestSeveralURLs calls them in the order of the file and stops at the first no.
func TestSeveralURLs(t *testing.T) {
	t.Parallel()
	for _, gate := range gates {
		t.Run(gate, func(t *testing.T) {
			rcv := newReceiver(t)
			line := fmt.Sprintf("%s %s %s %s;", gate, rcv.url("first"), rcv.url("second"), rcv.url("third"))
			s := startServer(t, defaultVhost(hooks(rcv, line)))
			for _, no := range []string{"", "/third", "/second", "/first"} {
				before := len(rcv.all())
				var want []string
				for _, uri := range []string{"/first", "/second", "/third"} {
					want = append(want, uri)
					if uri == no {
						break
					}
				}
				rcv.script(gate, func(c call) reply {
					if c.uri == no {
						return reply{body: "1"}
					}
					return reply{}
				})
				c, err := connect(t, s.url("live/s"+no[min(1, len(no)):]))
				if err == nil && gate == "on_play" {
					err = c.Play()
				}
				if err == nil && gate == "on_publish" {
					err = c.Publish()
				}
				if no == "" && err != nil {
					t.Errorf("all say yes: %v", err)
				} else if no != "" {
					wantStatus(t, err, denials[gate])
				}
				var got []string
				for _, c := range rcv.all()[before:] {
					got = append(got, c.uri)
				}
				if !slices.Equal(got, want) {
					t.Errorf("no from %q: called %q, want %q", no, got, want)
				}
			}
		})
	}
}

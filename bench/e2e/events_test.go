package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// body is what an event's body must be, byte by byte. NUMBER stands for what
// only the server knows: bytes, duration, size.
func body(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// wantBody compares a call's body with what it must be and returns the numbers.
func wantBody(t testing.TB, c call, want string) []float64 {
	t.Helper()
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "NUMBER", `(\d+(?:\.\d{3})?)`)
	found := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(c.body)
	if found == nil {
		t.Errorf("%s\n got %s\nwant %s", c.action(), c.body, want)
		return make([]float64, strings.Count(want, "NUMBER"))
	}
	var numbers []float64
	for _, s := range found[1:] {
		n, _ := strconv.ParseFloat(s, 64)
		numbers = append(numbers, n)
	}
	return numbers
}

// wantRequest checks what all calls have in common beside the body.
func wantRequest(t testing.TB, r *receiver, c call) {
	t.Helper()
	if c.method != "POST" || c.uri != "/"+c.action() || c.host != r.addr {
		t.Errorf("%s: %s %s to Host %s", c.action(), c.method, c.uri, c.host)
	}
	for key, want := range map[string]string{
		"Content-Type":   "application/json",
		"User-Agent":     "SRS/" + version,
		"Content-Length": strconv.Itoa(len(c.body)),
	} {
		if got := c.header.Get(key); got != want {
			t.Errorf("%s: header %s is %q, want %q", c.action(), key, got, want)
		}
	}
	if c.header.Get("Webhook-Id") == "" || c.header.Get("Webhook-Timestamp") == "" {
		t.Errorf("%s: no webhook-id or webhook-timestamp in %v", c.action(), c.header)
	}
}

// TestEvents runs a recorded publish and a play by ffmpeg, ended in two ways,
// and compares all that the receiver heard of it.
func TestEvents(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(t testing.TB, p *process)
	}{
		{"clients leave", func(t testing.TB, p *process) { p.signal(t, syscall.SIGINT); p.exit(t, longest) }},
		{"clients are killed", func(t testing.TB, p *process) { p.kill() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			files := t.TempDir()
			s := startServer(t, defaultVhost(hooks(rcv), recordTo(files+"/[app]/[stream].flv")))

			pub := publishFFmpeg(t, s.url(`cam/one?token="a\b"&x=1`))
			published := rcv.wait(t, "on_publish", "", 1)
			s.waitLog(t, "publish started")
			player := playFFmpeg(t, s.url("cam/one?who=me"), "-rtmp_pageurl", "http://example.org/p?q=1")
			played := rcv.wait(t, "on_play", "", 1)
			player.waitLine(t, 0, "Press|muxing|Output #0")
			test.end(t, player)
			rcv.wait(t, "on_stop", "", 1)
			rcv.wait(t, "on_close", "", 1)
			test.end(t, pub)
			rcv.wait(t, "on_dvr", "", 1)
			rcv.wait(t, "on_close", "", 2)
			if code, _ := s.stop(t, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}

			// All calls are in now: one end for each begin, in order.
			order := func(id string, want ...string) {
				t.Helper()
				got := slices.DeleteFunc(rcv.actions(id), func(a string) bool { return a == "on_dvr" })
				if !slices.Equal(got, want) {
					t.Errorf("client %s: %q, want %q", id, got, want)
				}
			}
			order(published.client(), "on_connect", "on_publish", "on_unpublish", "on_close")
			order(played.client(), "on_connect", "on_play", "on_stop", "on_close")
			if len(rcv.all()) != 9 || len(rcv.of("on_dvr", "")) != 1 {
				t.Errorf("%q: 9 events were due, one of them on_dvr", rcv.actions(""))
			}

			bodies := wantBodies(s, files, published.client(), played.client())
			for _, c := range rcv.all() {
				wantRequest(t, rcv, c)
				numbers := wantBody(t, c, bodies[c.client()+c.action()])
				switch c.action() {
				case "on_close":
					few, many := numbers[0], numbers[1] // sent, received
					if c.client() == played.client() {
						few, many = many, few
					}
					if few < 3073 || many < few {
						t.Errorf("on_close: sent and received are %v", numbers)
					}
				case "on_dvr":
					wantRecording(t, filepath.Join(files, "cam/one.flv"), numbers[0], numbers[1])
				}
			}
		})
	}
}

// wantBodies are the bodies of TestEvents, by client and action.
func wantBodies(s *srs, files, publisher, player string) map[string]string {
	tc := body(`rtmp://%s/cam`, s.addr)
	pub := body(`"stream":"one","tcUrl":"%s","param":"?token=\"a\\b\"&x=1"`, tc)
	play := body(`"stream":"one","tcUrl":"%s","param":"?who=me"`, tc)
	client := func(id string) string {
		return body(`"client_id":%s,"ip":"127.0.0.1","vhost":"__defaultVhost__","app":"cam"`, id)
	}
	const server, stream = `"server_id":"` + serverID + `"`, `"stream_url":"/cam/one"`
	w := map[string]string{
		publisher + "on_connect":   body(`{"action":"on_connect",%s,"tcUrl":"%s","pageUrl":"",%s}`, client(publisher), tc, server),
		publisher + "on_publish":   body(`{"action":"on_publish",%s,%s,%s,%s}`, client(publisher), pub, server, stream),
		publisher + "on_unpublish": body(`{"action":"on_unpublish",%s,%s,%s,%s}`, client(publisher), pub, server, stream),
		publisher + "on_dvr": body(`{"action":"on_dvr",%s,%s,"cwd":"%s","file":"%s","duration":NUMBER,"size":NUMBER,%s,%s}`,
			client(publisher), pub, s.dir, filepath.Join(files, "cam/one.flv"), server, stream),
		player + "on_connect": body(`{"action":"on_connect",%s,"tcUrl":"%s","pageUrl":"http://example.org/p?q=1",%s}`, client(player), tc, server),
		player + "on_play":    body(`{"action":"on_play",%s,%s,"pageUrl":"http://example.org/p?q=1",%s,%s}`, client(player), play, server, stream),
		player + "on_stop":    body(`{"action":"on_stop",%s,%s,%s,%s}`, client(player), play, server, stream),
	}
	for _, id := range []string{publisher, player} {
		w[id+"on_close"] = body(`{"action":"on_close",%s,"send_bytes":NUMBER,"recv_bytes":NUMBER,%s}`, client(id), server)
	}
	return w
}

// wantRecording checks a file against what on_dvr said of it.
func wantRecording(t testing.TB, path string, duration, size float64) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
		return
	}
	if float64(info.Size()) != size || duration <= 0 || duration > 120 {
		t.Errorf("on_dvr says %v s, %v bytes; the file has %d bytes", duration, size, info.Size())
	}
}

// TestClientIDAsString is the one setting that changes the bodies.
func TestClientIDAsString(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv, "on_publish", "client_id_type string;")))
	publishWith(t, s.url("live/a"))
	c := rcv.wait(t, "on_publish", "", 1)
	if !regexp.MustCompile(`^\{"action":"on_publish","client_id":"\d+","ip":`).MatchString(c.body) {
		t.Errorf("got %s", c.body)
	}
}

package hook

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite testdata")

// full has every field set, so that a golden body shows which ones are sent.
func full(a Action) Event {
	return Event{
		Action: a, ClientID: 2906325360641, IP: "192.168.1.10", Vhost: "demo.example", App: "live",
		TcURL: "rtmp://demo.example/live?k=v", PageURL: "http://demo.example/p.html",
		Stream: "livestream", Param: "?token=a&b=<c>",
		SendBytes: 18446744073709551615, RecvBytes: 42,
		Cwd: "/usr/local/srs", File: "./objs/nginx/html/live/livestream.1420254068776.flv",
		Duration: 61*time.Second + 1499*time.Microsecond, Size: 123456789,
	}
}

func TestGoldenBodies(t *testing.T) {
	type body struct {
		name     string
		ev       Event
		idString bool
	}
	var bodies []body
	for _, a := range []Action{OnConnect, OnClose, OnPublish, OnUnpublish, OnPlay, OnStop, OnDVR} {
		optional := full(a)
		optional.Reason, optional.Recovered, optional.Error = "server_restart", true, "no space left on device"
		empty := Event{Action: a, Vhost: DefaultVhost}
		bodies = append(bodies,
			body{string(a), full(a), false},
			body{string(a) + "_optional", optional, true},
			body{string(a) + "_empty", empty, false})
	}
	for _, b := range bodies {
		t.Run(b.name, func(t *testing.T) {
			path := filepath.Join("testdata", b.name+".json")
			got := b.ev.AppendJSON([]byte("x"), "vid-1k2", b.idString)[1:]
			if !json.Valid(got) {
				t.Fatalf("not JSON: %s", got)
			}
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("body\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                "0.000",
		1499 * time.Microsecond:          "0.001",
		1501 * time.Microsecond:          "0.002",
		time.Hour:                        "3600.000",
		1000*time.Hour + time.Nanosecond: "3600000.000",
	} {
		ev := Event{Action: OnDVR, Duration: d}
		if got := string(ev.AppendJSON(nil, "", false)); !strings.Contains(got, `,"duration":`+want+`,"size":0,`) {
			t.Errorf("%v: no duration %s in %s", d, want, got)
		}
	}
}

var hostile = []string{
	"", "plain", `x","code":0,"y":"`, `${jndi:ldap://x}`, `a\b\\c`, "😀🎥", "日本", "<script>&amp;'",
	"\x00\x01\b\f\n\r\t\x1f\x7f", "\u2028\u2029", "\xff", "a\xc3", "\xed\xa0\x80", "\xf0\x9f", "ok\xffok\xfe", `"`, `\`,
}

// HK-14: what goes in comes out, and nothing else.
func TestHK14(t *testing.T) {
	for _, s := range hostile {
		ev := Event{Action: OnDVR, IP: s, Vhost: s, App: s, Stream: s, Param: s, TcURL: s, Cwd: s, File: s, Reason: s, Error: s}
		body := ev.AppendJSON(nil, s, false)
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%q: %v in %s", s, err, body)
		}
		want := string([]rune(s)) // U+FFFD for each bad byte, as encoding/json
		for _, key := range []string{"ip", "vhost", "app", "stream", "param", "tcUrl", "cwd", "file", "server_id"} {
			if got[key] != want {
				t.Errorf("%s = %q, want %q", key, got[key], want)
			}
		}
		if got["stream_url"] != want+"/"+want+"/"+want {
			t.Errorf("stream_url = %q", got["stream_url"])
		}
		if keys := 14; s == "" && len(got) != keys || s != "" && len(got) != keys+2 {
			t.Errorf("%q: %d keys in %s", s, len(got), body)
		}
	}
}

func encoded(t testing.TB, s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func FuzzAppendString(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := string(appendString(nil, s)), encoded(t, s); got != want {
			t.Errorf("%q: %s, encoding/json has %s", s, got, want)
		}
	})
}

func TestAppendJSONAllocates(t *testing.T) {
	ev, buf := full(OnDVR), make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() { buf = ev.AppendJSON(buf[:0], "sid", false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	ev, buf := full(OnPublish), make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		buf = ev.AppendJSON(buf[:0], "sid", false)
	}
}

package conf

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("t", []byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return c
}

// diff compares two configurations without their warnings.
func diff(got, want *Config) string {
	g, w := *got, *want
	g.Warnings, w.Warnings = nil, nil
	g.places, w.places = nil, nil
	if reflect.DeepEqual(g, w) {
		return ""
	}
	write := func(c Config) string {
		s := fmt.Sprintf("%+v", c)
		for _, v := range c.Vhosts {
			s += fmt.Sprintf("\n  %+v", *v)
		}
		return s
	}
	return fmt.Sprintf("got  %s\nwant %s", write(g), write(w))
}

// TestDefaults holds every built-in default against a literal.
func TestDefaults(t *testing.T) {
	got := mustParse(t, "listen 1935; vhost a.com {}")
	want := &Config{
		Listen: []string{":1935"}, MaxConnections: 1000, ChunkSize: 60000, PidFile: "./objs/srs.pid", WorkDir: "./", SendEngine: "auto", JournalDir: "./objs/hooks",
		Log: Log{Tank: "file", Level: "trace", File: "./objs/srs.log"},
		Vhosts: []*Vhost{{
			Name: "a.com", Enabled: true, ChunkSize: 60000,
			Play:    Play{GopCache: true, GopCacheMaxFrames: 2500, QueueLength: 30 * time.Second, MWLatency: -time.Millisecond},
			Publish: Publish{FirstPktTimeout: 20 * time.Second, NormalTimeout: 5 * time.Second, MRLatency: 350 * time.Millisecond},
			Hooks:   Hooks{Timeout: 30 * time.Second, Workers: 64, Queue: 1024, Retry: true},
			DVR: DVR{Plan: "session", Apply: []string{"all"}, Path: "./objs/nginx/html/[app]/[stream].[timestamp].flv",
				Duration: 30 * time.Second, WaitKeyframe: true, Sync: 4 * time.Second},
		}},
	}
	if d := diff(got, want); d != "" {
		t.Error(d)
	}
}

// TestEveryField sets everything to something else than its default, so that a
// setter that writes the wrong field, or none, shows.
func TestEveryField(t *testing.T) {
	got := mustParse(t, `
		listen 1935 127.0.0.1:1936 [::1]:1937; max_connections 7; chunk_size 4096; pid /run/srs.pid; daemon on;
		work_dir /var; send_engine uring; server_id "id 1"; journal_dir /j; srs_log_tank console; srs_log_level warn; srs_log_file /l;
		vhost a.com {
			enabled off; chunk_size 128; tcp_nodelay on; min_latency on;
			play { gop_cache off; gop_cache_max_frames 9; queue_length 8; mw_latency 0; time_jitter zero; atc on; so_sndbuf 5000; }
			publish { firstpkt_timeout 11; normal_timeout 12; mr on; mr_latency 6; }
			http_hooks {
				enabled on; on_connect http://a/ http://b/; on_close http://c/; on_publish http://d/; on_unpublish http://e/;
				on_play http://f/; on_stop http://g/; on_dvr https://h/; timeout 13; workers 14; queue 15; client_id_type string;
				retry off; on_fail allow; secret file:/s env:OLD whsec_x; ca_file /ca; cert_file /c; key_file /k; server_name n;
			}
			dvr { enabled on; dvr_plan append; dvr_apply x/y x/z; dvr_reconnect_grace 18; dvr_max_age 19; dvr_max_size 20; dvr_min_free 21; dvr_path /d/[app].flv; dvr_duration 16; dvr_wait_keyframe off; time_jitter zero; dvr_sync 170; }
		}
		vhost b.com { time_jitter off; }`)
	a := &Vhost{
		Name: "a.com", ChunkSize: 128,
		Play:    Play{GopCacheMaxFrames: 9, QueueLength: 8 * time.Second, MinLatency: true, TCPNodelay: true, TimeJitter: JitterZero, ATC: true, SendBuffer: 5000},
		Publish: Publish{FirstPktTimeout: 11 * time.Millisecond, NormalTimeout: 12 * time.Millisecond, MergedRead: true, MRLatency: 6 * time.Millisecond},
		Hooks: Hooks{
			Enabled: true, OnConnect: []string{"http://a/", "http://b/"}, OnClose: []string{"http://c/"}, OnPublish: []string{"http://d/"},
			OnUnpublish: []string{"http://e/"}, OnPlay: []string{"http://f/"}, OnStop: []string{"http://g/"}, OnDVR: []string{"https://h/"},
			Timeout: 13 * time.Millisecond, Workers: 14, Queue: 15, ClientIDString: true,
			AllowOnFail: true, Secrets: []string{"file:/s", "env:OLD", "whsec_x"}, CAFile: "/ca", CertFile: "/c", KeyFile: "/k", ServerName: "n",
		},
		DVR: DVR{Enabled: true, Plan: "append", Apply: []string{"x/y", "x/z"}, ReconnectGrace: 18 * time.Second,
			MaxAge: 19 * time.Second, MaxSize: 20_000_000, MinFree: 21_000_000, Path: "/d/[app].flv", Duration: 16 * time.Second, TimeJitter: JitterZero, Sync: 170 * time.Millisecond},
	}
	b := *mustParse(t, "listen 1; chunk_size 4096; vhost b.com {}").Vhosts[0]
	b.Play.TimeJitter = JitterOff
	want := &Config{
		Listen: []string{":1935", "127.0.0.1:1936", "[::1]:1937"}, MaxConnections: 7, ChunkSize: 4096, PidFile: "/run/srs.pid",
		Daemon: true, WorkDir: "/var", SendEngine: "uring", ServerID: "id 1", JournalDir: "/j", Log: Log{Tank: "console", Level: "warn", File: "/l"}, Vhosts: []*Vhost{a, &b},
	}
	if d := diff(got, want); d != "" {
		t.Error(d)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("warnings %v", got.Warnings)
	}
}

// TestNoInheritance: a vhost does not take over what the default vhost says,
// chunk_size alone comes from the top level, wherever that stands.
func TestNoInheritance(t *testing.T) {
	c := mustParse(t, "listen 1; vhost __defaultVhost__ { gop_cache off; chunk_size 300; } vhost a { } vhost b { chunk_size 400; } chunk_size 200;")
	for i, want := range []struct {
		name      string
		gop       bool
		chunkSize int
	}{{DefaultVhost, false, 300}, {"a", true, 200}, {"b", true, 400}} {
		v := c.Vhosts[i]
		if v.Name != want.name || v.Play.GopCache != want.gop || v.ChunkSize != want.chunkSize {
			t.Errorf("vhost %d is %+v, want %+v", i, *v, want)
		}
	}
}

func TestVhostLookup(t *testing.T) {
	c := mustParse(t, "listen 1; vhost __defaultVhost__ {} vhost on.com {} vhost off.com { enabled off; }")
	for host, want := range map[string]string{"on.com": "on.com", "off.com": "", "other.com": DefaultVhost, "": DefaultVhost, DefaultVhost: DefaultVhost} {
		got := ""
		if v := c.Vhost(host); v != nil {
			got = v.Name
		}
		if got != want {
			t.Errorf("host %q is served by %q, want %q", host, got, want)
		}
	}
	long := strings.Repeat("a", maxName)
	if v := mustParse(t, "listen 1; vhost "+long+" {}").Vhost(long); v == nil || v.Name != long {
		t.Errorf("the longest name finds %+v", v)
	}
	if v := mustParse(t, "listen 1; vhost __defaultVhost__ { enabled off; }").Vhost("x"); v != nil {
		t.Errorf("a disabled default vhost serves: %+v", v)
	}
}

// TestErrorsAtOnce: one run shows everything, each at its place.
func TestErrorsAtOnce(t *testing.T) {
	_, err := Load("testdata/wrong.conf")
	want, e := os.ReadFile("testdata/wrong.errors")
	if e != nil {
		t.Fatal(e)
	}
	if err == nil || err.Error()+"\n" != string(want) {
		t.Errorf("gives\n%v\nwant\n%s", err, want)
	}
	if _, ok := err.(Errors); !ok {
		t.Errorf("the error is a %T", err)
	}
}

// TestStructure has what is wrong about a directive's place, not its value.
func TestStructure(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", `t:1:1: the configuration is empty; it needs at least "listen 1935;"`},
		{"# nothing\n", `t:1:1: the configuration is empty; it needs at least "listen 1935;"`},
		{"daemon off;", `t:1:1: listen: missing; say on which port, for instance "listen 1935;"`},
		{"listen 1 {}", `t:1:1: listen: takes no block { }; it must end with ";"`},
		{"listen 1; vhost {}", `t:1:11: vhost: needs a name, for instance __defaultVhost__`},
		{"listen 1; vhost a b {}", `t:1:19: vhost: takes one name; "b" is too much`},
		{"listen 1; vhost a;", `t:1:11: vhost: needs a block { }`},
		{"listen 1; vhost \"a\tb\" {}", `t:1:17: vhost: the value contains a control character or a line break`},
		{"listen 1; vhost " + strings.Repeat("a", 257) + " {}", `t:1:17: vhost: the name is longer than 256 bytes`},
		{"listen 1; vhost a { play; }", `t:1:21: play: needs a block { }`},
		{"listen 1; vhost a { play x {} }", `t:1:26: play: takes no value before its "{"`},
		{"listen 1; gop_cache on;", `t:1:11: gop_cache: not allowed in the top level; it belongs in vhost { play { } } or vhost { }`},
		{"listen 1; vhost a { max_connections 1; }", `t:1:21: max_connections: not allowed in vhost { }; it belongs in the top level`},
		{"listen 1; vhost a { dvr { hls {} } }", `t:1:27: hls: not allowed in vhost { dvr { } }; it belongs in vhost { }`},
		{"listen 1; lisen 2;", `t:1:11: lisen: unknown directive in the top level (did you mean "listen"?)`},
		{"listen 1; Listen 2;", `t:1:11: Listen: unknown directive in the top level (did you mean "listen"?)`},
		{"listen 1; vhost a { gop_cahce on; }", `t:1:21: gop_cahce: unknown directive in vhost { } (did you mean "gop_cache"?)`},
		{"listen 1; gop_cahce on;", `t:1:11: gop_cahce: unknown directive in the top level (did you mean "gop_cache"?)`},
		{"listen 1; \"include\" x;", `t:1:11: include: unknown directive in the top level`},
		{"listen 1; frobnicate on;", `t:1:11: frobnicate: unknown directive in the top level`},
		{"listen 1; \"a b\" on;", `t:1:11: "a b": unknown directive in the top level`},
		{"listen 1\ndaemon off;", `t:2:1: listen: a ";" seems to be missing before this "daemon" (if it is meant as a value, write it in quotes)`},
		{"ff_log_dir x\nlisten 1;", `t:2:1: ff_log_dir: a ";" seems to be missing before this "listen" (if it is meant as a value, write it in quotes)`},
		{"listen 1\nvhost a {\n gop_cache on\n play {\n}\n}", `t:2:1: listen: a ";" seems to be missing before this "vhost" (if it is meant as a value, write it in quotes)` +
			"\n" + `t:4:2: gop_cache: a ";" seems to be missing before this "play" (if it is meant as a value, write it in quotes)`},
	} {
		_, err := Parse("t", []byte(c.text))
		if err == nil || err.Error() != c.want {
			t.Errorf("%q gives\n%v\nwant\n%s", c.text, err, c.want)
		}
	}
}

// TestQuotedName: the way out of the guess about a missing ";".
func TestQuotedName(t *testing.T) {
	if c := mustParse(t, "listen 1; server_id\n\"daemon\";"); c.ServerID != "daemon" {
		t.Errorf("server_id %q", c.ServerID)
	}
}

func TestDuplicates(t *testing.T) {
	for _, c := range []struct{ text, same, warning string }{
		{"listen 1; listen 2;", "listen 1;", "1:11: listen: given before"},
		{"listen 1; chunk_size 200; chunk_size oops;", "listen 1; chunk_size 200;", "1:27: chunk_size: given before"},
		{"listen 1; vhost a { gop_cache off; play { gop_cache on; } }", "listen 1; vhost a { gop_cache off; }", "1:43: gop_cache: given before"},
		{"listen 1; vhost a { play { gop_cache on; } gop_cache off; }", "listen 1; vhost a { gop_cache on; }", "1:44: gop_cache: given before"},
		{"listen 1; vhost a { publish { normal_timeout 1; } publish_normal_timeout 2; }", "listen 1; vhost a { publish_normal_timeout 1; }",
			"1:51: publish_normal_timeout: given before"},
		{"listen 1; vhost a { dvr { enabled on; } dvr { dvr_duration 9; } }", "listen 1; vhost a { dvr { enabled on; } }", "1:41: dvr: a second block"},
		{"listen 1; vhost a { gop_cache off; } vhost a { gop_cache on; }", "listen 1; vhost a { gop_cache off; }", `1:38: vhost: "a" has a block already`},
	} {
		got := mustParse(t, c.text)
		if d := diff(got, mustParse(t, c.same)); d != "" {
			t.Errorf("%s\n%s", c.text, d)
		}
		if len(got.Warnings) != 1 || !strings.HasPrefix(got.Warnings[0].String(), "t:"+c.warning) {
			t.Errorf("%s warns %v, want %s", c.text, got.Warnings, c.warning)
		}
	}
	if _, err := Parse("t", []byte("listen 1; vhost a {} vhost a { nonsense; }")); err == nil {
		t.Error("a second block of a vhost is not checked")
	}
}

// TestOldFiles: files as SRS 1.0, 2.0 and 6.0 take them load, and each
// directive that has no effect here is named with its line.
func TestOldFiles(t *testing.T) {
	for _, name := range []string{"srs1.conf", "srs2.conf", "srs6.conf"} {
		t.Run(name, func(t *testing.T) {
			c, err := Load("testdata/" + name)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := os.ReadFile("testdata/" + name)
			want := 0
			for i, line := range strings.Split(string(text), "\n") {
				if strings.HasPrefix(line, "#") || !strings.Contains(line, "#!") { // which marks the lines that warn
					continue
				}
				want++
				directive := strings.Fields(line)[0]
				if !slices.ContainsFunc(c.Warnings, func(d Diagnostic) bool {
					return d.File == "testdata/"+name && d.Line == i+1 && strings.HasPrefix(d.Text, directive+": ")
				}) {
					t.Errorf("line %d: no warning about %s", i+1, directive)
				}
			}
			if len(c.Warnings) != want || want == 0 {
				t.Errorf("%d warnings, want %d: %v", len(c.Warnings), want, c.Warnings)
			}
		})
	}
}

// TestDefault: the built-in configuration is the file, twice the same, and
// shares nothing between calls.
func TestDefault(t *testing.T) {
	file, err := Load("srs.conf")
	if err != nil {
		t.Fatal(err)
	}
	a, b := Default(), Default()
	if d := diff(a, file) + diff(a, b); d != "" {
		t.Error(d)
	}
	if len(a.Warnings) > 0 || a.Log.Tank != "console" || a.Vhost("any.host") == nil {
		t.Errorf("Default is %+v", *a)
	}
	a.Vhosts[0].Name = "changed"
	DefaultText()[0] = 'x'
	if Default().Vhosts[0].Name != DefaultVhost {
		t.Error("two calls of Default share a vhost")
	}
}

// TestDefaultComments: the examples in srs.conf are right once uncommented.
func TestDefaultComments(t *testing.T) {
	c := mustParse(t, uncomment(string(DefaultText())))
	h := c.Vhosts[0].Hooks
	if !h.Enabled || len(h.OnConnect) != 1 || len(h.OnDVR) != 1 || !c.Vhosts[0].DVR.Enabled || len(c.Warnings) > 0 {
		t.Errorf("srs.conf uncommented is %+v, %v", *c.Vhosts[0], c.Warnings)
	}
}

// uncomment takes the "#" off lines that are directives, which prose is told
// from by its end.
func uncomment(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if s := strings.TrimSpace(l); strings.HasPrefix(s, "#") && strings.ContainsAny(s[len(s)-1:], ";{}") {
			lines[i] = strings.Replace(l, "#", " ", 1)
		}
	}
	return strings.Join(lines, "\n")
}

func TestDiagnosticBounds(t *testing.T) {
	c := mustParse(t, "listen 1;\n"+strings.Repeat("ff_log_dir x;\n", 5000))
	if n := len(c.Warnings); n != maxDiagnostics+1 {
		t.Errorf("%d warnings", n)
	}
	if last := c.Warnings[maxDiagnostics].Text; last != "there may be more; only the first 1000 are shown" {
		t.Errorf("the last warning is %q", last)
	}
}

// TestParseTogether: several loads at once, as a reload and a "srs -t" of one
// program would be, share nothing that changes.
func TestParseTogether(t *testing.T) {
	text, err := os.ReadFile("testdata/srs2.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := mustParse(t, string(text))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := Parse("t", text)
			if err != nil {
				t.Error(err)
				return
			}
			if d := diff(got, want); d != "" || len(got.Warnings) != len(want.Warnings) {
				t.Error(d)
			}
			got.Vhosts[0].Hooks.OnDVR[0] = "changed"
		})
	}
	wg.Wait()
	if got := want.Vhosts[0].Hooks.OnDVR[0]; got != "http://127.0.0.1:8085/api/v1/dvrs" {
		t.Errorf("a load changed another one: %s", got)
	}
}

// Hooks that call nobody look like those that do.
func TestHooksWithoutURL(t *testing.T) {
	for text, want := range map[string]string{
		"enabled on;":                            "t:1:21: http_hooks: enabled, and no event has a URL",
		"enabled on; on_dvr http://127.0.0.1/x;": "",
		"enabled off;":                           "",
	} {
		c := mustParse(t, "listen 1; vhost a { http_hooks { "+text+" } }")
		if got := fmt.Sprint(c.Warnings); want == "" && len(c.Warnings) > 0 || !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

package conf

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestListen has the forms of listen (CF-09).
func TestListen(t *testing.T) {
	for _, c := range []struct {
		args    string
		want    []string
		warning string
	}{
		{"1935", []string{":1935"}, ""},
		{"1", []string{":1"}, ""},
		{"65535", []string{":65535"}, ""},
		{"01935", []string{":1935"}, ""},
		{"1935 1936", []string{":1935", ":1936"}, ""},
		{"127.0.0.1:1935", []string{"127.0.0.1:1935"}, ""},
		{"127.0.0.1:1935 127.0.0.2:1935", []string{"127.0.0.1:1935", "127.0.0.2:1935"}, ""},
		{"0.0.0.0:1935", []string{"0.0.0.0:1935"}, ""},
		{"[::]:1935", []string{"[::]:1935"}, ""},
		{"[::1]:1935 127.0.0.1:1935", []string{"[::1]:1935", "127.0.0.1:1935"}, ""},
		{"[fe80::1%eth0]:1935", []string{"[fe80::1%eth0]:1935"}, ""},
		{"1935 [::]:1935", []string{":1935"}, `1:13: listen: "[::]:1935" is left out`},
		{"127.0.0.1:1935 1935", []string{":1935"}, `1:8: listen: "127.0.0.1:1935" is left out`},
		{"0.0.0.0:1935 127.0.0.1:1936 [::]:1935", []string{"0.0.0.0:1935", "127.0.0.1:1936"}, `1:36: listen: "[::]:1935" is left out`},
	} {
		got := mustParse(t, "listen "+c.args+";")
		if !reflect.DeepEqual(got.Listen, c.want) {
			t.Errorf("listen %s is %q, want %q", c.args, got.Listen, c.want)
		}
		if s := fmt.Sprint(got.Warnings); (c.warning == "") != (s == "[]") || !strings.Contains(s, c.warning) {
			t.Errorf("listen %s warns %s, want %q", c.args, s, c.warning)
		}
	}
	for _, args := range []string{"0", "65536", "-1", "99999999999999999999", "1e3", "10k", "0x10", "rtmp", ":1935", "1935:", "127.0.0.1", "127.0.0.1:",
		"127.0.0.1:0", "127.0.0.1:65536", "::1:1935", "[::1]", "[::1]1935", "[127.0.0.1:1935", "localhost:1935", "*:1935", "unix:/run/srs.sock",
		"256.0.0.1:1935", "1.2.3:1935", "http://127.0.0.1:1935", "1935/tcp", "19 35 0"} {
		if _, err := Parse("t", []byte("listen "+args+";")); err == nil || !strings.Contains(err.Error(), "is not a port from 1 to 65535") {
			t.Errorf("listen %s says %v", args, err)
		}
	}
	for _, args := range []string{"1935 1935", "1935 1936 01935", "127.0.0.1:1935 127.0.0.1:1935", "[::1]:1935 [0:0::1]:1935"} {
		if _, err := Parse("t", []byte("listen "+args+";")); err == nil || !strings.HasSuffix(err.Error(), "is given twice") {
			t.Errorf("listen %s says %v", args, err)
		}
	}
}

// TestURLs has what may and may not be a hook (CF-10).
func TestURLs(t *testing.T) {
	hook := func(u string) string { return "listen 1; vhost a { http_hooks { on_play " + u + "; } }" }
	for _, u := range []string{"http://a", "http://a/", "https://a/b?c=d&e=f", "http://a:1/", "http://a:65535/", "http://127.0.0.1:8085/api/v1/streams",
		"http://[::1]:8085/", "http://user:pass@a/", "http://a/%20x", "HTTP://a/", "http://unix:/run/hook.sock:/api", "http://unix:/a:/", "http://unix:/a:/b:c",
		"http://a/[app]", "http://ä.example/", "http://unix/x"} {
		c := mustParse(t, hook(u))
		if got := c.Vhosts[0].Hooks.OnPlay; len(got) != 1 || got[0] != u {
			t.Errorf("%s is %q", u, got)
		}
	}
	for _, c := range []struct{ url, want string }{
		{"a", "is not an http or https URL"},
		{"127.0.0.1:8085/x", "is not a URL"},
		{"localhost:8085/x", "is not an http or https URL"},
		{"file:///etc/passwd", "is not an http or https URL"},
		{"gopher://a/", "is not an http or https URL"},
		{"ftp://a/", "is not an http or https URL"},
		{"rtmp://a/", "is not an http or https URL"},
		{"http:", "has no host"},
		{"http:a", "has no host"},
		{"http://", "has no host"},
		{"http:///x", "has no host"},
		{"http://:80/x", "has no host"},
		{"http://user@/x", "has no host"},
		{"http://a:0/", "has a port that is not from 1 to 65535"},
		{"http://a:65536/", "has a port that is not from 1 to 65535"},
		{"http://a:99999999999999999999/", "has a port that is not from 1 to 65535"},
		{"http://a:x/", "is not a URL"},
		{"http://a/%zz", "is not a URL"},
		{"'http://a b/'", "has a blank in it"},
		{"'http://a/b c'", "has a blank in it"},
		{"http://unix:/", "is not the URL of a unix socket"},
		{"http://unix:/run/x.sock", "is not the URL of a unix socket"},
		{"http://unix:/run/x.sock:", "is not the URL of a unix socket"},
		{"http://unix:run/x.sock:/y", "is not the URL of a unix socket"},
		{"https://unix:/run/x.sock:/y", "is not"},
	} {
		_, err := Parse("t", []byte(hook(c.url)))
		if c.url == "https://unix:/run/x.sock:/y" && err == nil {
			continue // a host called unix without its port: a strange URL, but one
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "t:1:42: on_play: ") {
			t.Errorf("%s says %v", c.url, err)
		}
	}
}

// TestURLCommas: URLs with commas between them, as in other programs, are what
// nobody means. Other commas are the URL's.
func TestURLCommas(t *testing.T) {
	for urls, want := range map[string]string{
		"http://a/x, http://b/y":       `t:1:42: on_play: the comma in "http://a/x," belongs to the URL; blanks are between several`,
		"http://a/x http://b/y,":       `t:1:53: on_play: the comma in "http://b/y," belongs to the URL; blanks are between several`,
		"http://a/x,https://b/y":       `t:1:42: on_play: the comma in "http://a/x,https://b/y" belongs to the URL; blanks are between several`,
		"http://a/?k=s3cr3t,http://b/": `t:1:42: on_play: the comma in "http://a/?..." belongs to the URL; blanks are between several`,
		"http://a/x,y?z=1,2":           "",
	} {
		var got string
		for _, w := range mustParse(t, "listen 1; vhost a { http_hooks { on_play "+urls+"; } }").Warnings {
			got += w.String()
		}
		if got != want {
			t.Errorf("%s warns\n%s, want\n%s", urls, got, want)
		}
	}
}

// TestURLSecrets: messages do not repeat user-info and query.
func TestURLSecrets(t *testing.T) {
	for _, u := range []string{"ftp://user:s3cr3t@a/", "ftp://a/?token=s3cr3t", "user:s3cr3t@a", "http://a:s3cr3t@b:0/?s3cr3t@x", "ftp://s3cr3t@@a", "ftp://us@er:s3cr3t@a"} {
		_, err := Parse("t", []byte("listen 1; vhost a { http_hooks { on_play "+u+"; } }"))
		if err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s says %v", u, err)
		}
	}
}

// TestDVRPath has what may and may not be a template (CF-16).
func TestDVRPath(t *testing.T) {
	dvr := func(p string) string { return "listen 1; vhost a { dvr { dvr_path " + p + "; } }" }
	for _, p := range []string{"./objs/nginx/html", "/data/rec/", "rec.flv", "./[vhost]/[app]/[stream]/[2006]-[01]-[02]T[15].[04].[05].[999].[timestamp].flv",
		"./a..b/[stream].flv", "/data/...", "]x", "'./my recordings/[stream].flv'"} {
		c := mustParse(t, dvr(p))
		if got := c.Vhosts[0].DVR.Path; got != strings.Trim(p, "'") || len(c.Warnings) > 0 {
			t.Errorf("%s is %q, %v", p, got, c.Warnings)
		}
	}
	for _, c := range []struct{ path, want string }{
		{"/", "the root directory is no place for recordings"},
		{"///", "the root directory is no place for recordings"},
		{"/./", "the root directory is no place for recordings"},
		{"''", "needs a value"},
		{"..", `must not contain ".."`},
		{"../x", `must not contain ".."`},
		{"/a/../../etc/[stream].flv", `must not contain ".."`},
		{"./a/..", `must not contain ".."`},
		{"./[foo].flv", `"[foo]" is no variable`},
		{"./[App].flv", `"[App]" is no variable`},
		{"./[].flv", `"[]" is no variable`},
		{"./[stream", `a "[" is not closed`},
		{"./[app]/[2007].flv", `"[2007]" is no variable`},
	} {
		_, err := Parse("t", []byte(dvr(c.path)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s says %v, want %s", c.path, err, c.want)
		}
	}
	for _, p := range []string{"./[stream].mp4", "./[stream].FLV", "./[stream].flv.tmp"} {
		if c := mustParse(t, dvr(p)); len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Text, p+"/[stream].[timestamp].flv") {
			t.Errorf("%s warns %v", p, c.Warnings)
		}
	}
}

func TestDVRPlan(t *testing.T) {
	for _, plan := range []string{"session", "segment", "append"} {
		c := mustParse(t, "listen 1; vhost a { dvr { dvr_plan "+plan+"; dvr_path ./[stream].flv; } }")
		if c.Vhosts[0].DVR.Plan != plan || len(c.Warnings) > 0 {
			t.Errorf("%s is %+v, %v", plan, c.Vhosts[0].DVR, c.Warnings)
		}
	}
}

// TestDVRAppend: a plan that can have no effect is warned about.
func TestDVRAppend(t *testing.T) {
	for _, c := range []struct{ dvr, why string }{
		{"dvr_plan append; dvr_path ./[app]/[stream].flv;", ""},
		{"dvr_plan append; dvr_path ./[stream].[2006]-[01]-[02]T[15].flv;", ""},
		{"dvr_plan session;", ""},
		{"dvr_plan append;", "has [timestamp]"},
		{"dvr_path ./rec; dvr_plan append;", "is a directory"},
		{"dvr_path ./[stream].[timestamp].flv; dvr_plan append;", "has [timestamp]"},
		{"dvr_plan append; dvr_path ./[stream].[15].[04].flv;", "has [04]"},
		{"dvr_plan append; dvr_path ./[stream].[05].flv;", "has [05]"},
	} {
		warnings := mustParse(t, "listen 1; vhost a {\ndvr { "+c.dvr+" } }").Warnings
		if c.why == "" {
			if len(warnings) > 0 {
				t.Errorf("%s warns %v", c.dvr, warnings)
			}
			continue
		}
		if len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), "t:2:") || !strings.Contains(warnings[0].Text, "append has no effect: dvr_path "+c.why) {
			t.Errorf("%s warns %v", c.dvr, warnings)
		}
	}
}

// TestMergingWarns: a publisher must not be taken for dead between two reads, nor
// a player for slow between two writes.
func TestMergingWarns(t *testing.T) {
	for text, want := range map[string]string{
		"publish { mr on; mr_latency 2500; }":                            "",
		"publish { mr_latency 4000; }":                                   "", // it is off
		"publish { mr on; mr_latency 4000; }":                            "mr_latency: 4000 is more than half of normal_timeout; 2500 holds",
		"publish { mr on; mr_latency 350; normal_timeout 600; }":         "mr_latency: 350 is more than half of normal_timeout; 300 holds",
		"publish { mr on; mr_latency 350; } publish_normal_timeout 600;": "mr_latency: 350 is more than half of normal_timeout; 300 holds",
		"mr { enabled on; latency 4000; }":                               "latency: 4000 is more than half of normal_timeout; 2500 holds",
		"play { mw_latency 15000; }":                                     "",
		"play { mw_latency 15001; }":                                     "mw_latency: 15001 is more than half of queue_length; 15000 holds",
		"mw_latency 800; play { queue_length 1; }":                       "mw_latency: 800 is more than half of queue_length; 500 holds",
		"mw_latency 800; play { queue_length 1; min_latency on; }":       "",
	} {
		warnings := mustParse(t, "listen 1; vhost a { "+text+" }").Warnings
		if want == "" && len(warnings) != 0 || want != "" && (len(warnings) != 1 || warnings[0].Text != want) {
			t.Errorf("%s warns %v", text, warnings)
		}
	}
	v := mustParse(t, "listen 1; vhost a { mw_latency 20000; publish { mr on; mr_latency 4000; } }").Vhosts[0]
	if v.Play.MWLatency != 15*time.Second || v.Publish.MRLatency != 2500*time.Millisecond {
		t.Errorf("%v and %v hold", v.Play.MWLatency, v.Publish.MRLatency)
	}
}

// TestDVRAppendOff: that a file is hardly ever continued is warned about.
func TestDVRAppendOff(t *testing.T) {
	for dvr, want := range map[string]int{
		"dvr_plan append; time_jitter off;": 1, "dvr_plan append; time_jitter zero;": 0, "time_jitter off;": 0,
	} {
		warnings := mustParse(t, "listen 1; vhost a { dvr { dvr_path ./[stream].flv; "+dvr+" } }").Warnings
		if len(warnings) != want || want > 0 && !strings.Contains(warnings[0].String(), "t:1:52: dvr_plan: append with time_jitter off") {
			t.Errorf("%s warns %v", dvr, warnings)
		}
	}
}

func TestDVRApply(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{"all", "[all]", ""},
		{"live/livestream live/cam-* live/sub/x", "[live/livestream live/cam-* live/sub/x]", ""},
		{"livestream", "", `"livestream" names no app`},
		{"live/[", "", `"live/[" is a bad pattern`},
	} {
		got, err := Parse("t", []byte("listen 1; vhost a { dvr { dvr_apply "+c.text+"; } }"))
		if c.err == "" && (err != nil || fmt.Sprint(got.Vhosts[0].DVR.Apply) != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}

// TestDVRApplyNothing: what is the name of no stream is warned about.
func TestDVRApplyNothing(t *testing.T) {
	for text, want := range map[string]bool{
		"all": false, "live/x": false, "*/*": false, "live/[a-c]": false, "live/_definst": false,
		"/live/x": true, "live/x/": true, "live//x": true, "rtmp://h/live/x": true, "/": true, "live/": true,
		"live/a,b": false, "live/a,": true, "all,live/a": true, "live/*,all": true, ",live/a": true, "live/a,b,c": false, "live/a,live/b": true, "live/_definst_/x": true, "live/../x": true, "./live/x": true, `"live/ x"`: true,
	} {
		warnings := mustParse(t, "listen 1; vhost a { dvr { dvr_apply a/b "+text+"; } }").Warnings
		if len(warnings) != 0 != want || want && !strings.Contains(warnings[0].String(), "t:1:41: dvr_apply: ") {
			t.Errorf("%s warns %v", text, warnings)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b  string
		bound int
		want  int
	}{
		{"", "", 3, 0}, {"a", "a", 3, 0}, {"", "ab", 3, 2}, {"listen", "lisen", 3, 1}, {"listen", "litsen", 3, 1},
		{"listen", "lsiten", 3, 1}, {"abc", "xyz", 4, 3}, {"abc", "xyz", 3, 3}, {"abcdef", "a", 3, 3}, {"gop_cache", "gopcach", 3, 2},
	} {
		if got := distance(c.a, c.b, c.bound); got != c.want {
			t.Errorf("distance(%q, %q, %d) is %d, want %d", c.a, c.b, c.bound, got, c.want)
		}
		if got := distance(c.b, c.a, c.bound); got != c.want {
			t.Errorf("distance(%q, %q, %d) is %d, want %d", c.b, c.a, c.bound, got, c.want)
		}
	}
}

func TestShow(t *testing.T) {
	main, other := &file{name: "a"}, &file{name: "b"}
	other.from = main
	for _, c := range []struct {
		f          *file
		word, want string
	}{
		{main, "a b", `"a b"`},
		{main, "a\x1b[31m", `"a\x1b[31m"`},
		{main, strings.Repeat("x", 64), `"` + strings.Repeat("x", 64) + `"`},
		{main, strings.Repeat("x", 65), `"` + strings.Repeat("x", 64) + `..."`},
		{main, strings.Repeat("x", 63) + "世", `"` + strings.Repeat("x", 63) + `..."`},
		{other, "a b", "the value"},
	} {
		if got := show(c.f, c.word); got != c.want {
			t.Errorf("show(%q) is %s, want %s", c.word, got, c.want)
		}
	}
}

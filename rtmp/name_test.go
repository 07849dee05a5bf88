package rtmp

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// names are ways to say which stream is meant.
var names = []struct {
	name               string
	tcURL, app, stream string
	want               Name
}{
	// The vectors of SRS 6 (facts §1.8).
	{"srs 1", "rtmp://127.0.0.1:19351/live...vhost...demo", "", "show", Name{"demo", "live", "show", "?vhost=demo"}},
	{"srs 2", "rtmp://127.0.0.1:19351/live?vhost=demo&token=abc", "", "show", Name{"demo", "live", "show", "?vhost=demo&token=abc"}},
	{"srs 3", "rtmp://winlin.cn/live", "", "show?key=abc&&vhost=demo.com", Name{"demo.com", "live", "show", "?key=abc&&vhost=demo.com"}},
	{"srs 4", "rtmp://winlin.cn/live?key=abc", "", "show", Name{"winlin.cn", "live", "show", "?key=abc"}},
	{"srs 5", "rtmp://winlin.cn/live/_definst_", "", "show", Name{"winlin.cn", "live", "show", ""}},
	{"srs 6", "rtmp://winlin.cn/", "", "show", Name{"winlin.cn", "__defaultApp__", "show", ""}},
	{"srs 7", "rtmp://ip/app/app2?k=v", "", "stream", Name{"ip", "app/app2", "stream", "?k=v"}},
	{"srs 8", "rtmp://ip/app", "", "stream?domain=__defaultVhost__", Name{"ip", "app", "stream", ""}},
	{"srs 9", "rtmp://ip/live/livestream", "", "", Name{"ip", "live", "livestream", ""}},
	{"srs 10", "rtmp://ip/live?secret=xxx/livestream", "", "", Name{"ip", "live", "livestream", "?secret=xxx"}},

	// One stream, cut in their ways by clients.
	{"OBS", "rtmp://h:1935/live", "live", "x/y?k=v", Name{"h", "live/x", "y", "?k=v"}},
	{"OBS, all in Server", "rtmp://h/live/x/y?k=v", "live/x/y?k=v", "", Name{"h", "live/x", "y", "?k=v"}},
	{"ffmpeg", "rtmp://h:1935/live/x", "live/x", "y?k=v", Name{"h", "live/x", "y", "?k=v"}},
	{"ffplay, stream behind the parameters", "rtmp://h:1935/live?k=v", "live?k=v", "y", Name{"h", "live", "y", "?k=v"}},
	{"librtmp", "rtmp://h:1935/live", "live", "y", Name{"h", "live", "y", ""}},
	{"librtmp, slash at the end", "rtmp://h:1935/live/", "live/", "y", Name{"h", "live", "y", ""}},
	{"no tcUrl", "", "live", "y", Name{"", "live", "y", ""}},
	{"no tcUrl, all in app", "", "live/y?vhost=v", "", Name{"v", "live", "y", "?vhost=v"}},
	{"tcUrl that is none", "live", "live", "y", Name{"", "live", "y", ""}},
	{"a token with slashes, all in Server", "rtmp://h/live/y?t=a/b+c==", "", "", Name{"h", "live", "y", "?t=a/b+c=="}},
	{"a token with slashes", "rtmp://h/live", "", "y?t=a/b+c==", Name{"h", "live", "y", "?t=a/b+c=="}},
	{"parameters alone as the key", "rtmp://h/live/y", "", "?k=v", Name{"h", "live", "y", "?k=v"}},
	{"stream behind the parameters, with its own", "rtmp://h/live?a=b/y?c=d", "", "", Name{"h", "live", "y", "?a=b?c=d"}},

	// Which vhost.
	{"in the stream first", "rtmp://h/live?vhost=a", "", "y?vhost=b", Name{"b", "live", "y", "?vhost=b"}},
	{"in the app, with other parameters in the stream", "rtmp://h/live?vhost=a", "", "y?k=v", Name{"a", "live", "y", "?k=v"}},
	{"domain", "rtmp://h/live?domain=a", "", "y", Name{"a", "live", "y", "?domain=a"}},
	{"vhost before domain", "rtmp://h/live", "", "y?domain=b&vhost=a", Name{"a", "live", "y", "?domain=b&vhost=a"}},
	{"the default vhost is none", "rtmp://h/live?vhost=__defaultVhost__", "", "y", Name{"h", "live", "y", ""}},
	{"nor with others", "rtmp://h/live?vhost=__defaultVhost__&k=v", "", "y", Name{"h", "live", "y", "?vhost=__defaultVhost__&k=v"}},
	{"empty vhost", "rtmp://h/live?vhost=", "", "y", Name{"h", "live", "y", "?vhost="}},
	{"old form, dots and a parameter", "rtmp://ip/live...vhost...v...token...t", "", "y", Name{"v", "live", "y", "?vhost=v&token=t"}},
	{"old form, commas", "rtmp://ip/live,vhost,v", "", "y", Name{"v", "live", "y", "?vhost=v"}},
	{"old form, commas and a parameter", "rtmp://ip/live,vhost,v,token,t", "", "y", Name{"v", "live", "y", "?vhost=v&token=t"}},
	{"old form behind parameters", "rtmp://ip/live?k=x...vhost...v", "", "y", Name{"v", "live", "y", "?k=x&vhost=v"}},
	{"old form in the stream", "rtmp://ip/live", "", "y...vhost...v", Name{"v", "live", "y", "?vhost=v"}},
	{"old form of the double ampersand", "rtmp://ip/live?a=1&&vhost=v", "", "y", Name{"v", "live", "y", "?a=1&&vhost=v"}},
	{"vhost as a part of a key", "rtmp://h/live?xvhost=a", "", "y", Name{"h", "live", "y", "?xvhost=a"}},
	{"host with parameters and no app", "rtmp://h?vhost=v", "", "y", Name{"v", "__defaultApp__", "y", "?vhost=v"}},

	// Hosts and ports.
	{"no port", "rtmp://h.example/live", "", "y", Name{"h.example", "live", "y", ""}},
	{"IPv6", "rtmp://[2001:db8::1]/live", "", "y", Name{"2001:db8::1", "live", "y", ""}},
	{"IPv6 and port", "rtmp://[::1]:19350/live", "", "y", Name{"::1", "live", "y", ""}},
	{"rtmps", "rtmps://h:443/live", "", "y", Name{"h", "live", "y", ""}},
	{"no host", "rtmp:///live", "", "y", Name{"", "live", "y", ""}},
	{"host alone", "rtmp://h", "", "live/y", Name{"h", "live", "y", ""}},
	{"default app", "rtmp://h", "", "y", Name{"h", "__defaultApp__", "y", ""}},

	// Stream names.
	{"comma, equals, ampersand", "rtmp://h/live", "", "a,b=c&d", Name{"h", "live", "a,b=c&d", ""}},
	{"equals and parameters", "rtmp://h/live", "", "a=b?c=d", Name{"h", "live", "a=b", "?c=d"}},
	{"dots within", "rtmp://h/live", "", "a..b...c.", Name{"h", "live", "a..b...c.", ""}},
	{"utf-8", "rtmp://h/直播", "", "流é", Name{"h", "直播", "流é", ""}},
	{"spaces around", " rtmp://h/ live /", "", "  a b ?k=v ", Name{"h", "live", "a b", "?k=v"}},
	{"percent is left alone", "rtmp://h/live", "", "a%20b%2f?x=%26", Name{"h", "live", "a%20b%2f", "?x=%26"}},
	{"many slashes", "rtmp://h//live//", "", "//x///y//", Name{"h", "live/x", "y", ""}},
	{"_definst_ anywhere", "rtmp://h/_definst_/live", "", "_definst_/y", Name{"h", "live", "y", ""}},
	{"fragment", "rtmp://h/live", "", "y#vhost=v", Name{"v", "live", "y", "?vhost=v"}},
	{"question mark alone", "rtmp://h/live", "", "y?", Name{"h", "live", "y", ""}},
	{"parameters verbatim", "rtmp://h/live", "", "y?a=1&&b=?c#d&é", Name{"h", "live", "y", "?a=1&&b=?c#d&é"}},
	{"flv prefix is a name", "rtmp://h/live", "", "mp4:y.mp4", Name{"h", "live", "mp4:y.mp4", ""}},
}

func TestParseStream(t *testing.T) {
	for _, c := range names {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseStream(c.tcURL, c.app, c.stream)
			if err != nil || got != c.want {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
			again(t, got)
		})
	}
}

// again checks that a name's own URL means the same name.
func again(t *testing.T, n Name) {
	t.Helper()
	host := n.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	got, err := ParseStream("rtmp://"+host+"/"+n.App, "", n.Stream+n.Param)
	if err != nil || got != n {
		t.Errorf("%+v read again is %+v, %v", n, got, err)
	}
	c, err := ParseConnect("rtmp://"+host+":1935/"+n.App, "")
	if err != nil || c.Host != n.Host || c.App != n.App {
		t.Errorf("%+v as a connection is %+v, %v", n, c, err)
	}
}

func TestParseStreamRefuses(t *testing.T) {
	long := strings.Repeat("x", MaxName+1)
	huge := strings.Repeat("x", MaxURL+1)
	for _, c := range []struct{ name, tcURL, stream, reason string }{
		{"nothing", "rtmp://h/", "", "name.empty"},
		{"no stream", "rtmp://h/live", "", "name.empty"},
		{"parameters only", "rtmp://h/live", "?token=x", "name.empty"},
		{"slash", "rtmp://h/live", "/", "name.empty"},
		{"slashes", "rtmp://h/live", "//", "name.empty"},
		{"spaces", "rtmp://h/live", "   ", "name.empty"},
		{"spaces and slashes", "rtmp://h/live", " / / ", "name.empty"},
		{"definst", "rtmp://h/live", "_definst_", "name.empty"},
		{"parameters with a slash at the end", "rtmp://h/live?k=v/", "", "name.empty"},
		{"no URL", "live", "y", "name.invalid"},
		{"long stream", "rtmp://h/live", long, "name.too_long"},
		{"long app", "rtmp://h/" + long, "y", "name.too_long"},
		{"long together", "rtmp://h/" + long[:200], long[:100] + "/y", "name.too_long"},
		{"long host", "rtmp://" + long + "/live", "y", "name.too_long"},
		{"long vhost", "rtmp://h/live", "y?vhost=" + long, "name.too_long"},
		{"huge stream", "rtmp://h/live", "y?" + huge, "name.too_long"},
		{"huge tcUrl", "rtmp://h/live?" + huge, "y", "name.too_long"},
		{"newline", "rtmp://h/live", "a\r\nb", "name.invalid"},
		{"escape in the app", "rtmp://h/\x1b[2J", "y", "name.invalid"},
		{"NUL", "rtmp://h/live", "a\x00b", "name.invalid"},
		{"NUL in parameters", "rtmp://h/live", "a?b=\x00", "name.invalid"},
		{"tab at the end", "rtmp://h/live", "a\t", "name.invalid"},
		{"DEL", "rtmp://h/live", "a\x7f", "name.invalid"},
		{"C1", "rtmp://h/live", "a\u0085", "name.invalid"},
		{"control in the host", "rtmp://h\n/live", "y", "name.invalid"},
		{"no UTF-8 in the stream", "rtmp://h/live", "a\xff", "name.invalid"},
		{"no UTF-8 in the app", "rtmp://h/a\xc3", "y", "name.invalid"},
		{"no UTF-8 in parameters", "rtmp://h/live", "a?\xe2\x28", "name.invalid"},
		{"no UTF-8 in the vhost", "rtmp://h/live", "a?vhost=\xe2\x28", "name.invalid"},
		{"dot", "rtmp://h/live", ".", "name.invalid"},
		{"dots", "rtmp://h/live", "..", "name.invalid"},
		{"dots in the stream's path", "rtmp://h/live", "../../etc/passwd", "name.invalid"},
		{"dots in the app", "rtmp://h/live/..", "y", "name.invalid"},
		{"dots and spaces", "rtmp://h/live", " .. /y", "name.invalid"},
		{"dots behind parameters", "rtmp://h/live?k=v/..", "", "name.invalid"},
		{"dots as a vhost", "rtmp://../live", "y", "name.invalid"},
		{"path as a vhost", "rtmp://h/live", "y?vhost=a/b", "name.invalid"},
		{"brackets in a vhost", "rtmp://h/live", "y?vhost=[a", "name.invalid"},
	} {
		got, err := ParseStream(c.tcURL, "", c.stream)
		var e *NameError
		if !errors.As(err, &e) || e.Reason != c.reason {
			t.Errorf("%s: %+v, %v, want %s", c.name, got, err, c.reason)
		} else if !strings.Contains(e.Error(), c.reason) || strings.ContainsFunc(e.Error(), unicode.IsControl) || !utf8.ValidString(e.Error()) {
			t.Errorf("%s: text %q", c.name, e.Error())
		}
	}
}

func TestNamesAtTheirBounds(t *testing.T) {
	x := strings.Repeat("x", MaxName)
	n, err := ParseStream("rtmp://"+x+"/"+x, "", x)
	if err != nil || n.Host != x || n.App != x || n.Stream != x {
		t.Errorf("%v", err)
	}
	p := "?" + strings.Repeat("p", MaxURL-2)
	if n, err := ParseStream("rtmp://h/live", "", "y"+p); err != nil || n.Param != p {
		t.Errorf("%v", err)
	}
}

func TestParseConnect(t *testing.T) {
	for _, c := range []struct {
		tcURL, app string
		want       Name
		reason     string
	}{
		{"rtmp://h/live", "other", Name{Host: "h", App: "live"}, ""},
		{"rtmp://h:1935/live/x?k=v", "", Name{Host: "h", App: "live/x", Param: "?k=v"}, ""},
		{"rtmp://h/live?vhost=v", "", Name{Host: "v", App: "live", Param: "?vhost=v"}, ""},
		{"rtmp://h/live...vhost...v", "", Name{Host: "v", App: "live", Param: "?vhost=v"}, ""},
		{"rtmp://h/live,vhost,v", "", Name{Host: "v", App: "live", Param: "?vhost=v"}, ""},
		{"rtmp://h/live/_definst_", "", Name{Host: "h", App: "live"}, ""},
		{"rtmp://h", "", Name{Host: "h", App: "__defaultApp__"}, ""},
		{"rtmp://h?vhost=v/live", "", Name{Host: "v/live", App: "__defaultApp__", Param: "?vhost=v/live"}, "name.invalid"},
		{"rtmp://[::1]:1935/live", "", Name{Host: "::1", App: "live"}, ""},
		{"", "live?vhost=v", Name{Host: "v", App: "live", Param: "?vhost=v"}, ""},
		{"", "", Name{App: "__defaultApp__"}, ""},
		{"nothing", "", Name{}, "name.invalid"},
		{"rtmp://h/../etc", "", Name{Host: "h", App: "../etc"}, "name.invalid"},
		{"rtmp://h/a\nb", "", Name{Host: "h", App: "a\nb"}, "name.invalid"},
		{strings.Repeat("x", MaxURL+1), "", Name{}, "name.too_long"},
		{"", strings.Repeat("x", MaxURL+1), Name{}, "name.too_long"},
	} {
		got, err := ParseConnect(c.tcURL, c.app)
		var e *NameError
		if errors.As(err, &e) != (c.reason != "") || e != nil && e.Reason != c.reason || got != c.want {
			t.Errorf("%.50q, %.50q: %+v, %v", c.tcURL, c.app, got, err)
		}
	}
}

// sound checks what holds for every name that is accepted.
func sound(t *testing.T, n Name) {
	t.Helper()
	for _, s := range []string{n.Host, n.App, n.Stream, n.Param} {
		if strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s) {
			t.Fatalf("%+v", n)
		}
	}
	for _, s := range []string{n.Host, n.App, n.Stream} {
		if len(s) > MaxName {
			t.Fatalf("%d bytes", len(s))
		}
		for segment := range strings.SplitSeq(s, "/") {
			if segment == "." || segment == ".." {
				t.Fatalf("%+v", n)
			}
		}
	}
	if len(n.Param) > MaxURL+16 || n.App == "" || strings.ContainsAny(n.App+n.Stream, "?#") || strings.Contains(n.Stream, "/") {
		t.Fatalf("%+v", n)
	}
}

func FuzzParseStream(f *testing.F) {
	for _, c := range names {
		f.Add(c.tcURL, c.app, c.stream)
	}
	f.Fuzz(func(t *testing.T, tcURL, app, stream string) {
		n, err := ParseStream(tcURL, app, stream)
		if err != nil {
			return
		}
		sound(t, n)
		if n.Stream == "" {
			t.Fatalf("%+v", n)
		}
		if len(n.Stream+n.Param) <= MaxURL {
			again(t, n)
		}
	})
}

func FuzzParseConnect(f *testing.F) {
	for _, c := range names {
		f.Add(c.tcURL, c.app)
	}
	f.Fuzz(func(t *testing.T, tcURL, app string) {
		n, err := ParseConnect(tcURL, app)
		if err != nil {
			return
		}
		sound(t, n)
		if s, err := ParseStream(tcURL, app, "y"); err != nil || s.Host != n.Host || s.App != n.App {
			t.Fatalf("the connection is %+v, a stream on it %+v, %v", n, s, err)
		}
	})
}

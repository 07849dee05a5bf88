package dvr

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"srs/rtmp/live"
)

var (
	zone  = time.FixedZone("test", 3600)
	third = time.Date(2015, 1, 3, 5, 7, 9, 4_000_000, zone)
)

const thirdMillis = "1420258029004"

func TestExpand(t *testing.T) {
	s := subject{vhost: "__defaultVhost__", app: "live", stream: "livestream", at: third}
	for _, c := range []struct {
		template   string
		change     func(*subject)
		root, name string
	}{
		{"./objs/nginx/html/[app]/[stream].[timestamp].flv", nil, "./objs/nginx/html/", "live/livestream." + thirdMillis + ".flv"},
		{"/data/[vhost]/[app]/[stream]/[2006]/[01]/[02]/[15].[04].[05].[999].flv", nil,
			"/data/", "__defaultVhost__/live/livestream/2015/01/03/05.07.09.004.flv"},
		// Not ending in .flv: a directory.
		{"./objs/nginx/html", nil, "./objs/nginx/html/", "livestream." + thirdMillis + ".flv"},
		{"./objs/nginx/html/", nil, "./objs/nginx/html/", "livestream." + thirdMillis + ".flv"},
		{"./x.flv.d", nil, "./x.flv.d/", "livestream." + thirdMillis + ".flv"},
		{"./[app]", nil, "./", "live/livestream." + thirdMillis + ".flv"},
		{"/", nil, "/", "livestream." + thirdMillis + ".flv"},
		// The root is what stands in front of the first bracket, up to a "/".
		{"[stream].flv", nil, "", "livestream.flv"},
		{"a/b-[stream].flv", nil, "a/", "b-livestream.flv"},
		{"a/b.flv", nil, "a/", "b.flv"},
		{"b.flv", nil, "", "b.flv"},
		{"/[app]/x.flv", nil, "/", "live/x.flv"},
		// Everywhere, and unknown ones as they are.
		{"[stream]/[stream]-[stream].flv", nil, "", "livestream/livestream-livestream.flv"},
		{"[unknown]/[Stream]/[]/[/[app].flv", nil, "", "[unknown]/[Stream]/[]/[/live.flv"},
		{"[app[stream].flv", nil, "", "[applivestream.flv"},
		{"[stream.flv", nil, "", "[stream.flv"},
		// One pass: what a value looks like does not matter.
		{"[app]/[stream].flv", func(s *subject) { s.stream = "[timestamp]" }, "", "live/[timestamp].flv"},
		{"[app]/[stream].flv", func(s *subject) { s.app, s.stream = "[stream]", "[app]" }, "", "[stream]/[app].flv"},
		{"[app][stream].flv", func(s *subject) { s.app, s.stream = "[str", "eam]" }, "", "[stream].flv"},
		// Folders of the app.
		{"[app]/[stream].flv", func(s *subject) { s.app = "live/sub" }, "", "live/sub/livestream.flv"},
		{"[app]/[stream].flv", func(s *subject) { s.app = "a//b" }, "", "a/%/b/livestream.flv"},
		// None is called like a recording, one that grows, or a mark.
		{"[app]/[stream].flv", func(s *subject) { s.app = "live/s.flv" }, "", "live/s%2Eflv/livestream.flv"},
		{"[app]/[stream].flv", func(s *subject) { s.app = "s.flv.tmp/s.flv.1-A.done/s.flv.x/S.FLV" }, "", "s.flv%2Etmp/s.flv.1-A%2Edone/s.flv.x/S.FLV/livestream.flv"},
		{"./r.flv/[vhost]/[stream]/[2006].flv", func(s *subject) { s.vhost, s.stream = "v.tmp", "x.flv" }, "./r.flv/", "v%2Etmp/x%2Eflv/2015.flv"},
		{"[app].d/[app]lv/[app]_[stream].flv", func(s *subject) { s.app, s.stream = "s.f", "s.flv" }, "", "s.f.d/s%2Eflv/s.f_s.flv.flv"},
	} {
		s := s
		if c.change != nil {
			c.change(&s)
		}
		got := expand(c.template, s)
		if got.root != c.root || got.name != c.name || got.path() != c.root+c.name {
			t.Errorf("%s: %q + %q, want %q + %q", c.template, got.root, got.name, c.root, c.name)
		}
	}
}

func TestNumbered(t *testing.T) {
	p := place{"./d/", "a.flv"}
	for n, want := range []string{"./d/a.flv", "./d/a-1.flv", "./d/a-2.flv"} {
		if got := p.numbered(n).path(); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// TestFolderIsNoRecording: an app may be called like a recording, or like one that
// grows: both are recorded, whichever comes first.
func TestFolderIsNoRecording(t *testing.T) {
	for app, encoded := range map[string]string{"live/s.flv": "live/s%2Eflv", "live/s.flv.tmp": "live/s.flv%2Etmp"} {
		for _, folderFirst := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, "./rec/[app]/[stream].flv")
				for i := range 2 {
					who := live.Publisher{Vhost: "v", App: "live", Stream: "s"}
					if (i == 0) == folderFirst {
						who.App, who.Stream = app, "t"
					}
					f := newFeed()
					s.record(who, func() source { return f })
					f.send(audio(0), audio(23))
					f.unpublish()
				}
				want := []string{"rec/" + encoded + "/t.flv", "rec/live/s.flv"}
				slices.Sort(want)
				s.wantFiles(want...)
				for _, ev := range s.events() {
					if len(s.read(ev).tags) != 2 || ev.Error != "" {
						t.Errorf("%+v", ev)
					}
				}
			})
		}
	}
}

// hostile are the names of the catalogue's DV-01 to DV-05.
var hostile = []struct{ name, want string }{
	{"../../../../tmp", "%2E.%2F..%2F..%2F..%2Ftmp"},
	{"../x", "%2E.%2Fx"},
	{`..\..\x`, "%2E.%5C..%5Cx"},
	{"/etc/x", "%2Fetc%2Fx"},
	{"a/../../b", "a%2F..%2F..%2Fb"},
	{"%2e%2e%2f", "%252e%252e%252f"},
	{"....//", "%2E...%2F%2F"},
	{".", "%2E"},
	{"..", "%2E%2E"},
	{"~root", "%7Eroot"},
	{"a\x00b", "a%00b"},
	{"a\nb", "a%0Ab"},
	{"\x7f\x01", "%7F%01"},
	{"\xff\xfe", "%FF%FE"},
	{"-rf", "%2Drf"},
	{"con", "con"},
	{".hidden", "%2Ehidden"},
	{"trailing ", "trailing%20"},
	{"trailing.", "trailing%2E"},
	{`a:b*?"<>|`, "a%3Ab%2A%3F%22%3C%3E%7C"},
	{"$(x)`;&'!#^{}", "%24%28x%29%60%3B%26%27%21%23%5E%7B%7D"},
	{"a=1,b-c_d.e~f+g@h", "a=1,b-c_d.e~f+g@h"},
	{"摄像头-é", "摄像头-é"},
	{"rtl\u202eflv", "rtl%E2%80%AEflv"},
	{"line\u2028", "line%E2%80%A8"},
	{"[timestamp]", "[timestamp]"},
}

func TestDV05(t *testing.T) {
	for _, c := range hostile {
		got := encode(c.name)
		if got != c.want {
			t.Errorf("encode(%q) = %q, want %q", c.name, got, c.want)
		}
		checkReversible(t, c.name, got)
	}
	if got := encode(""); got != "%" {
		t.Errorf("empty: %q", got)
	}
}

func checkReversible(t *testing.T, value, encoded string) {
	t.Helper()
	if back, err := url.PathUnescape(encoded); value != "" && (err != nil || back != value) {
		t.Errorf("%q came back as %q, %v", encoded, back, err)
	}
}

// checkPlace states what holds of every place.
func checkPlace(t *testing.T, p place) {
	t.Helper()
	if !filepath.IsLocal(p.name) || !strings.HasSuffix(p.name, ".flv") {
		t.Errorf("%q leaves its root", p.name)
	}
	components := strings.Split(p.name, "/")
	for i, c := range components {
		if ext := filepath.Ext(c); i < len(components)-1 && (ext == ".flv" || ext == tmp || ext == done) {
			t.Errorf("the folder %q of %q may be a file's name", c, p.name)
		}
		if c == "" || c == "." || c == ".." || len(c) > maxComponent {
			t.Errorf("%q has the component %q", p.name, c)
		}
		if !utf8.ValidString(c) || strings.ContainsFunc(c, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("component %q", c)
		}
	}
}

func TestExpandHostile(t *testing.T) {
	for _, c := range hostile {
		for _, template := range []string{"[vhost]/[app]/[stream].flv", "./d/.[app]/x[stream].flv", "[app].[stream].flv", "/r/[vhost][app][stream].flv"} {
			checkPlace(t, expand(template, subject{c.name, c.name, c.name, third}))
		}
	}
}

func TestDV04(t *testing.T) {
	long := func(piece string, n int) string { return strings.Repeat(piece, n) }
	seen := map[string]bool{}
	for _, stream := range []string{
		long("x", 196), long("x", 197), long("x", 255), long("x", 256), long("x", 255) + "y",
		long("😀", 64), long("😀", 63) + "abc", long("/", 256), "a" + long("/", 255), "ab" + long("/", 254), long("é", 128),
	} {
		p := expand("./d/[app]/[stream].flv", subject{"v", stream, stream, third})
		checkPlace(t, p)
		checkPlace(t, expand("./d/[app].flv/x.flv", subject{"v", stream, stream, third}))
		if seen[p.name] {
			t.Errorf("%q twice", p.name)
		}
		seen[p.name] = true
		base, ok := strings.CutSuffix(filepath.Base(p.name), ".flv")
		if !ok {
			t.Errorf("%q", p.name)
		}
		readable, _, cut := strings.Cut(base, "%~")
		if cut != (len(encode(stream)) > 196) {
			t.Errorf("%d bytes, cut %v", len(stream), cut)
		}
		back, err := url.PathUnescape(readable)
		if err != nil || !strings.HasPrefix(stream, back) {
			t.Errorf("%q is no start of %q: %v", readable, stream, err)
		}
	}
}

// TestTooLongPath: a path that is too long altogether is refused and said, and
// costs the publish nothing.
func TestTooLongPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "root/"+strings.Repeat("[stream]/", 24)+"[stream].flv")
		f := s.start(strings.Repeat("x", 250))
		f.send(audio(0), audio(23))
		f.unpublish()
		if ev := s.only(); len(ev.File) < 4096 || ev.Error != "file name too long: 2 frames lost" || !strings.Contains(s.log(), "recording failed") {
			t.Errorf("%+v\n%s", ev, s.log())
		}
	})
}

func FuzzExpand(f *testing.F) {
	for _, c := range hostile {
		f.Add("live", c.name)
		f.Add(c.name, "x")
	}
	f.Add("x.flv", "x.tmp/y.done")
	f.Add("a/../b", strings.Repeat("%", 300))
	f.Fuzz(func(t *testing.T, app, stream string) {
		if len(app)+len(stream) > 4096 {
			return
		}
		s := subject{app, app, stream, third}
		for _, template := range []string{"[vhost]/[app]/[stream].flv", "./d/.[app]/x[stream].flv", "[app].[stream].flv"} {
			checkPlace(t, expand(template, s))
		}
		checkReversible(t, stream, encode(stream))
	})
}

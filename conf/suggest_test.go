package conf

import (
	"strings"
	"testing"
)

// TestHint: a slip of the finger finds its name, another word finds none.
func TestHint(t *testing.T) {
	f := &file{name: "t"}
	known := []string{"full", "gop_cache", "listen", "off", "on_play", "pid", "zero"}
	for _, c := range []struct{ word, want string }{
		{"listne", "listen"}, {"LISTEN", "listen"}, {"lisen", "listen"}, {"gopcache", "gop_cache"}, {"gop-cache", "gop_cache"},
		{"on_pay", "on_play"}, {"onplay", "on_play"}, {"pdi", "pid"}, {"xyz", ""}, {"pi", "pid"}, {"p", ""}, {"", ""},
		{"something_else", ""}, {strings.Repeat("listen", 100), ""},
	} {
		want := ""
		if c.want != "" {
			want = ` (did you mean "` + c.want + `"?)`
		}
		if got := hint(f, c.word, known); got != want {
			t.Errorf("hint for %q is %q, want %q", c.word, got, want)
		}
	}
	if got := hint(&file{from: f}, "listne", known); got != "" {
		t.Errorf("a hint about an included file: %q", got)
	}
}

// TestTypos: for every name there is, one letter less finds a name at that
// place that is as near.
func TestTypos(t *testing.T) {
	for _, d := range directives {
		for _, s := range d.spell {
			i := strings.LastIndexByte(s, '.') + 1
			name := s[i:]
			if len(name) < 4 {
				continue
			}
			typo := name[:2] + name[3:]
			_, err := Parse("t", []byte(wrap(s[:i]+typo, "x")))
			if err == nil || !strings.Contains(err.Error(), typo+": unknown directive in ") || !strings.Contains(err.Error(), "(did you mean ") {
				t.Errorf("%s says %v", typo, err)
			}
		}
	}
}

// TestWrongNesting: every name at every wrong place is told where it belongs.
func TestWrongNesting(t *testing.T) {
	for _, scope := range append([]string{""}, blocks...) {
		for _, d := range directives {
			path := join(scope, d.name())
			if recognised(path) {
				continue
			}
			if d.name() == "time_jitter" && scope == "vhost" {
				t.Error("time_jitter is not allowed in a vhost")
			}
			_, err := Parse("t", []byte(wrap(path, "x")))
			if err == nil || !strings.Contains(err.Error(), d.name()+": not allowed in "+scopeName(scope)+"; it belongs in ") {
				t.Errorf("%s says %v", path, err)
			}
		}
	}
}

func TestScopeName(t *testing.T) {
	for scope, want := range map[string]string{
		"": "the top level", "vhost": "vhost { }", "vhost.play": "vhost { play { } }",
	} {
		if got := scopeName(scope); got != want {
			t.Errorf("%q is %s, want %s", scope, got, want)
		}
	}
}

func TestLabel(t *testing.T) {
	main := &file{name: "a"}
	included := &file{name: "b", from: main}
	for _, c := range []struct {
		f          *file
		name, want string
	}{
		{main, "listen", "listen"},
		{main, "no-such.name_1", "no-such.name_1"},
		{main, "a:b", `"a:b"`},
		{main, "\u00a0listen", `"\u00a0listen"`},
		{main, strings.Repeat("a", 100), `"` + strings.Repeat("a", 64) + `..."`},
		{included, "listen", "listen"},
		{included, "root:x", "(a name in an included file)"},
	} {
		if got := label(c.f, c.name); got != c.want {
			t.Errorf("label of %q is %s, want %s", c.name, got, c.want)
		}
	}
}

package conf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestErrorsText(t *testing.T) {
	e := Errors{{"a.conf", 1, 2, "x: y"}, {"b.conf", 3, 4, "z"}}
	if got := e.Error(); got != "a.conf:1:2: x: y\nb.conf:3:4: z" {
		t.Errorf("Error is %q", got)
	}
}

func TestInOrder(t *testing.T) {
	in := []Diagnostic{{"b", 1, 1, ""}, {"a", 2, 1, ""}, {"a", 1, 9, "first"}, {"a", 1, 9, "second"}, {"a", 1, 1, ""}}
	want := "[a:1:1:  a:1:9: first a:1:9: second a:2:1:  b:1:1: ]"
	if got := fmt.Sprint(inOrder(in)); got != want {
		t.Errorf("order is %s, want %s", got, want)
	}
}

// TestBrokenFiles: each way to break a file gives file:line:col, from Load as
// from Parse (CF-01).
func TestBrokenFiles(t *testing.T) {
	for i, c := range []struct{ text, place string }{
		{"listen 1935", "1:1"},
		{"listen 1935\nmax_connections 10;\n", "2:1"},
		{"listen 1935;\n}\n", "2:1"},
		{"listen 1935;\nvhost a.com {\n  gop_cache on;\n", "2:1"},
		{"listen 1935;\n  pid \"./objs/srs.pid;\n", "2:7"},
		{"listen 1935;;\n", "1:13"},
		{"listen 1935;\n\n ;\n", "3:2"},
		{"listen 1935;\n{\n}\n", "2:1"},
		{"listen 1935;\nvhost a.com {\n  gop_cache on }\n", "3:16"},
		{"listen 1935;\r\nvhost a.com {\r\n  gop_cach on;\r\n}\r\n", "3:3"},
		{"\ufefflisten 1935x;", "1:8"},
		{"listen 1935; \x00", "1:14"},
		{"listen 1935;\n# \xe4\n", "2:3"},
	} {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("broken%d.conf", i))
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+":"+c.place+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q gives %v, want %s", c.text, err, c.place)
		}
		_, again := Parse(path, []byte(c.text))
		if again == nil || err == nil || again.Error() != err.Error() {
			t.Errorf("%q: Parse gives %v, Load %v", c.text, again, err)
		}
	}
}

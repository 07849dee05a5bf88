package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse: no text makes the parser panic, every problem has a place within
// the text, and a Config that is given out keeps what its doc promises.
func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.conf")
	for _, name := range append(names, "srs.conf", "full.conf") {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{"", ";", "}", "{", "a{", "'", "listen 1935", "\ufefflisten 1935;", "include x;", "listen 1;vhost a{include x y;}",
		"a\x00", "\xff", "listen\n1935\n1936\n;", "vhost a{play{gop_cache on}}", "listen 1\nvhost b{}", "a '\n\n';;", "listen 1;pid '\n';"} {
		f.Add(text)
	}

	// Includes read the text itself once, so that they are tried without files.
	f.Fuzz(func(t *testing.T, text string) {
		read := func(name string, from *file) (*file, error) {
			if from.included() {
				return noFiles(name, from)
			}
			return &file{name: "fuzz", path: name, text: text, from: from}, nil
		}
		c, err := parseConfig("fuzz", text, read)
		if err != nil {
			errs := err.(Errors)
			if c != nil || len(errs) == 0 || errs.Error() == "" {
				t.Fatalf("config %v with %d errors", c, len(errs))
			}
			checkPlaces(t, text, errs)
			return
		}
		checkPlaces(t, text, c.Warnings)
		checkConfig(t, c)
	})
}

// checkPlaces wants every problem at a byte of the text, or just behind a line.
func checkPlaces(t *testing.T, text string, list []Diagnostic) {
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for _, d := range list {
		if d.Line < 1 || d.Line > len(lines) || d.Col < 1 || d.Col > len(lines[d.Line-1])+1 {
			t.Fatalf("%v is outside the text", d)
		}
		if d.Text == "" || strings.ContainsAny(d.Text, "\n\x00") {
			t.Fatalf("%q is not one line", d.Text)
		}
	}
}

func checkConfig(t *testing.T, c *Config) {
	if len(c.Listen) == 0 || c.MaxConnections < 1 || c.ChunkSize < 128 || c.ChunkSize > 65536 {
		t.Fatalf("%+v", *c)
	}
	names := map[string]bool{}
	for _, v := range c.Vhosts {
		if v.Name == "" || names[v.Name] || v.ChunkSize < 128 || v.ChunkSize > 65536 {
			t.Fatalf("%+v", *v)
		}
		names[v.Name] = true
		if v.Play.QueueLength <= 0 || v.Publish.FirstPktTimeout <= 0 || v.Publish.NormalTimeout <= 0 || v.Hooks.Timeout <= 0 ||
			v.Hooks.Workers < 1 || v.Hooks.Queue < 1 || v.DVR.Path == "" || v.DVR.Duration < 0 {
			t.Fatalf("%+v", *v)
		}
	}
}

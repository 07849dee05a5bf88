package conf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// files writes files into a new directory, makes it the working directory and
// returns it.
func files(t *testing.T, texts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range texts {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	return dir
}

func TestInclude(t *testing.T) {
	dir := files(t, map[string]string{
		"main.conf":       "include global.conf; vhost a.com { include conf/play.conf conf/hooks.conf; }\n",
		"global.conf":     "listen 1936;\r\nchunk_size 4096;",
		"conf/play.conf":  "\ufeffplay { include queue.conf; }",
		"conf/queue.conf": "queue_length 7;", // found beside the file that includes it
		"conf/hooks.conf": "http_hooks { enabled on; on_play http://h/; }",
	})
	for _, path := range []string{"main.conf", filepath.Join(dir, "main.conf")} {
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		want := mustParse(t, "listen 1936; chunk_size 4096; vhost a.com { play { queue_length 7; } http_hooks { enabled on; on_play http://h/; } }")
		if d := diff(c, want); d != "" {
			t.Error(d)
		}
	}
}

func TestIncludeFirstWins(t *testing.T) {
	files(t, map[string]string{
		"main.conf":  "listen 1935;\nchunk_size 4096;\ninclude other.conf;",
		"other.conf": "# comment\n  chunk_size 128;",
	})
	c, err := Load("main.conf")
	if err != nil {
		t.Fatal(err)
	}
	if c.ChunkSize != 4096 {
		t.Errorf("chunk_size %d", c.ChunkSize)
	}
	want := "other.conf:2:3: chunk_size: given before, perhaps by its other name; the first one holds and this one is ignored"
	if got := fmt.Sprint(c.Warnings); got != "["+want+"]" {
		t.Errorf("warnings %s", got)
	}
}

// TestIncludeErrors: cycles, long chains, missing files (CF-04).
func TestIncludeErrors(t *testing.T) {
	texts := map[string]string{
		"missing.conf": "listen 1935;\ninclude none.conf;",
		"self.conf":    "listen 1935;\n include  self.conf;",
		"a.conf":       "listen 1935;\ninclude b.conf;",
		"b.conf":       "\ninclude ./a.conf;",
		"dir.conf":     "listen 1935;\ninclude sub;",
		"sub/x":        "",
		"open.conf":    "listen 1935;\ninclude block.conf;\n}",
		"block.conf":   "vhost a.com {",
		"close.conf":   "listen 1935;\nvhost a.com {\ninclude brace.conf;\n}",
		"brace.conf":   "enabled on; }",
		"deep0.conf":   "listen 1935;\ninclude deep1.conf;",
	}
	for i := 1; i <= 17; i++ {
		texts[fmt.Sprintf("deep%d.conf", i)] = fmt.Sprintf("include deep%d.conf;", i+1)
	}
	texts["deep17.conf"] = ""
	files(t, texts)
	for _, c := range []struct{ file, want string }{
		{"missing.conf", `missing.conf:2:9: include: cannot read "none.conf": no such file or directory`},
		{"self.conf", `self.conf:2:11: include: the file includes itself: self.conf -> self.conf`},
		{"a.conf", `b.conf:2:9: include: the file includes itself: a.conf -> b.conf -> ./a.conf`},
		{"dir.conf", `dir.conf:2:9: include: cannot read "sub": it is not a regular file`},
		{"open.conf", `block.conf:1:1: unexpected end of file: the block that begins here is not closed by "}"` +
			"\n" + `open.conf:3:1: unexpected "}": no block is open here`},
		{"close.conf", `brace.conf:1:13: unexpected "}": no block is open here`},
		{"deep0.conf", `deep16.conf:1:9: include: files include files more than 16 deep: deep0.conf -> deep1.conf -> deep2.conf -> ` +
			`deep3.conf -> deep4.conf -> deep5.conf -> deep6.conf -> deep7.conf -> deep8.conf -> deep9.conf -> deep10.conf -> ` +
			`deep11.conf -> deep12.conf -> deep13.conf -> deep14.conf -> deep15.conf -> deep16.conf -> deep17.conf`},
	} {
		_, err := Load(c.file)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s gives\n%v\nwant\n%s", c.file, err, c.want)
		}
	}
}

// TestIncludeBomb: files that double each other stay within the size of one.
func TestIncludeBomb(t *testing.T) {
	texts := map[string]string{"f0.conf": "listen 1935;\ninclude f1.conf f1.conf;", "f12.conf": strings.Repeat("# comment\n", 1000)}
	for i := 1; i < 12; i++ {
		texts[fmt.Sprintf("f%d.conf", i)] = fmt.Sprintf("include f%d.conf f%[1]d.conf;", i+1)
	}
	files(t, texts)
	_, err := Load("f0.conf")
	if want := "f12.conf:1:1: the configuration is larger than 4 MiB; is this the right file?"; err == nil || err.Error() != want {
		t.Errorf("gives %v, want %s", err, want)
	}
}

// TestIncludeKeepsSecrets: whatever file is included, messages repeat none of
// its words (CF-05).
func TestIncludeKeepsSecrets(t *testing.T) {
	const secret = "s3cr3t"
	for _, text := range []string{
		"root:$6$s3cr3t:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
		"s3cr3t;",
		"s3cr3t s3cr3t { s3cr3t; }",
		"vhost s3cr3t",
		"vhost s3cr3t {} vhost s3cr3t {}",
		"vhost a s3cr3t {}",
		"chunk_size s3cr3t;",
		"chunk_size 128 s3cr3t;",
		"pid \"s3cr3t\n\";",
		"include s3cr3t;",
		"listen s3cr3t s3cr3t;",
		"daemon s3cr3t;",
		"srs_log_level s3cr3t;",
		"s3cr3t\nchunk_size 128;",
		"vhost a { http_hooks { on_play s3cr3t://s3cr3t@s3cr3t/?s3cr3t; } }",
		"vhost a { dvr { dvr_path [s3cr3t]; } }",
		"vhost a { gop_cache s3cr3t; s3cr3t 'x'y",
		"'s3cr3t",
		"s3cr3t }",
	} {
		files(t, map[string]string{"main.conf": "listen 1935;\ninclude secret;", "secret": text})
		c, err := Load("main.conf")
		var said string
		if err != nil {
			said = err.Error()
		} else {
			said = fmt.Sprint(c.Warnings)
		}
		if strings.Contains(said, secret) {
			t.Errorf("%q is repeated: %s", text, said)
		}
		if !strings.Contains(said, "secret:1:") {
			t.Errorf("%q gives no position: %q", text, said)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Load("none.conf")
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.conf") {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err = Load("."); err == nil {
		t.Error("a directory loads")
	}
}

// TestIncludeWhere: the working directory comes first, as in SRS; then the
// directory of the file that includes. An absolute path is only itself.
func TestIncludeWhere(t *testing.T) {
	dir := files(t, map[string]string{
		"conf/main.conf": "listen 1935; include both.conf; include near.conf;",
		"conf/both.conf": "chunk_size 200;",
		"conf/near.conf": "max_connections 200;",
		"both.conf":      "chunk_size 300;",
		"abs.conf":       "listen 1935; include /both.conf;",
	})
	for _, path := range []string{"conf/main.conf", filepath.Join(dir, "conf/main.conf")} {
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if c.ChunkSize != 300 || c.MaxConnections != 200 {
			t.Errorf("%s: chunk_size %d, max_connections %d", path, c.ChunkSize, c.MaxConnections)
		}
	}
	if _, err := Load("abs.conf"); err == nil {
		t.Error("an absolute path is looked for elsewhere")
	}
}

// TestIncludeLinks: a circle is one by whatever name.
func TestIncludeLinks(t *testing.T) {
	dir := files(t, map[string]string{"main.conf": "listen 1935; include link.conf;"})
	if err := os.Symlink("main.conf", filepath.Join(dir, "link.conf")); err != nil {
		t.Fatal(err)
	}
	_, err := Load("main.conf")
	if err == nil || !strings.Contains(err.Error(), "the file includes itself: main.conf -> link.conf") {
		t.Errorf("gives %v", err)
	}
}

// TestIncludeTwice: the same file in two places is no circle.
func TestIncludeTwice(t *testing.T) {
	files(t, map[string]string{
		"main.conf": "listen 1935; vhost a { include play.conf; } vhost b { include play.conf; }",
		"play.conf": "gop_cache off; queue_length 3;",
	})
	c, err := Load("main.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range c.Vhosts {
		if v.Play.GopCache || v.Play.QueueLength.Seconds() != 3 {
			t.Errorf("%+v", *v)
		}
	}
}

// TestIncludePipe: what would have to be waited for is not opened.
func TestIncludePipe(t *testing.T) {
	dir := files(t, map[string]string{"main.conf": "listen 1935;\ninclude pipe /dev/zero;"})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load("main.conf")
	want := `main.conf:2:9: include: cannot read "pipe": it is not a regular file` + "\n" +
		`main.conf:2:14: include: cannot read "/dev/zero": it is not a regular file`
	if err == nil || err.Error() != want {
		t.Errorf("gives %v", err)
	}
}

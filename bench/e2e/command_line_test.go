package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestCommandLine runs the server with arguments that make it end by itself.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.conf", "listen 1935;\nvhost __defaultVhost__ {\n}\n")
	bad := write("bad.conf", "listen 1935;\nvhost __defaultVhost__ {\n\tgop_cashe on;\n}\nmax_connections 0;\n")
	nowhere := write("nowhere.conf", "listen 1935;\nsrs_log_tank console;\nwork_dir "+dir+"/none;\n")
	many := write("many.conf", "listen 1935;\nsrs_log_tank console;\nmax_connections 1000000;\n")
	taken := newReceiver(t).addr
	busy := write("busy.conf", fmt.Sprintf("listen %s;\nsrs_log_tank console;\npid %s/busy.pid;\nmax_connections 10;\n", taken, dir))
	blocked := write("blocked.conf", fmt.Sprintf("listen 1935;\npid %s/a.pid;\nsrs_log_file %s/a.log;\njournal_dir %s/a;\n%s\n",
		good, good, good, defaultVhost(block("http_hooks", "enabled on;"))))
	files := write("files.conf", "listen 1935;\nsrs_log_tank console;\nvhost a {\nhttp_hooks {\nenabled on; secret env:E2E_NONE file:"+dir+
		"/none;\nca_file "+good+";\n}\n}\nvhost b {\nhttp_hooks {\nenabled on; cert_file "+good+";\n}\n}\n")
	unused := write("unused.conf", "listen 1935;\nvhost a {\nhttp_hooks {\nsecret env:E2E_NONE;\ncert_file none;\n}\n}\n")
	const missing = `(?s)files.conf:5:20: secret: there is none in env:E2E_NONE\n.*files.conf:5:33: secret: open .*no such file.*` +
		`files.conf:6:1: ca_file: .*files.conf:11:13: cert_file: needs key_file`
	for _, test := range []struct {
		name   string
		args   []string
		code   int
		output string // both streams, one after the other
	}{
		{"version", []string{"-v"}, 0, `^` + regexp.QuoteMeta(version) + `\n$`},
		{"help", []string{"-h"}, 0, `Usage:\n  srs \[-c FILE\]`},
		{"test of a good file", []string{"-t", "-c", good}, 0, `good.conf is good`},
		{"test of the built-in configuration", []string{"-t"}, 0, `is good`},
		{"test of paths that are not usable", []string{"-t", "-c", blocked}, 0,
			`(?s)srs_log_file .*not a directory.*pid .*not a directory.*journal_dir .*wait in memory.*not a directory.*is good`},
		{"test of a file that names bad files", []string{"-t", "-c", files}, 78, missing},
		{"start with a file that names bad files", []string{"-c", files}, 78, missing},
		{"test of bad files that are not used", []string{"-t", "-c", unused}, 0,
			`(?s)unused.conf:4:8: secret: there is none.*http_hooks is off.*unused.conf:5:1: cert_file: .*is good`},
		{"test of a bad file", []string{"-t", "-c", bad}, 78, `(?s)bad.conf:3:2: .*gop_cache.*bad.conf:5:17: `},
		{"start with a bad file", []string{"-c", bad}, 78, `bad.conf:3:2: `},
		{"test of a work_dir that is not there", []string{"-t", "-c", nowhere}, 78, `work_dir: .*no such file`},
		{"start with one", []string{"-c", nowhere}, 78, `work_dir: .*no such file`},
		{"test of too many connections", []string{"-t", "-c", many}, 78, `max_connections 1000000 needs`},
		{"start with too many", []string{"-c", many}, 78, `max_connections 1000000 needs`},
		{"no such file", []string{"-c", dir + "/none.conf"}, 78, `none.conf`},
		{"unknown flag", []string{"-x"}, 2, `-x`},
		{"an argument too much", []string{"more"}, 2, `"more"`},
		{"address in use", []string{"-c", busy}, 1, `address already in use`},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(srsBinary, test.args...)
			cmd.Dir, cmd.Env = t.TempDir(), cleanEnv()
			p := startProcess(t, cmd)
			if code := p.exit(t, longest); code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if out := p.text() + "\n"; !regexp.MustCompile(test.output).MatchString(out) {
				t.Errorf("output has no %s:\n%s", test.output, out)
			}
			if test.code != 1 && len(test.args) > 0 && test.args[0] != "-c" {
				if made, _ := os.ReadDir(cmd.Dir); len(made) > 0 {
					t.Errorf("files were made: %v", made)
				}
			}
		})
	}
}

// TestSecondServer does not start with the pid file of a running one.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	conf, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again.conf")
	text := strings.Replace(string(conf), s.addr, fmt.Sprintf("127.0.0.1:%d", freePort(t)), 1)
	if err := os.WriteFile(again, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(srsBinary, "-c", again)
	cmd.Dir, cmd.Env = t.TempDir(), cleanEnv()
	p := startProcess(t, cmd)
	if code := p.exit(t, longest); code != 1 || !strings.Contains(p.text(), fmt.Sprintf(`process %d`, s.pid)) {
		t.Errorf("exit code %d:\n%s", code, p.text())
	}
}

// TestLogRotation moves the log away; after SIGUSR1 a new one is written.
func TestLogRotation(t *testing.T) {
	t.Parallel()
	s := startServer(t) // logs to the console; a reload turns it to a file
	log := filepath.Join(s.dir, "srs.log")
	text, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "srs_log_tank console;", "srs_log_tank file; srs_log_file "+log+";", 1))
	if err := os.WriteFile(s.conf, text, 0o644); err != nil {
		t.Fatal(err)
	}
	says := func(path, what string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(path)
			return strings.Contains(string(b), what)
		}
	}
	s.signal(t, syscall.SIGHUP)
	eventually(t, longest, "the log file to be written", says(log, "configuration reloaded"))
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGUSR1)
	eventually(t, longest, "the log file to be made anew", func() bool {
		_, err := os.Stat(log)
		return err == nil
	})
	eventually(t, longest, "lines in the new log", func() bool {
		s.signal(t, syscall.SIGUSR2)
		return says(log, "counters")() && says(log, "ring=0 heap=")() && says(log, "pause_p99=")()
	})
	if code, _ := s.stop(t, syscall.SIGTERM); code != 0 || !says(log, "srs has stopped")() {
		t.Errorf("exit code %d; the log must end with the stop", code)
	}
}

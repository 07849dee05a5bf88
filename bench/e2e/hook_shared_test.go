package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// beside starts another server in the directory of s, with a configuration, a port
// and a pid file of its own, and waits until it listens.
func (s *srs) beside(t *testing.T, directives ...string) *srs {
	t.Helper()
	n := &srs{dir: s.dir, conf: filepath.Join(s.dir, "beside.conf"), port: freePort(t)}
	n.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port))
	n.writeConf(t, directives...)
	text, err := os.ReadFile(n.conf)
	if err == nil {
		err = os.WriteFile(n.conf, []byte(strings.Replace(string(text), "/srs.pid", "/beside.pid", 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n.again(t)
}

// TestJournalOfAnother: a server without hooks leaves the journal alone that another
// has in the same directory, so that that starts again and tells what it owes. A
// reload that switches its hooks on waits for the directory, and has it in the end.
func TestJournalOfAnother(t *testing.T) {
	t.Parallel()
	down, free := reserve(t)
	defer free()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(block("http_hooks", "enabled on;", "on_unpublish http://"+down+"/;")))
	publishAndLeave(t, s, "waits", 1)
	c := publishWith(t, s.url("live/owed-1"))
	s.waitCount(t, "publish started", 2)
	journal := func() bool {
		out, _ := exec.Command(srsBinary, "hook", "log", "--dir", s.dir+"/objs/hooks").Output()
		return strings.Contains(string(out), " 1 publishes") && strings.Contains(string(out), down+"  1 ")
	}
	eventually(t, longest, "both in the journal", journal)
	s.sigkill()
	c.Close()
	other := s.beside(t, defaultVhost())
	other.waitLog(t, "journal_dir is left alone: .*config="+s.conf)
	s = s.again(t)
	s.waitLog(t, "taken up.*not_delivered=1 missing_ends=1")
	free()
	b := openBooks(t, down)
	eventually(t, longest, "both ends", func() bool { return b.heard() == 2 })

	other.writeConf(t, defaultVhost(hooks(rcv, "on_unpublish")))
	other.signal(t, syscall.SIGHUP)
	other.waitLog(t, fmt.Sprintf("cannot be written.*in use by process %d", s.pid))
	s.stop(t, syscall.SIGTERM)
	other.waitLog(t, "journal of http hooks is written again")
	publishAndLeave(t, other, "own", 1)
	rcv.wait(t, "on_unpublish", "own-1", 1)
}

// TestStartErrorsAreLogged: why a server does not start is also in its log file.
func TestStartErrorsAreLogged(t *testing.T) {
	t.Parallel()
	on := defaultVhost(block("http_hooks", "enabled on;", "on_close http://127.0.0.1:1/;"))
	s := startServer(t, on)
	for what, text := range map[string]string{
		"journal_dir: ":          fmt.Sprintf("listen 127.0.0.1:%d; pid ./own.pid; journal_dir %s/objs/hooks; %s", freePort(t), s.dir, on),
		"address already in use": fmt.Sprintf("listen %s; pid ./own.pid; %s", s.addr, defaultVhost()),
		"/srs.pid":               fmt.Sprintf("listen 127.0.0.1:%d; pid %s/srs.pid; %s", freePort(t), s.dir, defaultVhost()),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/srs.conf", []byte("max_connections 600; srs_log_file ./srs.log; "+text), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(srsBinary, "-c", dir+"/srs.conf")
		cmd.Dir, cmd.Env = dir, cleanEnv()
		p := startProcess(t, cmd)
		code := p.exit(t, longest)
		log, err := os.ReadFile(dir + "/srs.log")
		if err != nil || code != 1 || !strings.Contains(p.text(), what) || strings.Count(string(log), what) != 1 || !strings.Contains(string(log), "[error]") {
			t.Errorf("%s: exit code %d, %v:\n%s\nthe log:\n%s", what, code, err, p.text(), log)
		}
	}
}

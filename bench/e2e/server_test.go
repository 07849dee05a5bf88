package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An srs is a running server.
type srs struct {
	*process
	addr string // host:port of RTMP
	port int
	dir  string // its working directory, with everything it writes
	conf string // path of its configuration file
}

// serverID is what the configuration sets as server_id.
const serverID = "e2e-server"

// startServer runs a server with these directives and blocks beside the ones
// that every test needs, and waits until it listens.
//
//	s := startServer(t, defaultVhost(hooks(rcv, "on_publish")))
func startServer(t testing.TB, directives ...string) *srs {
	t.Helper()
	dir := t.TempDir()
	for try := 1; ; try++ {
		s := &srs{dir: dir, conf: filepath.Join(dir, "srs.conf")}
		s.port = freePort(t)
		s.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
		s.writeConf(t, directives...)
		cmd := exec.Command(srsBinary, "-c", s.conf)
		cmd.Dir, cmd.Env = dir, cleanEnv()
		s.process = startProcess(t, cmd)
		if s.up() {
			t.Cleanup(func() { s.finish(t) })
			return s
		}
		// Somebody else may have taken the port in between.
		if try == 3 || !strings.Contains(s.text(), "address already in use") {
			t.Fatalf("the server does not start:\n%s", s.text())
		}
	}
}

// writeConf writes the configuration file, at the start or for a reload.
func (s *srs) writeConf(t testing.TB, directives ...string) {
	t.Helper()
	more := strings.Join(directives, "\n")
	if !strings.Contains(more, "max_connections ") {
		more = "max_connections 600;\n" + more
	}
	text := fmt.Sprintf("listen %s;\npid %s/srs.pid;\nsrs_log_tank console;\nserver_id %s;\n%s\n", s.addr, s.dir, serverID, more)
	if err := os.WriteFile(s.conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// up waits until the server listens, or has ended.
func (s *srs) up() bool {
	end := time.After(longest)
	for {
		_, more := s.since(0)
		if len(s.matching(0, "listening for RTMP")) > 0 {
			return true
		}
		select {
		case <-more:
		case <-s.done:
			return false
		case <-end:
			return false
		}
	}
}

// finish stops the server at the end of a test, and looks at what no test may
// end with: a panic, a data race, a server that does not stop.
func (s *srs) finish(t testing.TB) {
	t.Helper()
	if s.alive() {
		syscall.Kill(s.pid, syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(longest):
			t.Errorf("the server does not stop after SIGTERM")
			s.kill()
		}
	}
	if bad := s.matching(0, `^panic:|^fatal error:|DATA RACE|^goroutine \d+`); len(bad) > 0 {
		t.Errorf("the server says: %q", bad[0])
	}
	if t.Failed() {
		all, _ := s.since(0)
		t.Logf("the server's log, its end:\n%s", strings.Join(all[max(0, len(all)-60):], "\n"))
	}
}

// url is where a client publishes or plays app/stream.
func (s *srs) url(path string) string { return "rtmp://" + s.addr + "/" + path }

// waitLog waits for a log line, also for one that has come already.
func (s *srs) waitLog(t testing.TB, pattern string) string {
	t.Helper()
	return s.waitLine(t, 0, pattern)
}

// waitCount waits until n log lines match.
func (s *srs) waitCount(t testing.TB, pattern string, n int) {
	t.Helper()
	eventually(t, longest, fmt.Sprintf("%d log lines %q", n, pattern), func() bool { return len(s.matching(0, pattern)) >= n })
}

// stop sends a signal and returns the exit code and how long it took.
func (s *srs) stop(t testing.TB, sig syscall.Signal) (code int, took time.Duration) {
	t.Helper()
	begun := time.Now()
	s.signal(t, sig)
	code = s.exit(t, longest)
	return code, time.Since(begun)
}

// rss is the server's resident memory, bytes.
func (s *srs) rss(t testing.TB) int64 { t.Helper(); return s.memory(t, "VmRSS") }

// memory is a line of /proc/PID/status, bytes: VmRSS now, VmHWM at its peak.
func (s *srs) memory(t testing.TB, line string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte(line+":"))
	kB, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	n, err := strconv.ParseInt(string(kB), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return n << 10
}

// resetPeak makes VmHWM count from now on.
func (s *srs) resetPeak(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// fds is how many descriptors the server has open.
func (s *srs) fds(t testing.TB) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// freePort finds a port that nobody listens on at the moment.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// cleanEnv is the environment without the variables of these tests, which the
// server would take for configuration.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SRS_") {
			env = append(env, v)
		}
	}
	return env
}

// defaultVhost is the block that serves the hosts without one.
func defaultVhost(blocks ...string) string { return vhost("__defaultVhost__", blocks...) }

func vhost(name string, blocks ...string) string {
	return "vhost " + name + " {\n" + strings.Join(blocks, "\n") + "\n}"
}

// block is a directive block of these lines.
func block(name string, lines ...string) string {
	return name + " {\n" + strings.Join(lines, "\n") + "\n}"
}

// recordTo is a dvr block that records each publish to path.
func recordTo(path string) string {
	return block("dvr", "enabled on;", "dvr_plan session;", "dvr_path "+path+";")
}

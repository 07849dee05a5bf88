package e2e

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// lines collects the output of a process and lets tests wait for it.
type lines struct {
	mu   sync.Mutex
	all  []string
	more chan struct{} // closed when a line comes, and made anew
}

func (l *lines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

// since returns the lines from a mark on, and a channel that is closed when
// there are more.
func (l *lines) since(mark int) ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more == nil {
		l.more = make(chan struct{})
	}
	return slices.Clone(l.all[min(mark, len(l.all)):]), l.more
}

// mark remembers how far the output has come.
func (l *lines) mark() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// matching returns the lines from a mark on that match.
func (l *lines) matching(mark int, pattern string) []string {
	re := regexp.MustCompile(pattern)
	found, _ := l.since(mark)
	return slices.DeleteFunc(found, func(s string) bool { return !re.MatchString(s) })
}

// text is the whole output.
func (l *lines) text() string {
	all, _ := l.since(0)
	return strings.Join(all, "\n")
}

// A process is a child in a process group of its own. It ends with its test.
type process struct {
	lines
	name string
	cmd  *exec.Cmd
	pid  int
	done chan struct{} // closed when it has ended and its output is read
	code int           // exit code, or -1 after a signal; valid when done is closed
}

// startProcess runs a program with its output captured.
func startProcess(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	if errors.Is(cmd.Err, exec.ErrNotFound) {
		t.Fatalf("%s is not installed", cmd.Args[0])
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		t.Fatal(err)
	}
	p := &process{name: cmd.Args[0], cmd: cmd, pid: cmd.Process.Pid, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer r.Close()
		scan := bufio.NewScanner(r)
		scan.Buffer(nil, 1<<20)
		for scan.Scan() {
			p.add(scan.Text())
		}
		cmd.Wait()
		p.code = cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(p.kill)
	return p
}

// kill ends the process and what it has started, with SIGKILL, and waits.
func (p *process) kill() {
	select {
	case <-p.done: // its pid may be somebody else's by now
	default:
		syscall.Kill(-p.pid, syscall.SIGKILL)
		<-p.done
	}
}

// signal sends a signal to the process alone.
func (p *process) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%s: %v: %v", p.name, sig, err)
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		t.Fatalf("%s has not ended within %v; its output:\n%s", p.name, within, p.text())
	}
	return p.code
}

// alive reports whether the process runs.
func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// waitLine waits for a line from a mark on that matches, and returns it.
func (p *process) waitLine(t testing.TB, mark int, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	end := time.After(longest)
	for {
		found, more := p.since(mark)
		for _, line := range found {
			if re.MatchString(line) {
				return line
			}
		}
		mark += len(found)
		select {
		case <-more:
		case <-p.done:
			// What came with the end is looked at once more.
			if len(p.matching(mark, pattern)) == 0 {
				t.Fatalf("%s ended without the line %q; its output:\n%s", p.name, pattern, p.text())
			}
		case <-end:
			t.Fatalf("no line %q within %v; the output of %s:\n%s", pattern, longest, p.name, p.text())
		}
	}
}

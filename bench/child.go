package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Bounds of a child's life.
const (
	readyTimeout = 10 * time.Second // until it listens
	stopTimeout  = 12 * time.Second // from SIGTERM to SIGKILL; a server takes at most 10 s
	pollTime     = 20 * time.Millisecond
	tailLines    = 10 // of its output, shown when it fails
)

// A child is a program that we start and stop.
type child struct {
	name   string
	cmd    *exec.Cmd
	output *lineWriter
	server int // the process that serves, if that is not the one we started; owned by the one who calls serves

	done    chan struct{} // closed when it has ended
	err     error         // of its end; set before done is closed
	stopped bool          // by us; owned by the one who calls stop
}

// startChild starts a program in a directory; onLine gets its output line by
// line and may be nil.
func startChild(name, dir string, onLine func(string), args ...string) (*child, error) {
	c := &child{name: name, done: make(chan struct{}), output: &lineWriter{onLine: onLine}}
	c.cmd = exec.Command(args[0], args[1:]...)
	c.cmd.Dir = dir
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	c.cmd.WaitDelay = stopTimeout // if it leaves children that hold its output
	// An interrupt from the terminal is ours: we stop it in order.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// pid is the process to be measured.
func (c *child) pid() int {
	if c.server != 0 {
		return c.server
	}
	return c.cmd.Process.Pid
}

// serves waits until a server takes connections, and finds its process.
func (c *child) serves(ctx context.Context, address string) error {
	if err := c.ready(ctx, address); err != nil {
		return err
	}
	pid, err := listening(c.cmd.Process.Pid, address)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if pid != c.cmd.Process.Pid {
		c.server = pid
	}
	return nil
}

// ready waits until an address takes connections.
func (c *child) ready(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return nil
		}
		select {
		case <-ticker.C:
		case <-c.done:
			return fmt.Errorf("%s ended at once (%s)\n%s", c.name, c.cmd.ProcessState, c.output.last())
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w\n%s", c.name, address, err, c.output.last())
		}
	}
}

// terminate asks the server to end; what is wrapped around it follows.
func (c *child) terminate() {
	if c.server != 0 && slices.Contains(family(c.cmd.Process.Pid), c.server) {
		syscall.Kill(c.server, syscall.SIGTERM)
		return
	}
	c.cmd.Process.Signal(syscall.SIGTERM)
}

// stop sends SIGTERM and waits. It may be called again.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		return c.ended()
	default:
	}
	c.stopped = true
	c.terminate()
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-c.done:
		return c.ended()
	case <-timer.C:
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // its group
		<-c.done
		return fmt.Errorf("%s did not stop within %v and was killed", c.name, stopTimeout)
	}
}

func (c *child) ended() error {
	var exit *exec.ExitError
	if errors.As(c.err, &exit) && c.stopped {
		status, ok := exit.Sys().(syscall.WaitStatus)
		if ok && status.Signaled() && status.Signal() == syscall.SIGTERM {
			return nil // it does not catch our signal
		}
		if ok && c.server != 0 && status.ExitStatus() == 128+int(syscall.SIGTERM) {
			return nil // nor does what a shell, or timeout, runs
		}
	}
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w\n%s", c.name, c.err, c.output.last())
}

// lineWriter cuts a child's output into lines.
type lineWriter struct {
	mu     sync.Mutex
	onLine func(string)
	rest   []byte
	tail   []string
}

// maxLine bounds what is kept of a line without an end.
const maxLine = 16 << 10

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, b...)
	for {
		i := bytes.IndexByte(w.rest, '\n')
		if i < 0 && len(w.rest) < maxLine {
			return len(b), nil
		}
		if i < 0 {
			i = len(w.rest) - 1
		}
		line := strings.TrimRight(string(w.rest[:i+1]), "\r\n")
		w.rest = append(w.rest[:0], w.rest[i+1:]...)
		if w.tail = append(w.tail, line); len(w.tail) > tailLines {
			w.tail = w.tail[1:]
		}
		if w.onLine != nil {
			w.onLine(line)
		}
	}
}

// last returns the last lines, indented.
func (w *lineWriter) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, line := range append(w.tail, string(w.rest)) {
		if line != "" {
			io.WriteString(&b, "  | "+line+"\n")
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// freeAddress finds a loopback port that nobody listens on.
func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", errors.Join(errors.New("no free port"), err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

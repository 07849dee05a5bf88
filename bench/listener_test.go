package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestListening: behind a wrapper the server is found, and stopped with it.
func TestListening(t *testing.T) {
	t.Setenv("BENCH_TEST_AS_BENCH", "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, words := range map[string][]string{
		"itself":  {self, "floor", "-listen"},
		"timeout": {"timeout", "60", self, "floor", "-listen"},
		"shell":   {"/bin/sh", "-c", self + ` floor -listen "$0"; exit $?`},
	} {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		c, err := startChild(name, "", nil, append(words, address)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.serves(t.Context(), address); err != nil {
			c.stop()
			t.Fatalf("%s: %v", name, err)
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.pid()))
		if err != nil || !strings.HasPrefix(string(line), self+"\x00floor") || (c.pid() == c.cmd.Process.Pid) != (name == "itself") {
			t.Errorf("%s: found %q, %v", name, line, err)
		}
		if err := c.stop(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", c.pid())); err == nil {
			t.Errorf("%s: the server is left behind", name)
		}
	}
}

// TestListeningNot: what is said when it is not one process that listens.
func TestListeningNot(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	worker := exec.Command("sleep", "60")
	worker.ExtraFiles = []*os.File{f}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer worker.Wait()
	defer worker.Process.Kill()
	if _, err := listening(os.Getpid(), ln.Addr().String()); err == nil || !strings.Contains(err.Error(), "have the server be one process") {
		t.Errorf("two: %v", err)
	}
	closed, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listening(os.Getpid(), closed); err == nil || !strings.Contains(err.Error(), "is seen to listen") {
		t.Errorf("none: %v", err)
	}
	if pid, err := listening(worker.Process.Pid, closed); err != nil || pid != worker.Process.Pid {
		t.Errorf("alone: %d, %v", pid, err)
	}
}

package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listening finds which of a process and its descendants listens on an
// address: a wrapper that does not exec, as timeout, is not the server.
func listening(root int, address string) (int, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	pids := family(root)
	if len(pids) == 1 {
		return root, nil
	}
	sockets, err := listeners(port)
	if err != nil {
		return 0, err
	}
	var found []string
	for _, pid := range pids {
		if holds(pid, sockets) {
			found = append(found, strconv.Itoa(pid))
			root = pid
		}
	}
	switch len(found) {
	case 1:
		return root, nil
	case 0:
		return 0, fmt.Errorf("neither process %d nor a child of it is seen to listen on %s: it cannot be measured (start the server itself, or with exec)", root, address)
	}
	return 0, fmt.Errorf("processes %s all listen on %s, and one can be measured: have the server be one process (nginx: master_process off)", strings.Join(found, ", "), address)
}

// family is a process and all that descend from it.
func family(root int) []int {
	children := make(map[int][]int)
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil { // it has ended
			continue
		}
		// Behind the name in parentheses come state and parent (proc_pid_stat(5)).
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if len(fields) > 1 {
			parent, _ := strconv.Atoi(string(fields[1]))
			children[parent] = append(children[parent], pid)
		}
	}
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// tcpListen is the state LISTEN in /proc/net/tcp (net/tcp_states.h of Linux).
const tcpListen = "0A"

// listeners are the sockets that listen on a port, as /proc/PID/fd shows them.
func listeners(port string) (map[string]bool, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	sockets := make(map[string]bool)
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) { // there may be no IPv6
			return nil, err
		}
		for line := range strings.Lines(string(table)) {
			// sl local_address rem_address st queues timer retransmits uid timeout inode
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == tcpListen && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", n)) {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	return sockets, nil
}

// holds says whether a process has one of these sockets open.
func holds(pid int, sockets map[string]bool) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range files {
		if to, err := os.Readlink(file); err == nil && sockets[to] {
			return true
		}
	}
	return false
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is the unit of times in /proc: USER_HZ is 100 on every Linux port
// that Go has.
const ticks = 100

// procUsage is what a process has used so far, from /proc/PID/stat, status and
// its threads' status.
type procUsage struct {
	cpu       time.Duration // user and system
	rss, peak int64         // bytes
	threads   int64
	switches  int64 // from one thread to another, of the threads that live
}

func readProc(pid int) (procUsage, error) {
	var u procUsage
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, err)
	}
	// The name of the program, in parentheses, may contain anything. Behind it
	// comes field 3; utime and stime are 14 and 15 (proc_pid_stat(5)).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return u, fmt.Errorf("process %d: unexpected form of /proc/PID/stat", pid)
	}
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return u, fmt.Errorf("process %d: stat: %w", pid, err)
		}
		u.cpu += time.Duration(n) * time.Second / ticks
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, fmt.Errorf("process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // or a number
		switch key {
		case "VmRSS":
			u.rss = kb << 10
		case "VmHWM":
			u.peak = kb << 10
		case "Threads":
			u.threads = kb
		}
	}
	u.switches = readSwitches(pid)
	return u, nil
}

// readSwitches adds up the context switches of a process's threads. A thread
// that ends meanwhile is left out.
func readSwitches(pid int) int64 {
	var sum int64
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range threads {
		status, _ := os.ReadFile(path)
		for line := range strings.Lines(string(status)) {
			key, value, _ := strings.Cut(line, ":")
			if key == "voluntary_ctxt_switches" || key == "nonvoluntary_ctxt_switches" {
				n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
				sum += n
			}
		}
	}
	return sum
}

// ownCPU is the CPU time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ownCPUs is how many CPUs this process may use.
func ownCPUs() int { return min(runtime.NumCPU(), runtime.GOMAXPROCS(0)) }

// machine is how long all CPUs together were busy and idle, from /proc/stat.
type machine struct{ busy, idle int64 } // ticks

func readMachine() machine {
	var m machine
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	// cpu user nice system idle iowait irq softirq steal; guest times are
	// within user and nice.
	for i, f := range strings.Fields(line) {
		n, _ := strconv.ParseInt(f, 10, 64)
		switch i {
		case 0:
		case 4, 5:
			m.idle += n
		case 1, 2, 3, 6, 7, 8:
			m.busy += n
		}
	}
	return m
}

// busyPercent is how much of the machine was in use since an earlier reading.
func (m machine) busyPercent(since machine) float64 {
	busy, idle := m.busy-since.busy, m.idle-since.idle
	if busy+idle <= 0 {
		return 0
	}
	return 100 * float64(busy) / float64(busy+idle)
}

// spareFiles is what a process needs beside its connections.
const spareFiles = 64

// raiseFiles makes room for so many connections in this process and in those
// that it starts.
func raiseFiles(connections int) error {
	need := uint64(connections + spareFiles)
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("file descriptors: %w", err)
	}
	want := syscall.Rlimit{Cur: max(l.Max, need), Max: max(l.Max, need)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want); err == nil || l.Max >= need {
		return nil
	}
	return fmt.Errorf("%d connections need %d file descriptors, the limit is %d (ulimit -n)", connections, need, l.Max)
}

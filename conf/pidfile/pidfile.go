// Package pidfile keeps two servers from running with the same pid file, as
// SRS does: Lock writes the file and holds its lock.
package pidfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Lock writes the process id to path and locks the file until unlock, which
// removes it. An empty path locks nothing.
func Lock(path string) (unlock func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o775); err != nil {
		return nil, fmt.Errorf("pid: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("pid: %w", err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder[:n])))
		return nil, fmt.Errorf("pid: srs is already running: %s is locked by process %d", path, pid)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteString(strconv.Itoa(os.Getpid()))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("pid: %w", err)
	}
	return func() {
		os.Remove(path)
		f.Close()
	}, nil
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// srsCounters asks an srs for what only it knows: SIGUSR2 has it write that to
// its log.
type srsCounters struct {
	pid int
	log string // path
}

const (
	tellTimeout = time.Second // for its lines to be in the log
	maxTold     = 4 << 20     // bytes of the log that are looked through
)

var (
	goroutinesTold = regexp.MustCompile(`\bgoroutines=(\d+)\s`)
	errNotTold     = errors.New("srs told nothing of its goroutines")
)

// goroutines is how many there are.
func (c *srsCounters) goroutines() (int, error) {
	file, err := os.Open(c.log)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	from, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	if err := syscall.Kill(c.pid, syscall.SIGUSR2); err != nil {
		return 0, fmt.Errorf("process %d: %w", c.pid, err)
	}
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	for over := time.Now().Add(tellTimeout); time.Now().Before(over); <-ticker.C {
		b, err := io.ReadAll(io.NewSectionReader(file, from, maxTold))
		if err != nil {
			return 0, err
		}
		if m := goroutinesTold.FindSubmatch(b); m != nil {
			return strconv.Atoi(string(m[1]))
		}
	}
	return 0, errNotTold
}

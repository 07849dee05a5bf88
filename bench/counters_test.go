package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestCounters: a server is asked, and what it told before is no answer.
func TestCounters(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "srs.log")
	if err := os.WriteFile(log, []byte("counters goroutines=7\n"), 0o664); err != nil {
		t.Fatal(err)
	}
	up := make(chan struct{}, 1)
	script := `n=30; trap 'n=$((n+1)); echo "counters goroutines=$n" >>srs.log; [ $n = 32 ] && trap "" USR2' USR2; echo up; while :; do sleep 0.02; done`
	c, err := startChild("srs", dir, func(string) { up <- struct{}{} }, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	<-up
	asked := srsCounters{pid: c.pid(), log: log}
	for want := 31; want <= 32; want++ {
		if n, err := asked.goroutines(); err != nil || n != want {
			t.Errorf("%d, %v, want %d", n, err, want)
		}
	}
	if n, err := asked.goroutines(); !errors.Is(err, errNotTold) { // it does not answer any more
		t.Errorf("%d, %v", n, err)
	}
	asked.log += "x"
	if _, err := asked.goroutines(); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

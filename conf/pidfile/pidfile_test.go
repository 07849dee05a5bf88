package pidfile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestLock: one process holds the file; another is told which.
func TestLock(t *testing.T) {
	if path := os.Getenv("PIDFILE_TEST"); path != "" { // the other process
		_, err := Lock(path)
		if err == nil || !strings.Contains(err.Error(), "locked by process "+strconv.Itoa(os.Getppid())) {
			t.Errorf("Lock = %v", err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "objs", "srs.pid")
	for range 2 { // also again, and over a file left by a killed server
		unlock, err := Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(path); string(b) != strconv.Itoa(os.Getpid()) {
			t.Errorf("the file has %q", b)
		}
		other := exec.Command(os.Args[0], "-test.run=^TestLock$")
		other.Env = append(os.Environ(), "PIDFILE_TEST="+path)
		if out, err := other.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		unlock()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("after unlock: %v", err)
		}
		if err := os.WriteFile(path, []byte("999999999"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLockFails(t *testing.T) {
	if unlock, err := Lock(""); err != nil {
		t.Error(err)
	} else {
		unlock()
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "srs.pid"), t.TempDir()} {
		if _, err := Lock(path); err == nil || !strings.HasPrefix(err.Error(), "pid: ") {
			t.Errorf("Lock(%s) = %v", path, err)
		}
	}
}

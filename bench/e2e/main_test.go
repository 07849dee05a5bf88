package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What TestMain found out; static afterwards.
var (
	srsBinary string // of the server
	version   string // that it says it has
)

// atOnce is how many parallel tests run: most of them wait for clients.
const atOnce = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		flag.Set("test.parallel", atOnce)
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "srs-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sharedDir = dir
	if err := findBinary(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// findBinary takes SRS_BINARY or builds the module this package is in.
func findBinary(dir string) error {
	srsBinary = os.Getenv("SRS_BINARY")
	if srsBinary == "" {
		srsBinary = filepath.Join(dir, "srs")
		args := []string{"build", "-o", srsBinary}
		cgo := "CGO_ENABLED=0"
		if os.Getenv("SRS_RACE") == "1" { // the race detector needs cgo
			args, cgo = append(args, "-race"), "CGO_ENABLED=1"
		}
		build := exec.Command("go", append(args, "srs")...)
		build.Env = append(os.Environ(), cgo)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building the server: %w\n%s", err, out)
		}
	}
	out, err := exec.Command(srsBinary, "-v").Output()
	version = strings.TrimSpace(string(out))
	return err
}

// longest bounds every wait for something that comes by itself. Tests of a
// bound state their own.
const longest = 15 * time.Second

// eventually waits until a condition holds that nothing tells the moment of:
// a file, a process, a number in /proc.
func eventually(t testing.TB, within time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

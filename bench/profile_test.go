package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProfiler: what is asked of a server and of perf, and where it goes.
func TestProfiler(t *testing.T) {
	dir := t.TempDir()
	perf := "#!/bin/sh\n[ $1 = report ] && echo top && exit\n[ $1$2 = stat-o ] && echo no counters && exit 1\nwhile [ \"$1\" != -o ]; do shift; done\necho traced >$2\n"
	if err := os.WriteFile(filepath.Join(dir, "perf"), []byte(perf), 0o775); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin")
	t.Setenv(profileVariable, "")
	p, err := newProfiler(filepath.Join(dir, "new", "profiles"))
	if err != nil || os.Getenv(profileVariable) != p.address {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte(r.URL.String()))
	}))
	defer server.Close()
	p.address = server.Listener.Addr().String()
	if err := p.run(t.Context(), os.Getpid(), 9*time.Second); err != nil {
		t.Error(err)
	}
	for file, want := range map[string]string{
		"cpu.pprof": "/debug/pprof/profile?seconds=2", "mutex.pprof": "/debug/pprof/mutex?seconds=2",
		"allocs.pprof": "/debug/pprof/allocs", "allocs-base.pprof": "/debug/pprof/allocs",
		"perf.data": "traced\n", "perf.txt": "top\n", "stat.txt": "traced\n", "syscalls.txt": "traced\n",
	} {
		if got, err := os.ReadFile(filepath.Join(p.dir, file)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
	server.Close()
	t.Setenv("PATH", t.TempDir())
	err = p.run(t.Context(), os.Getpid(), 9*time.Second)
	if err == nil || !strings.Contains(err.Error(), "-tags profile") || !strings.Contains(err.Error(), "linux-perf") {
		t.Errorf("without any of it: %v", err)
	}
	if err := (*profiler)(nil).run(t.Context(), 0, 0); err != nil {
		t.Error(err)
	}
}

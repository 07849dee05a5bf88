package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMain lets the test program be bench itself, for compare, which starts
// itself as generator.
func TestMain(m *testing.M) {
	if os.Getenv("BENCH_TEST_AS_BENCH") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestCompare compares two yardsticks, one of them behind a wrapper, which has
// some 2 MB, and one that does not work.
func TestCompare(t *testing.T) {
	t.Setenv("BENCH_TEST_AS_BENCH", "1")
	file := filepath.Join(t.TempDir(), "comparison.json")
	args := []string{"compare", "-rounds", "2", "-players", "5", "-duration", "500ms", "-gop", "200ms", "-o", file,
		"-server", "first={bench} floor -listen {addr}", "-server", "slow=timeout 60 {bench} floor -coalesce 100ms -listen 127.0.0.1:{port}"}
	var out, progress bytes.Buffer
	if code := run(t.Context(), args, &out, &progress); code != exitOK {
		t.Fatalf("exit status %d\n%s%s", code, out.String(), progress.String())
	}
	for _, want := range []string{"`bench fanout -duration=500ms -gop=200ms -players=5`, medians of 2 rounds\n", "| first |", "| slow |", "| 100.000 | 0 |", "* first: `{bench}"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if n := strings.Count(progress.String(), "\n"); n != 4 {
		t.Errorf("%d lines of progress\n%s", n, progress.String())
	}
	b, err := os.ReadFile(file)
	var c comparison
	if err != nil || json.Unmarshal(b, &c) != nil || len(c.Servers) != 2 {
		t.Fatalf("%v\n%s", err, b)
	}
	if s := c.Servers[1]; len(s.Runs) != 2 || s.Median["latency_p50_ms"] < 10 ||
		s.Median["peak_rss_mb"] < 5 || s.Median["context_switches_per_s"] == 0 || s.Median["join_p50_ms"] == 0 {
		t.Errorf("%s", b)
	}

	out.Reset()
	args = []string{"compare", "-rounds", "1", "-players", "1", "-duration", "100ms", "-server", "broken=/bin/false {dir}"}
	if code := run(t.Context(), args, &out, &out); code != exitFailed || !strings.Contains(out.String(), "| broken | failed |") {
		t.Errorf("exit status %d\n%s", code, out.String())
	}
}

func TestExpand(t *testing.T) {
	dir := t.TempDir()
	template := filepath.Join(dir, "a template.conf")
	if err := os.WriteFile(template, []byte("listen {addr} {port}; at {dir}/x; {other}"), 0o664); err != nil {
		t.Fatal(err)
	}
	p := place{dir: t.TempDir(), address: "127.0.0.1:1999", connections: 7}
	conf := filepath.Join(p.dir, "srs.conf")
	for command, want := range map[string][]string{
		"a  b":                                   {"a", "b"},
		"a -l={addr} {port}{port}":               {"a", "-l=127.0.0.1:1999", "19991999"},
		"srs -c {conf}":                          {"srs", "-c", conf},
		"srs -c {conf:min_latency on;}":          {"srs", "-c", conf},
		"nginx -p {dir} {file:" + template + "}": {"nginx", "-p", p.dir, filepath.Join(p.dir, "a template.conf")},
	} {
		got, err := p.expand(command)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", command, got, err)
		}
		if strings.Contains(command, "{conf") {
			text, err := os.ReadFile(conf)
			if err != nil || !strings.Contains(string(text), "127.0.0.1:1999;") || strings.Contains(command, "min") != strings.Contains(string(text), "min_latency on;") {
				t.Errorf("%s: %v\n%s", command, err, text)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "a template.conf"))
	if want := "listen 127.0.0.1:1999 1999; at " + p.dir + "/x; {other}"; err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
	for command, want := range map[string]string{"a {b}": "unknown placeholder", "{file:/does/not/exist}": "no such file", "a\x005\x00": "zero byte"} {
		if _, err := p.expand(command); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", command, err, want)
		}
	}
}

// TestNginx: what is written for it, and what is said when it is not there.
func TestNginx(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	programs, modules := nginxPrograms, nginxModules
	defer func() { nginxPrograms, nginxModules = programs, modules }()
	nginxPrograms, nginxModules = []string{filepath.Join(dir, "nginx")}, []string{dir}
	p := place{dir: t.TempDir(), address: "127.0.0.1:1999", connections: 7}
	conf := filepath.Join(p.dir, "nginx.conf")
	for _, missing := range []struct{ file, debian string }{{"nginx", "install nginx"}, {nginxModule, "install libnginx-mod-rtmp"}} {
		if _, err := p.expand("{nginx}"); err == nil || !strings.Contains(err.Error(), missing.debian) {
			t.Errorf("without %s: %v", missing.file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, missing.file), nil, 0o775); err != nil {
			t.Fatal(err)
		}
	}
	words, err := p.expand("nice {nginx}")
	if want := []string{"nice", filepath.Join(dir, "nginx"), "-p", p.dir, "-e", p.dir + "/nginx.log", "-c", conf}; err != nil || !slices.Equal(words, want) {
		t.Errorf("%q, %v", words, err)
	}
	text, err := os.ReadFile(conf)
	for _, want := range []string{"load_module " + filepath.Join(dir, nginxModule), "listen 127.0.0.1:1999;", "worker_connections 71;"} {
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%q is missing: %v\n%s", want, err, text)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}} {
		if got := median(c.values); got != c.want {
			t.Errorf("%v: %v", c.values, got)
		}
	}
}

// TestConclude: medians, the sum of faults, the ratio to the first.
func TestConclude(t *testing.T) {
	of := func(perGB ...float64) *contender {
		s := new(contender)
		for _, v := range perGB {
			s.Runs = append(s.Runs, &report{Seconds: 2, Lost: 1, Failures: []string{"x"}, Server: &serverFigures{PerGB: v, Switches: 20}})
		}
		return s
	}
	first, second := of(4, 5, 90), of(10, 1, 20)
	first.conclude(first, deliveryColumns)
	second.conclude(first, deliveryColumns)
	m := second.Median
	if m["cpu_s_per_gb"] != 10 || second.Ratio != 2 || m["faults"] != 6 || m["context_switches_per_s"] != 10 || first.Ratio != 1 {
		t.Errorf("%+v", m)
	}
}

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestDVRGather(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.flv", "b.flv"} {
		if err := os.WriteFile(dir+"/"+name, []byte(strings.Repeat("x", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &dvrBench{streams: 2, bytes: 2000}
	if err := b.gather(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir + "/all"); err != nil || info.Size() != 2000 {
		t.Errorf("%v, %v", info, err)
	}
	if err := b.gather(dir); err == nil {
		t.Error("without recordings it must fail")
	}
	if cpu, err := b.dd(t.Context(), t.TempDir()); err == nil {
		t.Errorf("dd of nothing: %v", cpu)
	}
}

func TestDVRFlags(t *testing.T) {
	for _, args := range [][]string{{"dvr", "-streams", "0"}, {"dvr", "-rounds", "0"}, {"dvr", "-kbps", "1"}, {"dvr", "x"}} {
		var out, diag bytes.Buffer
		if code := run(t.Context(), args, &out, &diag); code != exitUsage {
			t.Errorf("%q: %d, %s", args, code, diag.String())
		}
	}
}

package dvr

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "there"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, template, want string }{
		{"there", "there/[stream].flv", ""},
		{"absolute", dir + "/there/[stream].flv", ""},
		{"to be made", "./new/deep/[app]/[stream].flv", ""},
		{"a directory", "there", ""},
		{"no folder", "[stream].flv", ""},
		{"below a file", "file/[stream].flv", "file: not a directory"},
		{"deep below a file", "file/x/y/[stream].flv", "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(c.template, dir)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Check = %v, want %q", err, c.want)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("Check made something: %v", left)
	}
}

// TestCheckPermission: a directory that we must not write to.
func TestCheckPermission(t *testing.T) {
	withoutPower(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		if err := Check("[app]/[stream].flv", dir); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("Check = %v", err)
		}
	})
}

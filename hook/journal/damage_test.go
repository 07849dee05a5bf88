package journal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// file is a journal file with these records.
func file(t testing.TB, payloads ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	w := start(t, dir)
	w.put(t, payloads...)
	w.close(t)
	b, err := os.ReadFile(segmentsOf(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// PR-03: a file cut at each byte of its last record loses that record only.
func TestPR03Cut(t *testing.T) {
	whole := file(t, "one", "two", "three is cut")
	last := len(whole) - recordSize(len("three is cut"))
	for cut := range len(whole) {
		for _, tail := range []string{"", strings.Repeat("\x00", 300), strings.Repeat("garbage ", 40)} {
			dir := t.TempDir()
			if err := os.WriteFile(dir+"/0000000001.journal", append(whole[:cut:cut], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			w := open(t, dir)
			padding := 0 // what stands there does not matter
			if tail != "" {
				padding = recordSize(3) - recordHeader - 3
			}
			want := "one two"
			switch {
			case cut < headerSize+recordSize(3)-padding:
				want = ""
			case cut < last-padding:
				want = "one"
			case cut >= len(whole)-recordSize(12)+recordHeader+12 && tail != "":
				want = "one two three is cut"
			}
			if got := w.text(); got != want {
				t.Fatalf("cut at %d with %q behind: found %q, want %q", cut, tail, got, want)
			}
			w.Start()
			w.close(t)
		}
	}
}

// PR-03: empty, missing, of somebody else's.
func TestPR03Foreign(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	w := start(t, dir)
	w.put(t, "x")
	w.close(t)
	os.WriteFile(dir+"/0000000002.journal", nil, 0o600)
	os.WriteFile(dir+"/0000000003.journal", []byte("SQLite format 3 and more"), 0o600)
	os.WriteFile(dir+"/notes.txt", nil, 0o600)
	w = open(t, dir)
	if got := w.text(); got != "x" {
		t.Errorf("found %q", got)
	}
	if _, err := os.Stat(dir + "/0000000003.journal.bad"); err != nil {
		t.Error(err)
	}
	w.Hold(w.places[1])
	w.Start()
	w.put(t, "y")
	w.close(t)
	if got := open(t, dir).text(); got != "x y" {
		t.Errorf("found %q", got)
	}
}

// A damaged record in the middle is stepped over; each byte is damaged once.
func TestDamage(t *testing.T) {
	whole := file(t, "one", "the second one", "three")
	begin := headerSize + recordSize(3)
	for at := begin; at < begin+recordHeader+len("the second one"); at++ {
		b := slices.Clone(whole)
		b[at] ^= 0x41
		salt, _ := parseHeader(b, 1)
		var got []string
		_, damaged, places := scan(b, 1, salt, headerSize, func(r Record) { got = append(got, string(r.Payload)) })
		if want := []string{"one", "three"}; !slices.Equal(got, want) || damaged != recordSize(len("the second one")) || places != 1 {
			t.Errorf("damaged at %d: %q, %d bytes", at, got, damaged)
		}
	}
}

// A damaged salt makes all records unreadable: the file is moved aside, not
// removed. A file with damage between records is read and kept as well.
func TestDamagedIsKept(t *testing.T) {
	whole := file(t, "one", "two", "three")
	for at, want := range map[int]string{headerSize - 1: "", headerSize + recordSize(3) + recordHeader: "one three"} {
		for _, number := range []string{"/0000000001.journal", "/0000000007.journal"} { // the last; not the last
			dir := t.TempDir()
			b := slices.Clone(whole)
			b[at] ^= 1
			os.WriteFile(dir+"/0000000001.journal", b, 0o600)
			if number != "/0000000001.journal" {
				os.WriteFile(dir+number, appendHeader(nil, 7, 1), 0o600)
			}
			w := open(t, dir)
			if got := w.text(); got != want {
				t.Errorf("damaged at %d: found %q", at, got)
			}
			w.Start() // removes what is not held
			w.put(t, "x")
			w.close(t)
			if kept, err := os.ReadFile(dir + "/0000000001.journal.bad"); err != nil || !slices.Equal(kept, b) {
				t.Errorf("damaged at %d: not kept: %v", at, err)
			}
		}
	}
}

// What cannot be read at the end of a file is a torn end in the newest only, and
// told once; in an older one it is damage.
func TestTornOrDamaged(t *testing.T) {
	dir, whole := t.TempDir(), file(t, "one", "two")
	os.WriteFile(dir+"/0000000001.journal", whole[:len(whole)-5], 0o600)
	hold := func() *owner {
		w := open(t, dir)
		for _, p := range w.places {
			w.Hold(p)
		}
		w.Start()
		return w
	}
	for n := range 2 {
		w := hold()
		w.put(t, "more", "last")
		w.close(t)
		if got := strings.Count(w.log.String(), "torn end"); got != 1-n || strings.Contains(w.log.String(), "damaged") {
			t.Errorf("start %d: %s", n, w.log.String())
		}
	}
	files := segmentsOf(t, dir)
	if len(files) != 3 {
		t.Fatal(files)
	}
	b, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-recordSize(4)+recordHeader] ^= 1
	os.WriteFile(files[1], b, 0o600)
	w := hold()
	if text := w.log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "is damaged") || strings.Contains(text, "torn") {
		t.Error(text)
	}
	if kept, err := os.ReadFile(files[1] + aside); err != nil || !slices.Equal(kept, b) {
		t.Errorf("not kept: %v", err)
	}
}

package journal

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// look returns what a reader reads at a look, by its first letters.
func look(t testing.TB, r *Reader) (got []string, vanished bool) {
	t.Helper()
	vanished, err := r.Read(func(r Record) { got = append(got, strings.TrimRight(string(r.Payload), "x")) })
	if err != nil {
		t.Fatal(err)
	}
	return got, vanished
}

// What was written before a file was removed, between two looks, is read all the same;
// and it is known that the file is gone.
func TestFollowRemoved(t *testing.T) {
	w := start(t, t.TempDir())
	r := NewReader(w.o.Dir)
	defer r.Close()
	r.Anew = func() { t.Error("nothing begins anew") }
	filler := strings.Repeat("x", MaxPayload-10)
	w.put(t, "a")
	if got, vanished := look(t, r); !slices.Equal(got, []string{"a"}) || vanished {
		t.Errorf("%q, %v", got, vanished)
	}
	place := w.stored[0].Place()
	for i := range segmentBytes / MaxPayload {
		w.put(t, fmt.Sprint("b", i, filler))
	}
	w.put(t, "c", "d") // in the next file
	for _, e := range w.stored[:len(w.stored)-1] {
		w.Release(e.Place())
	}
	w.await(t, "removed", func() bool { return len(segmentsOf(t, w.o.Dir)) == 1 })
	if got, vanished := look(t, r); len(got) != segmentBytes/MaxPayload+2 || got[0] != "b0" || !vanished || r.There(place) {
		t.Errorf("%q, %v", got, vanished)
	}
	w.put(t, "e")
	if got, vanished := look(t, r); !slices.Equal(got, []string{"e"}) || vanished || !r.There(w.stored[len(w.stored)-1].Place()) {
		t.Errorf("%q, %v", got, vanished)
	}
}

// A journal that somebody has emptied begins with the same numbers: it is another.
func TestFollowAnew(t *testing.T) {
	for _, empty := range []bool{false, true} { // at a look
		dir, anew := t.TempDir(), 0
		r := NewReader(dir)
		defer r.Close()
		r.Anew = func() { anew++ }
		for _, text := range []string{"first", "second"} {
			w := start(t, dir)
			w.put(t, text)
			w.close(t)
			if got, _ := look(t, r); !slices.Equal(got, []string{text}) {
				t.Errorf("%q, not %s", got, text)
			}
			for _, file := range segmentsOf(t, dir) {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			if empty {
				if got, vanished := look(t, r); len(got) > 0 || !vanished {
					t.Errorf("%q, %v", got, vanished)
				}
			}
		}
		if anew != 1 {
			t.Errorf("%d times anew", anew)
		}
	}
}

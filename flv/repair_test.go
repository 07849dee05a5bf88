package flv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"
)

// recording is a file as a killed server leaves it, and the places where its
// tags end.
func recording() (b []byte, ends []int) {
	b = AppendHeader(nil, true, true)
	add := func(t Tag) {
		b = AppendTag(b, t)
		ends = append(ends, len(b))
	}
	add(Tag{Type: TypeScript, Data: NewFileMetadata(nil, 8, "note", "").Body})
	for i := range uint32(20) {
		first := byte(0x27)
		if i%5 == 0 {
			first = 0x17
		}
		add(Tag{Type: TypeVideo, Timestamp: i * 40, Data: append([]byte{first, 1}, make([]byte, 100)...)})
	}
	return b, ends
}

// repair scans and repairs bytes as a file.
func repair(t *testing.T, b []byte) (*Report, []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.flv")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rep, err := Scan(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.Repair(f, ""); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return rep, got
}

// wantWhole checks that a file is as complete as if nothing had happened.
func wantWhole(t *testing.T, b []byte, pictures int) {
	t.Helper()
	rep, err := Scan(bytes.NewReader(b))
	if err != nil || !rep.Whole() || rep.Pictures != pictures || rep.Size != int64(len(b)) || rep.Note != "" {
		t.Fatalf("%+v, %v; want %d pictures in %d bytes", rep, err, pictures, len(b))
	}
	wantIndex(t, b)
}

// wantIndex checks the keyframe index against the bytes.
func wantIndex(t *testing.T, b []byte) {
	t.Helper()
	rep, err := Scan(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	body := b[HeaderSize+TagHeader:][:len(rep.metadata.Body)]
	if want := complete(rep.metadata, &rep.Summary, int64(len(b))); !bytes.Equal(body, want) {
		t.Errorf("metadata %q, want %q", body, want)
	}
	for _, k := range rep.Index(MaxKeyframes) {
		tag, _, ok := Split(b[k.Position:])
		if !ok || int64(tag.Timestamp) != k.Time || Sniff(tag.Type, tag.Data)&Keyframe == 0 {
			t.Errorf("no keyframe of %d ms at byte %d", k.Time, k.Position)
		}
	}
}

// TestRepairEveryCut: cut anywhere behind its first bytes, a file has every tag
// that was whole, and is whole itself.
func TestRepairEveryCut(t *testing.T) {
	b, ends := recording()
	for cut := ends[0]; cut <= len(b); cut += 7 {
		whole := 0
		for _, end := range ends[1:] {
			if end <= cut {
				whole++
			}
		}
		rep, got := repair(t, b[:cut])
		if rep.Whole() || rep.Note != "note" || rep.Tags != 1+whole {
			t.Fatalf("cut at %d: %+v", cut, rep)
		}
		wantWhole(t, got, whole)
		if again, same := repair(t, got); !again.Whole() || !bytes.Equal(same, got) {
			t.Fatalf("cut at %d: repaired twice it is another", cut)
		}
	}
}

// TestDV12: what the disk did not get reads as zeros or as something else,
// wherever it begins. bench/e2e cuts the power of a file system.
func TestDV12(t *testing.T) {
	b, ends := recording()
	for name, spoil := range map[string]func(tail []byte){
		"zeros":   func(tail []byte) { clear(tail) },
		"garbage": func(tail []byte) { copy(tail, bytes.Repeat([]byte{8, 0, 0, 9, 0xff}, len(tail))) },
		"a hole":  func(tail []byte) { clear(tail[:len(tail)/2]) },
	} {
		places := append([]int{}, ends[:19]...)
		for at := ends[0]; at < ends[18]; at += 29 {
			places = append(places, at, ends[18]-(at-ends[0])%20)
		}
		for _, at := range places {
			torn := bytes.Clone(b)
			spoil(torn[at:])
			whole := 0
			for _, end := range ends[1:] {
				if end <= at {
					whole++
				}
			}
			_, got := repair(t, torn)
			if wantWhole(t, got, whole); t.Failed() {
				t.Fatalf("%s from byte %d on", name, at)
			}
		}
	}
}

// TestRepairInterrupted: killed between its writes, a repair is done again.
func TestRepairInterrupted(t *testing.T) {
	b, ends := recording()
	b = b[:ends[15]+9]
	_, want := repair(t, b)
	for steps := range 5 {
		interrupted := &failing{data: bytes.Clone(b), steps: steps}
		rep, err := Scan(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if err := rep.Repair(interrupted, ""); (err == nil) != (steps == 4) {
			t.Errorf("%d steps: %v", steps, err)
		}
		if _, got := repair(t, interrupted.data); !bytes.Equal(got, want) {
			t.Errorf("interrupted after %d steps it comes out different", steps)
		}
	}
}

// TestGoesOn: whole tags behind damage are found, however far behind it, and what
// only looks like one is none.
func TestGoesOn(t *testing.T) {
	b, ends := recording()
	big := AppendTag(nil, Tag{Type: TypeVideo, Data: make([]byte, MaxData)})
	for _, hole := range []int64{1, 1000, lookAt - 5, lookAt, lookAt + 5, 3*lookAt + 7} {
		for name, behind := range map[string][]byte{
			"tags": b[ends[2]:], "one": b[ends[len(ends)-2]:], "large ones": slices.Concat(big, big, big), "a large one": big,
		} {
			f := slices.Concat(b[:ends[2]], make([]byte, hole), behind)
			rep, err := Scan(bytes.NewReader(f))
			if err != nil {
				t.Fatal(err)
			}
			if at, err := rep.GoesOn(bytes.NewReader(f)); err != nil || at != int64(ends[2])+hole {
				t.Errorf("%s behind %d bytes: %d, %v; want %d", name, hole, at, err, int64(ends[2])+hole)
			}
		}
		torn := slices.Concat(b[:ends[2]], make([]byte, hole), b[ends[2]:ends[4]+7])
		rep, err := Scan(bytes.NewReader(torn))
		if at, err2 := rep.GoesOn(bytes.NewReader(torn)); err != nil || err2 != nil || at != 0 {
			t.Errorf("two tags and a torn one behind %d bytes: %d, %v, %v", hole, at, err, err2)
		}
	}
}

// TestRepairKeepsNote: as long as nothing else says who has published, the file
// does, and is repaired once more when that is over.
func TestRepairKeepsNote(t *testing.T) {
	b, ends := recording()
	b = b[:ends[15]+9]
	_, want := repair(t, b)
	file := &failing{data: bytes.Clone(b), steps: 100}
	rep, err := Scan(bytes.NewReader(b))
	if err = errors.Join(err, rep.Repair(file, rep.Note)); err != nil {
		t.Fatal(err)
	}
	if noted, err := Scan(bytes.NewReader(file.data)); err != nil || noted.Note != "note" || noted.Damage != nil || noted.Whole() {
		t.Errorf("%+v, %v", noted, err)
	}
	if err := rep.Repair(file, ""); err != nil || !bytes.Equal(file.data, want) {
		t.Errorf("without the note it comes out different, %v", err)
	}
}

// failing is a file that fails after some steps.
type failing struct {
	data  []byte
	steps int
}

func (f *failing) step() error {
	if f.steps--; f.steps < 0 {
		return io.ErrShortWrite
	}
	return nil
}

func (f *failing) WriteAt(b []byte, at int64) (int, error) {
	if err := f.step(); err != nil {
		return 0, err
	}
	return copy(f.data[at:], b), nil
}

func (f *failing) Truncate(size int64) error {
	if err := f.step(); err != nil {
		return err
	}
	f.data = f.data[:size]
	return nil
}

func TestScanRefuses(t *testing.T) {
	for _, text := range []string{"not a recording at all", "FLV\x02\x05\x00\x00\x00\x09\x00\x00\x00\x00"} {
		if _, err := Scan(bytes.NewReader([]byte(text))); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, size := range []int{0, 5, HeaderSize - 1} {
		b, _ := recording()
		if _, err := Scan(bytes.NewReader(b[:size])); err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	b, ends := recording()
	broken := io.MultiReader(bytes.NewReader(b[:ends[4]]), iotest.ErrReader(io.ErrClosedPipe))
	if _, err := Scan(broken); err != io.ErrClosedPipe {
		t.Errorf("a medium that fails: %v", err) // and is not taken for the end of the file
	}
}

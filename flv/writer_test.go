package flv

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// tagTests are whole tags and their bytes, tried both ways (E.4.1).
var tagTests = []struct {
	name  string
	tag   Tag
	bytes string
}{
	{"empty body", Tag{TypeAudio, 0, nil},
		"\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x0b"},
	{"audio", Tag{TypeAudio, 23, []byte("\xaf\x01x")},
		"\x08\x00\x00\x03\x00\x00\x17\x00\x00\x00\x00\xaf\x01x\x00\x00\x00\x0e"},
	{"24 bit time", Tag{TypeVideo, 0xabcdef, []byte("\x17")},
		"\x09\x00\x00\x01\xab\xcd\xef\x00\x00\x00\x00\x17\x00\x00\x00\x0c"},
	{"31 bit time", Tag{TypeVideo, 0x7f010203, []byte("\x17")},
		"\x09\x00\x00\x01\x01\x02\x03\x7f\x00\x00\x00\x17\x00\x00\x00\x0c"},
	{"32 bit time", Tag{TypeScript, 0xff010203, []byte("\x02")},
		"\x12\x00\x00\x01\x01\x02\x03\xff\x00\x00\x00\x02\x00\x00\x00\x0c"},
}

func TestTag(t *testing.T) {
	for _, c := range tagTests {
		if got := AppendTag([]byte("in front"), c.tag); string(got) != "in front"+c.bytes {
			t.Errorf("%s: AppendTag = % x", c.name, got)
		}
		got, rest, ok := Split([]byte(c.bytes + "behind"))
		if !ok || !sameTag(got, c.tag) || string(rest) != "behind" {
			t.Errorf("%s: Split = %v, %q, %v", c.name, got, rest, ok)
		}
		for n := range len(c.bytes) {
			if _, rest, ok := Split([]byte(c.bytes[:n])); ok || len(rest) != n {
				t.Errorf("%s: Split takes a tag from %d of %d bytes", c.name, n, len(c.bytes))
			}
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for name, b := range map[string]string{
		"type 0":              "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b",
		"filter bit":          "\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b",
		"previous size wrong": "\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c",
	} {
		if tag, _, ok := Split([]byte(b)); ok {
			t.Errorf("%s: Split = %v", name, tag)
		}
	}
}

func sameTag(a, b Tag) bool {
	return a.Type == b.Type && a.Timestamp == b.Timestamp && bytes.Equal(a.Data, b.Data)
}

func TestAppendHeader(t *testing.T) {
	for _, c := range []struct {
		audio, video bool
		want         string
	}{
		{true, true, "FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00"},
		{true, false, "FLV\x01\x04\x00\x00\x00\x09\x00\x00\x00\x00"},
		{false, true, "FLV\x01\x01\x00\x00\x00\x09\x00\x00\x00\x00"},
		{false, false, "FLV\x01\x00\x00\x00\x00\x09\x00\x00\x00\x00"},
	} {
		got := AppendHeader(nil, c.audio, c.video)
		if string(got) != c.want || len(got) != HeaderSize || got[FlagsAt] != Flags(c.audio, c.video) {
			t.Errorf("AppendHeader(%v, %v) = %q", c.audio, c.video, got)
		}
		audio, video, err := NewReader(bytes.NewReader(got)).Header()
		if audio != c.audio || video != c.video || err != nil {
			t.Errorf("Header of %q = %v, %v, %v", got, audio, video, err)
		}
	}
}

func TestAppendTagTooLarge(t *testing.T) {
	AppendTag(nil, Tag{TypeVideo, 0, make([]byte, MaxData)})
	defer func() {
		if recover() == nil {
			t.Error("a body of 16 MiB was written")
		}
	}()
	AppendTag(nil, Tag{TypeVideo, 0, make([]byte, MaxData+1)})
}

func TestAppendAllocatesNothing(t *testing.T) {
	tag, dst := Tag{TypeVideo, 1, make([]byte, 1000)}, make([]byte, 0, 2000)
	if n := testing.AllocsPerRun(100, func() { AppendTag(dst, tag) }); n != 0 {
		t.Errorf("AppendTag allocates %v times", n)
	}
}

// session is a small file.
func session() []byte {
	b := AppendHeader(nil, true, true)
	for _, c := range tagTests {
		b = AppendTag(b, c.tag)
	}
	return AppendTag(b, Tag{TypeVideo, 5, make([]byte, 200_000)})
}

// TestReader reads a file in pieces of every kind.
func TestReader(t *testing.T) {
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":     func(r io.Reader) io.Reader { return r },
		"one byte":  iotest.OneByteReader,
		"half":      iotest.HalfReader,
		"data+err":  iotest.DataErrReader,
		"long head": func(io.Reader) io.Reader { return bytes.NewReader(longHeader()) },
	} {
		file := session()
		if name == "long head" {
			file = longHeader()
		}
		r := NewReader(wrap(bytes.NewReader(file)))
		for i := range len(tagTests) + 1 {
			tag, err := r.Next()
			if err != nil {
				t.Fatalf("%s: tag %d: %v", name, i, err)
			}
			if i < len(tagTests) && !sameTag(tag, tagTests[i].tag) {
				t.Errorf("%s: tag %d = %v", name, i, tag)
			}
			if i == len(tagTests) && len(tag.Data) != 200_000 {
				t.Errorf("%s: large tag of %d bytes", name, len(tag.Data))
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
		if r.Offset() != int64(len(file)) {
			t.Errorf("%s: offset %d of %d", name, r.Offset(), len(file))
		}
	}
}

// longHeader is session with two more bytes in the file header.
func longHeader() []byte {
	s := session()
	return append([]byte("FLV\x01\x05\x00\x00\x00\x0b??"), s[9:]...)
}

// TestReaderTorn cuts a file at every byte: the reader tells a torn tag from an
// end, and where the last whole tag ended.
func TestReaderTorn(t *testing.T) {
	file := AppendHeader(nil, true, true)
	ends := map[int]bool{len(file): true}
	for _, c := range tagTests {
		file = AppendTag(file, c.tag)
		ends[len(file)] = true
	}
	last := 0
	for n := range len(file) + 1 {
		r := NewReader(bytes.NewReader(file[:n]))
		var err error
		for err == nil {
			_, err = r.Next()
		}
		want := io.ErrUnexpectedEOF
		if ends[n] || n == 0 {
			want = io.EOF
		}
		if err != want {
			t.Errorf("cut at %d: %v, want %v", n, err, want)
		}
		if ends[n] {
			last = n
		}
		if r.Offset() != int64(last) {
			t.Errorf("cut at %d: offset %d, want %d", n, r.Offset(), last)
		}
	}
}

func TestReaderRefuses(t *testing.T) {
	head := string(AppendHeader(nil, true, true))
	for name, file := range map[string]string{
		"no FLV":                  "FLW\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00",
		"version 2":               "FLV\x02\x05\x00\x00\x00\x09\x00\x00\x00\x00",
		"header of 8 bytes":       "FLV\x01\x05\x00\x00\x00\x08\x00\x00\x00\x00",
		"header of 4 GiB":         "FLV\x01\x05\xff\xff\xff\xff\x00\x00\x00\x00",
		"first previous tag size": "FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x01",
		"previous tag size":       head + "\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a",
		"zeros behind":            head + string(make([]byte, 100)),
		"filter bit":              head + "\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b",
	} {
		if _, err := NewReader(bytes.NewReader([]byte(file))).Next(); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken disk")
	if _, err := NewReader(iotest.ErrReader(broken)).Next(); err != broken {
		t.Errorf("read error: %v", err)
	}
}

// TestReaderBelievesNoLength: a tag that declares 16 MiB and brings nothing
// does not cost 16 MiB.
func TestReaderBelievesNoLength(t *testing.T) {
	file := append(AppendHeader(nil, true, true), "\x09\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00abc"...)
	r := NewReader(bytes.NewReader(file))
	if _, err := r.Next(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
	if cap(r.buf) > 2*readStep {
		t.Errorf("%d bytes allocated for 3 received", cap(r.buf))
	}
}

// FuzzReader: whatever is read back is what was written.
func FuzzReader(f *testing.F) {
	f.Add(AppendHeader(nil, true, false))
	f.Add(session()[:200])
	f.Add(longHeader()[:100])
	f.Add(append(AppendHeader(nil, true, true), "\x09\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00abc"...))
	f.Fuzz(func(t *testing.T, file []byte) {
		r := NewReader(bytes.NewReader(file))
		if _, _, err := r.Header(); err != nil {
			return
		}
		start := r.Offset()
		var again []byte
		rest := file[start:]
		for {
			tag, err := r.Next()
			if err != nil {
				break
			}
			again = AppendTag(again, tag)
			split, behind, ok := Split(rest)
			if !ok || !sameTag(split, tag) {
				t.Fatalf("Split = %v, %v, Reader = %v", split, ok, tag)
			}
			rest = behind
		}
		if int64(len(again)) != r.Offset()-start || len(rest) != len(file)-int(r.Offset()) {
			t.Fatalf("offset %d after %d bytes of tags", r.Offset(), len(again))
		}
		// The stream id is read over; every other byte comes back.
		for i, tag := 0, []byte(nil); len(again[i:]) > 0; i += len(tag) {
			size := int(again[i+1])<<16 | int(again[i+2])<<8 | int(again[i+3])
			tag = again[i : i+size+TagFrame]
			from := file[int(start)+i:]
			if !bytes.Equal(tag[:8], from[:8]) || !bytes.Equal(tag[11:], from[11:len(tag)]) {
				t.Fatal("a tag came back changed")
			}
		}
	})
}

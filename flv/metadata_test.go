package flv

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"

	"srs/amf0"
)

func properties(t *testing.T, body []byte) []amf0.Property {
	t.Helper()
	p, err := ParseMetadata(body)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFileMetadataBytes spells the smallest metadata out (E.4.4.1).
func TestFileMetadataBytes(t *testing.T) {
	m := NewFileMetadata(amf0.Append(nil, "onMetaData", amf0.Object{{Key: "width", Value: 640.0}}))
	want := "\x02\x00\x0aonMetaData" +
		"\x08\x00\x00\x00\x03" +
		"\x00\x05width\x00\x40\x84\x00\x00\x00\x00\x00\x00" +
		"\x00\x08duration\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x08filesize\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x09"
	if string(m.Body) != want {
		t.Errorf("body % x", m.Body)
	}
	if got := m.Body[m.durationAt-11 : m.durationAt-1]; string(got) != "\x00\x08duration" {
		t.Errorf("in front of the duration stands %q", got)
	}
	if got := m.Body[m.filesizeAt-11 : m.filesizeAt-1]; string(got) != "\x00\x08filesize" {
		t.Errorf("in front of the file size stands %q", got)
	}
}

func TestFileMetadata(t *testing.T) {
	large := strings.Repeat("x", 256<<10)
	for _, c := range []struct {
		name string
		in   []amf0.Property
		keep []amf0.Property
	}{
		{"nothing", nil, nil},
		{"in order", []amf0.Property{{Key: "z", Value: 1.0}, {Key: "a", Value: "b"}, {Key: "m", Value: true}},
			[]amf0.Property{{Key: "z", Value: 1.0}, {Key: "a", Value: "b"}, {Key: "m", Value: true}}},
		{"of another file", []amf0.Property{
			{Key: "duration", Value: 9.0}, {Key: "width", Value: 2.0}, {Key: "filesize", Value: "wrong"},
			{Key: "keyframes", Value: amf0.Object{{Key: "times", Value: amf0.StrictArray{0.0}}}}, {Key: "lasttimestamp", Value: 8.0},
			{Key: "encoder", Value: "obs"}},
			[]amf0.Property{{Key: "width", Value: 2.0}, {Key: "encoder", Value: "obs"}}},
		{"nested", []amf0.Property{{Key: "o", Value: amf0.Object{{Key: "duration", Value: 1.0}}}},
			[]amf0.Property{{Key: "o", Value: amf0.Object{{Key: "duration", Value: 1.0}}}}},
		{"256 KiB", []amf0.Property{{Key: "xmp", Value: large}}, []amf0.Property{{Key: "xmp", Value: large}}},
	} {
		if c.name == "nothing" && !bytes.Equal(NewFileMetadata(nil).Body, NewFileMetadata([]byte("\x02\x00\x0aonMetaData\xff")).Body) {
			t.Error("from damage comes something else than from nothing")
		}
		m := NewFileMetadata(amf0.Append(nil, "onMetaData", amf0.Object(c.in)))
		for _, p := range m.Patches(12.345, 1<<33) {
			copy(m.Body[p.At:], p.Data)
		}
		want := append(append([]amf0.Property{}, c.keep...),
			amf0.Property{Key: "duration", Value: 12.345}, amf0.Property{Key: "filesize", Value: float64(1 << 33)})
		if got := properties(t, m.Body); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		if count := binary.BigEndian.Uint32(m.Body[len("\x02\x00\x0aonMetaData\x08"):]); int(count) != len(want) {
			t.Errorf("%s: the array counts %d", c.name, count)
		}
	}
}

func TestParseMetadata(t *testing.T) {
	p := []amf0.Property{{Key: "width", Value: 640.0}}
	array := string(amf0.Append(nil, "onMetaData", amf0.ECMAArray(p)))
	for _, c := range []struct {
		name, body string
		want       []amf0.Property
		ok         bool
	}{
		{"array", array, p, true},
		{"object", string(amf0.Append(nil, "onMetaData", amf0.Object(p))), p, true},
		{"end marker missing", array[:len(array)-3], p, true},
		{"rubbish behind", array + "\xff\xff", p, true},
		{"cut within a value", array[:len(array)-6], nil, false},
		{"no value", "\x02\x00\x0aonMetaData", nil, false},
		{"a number", string(amf0.Append(nil, "onMetaData", math.Pi)), nil, false},
		{"another name", string(amf0.Append(nil, "onTextData", amf0.Object(p))), nil, false},
		{"empty", "", nil, false},
	} {
		got, err := ParseMetadata([]byte(c.body))
		if (err == nil) != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
}

// FuzzMetadata: whatever a publisher sends, the file's metadata can be read
// back and its numbers lie where Patches says.
func FuzzMetadata(f *testing.F) {
	f.Add(amf0.Append(nil, "onMetaData", amf0.ECMAArray{{Key: "width", Value: 640.0}, {Key: "", Value: 1.0}}))
	f.Add(amf0.Append(nil, "onMetaData", amf0.Object{{Key: "duration", Value: amf0.Null{}}}))
	f.Add([]byte("\x02\x00\x0aonMetaData\x03\x00\x01a\x0c\x00\x00\x00\x01b"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m := NewFileMetadata(body)
		for _, p := range m.Patches(1.5, 77) {
			copy(m.Body[p.At:], p.Data)
		}
		got, err := ParseMetadata(m.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range got {
			if p.Key == "" {
				t.Fatal("an empty key")
			}
		}
		array := amf0.ECMAArray(got)
		duration, _ := array.Get("duration")
		filesize, _ := array.Get("filesize")
		if duration != 1.5 || filesize != 77.0 {
			t.Fatalf("duration %v, filesize %v", duration, filesize)
		}
	})
}

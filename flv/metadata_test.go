package flv

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

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
	m := NewFileMetadata(amf0.Append(nil, "onMetaData", amf0.Object{{Key: "width", Value: 640.0}}), 2, "note", "")
	const (
		head  = "\x02\x00\x0aonMetaData\x08\x00\x00\x00"
		width = "\x00\x05width\x00\x40\x84\x00\x00\x00\x00\x00\x00"
	)
	want := head + "\x05" + width +
		"\x00\x08duration\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x08filesize\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x0dlasttimestamp\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x07padding\x0a\x00\x00\x00\x01\x02\x00\x50note" + strings.Repeat(" ", 76) + // as long as the index
		"\x00\x00\x09"
	if string(m.Body) != want {
		t.Errorf("body %q\n want %q", m.Body, want)
	}
	var s Summary
	s.Add(Tag{Type: TypeVideo, Data: []byte{0x17, 1}}, 300)
	s.Add(Tag{Type: TypeVideo, Timestamp: 500, Data: []byte{0x17, 1}}, 400)
	want = head + "\x06" + width +
		"\x00\x08duration\x00\x3f\xf0\x00\x00\x00\x00\x00\x00" +
		"\x00\x08filesize\x00\x42\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x0dlasttimestamp\x00\x3f\xe0\x00\x00\x00\x00\x00\x00" +
		"\x00\x09keyframes\x03" +
		"\x00\x05times\x0a\x00\x00\x00\x02" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x3f\xe0\x00\x00\x00\x00\x00\x00" +
		"\x00\x0dfilepositions\x0a\x00\x00\x00\x02" +
		"\x00\x40\x72\xc0\x00\x00\x00\x00\x00\x00\x40\x79\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x09" +
		"\x00\x07padding\x0a\x00\x00\x00\x00" +
		"\x00\x00\x09"
	if got := complete(m, &s, 1<<33); string(got) != want {
		t.Errorf("complete %q\n want %q", got, want)
	}
}

// complete gives the body as it is in a complete file.
func complete(m FileMetadata, s *Summary, size int64) []byte {
	body := bytes.Clone(m.Body)
	for _, p := range m.Patches(s, size) {
		copy(body[p.At:], p.Data)
	}
	return body
}

// pictures are so many keyframes, one a second.
func pictures(n int) *Summary {
	s := &Summary{}
	for i := range n {
		s.Add(Tag{Type: TypeVideo, Timestamp: uint32(i * 1000), Data: []byte{0x17, 1}}, int64(1000+i))
	}
	return s
}

func TestFileMetadata(t *testing.T) {
	text, large := strings.Repeat("x", maxString), strings.Repeat("x", 256<<10)
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
			{Key: "encoder", Value: "obs"}, {Key: "recordedFrom", Value: "v/live/other"}, {Key: "padding", Value: "   "}},
			[]amf0.Property{{Key: "width", Value: 2.0}, {Key: "encoder", Value: "obs"}}},
		{"nested", []amf0.Property{{Key: "o", Value: amf0.Object{{Key: "duration", Value: 1.0}}}},
			[]amf0.Property{{Key: "o", Value: amf0.Object{{Key: "duration", Value: 1.0}}}}},
		{"long texts", []amf0.Property{{Key: "a", Value: text}, {Key: "b", Value: text + "x"}, {Key: "xmp", Value: large}, {Key: "c", Value: 1.0}},
			[]amf0.Property{{Key: "a", Value: text}, {Key: "c", Value: 1.0}}},
	} {
		if c.name == "nothing" && !bytes.Equal(NewFileMetadata(nil, 9, "", "").Body, NewFileMetadata([]byte("\x02\x00\x0aonMetaData\xff"), 9, "", "").Body) {
			t.Error("from damage comes something else than from nothing")
		}
		m := NewFileMetadata(amf0.Append(nil, "onMetaData", amf0.Object(c.in)), 2, "", "")
		want := append(append([]amf0.Property{}, c.keep...), amf0.Property{Key: "duration", Value: 2.0}, amf0.Property{Key: "filesize", Value: float64(1 << 33)},
			amf0.Property{Key: "lasttimestamp", Value: 1.0}, keyframes([]IndexEntry{{0, 1000}, {1000, 1001}}),
			amf0.Property{Key: "padding", Value: amf0.StrictArray(nil)})
		body := complete(m, pictures(2), 1<<33)
		if got := properties(t, body); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		if count := binary.BigEndian.Uint32(body[len("\x02\x00\x0aonMetaData\x08"):]); int(count) != len(want) {
			t.Errorf("%s: the array counts %d", c.name, count)
		}
	}
}

// TestRoom: whatever number of keyframes comes, the metadata keeps its size, and
// the index is thinned evenly when it is full.
func TestRoom(t *testing.T) {
	for _, room := range []int{0, 1, 2, 7, 100, MaxKeyframes, MaxKeyframes + 1} {
		m := NewFileMetadata(nil, room, "", "")
		room = min(room, MaxKeyframes)
		if m.Room() != room {
			t.Fatalf("room for %d, want %d", m.Room(), room)
		}
		for _, n := range []int{0, 1, 2, 6, 7, 8, 15, 100, 101, 399, MaxKeyframes, MaxKeyframes + 1, 3*MaxKeyframes + 5} {
			body := complete(m, pictures(n), 12345)
			if len(body) != len(m.Body) {
				t.Fatalf("%d of %d: %d bytes, were %d", n, room, len(body), len(m.Body))
			}
			list := properties(t, body)
			if count := binary.BigEndian.Uint32(body[countAt:]); int(count) != len(list) {
				t.Fatalf("%d of %d: %d properties, %d said", n, room, len(list), count)
			}
			for _, piece := range list[len(list)-1].Value.(amf0.StrictArray) {
				if text, ok := piece.(string); strings.Trim(text, " ") != "" || len(text) > maxString || !ok && piece != (amf0.Null{}) {
					t.Fatalf("%d of %d: padding %q", n, room, piece)
				}
			}
			found, ok := list[len(list)-2].Value.(amf0.Object)
			if !ok {
				if n >= minIndex && room >= minIndex {
					t.Fatalf("%d of %d: no index", n, room)
				}
				continue
			}
			times := found[0].Value.(amf0.StrictArray)
			if n <= room && len(times) != n || n > room && 2*len(times) < room {
				t.Fatalf("%d times of %d with room for %d", len(times), n, room)
			}
			for i := 2; i < len(times); i++ {
				if times[i].(float64)-times[i-1].(float64) != times[1].(float64) {
					t.Fatalf("%d of %d: not even: %v", n, room, times)
				}
			}
		}
	}
}

// TestNote: it is there as long as the file grows, whatever room there is.
func TestNote(t *testing.T) {
	for _, room := range []int{0, 1, 100} {
		note := strings.Repeat("note", 600) + "."
		m := NewFileMetadata(nil, room, note, "")
		found, got := ParseFileMetadata(m.Body)
		if got != note || found.Room() < room {
			t.Errorf("room %d: %q, room %d", room, got, found.Room())
		}
		if _, got := ParseFileMetadata(complete(found, pictures(3), 99)); got != "" {
			t.Errorf("in the complete file: %q", got)
		}
	}
}

// TestOwner: a file says whose it is for good; nobody else's word counts.
func TestOwner(t *testing.T) {
	file := func(body []byte) *bytes.Reader {
		return bytes.NewReader(AppendTag(AppendHeader(nil, true, true), Tag{Type: TypeScript, Data: body}))
	}
	claimed := amf0.Append(nil, "onMetaData", amf0.ECMAArray{{Key: "recordedFrom", Value: "a/b/c"}})
	m := NewFileMetadata(claimed, 2, "note", "v/live/x")
	long := strings.Repeat("x", maxString-1) + strings.Repeat("é", maxString)
	for _, piece := range encodeOwner(long).(amf0.StrictArray) {
		if text := piece.(string); len(text) > maxString || !utf8.ValidString(text) {
			t.Errorf("a piece of %d bytes, %q", len(text), text[len(text)-3:])
		}
	}
	for _, c := range []struct {
		name string
		body []byte
		want string
		ours bool
	}{
		{"growing", m.Body, "v/live/x", true},
		{"complete", complete(m, pictures(5), 777), "v/live/x", true},
		{"nobody's", NewFileMetadata(claimed, 2, "", "").Body, "", true},
		{"long", NewFileMetadata(nil, 2, "", long).Body, long, true},
		{"long, complete", complete(NewFileMetadata(nil, 2, "note", long), pictures(5), 777), long, true},
		{"another program's", claimed, "", false},
		{"damaged", m.Body[:9], "", false},
	} {
		if from := file(c.body); Owner(from, from.Size()) != c.want {
			t.Errorf("%s: %q, want %q", c.name, Owner(from, from.Size()), c.want)
		} else if Ours(from, from.Size()) != c.ours {
			t.Errorf("%s: ours is not %v", c.name, c.ours)
		}
	}
}

// TestParseFileMetadata: the space is found again, also when it is damaged; what
// other programs wrote has its numbers patched.
func TestParseFileMetadata(t *testing.T) {
	published := amf0.Append(nil, "onMetaData", amf0.Object{{Key: "width", Value: 640.0}})
	m := NewFileMetadata(published, 10, "", "")
	want := complete(m, pictures(5), 777)
	for name, spoil := range map[string]func([]byte){
		"whole":     func([]byte) {},
		"complete":  func(b []byte) { copy(b, complete(m, pictures(9), 1)) },
		"half":      func(b []byte) { copy(b[:len(b)/2], complete(m, pictures(9), 1)) },
		"zero tail": func(b []byte) { clear(b[len(b)/2:]) },
	} {
		body := bytes.Clone(m.Body)
		spoil(body)
		found, _ := ParseFileMetadata(body)
		if got := complete(found, pictures(5), 777); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, want)
		}
	}
	foreign := amf0.Append(nil, "onMetaData", amf0.ECMAArray{
		{Key: "duration", Value: 0.0}, {Key: "width", Value: 2.0}, {Key: "filesize", Value: 0.0}})
	found, note := ParseFileMetadata(foreign)
	got := properties(t, complete(found, pictures(5), 777))
	if want := []amf0.Property{{Key: "duration", Value: 5.0}, {Key: "width", Value: 2.0}, {Key: "filesize", Value: 777.0}}; !reflect.DeepEqual(got, want) || note != "" {
		t.Errorf("foreign: %v, want %v; note %q", got, want, note)
	}
	if found, _ := ParseFileMetadata(nil); len(found.Patches(pictures(1), 1)) != 0 {
		t.Error("patches of nothing")
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
		m := NewFileMetadata(body, 3, "note", "")
		if found, _ := ParseFileMetadata(m.Body); !bytes.Equal(complete(found, pictures(2), 77), complete(m, pictures(2), 77)) {
			t.Fatal("not found again")
		}
		got, err := ParseMetadata(complete(m, pictures(2), 77))
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
		if duration != 2.0 || filesize != 77.0 {
			t.Fatalf("duration %v, filesize %v", duration, filesize)
		}
	})
}

package rtmp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"srs/amf0"
	"srs/flv"
	"srs/rtmp/chunk"
)

// TestControl: each message of the protocol itself, byte for byte.
func TestControl(t *testing.T) {
	for _, c := range []struct {
		name string
		wire []byte
		typ  uint8
		body string
	}{
		{"window", AppendWindowAck(nil, 2500000), TypeWindowAck, "002625a0"},
		{"bandwidth", AppendPeerBandwidth(nil, 2500000), TypePeerBW, "002625a002"},
		{"chunk size", AppendSetChunkSize(nil, 60000), TypeSetChunkSize, "0000ea60"},
		{"acknowledgement", AppendAck(nil, 0xfffffffe), TypeAck, "fffffffe"},
		{"stream begin", AppendUserControl(nil, EventStreamBegin, 1), TypeUserControl, "000000000001"},
		{"ping", AppendUserControl(nil, EventPing, 0x01020304), TypeUserControl, "000601020304"},
	} {
		list := parse(t, c.wire)
		if len(list) != 1 || list[0].Type != c.typ || list[0].CSID != 2 || list[0].StreamID != 0 || hex.EncodeToString(list[0].Body) != c.body {
			t.Errorf("%s: %+v", c.name, list)
		}
		if again := append([]byte("before"), c.wire...); !bytes.Equal(again[6:], c.wire) {
			t.Errorf("%s: does not append", c.name)
		}
	}
}

func TestStatusAndData(t *testing.T) {
	wire := AppendStatus(nil, 128, "error", CodePublishBadName, strings.Repeat("long ", 100), amf0.Property{Key: "details", Value: "s"})
	wire = AppendData(wire, 128, "|RtmpSampleAccess", true, true)
	list := parse(t, wire)
	if len(list) != 2 || list[0].StreamID != 1 || list[1].StreamID != 1 || list[1].Type != TypeData {
		t.Fatalf("%+v", list)
	}
	c, err := ParseCommand(list[0].Type, list[0].Body)
	want := amf0.Object{{Key: "level", Value: "error"}, {Key: "code", Value: CodePublishBadName},
		{Key: "description", Value: strings.Repeat("long ", 100)}, {Key: "details", Value: "s"}, {Key: "clientid", Value: "ASAICiss"}}
	if err != nil || c.Name != CommandOnStatus || !reflect.DeepEqual(c.Args, []any{want}) {
		t.Errorf("%+v, %v", c, err)
	}
	if values, err := amf0.Decode(list[1].Body, amf0.DefaultLimits); err != nil || !reflect.DeepEqual(values, []any{"|RtmpSampleAccess", true, true}) {
		t.Errorf("%v, %v", values, err)
	}
}

var (
	metadata = amf0.Append(nil, "onMetaData", amf0.ECMAArray{{Key: "width", Value: 640.0}})
	wrapper  = amf0.Append(nil, "@setDataFrame")
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// strips are data messages and what is left of them; nil: nothing.
var strips = []struct {
	name       string
	typ        uint8
	body, want []byte
}{
	{"plain", TypeData, metadata, metadata},
	{"wrapped", TypeData, join(wrapper, metadata), metadata},
	{"AMF 3", TypeDataAMF3, join([]byte{0}, metadata), metadata},
	{"AMF 3, wrapped", TypeDataAMF3, join([]byte{0}, wrapper, metadata), metadata},
	{"AMF 3 without its lead byte", TypeDataAMF3, metadata, metadata},
	{"another name", TypeData, amf0.Append(nil, "onTextData", amf0.Null{}), amf0.Append(nil, "onTextData", amf0.Null{})},
	{"a name alone", TypeData, amf0.Append(nil, "onCuePoint"), amf0.Append(nil, "onCuePoint")},
	{"value of no known kind", TypeData, join(wrapper, amf0.Append(nil, "onMetaData"), []byte{0xff}), join(amf0.Append(nil, "onMetaData"), []byte{0xff})},
	{"nothing", TypeData, nil, nil},
	{"AMF 3, nothing", TypeDataAMF3, nil, nil},
	{"AMF 3, lead byte alone", TypeDataAMF3, []byte{0}, nil},
	{"lead byte in AMF 0", TypeData, join([]byte{0}, metadata), nil},
	{"only the wrapper", TypeData, wrapper, nil},
	{"wrapper and a name", TypeData, join(wrapper, amf0.Append(nil, "onMetaData")), nil},
	{"wrapper and a number", TypeData, join(wrapper, amf0.Append(nil, 1.0)), nil},
	{"wrapper and an object", TypeData, join(wrapper, amf0.Append(nil, amf0.Object{{Key: "width", Value: 1.0}})), nil},
	{"wrapper in a wrapper", TypeData, join(wrapper, wrapper, metadata), nil},
	{"empty name", TypeData, amf0.Append(nil, "", 1.0), nil},
	{"name longer than the message", TypeData, []byte("\x02\xff\xffonMetaData"), nil},
	{"cut in the length", TypeData, []byte("\x02\x00"), nil},
	{"a number", TypeData, amf0.Append(nil, 1.0), nil},
}

func TestStripData(t *testing.T) {
	for _, c := range strips {
		got, ok := StripData(c.typ, c.body)
		if !bytes.Equal(got, c.want) || ok != (c.want != nil) {
			t.Errorf("%s: %q, %v", c.name, got, ok)
		}
	}
}

func FuzzStripData(f *testing.F) {
	for _, c := range strips {
		f.Add(c.typ, c.body)
	}
	f.Fuzz(func(t *testing.T, typ uint8, body []byte) {
		got, ok := StripData(typ, body)
		if ok != (len(got) > 0) || !bytes.HasSuffix(body, got) {
			t.Fatalf("%q, %v", got, ok)
		}
		if !ok {
			return
		}
		if n := 3 + int(got[1])<<8 + int(got[2]); got[0] != 2 || n == 3 || n > len(got) {
			t.Fatalf("no name: %q", got)
		}
	})
}

// sub is a tag within an aggregate, with its previous-tag size.
func sub(typ uint8, time uint32, body string) []byte {
	n := len(body)
	b := []byte{typ, byte(n >> 16), byte(n >> 8), byte(n), byte(time >> 16), byte(time >> 8), byte(time), byte(time >> 24), 0, 0, 0}
	n += 11
	return append(append(b, body...), 0, byte(n>>16), byte(n>>8), byte(n))
}

var aggregates = []struct {
	name      string
	timestamp uint32
	body      []byte
	want      string
	ok        bool
}{
	{"empty", 0, nil, "", true},
	{"three", 1000, join(sub(8, 50, "a"), sub(9, 70, "vv"), sub(8, 73, "a")), "8@1000:a 9@1020:vv 8@1023:a", true},
	{"times as they are", 50, join(sub(8, 50, "a"), sub(9, 70, "v")), "8@50:a 9@70:v", true},
	{"times wrap", 5, join(sub(8, 0xfffffffe, "a"), sub(8, 1, "b")), "8@5:a 8@8:b", true},
	{"times of 32 bits", 0, join(sub(8, 0x01000000, "a"), sub(8, 0x01000005, "b")), "8@0:a 8@5:b", true},
	{"data is unwrapped", 0, sub(18, 0, string(wrapper)+string(metadata)), "18@0:" + string(metadata), true},
	{"data without a name is left out", 0, join(sub(18, 0, "x"), sub(8, 1, "a")), "8@1:a", true},
	{"empty tags are left out", 9, join(sub(8, 3, ""), sub(9, 4, ""), sub(8, 5, "a")), "8@11:a", true},
	{"an aggregate within", 0, join(sub(22, 0, string(sub(8, 0, "a"))), sub(8, 7, "b")), "8@7:b", true},
	{"commands within", 0, join(sub(20, 0, "c"), sub(1, 0, "abcd"), sub(9, 7, "v")), "9@7:v", true},
	{"without the last size", 0, sub(8, 0, "a")[:12], "8@0:a", true},
	{"wrong previous size", 0, join(sub(8, 0, "a")[:12], []byte{9, 9, 9, 9}, sub(8, 1, "b")), "8@0:a 8@1:b", true},
	{"ten bytes", 0, make([]byte, 10), "", false},
	{"the second too long", 0, join(sub(8, 0, "a"), sub(8, 1, "bcd")[:13]), "8@0:a", false},
	{"the second cut in its head", 0, join(sub(8, 0, "a"), sub(8, 1, "bcd")[:10]), "8@0:a", false},
	{"a length that lies", 0, []byte{8, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1}, "", false},
}

func TestAggregate(t *testing.T) {
	for _, c := range aggregates {
		var got []string
		ok := Aggregate(c.timestamp, c.body, func(tag flv.Tag) {
			got = append(got, fmt.Sprintf("%d@%d:%s", tag.Type, tag.Timestamp, tag.Data))
		})
		if s := strings.Join(got, " "); s != c.want || ok != c.ok {
			t.Errorf("%s: %q, %v", c.name, s, ok)
		}
	}
}

func FuzzAggregate(f *testing.F) {
	for _, c := range aggregates {
		f.Add(c.timestamp, c.body)
	}
	f.Fuzz(func(t *testing.T, timestamp uint32, body []byte) {
		size := 0
		Aggregate(timestamp, body, func(tag flv.Tag) {
			if tag.Type != flv.TypeAudio && tag.Type != flv.TypeVideo && tag.Type != flv.TypeScript || len(tag.Data) == 0 {
				t.Fatalf("%+v", tag)
			}
			size += 11 + len(tag.Data)
		})
		if size > len(body) {
			t.Fatalf("%d bytes of tags from %d", size, len(body))
		}
	})
}

// TestAggregateThroughChunks: as a publisher sends it.
func TestAggregateThroughChunks(t *testing.T) {
	body := join(sub(8, 0, strings.Repeat("a", 300)), sub(9, 9, strings.Repeat("v", 500)))
	m := parse(t, chunk.Append(nil, chunk.Message{CSID: 4, Type: TypeAggregate, StreamID: 1, Timestamp: 7, Body: body}, 128))[0]
	n := 0
	if !Aggregate(m.Timestamp, m.Body, func(tag flv.Tag) { n += len(tag.Data) }) || n != 800 {
		t.Errorf("%d bytes", n)
	}
}

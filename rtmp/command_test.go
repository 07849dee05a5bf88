package rtmp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"srs/amf0"
)

// commands are command messages and what they say, run both ways.
var commands = []struct {
	name   string
	values []any
	want   Command
}{
	{"connect", []any{"connect", 1.0, amf0.Object{{Key: "app", Value: "live"}, {Key: "tcUrl", Value: "rtmp://h/live"}}},
		Command{Name: "connect", Transaction: 1, Object: amf0.Object{{Key: "app", Value: "live"}, {Key: "tcUrl", Value: "rtmp://h/live"}}, Args: []any{}}},
	{"connect with arguments", []any{"connect", 1.0, amf0.Object(nil), "user", "secret"},
		Command{Name: "connect", Transaction: 1, Args: []any{"user", "secret"}}},
	{"createStream", []any{"createStream", 2.0, amf0.Null{}}, Command{Name: "createStream", Transaction: 2, Args: []any{}}},
	{"publish", []any{"publish", 5.0, amf0.Null{}, "s?k=v", "live"}, Command{Name: "publish", Transaction: 5, Args: []any{"s?k=v", "live"}}},
	{"play", []any{"play", 0.0, amf0.Null{}, "s", -2.0, -1.0, true}, Command{Name: "play", Args: []any{"s", -2.0, -1.0, true}}},
	{"an array as command object", []any{"connect", 1.0, amf0.ECMAArray{{Key: "app", Value: "a"}}},
		Command{Name: "connect", Transaction: 1, Object: amf0.Object{{Key: "app", Value: "a"}}, Args: []any{}}},
	{"name alone", []any{"FCPublish"}, Command{Name: "FCPublish"}},
	{"name and transaction", []any{"onBWDone", 3.0}, Command{Name: "onBWDone", Transaction: 3}},
	{"a transaction that is none", []any{"play", "1", amf0.Null{}, "s"}, Command{Name: "play", Args: []any{"s"}}},
	{"empty name", []any{"", 1.0}, Command{Transaction: 1}},
	{"odd transaction", []any{"x", math.Inf(-1)}, Command{Name: "x", Transaction: math.Inf(-1)}},
	{"least transaction", []any{"x", 5e-324}, Command{Name: "x", Transaction: 5e-324}},
}

func TestCommandBothWays(t *testing.T) {
	for _, c := range commands {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{128, 60000} {
				for id := range uint32(2) {
					list := parse(t, AppendCommand(AppendSetChunkSize(nil, size), size, id, c.values...))
					m := list[1]
					if len(list) != 2 || m.Type != TypeCommand || m.StreamID != id || m.CSID != []uint32{3, 5}[id] {
						t.Fatalf("%+v", list)
					}
					got, err := ParseCommand(m.Type, m.Body)
					if err != nil || !reflect.DeepEqual(got, c.want) {
						t.Errorf("%#v, %v, want %#v", got, err, c.want)
					}
					for name, amf3 := range map[string][]byte{"lead byte": append([]byte{0}, m.Body...), "no lead byte": m.Body} {
						if got, err := ParseCommand(TypeCommandAMF3, amf3); err != nil || !reflect.DeepEqual(got, c.want) {
							t.Errorf("AMF 3, %s: %#v, %v", name, got, err)
						}
					}
				}
			}
		})
	}
}

func TestCommandRefused(t *testing.T) {
	deep := append(amf0.Append(nil, "connect", 1.0), strings.Repeat("\x03\x00\x01a", 16000)...)
	for _, c := range []struct {
		name string
		typ  uint8
		body []byte
		want error
	}{
		{"empty", TypeCommand, nil, ErrCommand},
		{"AMF 3, empty", TypeCommandAMF3, nil, ErrCommand},
		{"AMF 3, lead byte alone", TypeCommandAMF3, []byte{0}, ErrCommand},
		{"AMF 3, 01", TypeCommandAMF3, []byte{1}, amf0.ErrTruncated},
		{"a number", TypeCommand, amf0.Append(nil, 1.0), ErrCommand},
		{"an object", TypeCommand, amf0.Append(nil, amf0.Object(nil), "connect"), ErrCommand},
		{"cut", TypeCommand, []byte("\x02\x00\x07conn"), amf0.ErrTruncated},
		{"too deep", TypeCommand, deep, amf0.ErrDepth},
		{"many values", TypeCommand, bytes.Repeat([]byte{5}, 10_000), amf0.ErrValues},
		{"a count that lies", TypeCommand, []byte("\x02\x00\x01x\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a\xff\xff\xff\xff\x05"), amf0.ErrTruncated},
	} {
		if _, err := ParseCommand(c.typ, c.body); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// markers has each AMF 0 marker as a first byte of a value, whole where the
// marker has a meaning (catalogue AM-10, AM-14).
func markers() [][]byte {
	list := [][]byte{
		amf0.Append(nil, 1.0), amf0.Append(nil, math.NaN()), amf0.Append(nil, false), amf0.Append(nil, "s"), amf0.Append(nil, ""),
		amf0.Append(nil, amf0.Object{{Key: "app", Value: 1.0}}), amf0.Append(nil, amf0.Null{}), amf0.Append(nil, amf0.Undefined{}),
		{7, 0, 0}, {7, 0xff, 0xff}, amf0.Append(nil, amf0.ECMAArray{{Key: "app", Value: amf0.Null{}}}),
		amf0.Append(nil, amf0.StrictArray{"s", 1.0}), amf0.Append(nil, amf0.Date{}), amf0.Append(nil, strings.Repeat("x", 70_000)),
		{12, 0, 0, 0, 1, 's'}, amf0.Append(nil, amf0.XML("<s/>")), []byte("\x10\x00\x01c\x00\x03app\x02\x00\x01s\x00\x00\x09"),
	}
	for m := range 256 {
		list = append(list, []byte{byte(m)}, append([]byte{byte(m)}, make([]byte, 12)...))
	}
	return list
}

// TestTypesInEverySlot: nothing a client puts anywhere in connect, publish or
// play does more than give an error or a default.
func TestTypesInEverySlot(t *testing.T) {
	object := func(key string) func([]byte) []byte {
		return func(v []byte) []byte {
			b := append(amf0.Append(nil, "connect", 1.0), 3)
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(key))), key...)
			return append(append(b, v...), 0, 0, 9)
		}
	}
	slot := func(before ...any) func([]byte) []byte {
		return func(v []byte) []byte {
			return amf0.Append(append(amf0.Append(nil, before...), v...), "live")
		}
	}
	for name, build := range map[string]func([]byte) []byte{
		"name": slot(), "transaction": slot("connect"), "object": slot("connect", 1.0), "app": object("app"), "tcUrl": object("tcUrl"),
		"objectEncoding": object("objectEncoding"), "publish name": slot("publish", 1.0, amf0.Null{}),
		"publish type": slot("publish", 1.0, amf0.Null{}, "s"), "play start": slot("play", 1.0, amf0.Null{}, "s"),
		"play duration": slot("play", 1.0, amf0.Null{}, "s", -2.0), "play reset": slot("play", 1.0, amf0.Null{}, "s", -2.0, -1.0),
	} {
		for _, v := range markers() {
			for _, typ := range []uint8{TypeCommand, TypeCommandAMF3} {
				c, err := ParseCommand(typ, build(v))
				if err != nil {
					continue
				}
				s, ok := c.StringArg(0)
				if !ok && s != "" {
					t.Errorf("%s: %q and no string", name, s)
				}
				for i := range 5 {
					c.BoolArg(i)
					c.StringArg(i)
				}
				ParseConnect(c.Object.String("tcUrl"), c.Object.String("app"))
				ParseStream(c.Object.String("tcUrl"), c.Object.String("app"), s)
				parse(t, AppendConnectResult(nil, 128, &c, Identity{}))
			}
		}
	}
}

// TestCommandCutAnywhere (catalogue AM-07).
func TestCommandCutAnywhere(t *testing.T) {
	for _, c := range commands {
		whole := amf0.Append(nil, c.values...)
		for n := range whole {
			ParseCommand(TypeCommand, whole[:n])
			ParseCommand(TypeCommandAMF3, whole[:n])
		}
	}
}

func TestArgs(t *testing.T) {
	c := Command{Args: []any{true, false, 1.0, 0.0, "s", amf0.Null{}, math.NaN()}}
	if got := fmt.Sprint(c.BoolArg(0), c.BoolArg(1), c.BoolArg(2), c.BoolArg(3), c.BoolArg(4), c.BoolArg(5), c.BoolArg(6), c.BoolArg(7)); got != "true false true false false false true false" {
		t.Error(got)
	}
	if s, ok := c.StringArg(4); s != "s" || !ok {
		t.Error("the string is not found")
	}
	for _, i := range []int{0, 2, 5, 7} {
		if s, ok := c.StringArg(i); s != "" || ok {
			t.Errorf("argument %d is a string", i)
		}
	}
}

func TestConnectAnswers(t *testing.T) {
	c := Command{Transaction: 1, Object: amf0.Object{{Key: "objectEncoding", Value: 3.0}}}
	id := Identity{Product: "srs", Version: "1.2.3", IP: "10.0.0.1", PID: 77, ClientID: 9}
	wire := AppendConnectResult(nil, 128, &c, id)
	got, err := ParseCommand(TypeCommand, parse(t, wire)[0].Body)
	if err != nil || got.Name != CommandResult || got.Transaction != 1 || got.Object.String("fmsVer") != "FMS/3,5,3,888" {
		t.Fatalf("%+v, %v", got, err)
	}
	info := got.Args[0].(amf0.Object)
	data, _ := info.Get("data")
	for key, want := range map[string]any{"srs_server_ip": "10.0.0.1", "srs_pid": 77.0, "srs_id": 9.0, "srs_server": "srs/1.2.3", "srs_sig": "SRS"} {
		if v, _ := data.(amf0.ECMAArray).Get(key); v != want {
			t.Errorf("%s is %v", key, v)
		}
	}
	if info.String("code") != CodeConnectSuccess || info.String("level") != "status" || info.Number("objectEncoding") != 3 {
		t.Errorf("%v", info)
	}
	got, err = ParseCommand(TypeCommand, parse(t, AppendConnectError(nil, 128, 4, CodeConnectRejected, "no"))[0].Body)
	if err != nil || got.Name != CommandError || got.Transaction != 4 || got.Object != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	if e := (statusError(got).(*StatusError)); e.Code != CodeConnectRejected || e.Description != "no" {
		t.Errorf("%v", e)
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, c := range commands {
		f.Add(uint8(TypeCommand), amf0.Append(nil, c.values...))
		f.Add(uint8(TypeCommandAMF3), append([]byte{0}, amf0.Append(nil, c.values...)...))
	}
	f.Fuzz(func(t *testing.T, typ uint8, body []byte) {
		c, err := ParseCommand(typ, body)
		if err != nil {
			return
		}
		c.BoolArg(0)
		c.StringArg(1)
		values := []any{c.Name, c.Transaction, amf0.Null{}}
		if c.Object != nil {
			values[2] = c.Object
		}
		again, err := ParseCommand(TypeCommand, amf0.Append(nil, append(values, c.Args...)...))
		if err != nil || again.Name != c.Name || math.Float64bits(again.Transaction) != math.Float64bits(c.Transaction) || len(again.Args) != len(c.Args) {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}

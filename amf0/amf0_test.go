package amf0

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// vectors are values and their bytes, run both ways; they seed the fuzzer.
var vectors = []struct {
	name  string
	value any
	hex   string
}{
	{"zero", 0.0, "00 0000000000000000"},
	{"one", 1.0, "00 3ff0000000000000"},
	{"negative", -1.5, "00 bff8000000000000"},
	{"infinite", math.Inf(1), "00 7ff0000000000000"},
	{"true", true, "01 01"},
	{"false", false, "01 00"},
	{"empty string", "", "02 0000"},
	{"string", "live", "02 0004 6c697665"},
	{"utf-8", "é", "02 0002 c3a9"},
	{"null", Null{}, "05"},
	{"undefined", Undefined{}, "06"},
	{"empty object", Object(nil), "03 000009"},
	{"object", Object{{"app", "live"}, {"n", 1.0}}, "03 0003 617070 02 0004 6c697665 0001 6e 00 3ff0000000000000 000009"},
	{"empty key", Object{{"", true}}, "03 0000 01 01 000009"},
	{"nested", Object{{"o", Object{{"b", true}}}}, "03 0001 6f 03 0001 62 01 01 000009 000009"},
	{"ecma array", ECMAArray{{"w", 2.0}}, "08 00000001 0001 77 00 4000000000000000 000009"},
	{"strict array", StrictArray{true, Null{}}, "0a 00000002 0101 05"},
	{"date", Date{UnixMilli: 1, Zone: -1}, "0b 3ff0000000000000 ffff"},
	{"xml", XML("<a/>"), "0f 00000004 3c612f3e"},
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := unhex(t, v.hex)
			if got := Append(nil, v.value); !bytes.Equal(got, want) {
				t.Errorf("Append = %x, want %x", got, want)
			}
			got, err := Decode(want, DefaultLimits)
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], v.value) {
				t.Errorf("Decode = %#v, %v, want %#v", got, err, v.value)
			}
		})
	}
}

func TestDecodeOnly(t *testing.T) {
	for _, v := range []struct {
		name string
		hex  string
		want any
	}{
		{"true is any byte but zero", "01 7f", true},
		{"long string", "0c 00000002 6162", "ab"},
		{"typed object", "10 0001 63 0001 6b 05 000009", Object{{"k", Null{}}}},
		{"reference", "07 ffff", Undefined{}},
		{"unsupported", "0d", Undefined{}},
		{"ecma count is a hint: too small", "08 00000000 0001 77 05 000009", ECMAArray{{"w", Null{}}}},
		{"ecma count is a hint: too big", "08 ffffffff 0001 77 05 000009", ECMAArray{{"w", Null{}}}},
		{"object without an end", "03 0001 77 05", Object{{"w", Null{}}}},
		{"array without an end", "08 00000001 0001 77 05", ECMAArray{{"w", Null{}}}},
		{"object that has just begun", "03", Object(nil)},
		{"key twice: both kept", "03 0001 61 05 0001 61 06 000009", Object{{"a", Null{}}, {"a", Undefined{}}}},
	} {
		t.Run(v.name, func(t *testing.T) {
			got, err := Decode(unhex(t, v.hex), DefaultLimits)
			if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], v.want) {
				t.Errorf("Decode = %#v, %v, want %#v", got, err, v.want)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	lim := Limits{Depth: 2, Values: 5, String: 4}
	for _, v := range []struct {
		name string
		hex  string
		want error
	}{
		{"number cut", "00 3ff0", ErrTruncated},
		{"bool cut", "01", ErrTruncated},
		{"string length cut", "02 00", ErrTruncated},
		{"string cut", "02 ffff 61", ErrTruncated},
		{"long string, a lie", "0c 7fffffff 61", ErrTruncated},
		{"long string, a greater lie", "0c ffffffff", ErrTruncated},
		{"string beyond the limit", "02 0005 6161616161", ErrString},
		{"strict array, a lie", "0a ffffffff 05", ErrTruncated},
		{"strict array with too many", "0a 00989680 05050505050505", ErrValues},
		{"array count cut", "08 0000", ErrTruncated},
		{"property cut", "03 0001 61", ErrTruncated},
		{"key cut", "03 0002 61", ErrTruncated},
		{"date cut", "0b 3ff0000000000000 ff", ErrTruncated},
		{"reference cut", "07 00", ErrTruncated},
		{"typed object, name cut", "10 0003 61", ErrTruncated},
		{"objects too deep", "03 0001 61 03 0001 61 03 000009", ErrDepth},
		{"arrays too deep", "0a 00000001 0a 00000001 0a 00000000", ErrDepth},
		{"too many at the top", "050505050505", ErrValues},
		{"movie clip", "04", ErrMarker},
		{"object end alone", "09", ErrMarker},
		{"record set", "0e", ErrMarker},
		{"switch to AMF 3", "11", ErrMarker},
		{"no marker", "ff", ErrMarker},
	} {
		t.Run(v.name, func(t *testing.T) {
			if _, err := Decode(unhex(t, v.hex), lim); !errors.Is(err, v.want) {
				t.Errorf("Decode = %v, want %v", err, v.want)
			}
		})
	}
}

func TestDecodeReturnsWhatCameBeforeTheDamage(t *testing.T) {
	got, err := Decode(unhex(t, "02 0001 61 00 3ff0000000000000 02 0009"), DefaultLimits)
	if !errors.Is(err, ErrTruncated) || !reflect.DeepEqual(got, []any{"a", 1.0}) {
		t.Errorf("Decode = %#v, %v", got, err)
	}
}

// A message that nests a hundred thousand levels must be refused at the limit,
// with little work and little memory: deeper recursion would kill the process.
func TestDecodeDepthIsCheap(t *testing.T) {
	for name, unit := range map[string]string{
		"objects": "\x03\x00\x01a",
		"arrays":  "\x0a\x00\x00\x00\x01",
		"ecma":    "\x08\x00\x00\x00\x00\x00\x01a",
		"mixed":   "\x0a\x00\x00\x00\x01\x03\x00\x01a",
	} {
		t.Run(name, func(t *testing.T) {
			b := []byte(strings.Repeat(unit, 100_000))
			allocated := allocatedBy(func() {
				if _, err := Decode(b, DefaultLimits); !errors.Is(err, ErrDepth) {
					t.Errorf("Decode = %v, want %v", err, ErrDepth)
				}
			})
			if allocated > 64<<10 {
				t.Errorf("allocated %d bytes", allocated)
			}
		})
	}
}

func TestLongStringBothWays(t *testing.T) {
	s := strings.Repeat("x", maxShortString+1)
	b := Append(nil, s)
	if b[0] != markerLongString {
		t.Fatalf("marker %#x", b[0])
	}
	got, err := Decode(b, Limits{Depth: 1, Values: 1, String: 1 << 20})
	if err != nil || got[0] != s {
		t.Errorf("Decode: %v", err)
	}
}

func TestGet(t *testing.T) {
	o := Object{{"a", "1"}, {"n", 2.0}, {"a", "3"}}
	if v, ok := o.Get("a"); !ok || v != "3" {
		t.Errorf("Get(a) = %v, %v: the last one counts", v, ok)
	}
	if _, ok := o.Get("b"); ok {
		t.Error("Get(b) found something")
	}
	if o.String("a") != "3" || o.String("n") != "" || o.Number("n") != 2 || o.Number("a") != 0 {
		t.Error("String and Number take their own type only")
	}
	if v, ok := ECMAArray(o).Get("n"); !ok || v != 2.0 {
		t.Errorf("ECMAArray.Get = %v, %v", v, ok)
	}
}

func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzDecode holds the decoder to its word: no panic, memory within a small
// multiple of the input, and what it accepts survives a round trip.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.hex))
	}
	f.Add([]byte(strings.Repeat("\x03\x00\x01a", 100)))
	f.Add(unhex(f, "0a00989680050505"))
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := Decode(b, DefaultLimits)
		if len(values) > DefaultLimits.Values {
			t.Fatalf("%d values", len(values))
		}
		if err != nil {
			return
		}
		again := Append(nil, values...)
		second, err := Decode(again, DefaultLimits)
		if err != nil {
			t.Fatalf("second decode of %x: %v", again, err)
		}
		if third := Append(nil, second...); !bytes.Equal(third, again) {
			t.Fatalf("not stable:\n%x\n%x", again, third)
		}
	})
}

func BenchmarkDecodeConnect(b *testing.B) {
	msg := Append(nil, "connect", 1.0, Object{{"app", "live"}, {"type", "nonprivate"},
		{"flashVer", "FMLE/3.0"}, {"tcUrl", "rtmp://127.0.0.1/live"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(msg, DefaultLimits); err != nil {
			b.Fatal(err)
		}
	}
}

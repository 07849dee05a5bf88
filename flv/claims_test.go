package flv

import (
	"bytes"
	"strings"
	"testing"

	"srs/amf0"
)

// foreign is a file of another program, with so many pictures of 40 ms, every
// fifth a keyframe, and what its metadata says.
func foreign(flags byte, pictures int, say func(ends []int) amf0.ECMAArray) []byte {
	var b []byte
	ends := make([]int, pictures+1)
	for range 2 { // the second time it is known where everything is
		b = AppendHeader(nil, flags&4 != 0, flags&1 != 0)
		if say != nil {
			b = AppendTag(b, Tag{Type: TypeScript, Data: amf0.Append(nil, "onMetaData", say(ends))})
		}
		for i := range pictures {
			ends[i] = len(b)
			first := byte(0x27)
			if i%5 == 0 {
				first = 0x17
			}
			b = AppendTag(b, Tag{Type: TypeVideo, Timestamp: uint32(i) * 40, Data: append([]byte{first, 1}, make([]byte, 50)...)})
		}
		ends[pictures] = len(b)
	}
	return b
}

func number(key string, v float64) amf0.Property { return amf0.Property{Key: key, Value: v} }

func indexOf(times, positions amf0.StrictArray) amf0.Property {
	return amf0.Property{Key: "keyframes", Value: amf0.Object{{Key: "filepositions", Value: positions}, {Key: "times", Value: times}}}
}

// TestForeign: of a file of another program only what is said is looked at.
func TestForeign(t *testing.T) {
	for name, c := range map[string]struct {
		flags byte
		say   func(ends []int) amf0.ECMAArray
		flaw  string // empty: whole
		mute  bool   // repair has something to write
	}{
		"no metadata":  {1, nil, "", false},
		"nothing said": {1, func([]int) amf0.ECMAArray { return amf0.ECMAArray{number("width", 320)} }, "", false},
		"both flags":   {5, nil, "", false},
		"no flag":      {4, nil, "its header does not say", false},
		"live":         {1, func([]int) amf0.ECMAArray { return amf0.ECMAArray{number("duration", 0), number("filesize", 0)} }, "", true},
		"live, of OBS": {1, func([]int) amf0.ECMAArray { return amf0.ECMAArray{number("duration", 0), number("fileSize", 0)} }, "", true},
		"another size, of OBS": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{number("duration", 0.8), number("fileSize", float64(e[20]+500))}
		}, "bytes", true},
		"roughly": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{number("duration", 1.3), number("filesize", float64(e[20]-4))}
		}, "", false},
		"too long":     {1, func([]int) amf0.ECMAArray { return amf0.ECMAArray{number("duration", 9)} }, "lasts 9.000 s", true},
		"another size": {1, func(e []int) amf0.ECMAArray { return amf0.ECMAArray{number("filesize", float64(e[20]+500))} }, "bytes", true},
		"index": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.0, 0.2}, amf0.StrictArray{float64(e[0]), float64(e[5])})}
		}, "", false},
		"index to end": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.0, 0.8}, amf0.StrictArray{float64(e[0]), float64(e[20])})}
		}, "", false},
		"index to last": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.0, 0.76}, amf0.StrictArray{float64(e[0]), float64(e[19])})}
		}, "", false},
		"wrong time": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.0, 0.4}, amf0.StrictArray{float64(e[0]), float64(e[5])})}
		}, "keyframe of 0.400 s at byte", false},
		"no keyframe": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.04, 0.2}, amf0.StrictArray{float64(e[1]), float64(e[5])})}
		}, "keyframe of 0.040 s at byte", false},
		"within a tag": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.0, 0.2}, amf0.StrictArray{float64(e[0] + 1), float64(e[5])})}
		}, "where there is none", false},
		"behind": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.0, 0.8, 9.0}, amf0.StrictArray{float64(e[0]), float64(e[15]), 1e9})}
		}, "keyframe of 0.800 s", false},
		"far behind": {1, func(e []int) amf0.ECMAArray {
			return amf0.ECMAArray{indexOf(amf0.StrictArray{0.0, 9.0}, amf0.StrictArray{float64(e[0]), 1e9})}
		}, "behind its end", false},
		"no index": {1, func([]int) amf0.ECMAArray {
			return amf0.ECMAArray{{Key: "keyframes", Value: "none"}, indexOf(amf0.StrictArray{"x", -1.0, 1e99}, amf0.StrictArray{nil, 5.0, 5.0})}
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			rep, err := Scan(bytes.NewReader(foreign(c.flags, 20, c.say)))
			if err != nil || rep.Damage != nil {
				t.Fatalf("%v, %v", err, rep.Damage)
			}
			if flaw := rep.Flaw(); (flaw == "") != (c.flaw == "") || !strings.Contains(flaw, c.flaw) || rep.Whole() != (c.flaw == "") {
				t.Errorf("flaw %q, want %q", flaw, c.flaw)
			}
			if c.flaw == "" && rep.Telling() == c.mute {
				t.Errorf("telling is %v", rep.Telling())
			}
			if c.mute {
				_, got := repair(t, foreign(c.flags, 20, c.say))
				rep, err := Scan(bytes.NewReader(got))
				if err != nil || !rep.Whole() || c.flaw == "" && !rep.Telling() {
					t.Errorf("repaired: %q, %v", rep.Flaw(), err)
				}
			}
		})
	}
}

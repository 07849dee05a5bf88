package flv

import "testing"

func TestCompositionTime(t *testing.T) {
	for body, want := range map[string]int64{
		"":                                 0,
		"\x17":                             0,
		"\x17\x01\x00\x00":                 0,
		"\x17\x01\x00\x00\x50":             80,
		"\x27\x01\xff\xff\xb0x":            -80,
		"\x2c\x01\x00\x01\x00x":            256,
		"\x17\x00\x00\x00\x50":             0, // a header
		"\x22\x01\x00\x00\x50":             0, // H.263 has none
		"\x91hvc1\x00\x00\x50x":            80,
		"\x91avc1\x7f\xff\xff":             1<<23 - 1,
		"\x91vvc1\x80\x00\x00":             -1 << 23,
		"\x91hvc1\x00\x00":                 0,
		"\x93hvc1\x00\x00\x50":             0, // CodedFramesX
		"\x91av01\x00\x00\x50":             0,
		"\x96\x00hvc1\x00\x00\x00\x00\x50": 0, // several tracks
	} {
		if got := CompositionTime([]byte(body)); got != want {
			t.Errorf("%q: %d, want %d", body, got, want)
		}
	}
}

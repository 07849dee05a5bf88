package main

import (
	"bytes"
	"math"
	"testing"
	"time"

	"srs/flv"
)

var testLoad = workload{Kbps: 500, AudioKbps: 128, FPS: 25, GOP: 2 * time.Second}

// TestWorkloadRates plays ten minutes of each workload on paper: the rates,
// the order and the place of keyframes must be what the name says.
func TestWorkloadRates(t *testing.T) {
	const length = 10 * time.Minute
	for name, c := range map[string]struct {
		w               workload
		messages, bytes float64 // per second
	}{
		"500k":     {testLoad, 68, 62500},
		"5M":       {workload{Kbps: 5000, AudioKbps: 128, FPS: 25, GOP: 2 * time.Second}, 68, 625000},
		"no audio": {workload{Kbps: 300, FPS: 30, GOP: time.Second}, 30, 37500},
		"keys":     {workload{Kbps: 1000, AudioKbps: 64, FPS: 10}, 53, 125000},
	} {
		s, p := schedule{workload: c.w}, newPayload(c.w, 1)
		var last frame
		messages, total := 0, 0
		for i := 0; ; i++ {
			f := s.next()
			if f.at >= length {
				break
			}
			body := p.frame(f, 1)
			messages++
			total += len(body)
			if i == 0 && !f.key || f.at < last.at {
				t.Fatalf("%s: frame %d is %+v behind %+v", name, i, f, last)
			}
			if f.typ == flv.TypeVideo && f.key != (f.number%c.w.frames() == 0) {
				t.Fatalf("%s: frame %+v", name, f)
			}
			if got := flv.Sniff(f.typ, body)&flv.Keyframe != 0; got != f.key {
				t.Fatalf("%s: frame %+v, keyframe on the wire: %v", name, f, got)
			}
			last = f
		}
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > want/100 {
				t.Errorf("%s: %.1f %s per second, want %.1f", name, got, what, want)
			}
		}
		near("messages", float64(messages)/length.Seconds(), c.messages)
		near("bytes", float64(total)/length.Seconds(), c.bytes)
	}
}

// TestBodySizes asks for every size: the body has it, within the few bytes
// that a size field's growth costs, and at least what the frame needs.
func TestBodySizes(t *testing.T) {
	noise := bytes.Repeat([]byte{0x55}, 3000)
	for size := 1; size < 2500; size++ {
		for _, key := range []bool{true, false} {
			slice := interSlices[0]
			if key {
				slice = idrSlices[0]
			}
			least := videoStampAt + stampSize + 1 + 4 + len(slice)
			if got := len(appendVideo(nil, key, slice, noise, size)); got < max(least, size-20) || got > max(least, size) {
				t.Fatalf("video of %d bytes, key %v: %d (at least %d)", size, key, got, least)
			}
		}
		least := audioStampAt + stampSize + len(silence)
		if got := len(appendAudio(nil, noise, size)); got < max(least, size-3) || got > max(least, size) {
			t.Fatalf("audio of %d bytes: %d (at least %d)", size, got, least)
		}
	}
}

// TestNoStartCode: three zeros or a start code within a NAL unit would be
// taken for the end of it by some programs.
func TestNoStartCode(t *testing.T) {
	p := newPayload(testLoad, 3)
	s := schedule{workload: testLoad}
	for range 500 {
		f := s.next()
		if body := p.frame(f, 1); f.typ == flv.TypeVideo && bytes.Contains(body[9:], []byte{0, 0, 1}) {
			t.Fatalf("frame %+v has a start code: %x", f, body)
		}
	}
	for rbsp, want := range map[string]string{
		"\x00\x00\x01": "\x67\x00\x00\x03\x01", "\x00\x00\x00\x00\x04": "\x67\x00\x00\x03\x00\x00\x04", "\x01\x02": "\x67\x01\x02",
	} {
		if got := appendNAL(nil, nalSPS, []byte(rbsp)); string(got) != want {
			t.Errorf("NAL of %x: %x, want %x", rbsp, got, want)
		}
	}
}

func TestExpGolomb(t *testing.T) {
	for v, want := range map[uint32]string{0: "1", 1: "010", 2: "011", 3: "00100", 7: "0001000", 60: "00000111101"} {
		var w bitWriter
		w.ue(v)
		got := ""
		for i := range len(w.b)*8 - w.free {
			got += string('0' + rune(w.b[i/8]>>(7-i%8)&1))
		}
		if got != want {
			t.Errorf("ue(%d) = %s, want %s", v, got, want)
		}
	}
}

func TestWorkloadCheck(t *testing.T) {
	for name, c := range map[string]struct {
		w  workload
		ok bool
	}{
		"usual":      {testLoad, true},
		"no video":   {workload{Kbps: 128, AudioKbps: 128, FPS: 25, GOP: 1}, false},
		"fps 0":      {workload{Kbps: 500, GOP: 1}, false},
		"back":       {workload{Kbps: 500, FPS: 1, GOP: -1}, false},
		"negative":   {workload{Kbps: 500, AudioKbps: -1, FPS: 1}, false},
		"too large":  {workload{Kbps: 100_000_000, FPS: 1, GOP: 1}, false},
		"each a key": {workload{Kbps: 500, FPS: 1}, true},
	} {
		if err := c.w.check(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package rtmp

import (
	"bytes"
	"testing"

	"srs/rtmp/chunk"
)

// parse takes wire bytes apart as the other side would.
func parse(t testing.TB, wire []byte) []chunk.Message {
	t.Helper()
	r := chunk.NewReader(clientLimits)
	r.Feed(wire)
	var list []chunk.Message
	for {
		m, ok, err := r.Next()
		if err != nil {
			t.Fatalf("%x: %v", wire, err)
		}
		if !ok {
			if r.Partial() != 0 {
				t.Fatalf("%x: cut short", wire)
			}
			return list
		}
		m.Body = bytes.Clone(m.Body)
		list = append(list, m)
	}
}

//go:build !race

package live

import "testing"

// These tests are not built for the race detector, which makes pools forget.

// TestRelayAllocatesNothing: neither the publisher nor its players do, per
// message, once the pools are filled.
func TestRelayAllocatesNothing(t *testing.T) {
	checkLeaks(t)
	y := newRelay(t, 5)
	if n := testing.AllocsPerRun(20_000, func() { y.step() }); n != 0 {
		t.Errorf("%v allocations for each message", n)
	}
	y.close()
}

// TestReaderAllocatesNothing per tag.
func TestReaderAllocatesNothing(t *testing.T) {
	checkLeaks(t)
	y := newRelay(t, 1)
	rd := y.p.NewReader(NewLag(1<<30, 1<<40))
	if n := testing.AllocsPerRun(5000, func() {
		y.step()
		if _, ok, _ := rd.Poll(); !ok {
			t.Error("nothing to read")
		}
	}); n != 0 {
		t.Errorf("%v allocations for each tag", n)
	}
	y.close()
	rd.Close()
}

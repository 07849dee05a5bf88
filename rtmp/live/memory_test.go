package live

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestMemoryBound: beyond the limit the longest bookmarks go, then players that
// lag are moved on; the publishers and who keeps up notice nothing.
func TestMemoryBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // for the time between two looks
		checkLeaks(t)
		r := NewRegistry()
		told := 0
		const limit = 8 << 20
		r.Bound(limit, func(held int64) { told++ })
		publish := func(name string) *Publication {
			v, err := r.Reserve(Key{Stream: name})
			if err != nil {
				t.Fatal(err)
			}
			p := v.Start(Publisher{Stream: name}, usual())
			write(p, videoHeader("1"), at(0, key(1000)))
			return p
		}
		long, short := publish("long"), publish("short")
		lagging := r.Subscribe(Key{Stream: "short"}, time.Hour, 60000)
		defer lagging.Close()
		keeping := r.Subscribe(Key{Stream: "long"}, time.Hour, 60000)
		defer keeping.Close()
		var runs Runs
		most, received := int64(0), 0
		for n := range uint32(600) {
			long.Write(at(40*n+40, inter(60_000)))
			if n%10 == 9 {
				short.Write(at(40*n+40, key(60_000)))
			} else {
				short.Write(at(40*n+40, inter(6000)))
			}
			for {
				keeping.Gather(&runs, nil, 1<<20)
				if runs.Bytes == 0 {
					break
				}
				received += runs.Bytes
				keeping.Took(&runs, runs.Bytes)
			}
			if lagging.Lagging() { // as its loop would find once a second
				if _, n := lagging.Skip(nil); n == 0 {
					t.Fatal("lags and cannot be moved on")
				}
			}
			most = max(most, r.Held())
			time.Sleep(40 * time.Millisecond)
		}
		if most > limit+1<<20 {
			t.Errorf("%d bytes were held, the limit is %d", most, limit)
		}
		if told == 0 {
			t.Error("nobody was told")
		}
		if want := 600 * 60_000; received < want {
			t.Errorf("who keeps up has %d bytes of %d", received, want)
		}
		if long.stream.mark.block != nil {
			t.Error("the long bookmark is there")
		}
		if short.stream.mark.block == nil {
			t.Error("the short bookmark is gone")
		}
		long.Close()
		short.Close()
	})
}

// TestMemoryTight: players that hold what there is too much of are moved on.
func TestMemoryTight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		checkLeaks(t)
		r := NewRegistry()
		r.Bound(6<<20, func(int64) {})
		p := start(t, r, usual())
		e := hear(t, r, time.Hour)
		write(p, videoHeader("1"), at(0, key(9)))
		moved := 0
		for n := range uint32(400) {
			frame := inter(50_000)
			if n%50 == 49 {
				frame = key(50_000)
			}
			p.Write(at(40*n+40, frame))
			if e.sub.Lagging() {
				_, skipped := e.skip(0)
				moved += int(skipped)
			}
			if held := r.Held(); held > 8<<20 {
				t.Fatalf("message %d: %d bytes are held", n, held)
			}
			time.Sleep(40 * time.Millisecond)
		}
		if moved == 0 {
			t.Error("the lagging player was never moved on")
		}
		e.drain()
		if e.sub.Lagging() {
			t.Error("it lags with everything sent")
		}
		p.Close()
		e.close()
		if r.Held() != 0 {
			t.Errorf("%d bytes are still counted", r.Held())
		}
	})
}

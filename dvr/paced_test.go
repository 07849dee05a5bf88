package dvr

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"srs/flv"
)

// TestRepairRate: leftovers are read at repairRate, one after the other, however fast
// their disk is.
func TestRepairRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const files, pictures = 2, 20
		s := newSite(t, "rec/[app]/[stream].flv")
		b := []byte(left(t, s, "x", videoHeader, key(0)))
		large := inter(0)
		large.Data = append(large.Data, make([]byte, 1<<20)...)
		for i := range uint32(pictures) {
			b = flv.AppendTag(b, at(large, 40+i*40))
		}
		dir := t.TempDir()
		n := again(t, dir)
		for i := range files {
			write(t, fmt.Sprint(dir, "/rec/live/", i, ".flv.tmp"), string(b))
		}
		begun := time.Now()
		n.run()
		for len(n.events()) < files && time.Since(begun) < time.Minute {
			time.Sleep(time.Millisecond) // of the bubble
			synctest.Wait()
		}
		took, least := time.Since(begun), files*time.Duration(len(b))*time.Second/repairRate
		if len(n.events()) != files || took < least*9/10 || took > 2*least {
			t.Errorf("%d of %d leftovers after %v, want %v\n%s", len(n.events()), files, took, least, n.log())
		}
		for _, ev := range n.events() {
			if p := n.read(ev); p.frames() != 1+pictures || p.size != int64(len(b)) {
				t.Errorf("%+v: %d frames", ev, p.frames())
			}
		}
		t.Log(took, least)
	})
}

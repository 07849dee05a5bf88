package dvr

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"srs/flv"
	"srs/hook"
)

// TestDamageInTheMiddle: what a repair cuts off is told of when it could be read. A
// leftover of another program is left as it is then, and the line says what to do.
func TestDamageInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tags []flv.Tag
		for i := range uint32(50) {
			tags = append(tags, key(i*40))
		}
		whole := left(t, newSite(t, "rec/[app]/[stream].flv"), "x", tags...)
		foreign := flv.AppendTag(flv.AppendHeader(nil, true, true), metadata())
		for _, tag := range tags {
			foreign = flv.AppendTag(foreign, tag)
		}
		step := len(flv.AppendTag(nil, tags[0]))
		damaged := func(b string, whole int) string { // behind so many whole frames
			b = strings.Clone(b)
			at := len(b) - (50-whole)*step
			return b[:at] + "\x00\xff\x00" + b[at+3:]
		}
		dir := t.TempDir()
		n := again(t, dir)
		for name, text := range map[string]string{
			"ours": damaged(whole, 20), "nothing": damaged(whole, 0), "torn": whole[:len(whole)-3], "foreign": damaged(string(foreign), 20),
			"tail": string(foreign) + "\x00\xff\x00 and no more",
		} {
			write(t, dir+"/rec/live/"+name+".flv.tmp", text)
		}
		rest(t, dir+"/rec/live/foreign.flv.tmp", dir+"/rec/live/tail.flv.tmp")
		n.run()
		synctest.Wait()
		n.wantFiles("rec/live/foreign.flv.tmp", "rec/live/nothing.flv.tmp", "rec/live/ours.flv", "rec/live/tail.flv", "rec/live/torn.flv")
		for name, want := range map[string]string{"foreign": damaged(string(foreign), 20), "nothing": damaged(whole, 0)} {
			if b, err := os.ReadFile(dir + "/rec/live/" + name + ".flv.tmp"); err != nil || string(b) != want {
				t.Errorf("%s is not as it was: %v", name, err)
			}
		}
		told := slices.SortedFunc(slices.Values(n.events()), func(a, b hook.Event) int { return strings.Compare(a.File, b.File) })
		for i, want := range []struct {
			file, err   string
			frames, cut int
		}{
			{"ours", fmt.Sprintf("damaged at byte %d: %d bytes cut off", len(whole)-30*step, 30*step), 20, 30 * step},
			{"tail", "", 50, 15},
			{"torn", "", 49, step - 3},
		} {
			ev := told[i]
			cut := fmt.Sprintf("path=rec/live/%s.flv duration=%v size=%d frames=%d cut=%d\n", want.file, ev.Duration, ev.Size, want.frames, want.cut)
			if ev.File != "rec/live/"+want.file+".flv" || ev.Error != want.err || !strings.Contains(n.log(), cut) {
				t.Errorf("%+v, want %+v\n%s", ev, want, n.log())
			}
		}
		if line := logged(n.log(), "path=rec/live/foreign.flv.tmp", "error"); !strings.Contains(line, "goes on at byte") || !strings.Contains(line, "srs dvr repair --cut FILE") ||
			strings.Count(n.log(), "foreign.flv") != 1 || strings.Count(n.log(), "nothing.flv") != 1 {
			t.Error(n.log())
		}
	})
}

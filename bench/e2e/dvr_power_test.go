package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Of linux/ext4.h: a file system ends at once, and what it has not written yet,
// its journal included, is lost.
const (
	ext4Shutdown = 0x8004587d
	withoutFlush = 2
)

// TestDV12 cuts the power: what the disk has not got is lost, of files and of
// folders. After the restart each stream has its file, whole and announced, and
// lacks no more than what may wait for the disk. Few recordings are synced one by
// one, many together.
func TestDV12(t *testing.T) {
	const maxLost = 2500 // ms: dvr_sync, the time between two looks, and a second for a busy machine
	rounds := kills(t, "DVR_CUTS", 1)
	clipTags(t)
	for _, streams := range []int{3, 20} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			t.Parallel()
			rcv := newReceiver(t)
			s, dir := onDisk(t, `truncate -s 256M "$0.img"; mkfs.ext4 -q -F "$0.img"; mount -o loop "$0.img" "$0"`, rcv, "dvr_sync 1000;")
			var lost []int // ms
			for round := range rounds {
				var urls []string
				for i := range streams {
					urls = append(urls, s.url(fmt.Sprintf("rec/r%d-%d", round, i)))
				}
				feeders, sent := feedFor(t, 3*time.Second+rand.N(1500*time.Millisecond), urls)
				disk, err := os.Open(dir)
				if err != nil {
					t.Fatal(err)
				}
				err = unix.IoctlSetPointerInt(int(disk.Fd()), ext4Shutdown, withoutFlush)
				disk.Close()
				if err != nil {
					t.Fatalf("power cut: %v", err)
				}
				s.kill()
				for _, f := range feeders {
					f.end()
				}
				s, dir = s.againOn(t, `mount -o loop "$0.img" "$0"`)
				for i := range streams {
					name := fmt.Sprintf("r%d-%d", round, i)
					lost = append(lost, sent[i]-wantSurvived(t, rcv, dir, name, nil))
				}
				if t.Failed() {
					t.Fatalf("in round %d; left are %q", round, recordings(t, dir))
				}
				for _, name := range recordings(t, dir) { // they have been looked at
					if strings.HasSuffix(name, ".flv") {
						os.Remove(dir + "/" + name)
					}
				}
			}
			wantLost(t, fmt.Sprint(rounds, " cuts"), lost, maxLost)
		})
	}
}

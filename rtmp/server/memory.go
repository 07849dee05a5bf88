package server

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// When memory is given back to the system. The runtime would do it by itself,
// but on a quiet server only minutes after a crowd has left, or has come.
const (
	trimOver     = 8 << 20          // bytes let go of since the last time
	trimDelay    = 2 * time.Second  // the rest of the crowd may be leaving too
	trimEvery    = 10 * time.Second // at most this often
	sessionBytes = 16 << 10         // what a connection holds besides half messages, about
	joinBytes    = 8 << 10          // what its commands and their answers took, about
)

// ringMemory is how many bytes all streams may keep: a quarter of the machine's.
func ringMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 1 << 30
	}
	return max(int64(info.Totalram)*int64(info.Unit)/4, 64<<20)
}

// trimmer gives memory back some time after much was let go of.
type trimmer struct {
	mu    sync.Mutex
	freed int
	high  int64 // bytes that streams held since what they let go of was counted
	last  time.Time
	timer *time.Timer // nil: nothing is due
}

// add counts bytes that have become free.
func (t *trimmer) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.freed += n
	if t.freed < trimOver || t.timer != nil {
		return
	}
	t.timer = time.AfterFunc(max(trimDelay, trimEvery-time.Since(t.last)), t.trim)
}

// saw notes how many bytes the streams hold.
func (t *trimmer) saw(held int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.high = max(t.high, held)
}

// fell counts what streams hold no longer, of the most they held, when somebody
// has left who may have been why.
func (t *trimmer) fell(held int64) {
	t.mu.Lock()
	n := t.high - held
	t.high = held
	t.mu.Unlock()
	if n > 0 {
		t.add(int(n))
	}
}

func (t *trimmer) trim() {
	t.mu.Lock()
	t.freed, t.timer, t.last = 0, nil, time.Now()
	t.mu.Unlock()
	runtime.GC() // a pool keeps what it has over one collection
	debug.FreeOSMemory()
}

// stop cancels what is due.
func (t *trimmer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}

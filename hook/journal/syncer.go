package journal

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// sync is the syncer's goroutine: it makes durable what was written.
func (j *Journal) sync() {
	for {
		<-j.wakeS
		for j.commit() {
		}
		j.mu.Lock()
		ended := j.ended
		j.mu.Unlock()
		if ended {
			return
		}
	}
}

// commit syncs once and reports whether there is more.
func (j *Journal) commit() bool {
	j.mu.Lock()
	f, n := j.file, len(j.unsynced)
	j.mu.Unlock()
	if n == 0 {
		wake(j.synced)
		return false
	}
	begun := time.Now()
	j.busy(&j.syncing, true)
	err := j.flush(f)
	j.busy(&j.syncing, true) // the disk has answered; what follows may ask it more
	defer j.busy(&j.syncing, false)
	j.mu.Lock()
	if j.file != f { // given up by the writer
		j.mu.Unlock()
		return false
	}
	if err != nil {
		j.mu.Unlock()
		j.fail(nil, false)
		j.setTrouble(fmt.Errorf("fdatasync: %w", err))
		return false
	}
	stored := j.unsynced[:n:n]
	j.unsynced = j.unsynced[n:]
	if len(j.unsynced) == 0 {
		j.unsynced = nil
	}
	for _, e := range stored {
		j.dropCopyLocked(e)
	}
	rolling, behind := j.rolling, j.behind
	j.telling = true
	j.mu.Unlock()
	if !behind {
		j.setTrouble(nil)
	}
	j.o.Stored(stored)
	j.mu.Lock()
	j.telling = false
	j.mu.Unlock()
	j.busy(&j.syncing, false)
	wake(j.synced)
	if !rolling {
		timer := time.NewTimer(commitEvery - time.Since(begun))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-j.quit:
		}
	}
	return true
}

func fdatasync(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Fdatasync(int(fd)) })
	if err != nil {
		return err
	}
	return failed
}

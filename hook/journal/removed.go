package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"
)

// lookEvery is how often the writer looks whether its files are still there, while
// it writes: a cleaner of old files, or an owner, may have removed them.
const lookEvery = time.Second

// look puts back what somebody has removed.
func (j *Journal) look() error {
	if time.Since(j.looked) < lookEvery {
		return nil
	}
	j.looked = time.Now()
	j.mu.Lock()
	f := j.file
	j.mu.Unlock()
	j.busy(&j.writing, true)
	if !removed(f) && !removed(j.lock) {
		return nil
	}
	j.awaitSync() // the syncer leaves the file alone from here on
	j.busy(&j.writing, true)
	lost, err := j.putBack()
	if err != nil {
		return fmt.Errorf("its files were removed and cannot be made anew: %w", err)
	}
	j.o.Log.Error("files of the journal were removed while the server uses them: the newest was written again, what only older ones had is lost",
		"dir", j.o.Dir, "lost_records", lost)
	return nil
}

// current is the open file of a segment, which may have been removed; nil: it has none.
func (j *Journal) current(number uint32) *os.File {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil || j.segments[len(j.segments)-1].number != number {
		return nil
	}
	return j.file
}

// removed reports whether an open file has no name any more.
func removed(f *os.File) bool {
	if f == nil {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false // given up meanwhile
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink == 0
}

// putBack makes the directory, the lock, the state and the newest segment anew
// where they are missing. It returns how many records that are held are lost.
func (j *Journal) putBack() (lost int, err error) {
	if err := os.MkdirAll(j.o.Dir, 0o700); err != nil {
		return 0, err
	}
	if removed(j.lock) {
		l, err := lock(j.o.Dir)
		if err == nil {
			err = j.onlyOurs()
		}
		if err != nil {
			if l != nil {
				l.Close()
			}
			return 0, err
		}
		j.lock.Close()
		j.lock = l
	}
	if err := j.writeStateAnew(); err != nil {
		return 0, err
	}
	j.keepSpare()
	j.mu.Lock()
	f, segments := j.file, slices.Clone(j.segments)
	j.mu.Unlock()
	if removed(f) {
		s := segments[len(segments)-1]
		anew, err := copyOf(f, name(j.o.Dir, s.number), int64(s.size))
		if err == nil {
			err = syncDir(j.o.Dir)
		}
		if err != nil {
			return 0, err
		}
		j.mu.Lock()
		j.file = anew
		j.mu.Unlock()
		f.Close()
	}
	for _, s := range segments {
		if _, err := os.Stat(name(j.o.Dir, s.number)); errors.Is(err, fs.ErrNotExist) {
			j.mu.Lock()
			lost += s.held
			j.mu.Unlock()
		}
	}
	return lost, nil
}

func (j *Journal) writeStateAnew() error {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	j.mu.Lock()
	state := j.state
	state.Below = max(state.Below, j.below)
	j.mu.Unlock()
	return writeState(j.o.Dir, state)
}

// onlyOurs reports as an error that another server has had the directory meanwhile.
func (j *Journal) onlyOurs() error {
	numbers, err := list(j.o.Dir)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, n := range numbers {
		if !slices.ContainsFunc(j.segments, func(s *segment) bool { return s.number == n }) {
			return fmt.Errorf("%s has the journal of another server: restart, or move it away", j.o.Dir)
		}
	}
	return nil
}

// copyOf makes a file with the first bytes of another, on disk.
func copyOf(f *os.File, path string, size int64) (*os.File, error) {
	anew, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(anew, io.NewSectionReader(f, 0, size))
	if err == nil {
		err = anew.Sync()
	}
	if err != nil {
		anew.Close()
		os.Remove(path)
		return nil, err
	}
	return anew, nil
}

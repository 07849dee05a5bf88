package journal

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// A directory that cannot be used is tried again, at first soon, then less often.
const (
	minTake = time.Second
	maxTake = 30 * time.Second
)

// aside ends the names of files that are kept to be looked at: they cannot be
// read, or only in part.
const aside = ".bad"

// Open takes a directory, made if it is missing, and replays what is in it. One
// that another server has is an error, unless Options.Patient. Any other that cannot
// be used is tried again until it can; what is appended waits meanwhile.
func Open(o Options) (*Journal, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{
		o: o, quit: make(chan struct{}), flush: fdatasync, put: (*os.File).WriteAt, unlink: os.Remove, most: batchBytes, seq: 1,
		wakeW: make(chan struct{}, 1), wakeS: make(chan struct{}, 1), synced: make(chan struct{}, 1),
	}
	if j.refused = j.take(); errors.Is(j.refused, ErrInUse) && !o.Patient {
		return nil, j.refused
	}
	if j.refused != nil {
		j.seq = uint64(time.Now().UnixMicro()) // behind whatever may be in there
	}
	return j, nil
}

// Start begins to write, and removes what is not held.
func (j *Journal) Start() {
	if j.refused == nil {
		j.o.Taken()
	} else {
		j.setTrouble(j.refused)
	}
	j.done.Go(j.write)
	j.done.Go(j.sync)
}

// awaitTake tries until the directory is taken. It returns false when Close comes
// first.
func (j *Journal) awaitTake() bool {
	for wait := minTake; j.refused != nil; wait = min(2*wait, maxTake) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-j.quit:
			timer.Stop()
			return false
		}
		j.busy(&j.writing, true)
		err := j.take()
		j.busy(&j.writing, false)
		switch {
		case err == nil:
			j.refused = nil
			j.o.Taken()
			j.setTrouble(nil)
		case err.Error() != j.refused.Error():
			j.o.Log.Error("the journal's directory still cannot be used", "error", err.Error())
			j.refused = err
		}
	}
	return true
}

// take makes the directory ours and reads it.
func (j *Journal) take() error {
	if err := os.MkdirAll(j.o.Dir, 0o700); err != nil {
		return err
	}
	l, err := lock(j.o.Dir)
	if err != nil {
		return err
	}
	state, bad := ReadState(j.o.Dir)
	if err := j.replay(); err != nil {
		l.Close()
		return err
	}
	if bad != nil {
		j.o.Log.Error("the journal's state is not readable, a new one is made", "dir", j.o.Dir, "error", bad.Error())
	}
	j.lock = l
	j.keepSpare()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state, j.below = state, max(j.below, state.Below)
	return nil
}

func (j *Journal) replay() error {
	numbers, err := list(j.o.Dir)
	if err != nil {
		return err
	}
	var segments []*segment
	var ends, gaps []int // of them: where the last whole record ends; bytes before that in none
	var number uint32
	var seq uint64
	record, lost := j.o.Replay(), 0
	for _, n := range numbers {
		path := name(j.o.Dir, n)
		number = n
		b, err := load(path, 0)
		if err != nil {
			return err
		}
		salt, ok := parseHeader(b, n)
		if !ok {
			if len(b) < headerSize { // killed while it was made
				os.Remove(path)
				continue
			}
			if err := os.Rename(path, path+aside); err != nil {
				return err
			}
			lost++
			j.o.Log.Error("a file in the journal is none of ours and was moved aside", "file", path+aside)
			continue
		}
		end, damaged, places := scan(b, n, salt, headerSize, func(r Record) {
			seq = max(seq, r.Seq)
			record(r)
		})
		if end == headerSize && len(b) > headerSize {
			if err := os.Rename(path, path+aside); err != nil {
				return err
			}
			lost++
			j.o.Log.Error("a file in the journal has no record that can be read and was moved aside: what was in it is lost",
				"file", path+aside, "bytes", len(b))
			continue
		}
		segments = append(segments, &segment{number: n, salt: salt, size: len(b)})
		ends = append(ends, end)
		gaps = append(gaps, damaged)
		lost += places
	}
	for i, s := range segments {
		path, damaged, torn := name(j.o.Dir, s.number), gaps[i], s.size-ends[i]
		if i < len(segments)-1 { // only the newest can be torn: see below, and fail
			if torn > 0 {
				lost++
			}
			damaged, torn = damaged+torn, 0
		}
		if torn > 0 {
			j.o.Log.Info("the journal has a torn end: the server was killed while it wrote", "file", path, "bytes", torn)
			if err := os.Truncate(path, int64(ends[i])); err != nil { // so that it is known at the next start
				return err
			}
			s.size = ends[i]
		}
		if damaged > 0 {
			if err := os.Link(path, path+aside); err != nil && !errors.Is(err, fs.ErrExist) {
				j.o.Log.Warn("a damaged file of the journal cannot be kept", "error", err.Error())
			}
			j.o.Log.Error("the journal is damaged: records are lost, those around them are not", "file", path, "bytes", damaged)
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments, j.number, j.seq, j.unreadable = segments, number, max(j.seq, seq+1), lost
	return nil
}

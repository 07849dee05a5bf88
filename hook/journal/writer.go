package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"
)

// write is the writer's goroutine: it puts the queue into the file.
func (j *Journal) write() {
	defer func() {
		j.mu.Lock()
		j.ended = true
		j.mu.Unlock()
		wake(j.wakeS)
	}()
	if !j.awaitTake() {
		return
	}
	for {
		wait := j.writeQueue()
		j.remove()
		j.keepState()
		j.busy(&j.writing, false)
		if wait == 0 {
			select {
			case <-j.wakeW:
				continue
			case <-j.quit:
			}
		} else {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
				continue
			case <-j.quit:
				timer.Stop()
			}
		}
		j.mu.Lock()
		j.retryAt, j.looked = time.Time{}, time.Time{} // one last try
		j.mu.Unlock()
		j.writeQueue()
		j.keepState()
		j.awaitSync() // no more of the disk
		return
	}
}

// writeQueue writes until the queue is empty, or the disk fails: then it returns
// how long to wait.
func (j *Journal) writeQueue() time.Duration {
	for {
		if err := j.look(); err != nil {
			j.mu.Lock()
			j.retryAt = time.Now().Add(retryEvery)
			j.mu.Unlock()
			j.setTrouble(err)
		}
		j.mu.Lock()
		j.sweepLocked()
		wait := time.Until(j.retryAt)
		n, size := 0, 0
		for n < len(j.queue) && size < j.most {
			size += recordSize(len(j.queue[n].Payload))
			n++
		}
		if n == 0 || wait > 0 {
			j.mu.Unlock()
			return max(wait, 0)
		}
		batch := slices.Clone(j.queue[:n])
		for _, e := range batch {
			e.state = written
		}
		j.queue = j.queue[n:]
		if len(j.queue) == 0 {
			j.queue = nil
		}
		full := j.file != nil && j.segments[len(j.segments)-1].size >= segmentBytes
		j.mu.Unlock()
		if full {
			j.roll()
		}
		j.busy(&j.writing, true)
		torn, err := j.writeBatch(batch, size)
		if err == nil {
			j.most = min(2*j.most, batchBytes)
			continue
		}
		j.most = max(j.most/4, leastBatch)
		j.fail(batch, torn)
		if !j.remove() && !(noRoom(err) && j.rescue()) { // or there may be room now
			j.setTrouble(err)
			continue
		}
		j.mu.Lock()
		j.retryAt = time.Time{}
		j.mu.Unlock()
	}
}

// writeBatch appends entries to the file, a new one if there is none. After an
// error the file may have some of them if torn.
func (j *Journal) writeBatch(batch []*Entry, size int) (torn bool, err error) {
	j.mu.Lock()
	f := j.file
	j.mu.Unlock()
	if f == nil {
		if f, err = j.create(false); err != nil {
			return false, err
		}
	}
	j.mu.Lock()
	s := j.segments[len(j.segments)-1]
	j.mu.Unlock()
	if cap(j.buf) < size || cap(j.buf) > 2*batchBytes {
		j.buf = make([]byte, 0, size)
	}
	buf := j.buf[:0]
	for _, e := range batch {
		at := s.size + len(buf)
		buf = appendRecord(buf, s.salt, e.Kind, e.Seq, e.Payload)
		e.place = Place{s.number, uint32(at), uint32(s.size + len(buf) - at)}
	}
	if _, err := j.put(f, buf, int64(s.size)); err != nil {
		return f.Truncate(int64(s.size)) != nil, err // half a record would look like damage
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != f { // the syncer has lost its trust meanwhile
		return true, os.ErrInvalid
	}
	s.size += len(buf)
	j.unsynced = append(j.unsynced, batch...)
	for _, e := range batch {
		if e.Hold {
			j.holdLocked(e.place, 1)
		}
		if e.Written != nil {
			close(e.Written)
			e.Written = nil
		}
	}
	j.behind = j.behind && len(j.queue) > 0
	wake(j.wakeS)
	return false, nil
}

// create begins a segment, in the spare file where the disk is full.
func (j *Journal) create(inSpare bool) (*os.File, error) {
	var salt [4]byte
	rand.Read(salt[:])
	j.mu.Lock()
	j.number++
	s := &segment{number: j.number, salt: binary.LittleEndian.Uint32(salt[:]), size: headerSize}
	j.mu.Unlock()
	path, flags := name(j.o.Dir, s.number), os.O_RDWR|os.O_CREATE|os.O_TRUNC
	if inSpare {
		if err := j.takeSpare(path); err != nil {
			return nil, err
		}
		flags = os.O_RDWR | os.O_CREATE // its room stays
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = j.put(f, appendHeader(nil, s.number, s.salt), 0)
	if err == nil {
		err = syncDir(j.o.Dir)
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append(j.segments, s)
	j.file = f
	return f, nil
}

// roll ends a full segment.
func (j *Journal) roll() {
	j.awaitSync()
	j.busy(&j.writing, true)
	j.mu.Lock()
	f := j.file
	j.file = nil
	j.mu.Unlock()
	if f != nil {
		f.Close()
	}
}

// awaitSync waits until the syncer is through with the file and has told so, or gave
// the file up.
func (j *Journal) awaitSync() {
	j.busy(&j.writing, false)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rolling = true
	for len(j.unsynced) > 0 || j.telling {
		wake(j.wakeS)
		j.mu.Unlock()
		<-j.synced
		j.mu.Lock()
	}
	j.rolling = false
}

// fail gives a file up: what is not known to be on disk goes back to the head
// of the queue. batch is what was just being written, torn if the file may have
// some of it. Of what the file has a copy of, that is held until another is on
// disk, or its owner needs none.
func (j *Journal) fail(batch []*Entry, torn bool) {
	j.mu.Lock()
	f := j.file
	if f != nil {
		whole := int64(j.segments[len(j.segments)-1].size)
		defer func() {
			f.Truncate(whole) // half a record would look like damage
			f.Close()
		}()
		j.file = nil
		for _, e := range j.unsynced {
			e.again = true
			switch {
			case !e.Hold:
			case e.letGo || e.copy != (Place{}):
				j.holdLocked(e.place, -1)
			default:
				e.copy = e.place
			}
		}
		if s := j.segments[len(j.segments)-1]; s.size == headerSize { // nothing whole is in it
			defer j.unlink(name(j.o.Dir, s.number))
			j.segments = j.segments[:len(j.segments)-1]
		}
	}
	for _, e := range batch {
		if e.again = e.again || torn; !e.again {
			e.state = queued
		}
	}
	j.queue = slices.Concat(j.unsynced, batch, j.queue)
	j.unsynced = nil
	j.behind = true
	j.retryAt = time.Now().Add(retryEvery)
	j.mu.Unlock()
	wake(j.synced)
	wake(j.wakeW)
}

// remove deletes the oldest segments as long as nothing in them is held, also
// where the records that say so are not written yet: then they are about nothing.
func (j *Journal) remove() (any bool) {
	defer func() {
		if any {
			j.keepSpare()
		}
	}()
	for {
		j.mu.Lock()
		if len(j.segments) == 0 || j.segments[0].held > 0 || len(j.segments) == 1 && j.file != nil {
			j.mu.Unlock()
			return any
		}
		s := j.segments[0]
		j.segments = j.segments[1:]
		j.mu.Unlock()
		j.busy(&j.writing, true)
		if err := j.unlink(name(j.o.Dir, s.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			j.o.Log.Warn("a journal file that is not needed cannot be removed", "error", err.Error())
		}
		any = true
	}
}

// keepState writes the state when it is behind.
func (j *Journal) keepState() {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	j.mu.Lock()
	s := j.state
	s.Below = j.below
	changed := s != j.state
	j.mu.Unlock()
	if !changed {
		return
	}
	j.busy(&j.writing, true)
	err := writeState(j.o.Dir, s)
	if err == nil {
		j.mu.Lock()
		j.state.Below = s.Below
		j.mu.Unlock()
	} else if !j.stateFailed {
		j.o.Log.Error("the highest client id cannot be kept: should the clock go back before the next start, ids may repeat", "error", err.Error())
	}
	j.stateFailed = err != nil
}

package journal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// The spare file: room that is ours when a disk is full, so that what is still needed
// of segments that are mostly waste can be written once more before they are removed.
// It becomes the segment that has it.
const (
	maxSpare  = 1 << 20  // some 4000 begins
	minSpare  = 16 << 10 // less is not worth a file
	spareOf   = 4        // of a small disk it has this part
	spareName = "spare"
)

func spare(dir string) string { return filepath.Join(dir, spareName) }

// keepSpare makes the spare file where there is none and the disk has room for it, and
// has one that was made while there was little grow when there is more. Without one the
// journal works all the same: see rescue.
func (j *Journal) keepSpare() {
	path := spare(j.o.Dir)
	j.spare = 0
	var file unix.Stat_t
	if unix.Stat(path, &file) == nil && file.Size == 0 && file.Blocks*512 >= minSpare {
		j.spare = file.Blocks * 512 // also that of the last run
	}
	var disk unix.Statfs_t
	if unix.Statfs(j.o.Dir, &disk) != nil {
		return
	}
	most := min(maxSpare, int64(disk.Blocks)*int64(disk.Bsize)/spareOf)
	if most < max(2*j.spare, minSpare) {
		return
	}
	flags := os.O_RDWR | os.O_CREATE
	if j.spare == 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for size := most; size >= max(2*j.spare, minSpare); size /= 2 {
		if j.spare > 0 && size-j.spare > int64(disk.Bavail)*int64(disk.Bsize)/2 {
			continue // the disk is still full, or nearly
		}
		if unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size) == nil {
			j.spare = size
			return
		}
	}
	if j.spare == 0 {
		os.Remove(path) // too small a disk, or one that promises nothing
	}
}

// noRoom reports whether a write has failed for want of room.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// rescue makes room on a full disk where little is needed of the oldest segments, and
// reports whether it could: that little is written to the spare file and synced first,
// and only then they are removed. So a crash loses nothing. What is needed and does not
// fit there keeps its segment, and all behind it, until its owner lets go of it.
func (j *Journal) rescue() bool {
	numbers, room := j.wasted()
	if len(numbers) == 0 || j.o.Needed == nil {
		return false
	}
	batch := j.o.Needed(numbers)
	size := 0
	for _, e := range batch {
		e.state = written
		size += recordSize(len(e.Payload))
	}
	j.mu.Lock()
	inThere := func(e *Entry) bool { return e.copy != (Place{}) && slices.Contains(numbers, e.copy.Segment) }
	var waiting []*Entry // their owner does not know yet that they are anywhere
	for _, e := range j.queue {
		if inThere(e) {
			waiting = append(waiting, e)
			size += recordSize(len(e.Payload))
		}
	}
	batch = append(batch, waiting...)
	if len(batch) == 0 || size > room {
		j.mu.Unlock()
		return false
	}
	j.queue = slices.DeleteFunc(slices.Clone(j.queue), inThere)
	j.mu.Unlock()
	j.busy(&j.writing, true)
	_, err := j.create(true)
	if err == nil {
		_, err = j.writeBatch(batch, size)
	}
	if err != nil {
		j.fail(waiting, false)
		j.keepSpare()
		return false
	}
	j.awaitSync()
	return j.remove()
}

// wasted finds the oldest segments of which so little is held that it has room in the
// spare file, if it is worth it.
func (j *Journal) wasted() (numbers []uint32, room int) {
	room = minSpare // should there be no spare file, in what the disk may have left
	if j.spare > 0 {
		room = int(j.spare)
	}
	room -= leastBatch // the file's header, and what the file system needs
	j.mu.Lock()
	defer j.mu.Unlock()
	size, held := 0, 0
	for _, s := range j.segments {
		if held+s.bytes > room {
			break
		}
		held += s.bytes
		size += s.size
		numbers = append(numbers, s.number)
	}
	if size-held < held+leastBatch {
		return nil, 0
	}
	return numbers, room
}

// takeSpare gives the spare file a segment's name. Where there is none it does nothing.
func (j *Journal) takeSpare(path string) error {
	j.spare = 0
	if err := os.Rename(spare(j.o.Dir), path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

package dvr

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
)

const (
	writeSize  = 64 << 10  // the buffer is written when it has this much
	keepBuffer = 256 << 10 // a larger one (a large tag) is not kept
)

// A file is one recording on disk. Only whole tags are ever given to the
// kernel, and what fell short of that is cut off at the end:
//
//	append ... flush ... sync ... append ... complete
//	  |          |         |                    |
//	buffer     kernel    disk          patched, renamed to PATH
//
// After an error only complete may follow.
type file struct {
	// Static after openFile.
	claim    claim
	os       *os.File
	metadata flv.FileMetadata

	buf      []byte    // whole tags that the kernel has not got
	waiting  time.Time // since when buf has something; zero: it has not
	unsynced time.Time // since when the disk lacks something; zero: it does not
	size     int64     // up to the end of the last whole tag in the kernel
	sum      summary   // of those tags
	lost     int       // frames that were appended and never written
	err      error     // the first
}

// openFile creates a file for a stream whose publisher sent this onMetaData (nil
// for none). Nothing is left behind when it fails.
func openFile(dir string, want place, published []byte) (*file, error) {
	c, o, err := create(dir, want)
	if err != nil {
		return nil, err
	}
	f := &file{claim: c, os: o, metadata: flv.NewFileMetadata(published)}
	// Both flags until it is known what came: a reader of the growing file then
	// looks for both.
	n, err := o.Write(flv.AppendHeader(nil, true, true))
	if err != nil {
		err = errors.Join(err, c.remove(o), o.Close())
		return nil, err
	}
	f.size = int64(n)
	return f, nil
}

// append takes a tag; its Data is copied. It says whether the buffer is full.
func (f *file) append(t flv.Tag, now time.Time) (full bool) {
	if len(f.buf) == 0 {
		f.waiting = now
		if f.unsynced.IsZero() {
			f.unsynced = now
		}
	}
	f.buf = flv.AppendTag(f.buf, t)
	return len(f.buf) >= writeSize
}

// due is when step has something to do, zero for never.
func (f *file) due() time.Time {
	var due time.Time
	if !f.unsynced.IsZero() {
		due = f.unsynced.Add(syncAfter)
	}
	if !f.waiting.IsZero() {
		if flush := f.waiting.Add(flushAfter); due.IsZero() || flush.Before(due) {
			due = flush
		}
	}
	return due
}

// step does what is due.
func (f *file) step(now time.Time) error {
	if err := f.flush(); err != nil {
		return err
	}
	if !f.unsynced.IsZero() && now.Sub(f.unsynced) >= syncAfter {
		return f.sync()
	}
	return nil
}

// flush gives the buffer to the kernel. What counts of it are the whole tags
// that were taken.
func (f *file) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	n, err := f.os.Write(f.buf)
	rest := f.buf[:n]
	for {
		t, behind, ok := flv.Split(rest)
		if !ok {
			break
		}
		f.sum.add(t)
		rest = behind
	}
	taken := n - len(rest)
	f.size += int64(taken)
	f.lost += countFrames(f.buf[taken:])
	f.waiting = time.Time{}
	f.buf = f.buf[:0]
	if cap(f.buf) > keepBuffer {
		f.buf = nil
	}
	return f.fail(err)
}

// sync brings everything to the disk and looks whether the file is still there.
func (f *file) sync() error {
	f.unsynced = time.Time{}
	if err := datasync(f.os); err != nil {
		return f.fail(err)
	}
	return f.fail(f.claim.present(f.os))
}

func (f *file) fail(err error) error {
	if f.err == nil {
		f.err = err
	}
	return err
}

// complete ends the file. With no frame in it the file is removed and the place
// is empty. Errors of the medium stay in f.err and do not keep the file from its
// name: what is in it is better found than not. The error returned says that
// there is no file of that name.
func (f *file) complete() (place, error) {
	defer f.os.Close()
	if f.err == nil {
		f.flush()
	}
	if f.sum.frames == 0 {
		return place{}, f.claim.remove(f.os)
	}
	if f.err != nil { // perhaps with a part of a tag behind the last whole one
		f.fail(f.os.Truncate(f.size))
	}
	f.fail(f.patch())
	f.fail(datasync(f.os))
	to, err := f.claim.publish(f.os)
	if to.name != "" {
		f.fail(err)
		return to, nil
	}
	return to, err
}

// patch writes over what was not known before the end.
func (f *file) patch() error {
	const body = flv.HeaderSize + flv.TagHeader // of the metadata, always the first tag
	_, err := f.os.WriteAt([]byte{flv.Flags(f.sum.audio, f.sum.video)}, flv.FlagsAt)
	for _, p := range f.metadata.Patches(f.sum.duration().Seconds(), f.size) {
		if err == nil {
			_, err = f.os.WriteAt(p.Data, body+int64(p.At))
		}
	}
	return err
}

// datasync is fdatasync(2).
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// A summary is what a file has in it.
type summary struct {
	audio, video bool // any tag
	frames       int
	first, end   uint32 // time line, ms
	tracks       [2]track
}

// A track is where one kind of media is on the time line.
type track struct {
	seen       bool
	last, step uint32
}

// longestStep is the longest time from one frame to the next of its kind that is
// taken for the length of a frame.
const longestStep = 1000

func (s *summary) add(t flv.Tag) {
	s.audio = s.audio || t.Type == flv.TypeAudio
	s.video = s.video || t.Type == flv.TypeVideo
	info := flv.Sniff(t.Type, t.Data)
	if info&(flv.AudioFrame|flv.VideoFrame) == 0 {
		return
	}
	if s.frames == 0 {
		s.first = t.Timestamp
	}
	s.frames++
	track := &s.tracks[t.Type&1]
	if step := t.Timestamp - track.last; track.seen && step > 0 && step <= longestStep {
		track.step = step
	}
	track.seen, track.last = true, t.Timestamp
	s.end = max(s.end, t.Timestamp+track.step)
}

// duration is the time from the first frame to the end of the last one: a frame
// lasts as long as the one before it.
func (s *summary) duration() time.Duration {
	if s.end < s.first {
		return 0
	}
	return time.Duration(s.end-s.first) * time.Millisecond
}

// countFrames counts the frames among the whole tags of b.
func countFrames(b []byte) int {
	var s summary
	for {
		t, rest, ok := flv.Split(b)
		if !ok {
			return s.frames
		}
		s.add(t)
		b = rest
	}
}

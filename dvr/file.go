package dvr

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
	"srs/rtmp/live"
)

const (
	writeSize  = 128 << 10                      // the buffer is written when it has this much
	keepBuffer = 256 << 10                      // a larger one (a large tag) is not kept
	metadataAt = flv.HeaderSize + flv.TagHeader // of the body: always the first tag
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
	claim     claim
	os        *os.File
	metadata  flv.FileMetadata // without its body
	syncAfter time.Duration
	crowd     *crowd                 // nil: it is on its own
	aside     func(call func())      // has a goroutine make a call to the disk
	goes      func(naming bool) bool // of its recording

	// Who has written into it last.
	publisher live.Publisher
	log       *slog.Logger
	passed    bool // lately: its note names the one before

	public    bool   // others may read it as it grows: it is another user's
	continued int    // 0, or the Frames of sum when it was reopened
	from      int64  // then: the time at which it goes on, milliseconds
	began     int64  // likewise: its size
	unsaid    bool   // that it goes on
	cut       string // why it ends, where that is not the end of its publish

	missed    loss // in front of the file, or of its pictures
	missedFor string
	begun     time.Time // when its first frame came

	buf      []byte      // whole tags that the kernel has not got; borrowed from buffers while there are any
	anchored bool        // its name is on the disk, too
	unsynced time.Time   // since when the disk lacks something; zero: it does not
	written  time.Time   // when the kernel got something last
	before   time.Time   // likewise, at the last look
	looked   time.Time   // when that was
	seen     time.Time   // the crowd's newest sync then
	waits    time.Time   // since when its next is waited for; zero: it is not
	own      ownSync     // its own
	covered  bool        // a sync has ended; whether it is still there is to be looked at
	size     int64       // up to the end of the last whole tag in the kernel
	room     int64       // up to where its disk keeps room for it
	sum      flv.Summary // of those tags
	lost     int         // frames that were appended and never written
	gaps     int         // times that the disk was slower than the stream
	skipped  int         // frames, then
	inode    uint64      // known when it ends
	marked   markFile    // likewise
	err      error       // the first
}

// buffers are for the files that are looked at just now: each fills one and gives
// it back when the kernel has its bytes. A few serve all, and stay in the
// processor's cache.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 2*writeSize)
	return &b
}}

// openFile creates a file with its header and metadata. Nothing is left behind
// when it fails.
func openFile(dir string, want place, metadata flv.FileMetadata, syncAfter time.Duration) (*file, error) {
	c, o, err := create(dir, want)
	if err != nil {
		return nil, err
	}
	// Both flags until it is known what came: a reader of the growing file then
	// looks for both.
	b := flv.AppendTag(flv.AppendHeader(nil, true, true), flv.Tag{Type: flv.TypeScript, Data: metadata.Body})
	n, err := o.Write(b)
	if err != nil {
		err = errors.Join(err, c.remove(o), o.Close())
		return nil, err
	}
	metadata.Body = nil
	return &file{claim: c, os: o, metadata: metadata, syncAfter: syncAfter, size: int64(n), goes: always}, nil
}

// append takes a tag; its Data is copied. It says whether the buffer is full.
func (f *file) append(t flv.Tag, now time.Time) (full bool) {
	if f.unsynced.IsZero() {
		f.unsynced = now
	}
	if f.buf == nil {
		f.buf = *buffers.Get().(*[]byte)
	}
	f.buf = flv.AppendTag(f.buf, t)
	return len(f.buf) >= writeSize
}

// look is called before tags are appended that have come since the last step. It
// sees what a sync of its own has brought to the disk, or the crowd's: everything,
// or all but what was written since it began.
func (f *file) look(now time.Time) {
	f.own.look()
	f.seen = f.crowd.newest()
	switch {
	case f.unsynced.IsZero():
	case covers(f.seen, f.written), covers(f.own.good, f.written):
		f.progress(time.Time{})
	case f.unsynced.Before(f.looked) && covers(f.seen, f.before):
		f.progress(f.looked)
	case f.unsynced.Before(f.own.good):
		f.progress(f.own.good)
	}
	f.looked, f.before = now, f.written
}

// progress notes that a sync has brought to the disk what came before a time, or
// everything.
func (f *file) progress(unsynced time.Time) {
	f.unsynced, f.covered, f.waits = unsynced, true, time.Time{}
}

// idle says that a step has nothing to do.
func (f *file) idle() bool {
	return len(f.buf) == 0 && f.own.err == nil && !f.covered && f.unsynced.IsZero()
}

// step gives the buffer to the kernel, and has it brought to the disk when it is
// time.
func (f *file) step(now time.Time) error {
	if err := errors.Join(f.flush(), f.own.err); err != nil {
		return f.fail(err)
	}
	if f.covered {
		f.covered, f.anchored = false, true
		if err := f.claim.present(f.os); err != nil {
			return f.fail(err)
		}
	}
	switch {
	case f.unsynced.IsZero(), now.Sub(f.unsynced)+flushAfter < f.syncAfter: // the next step would not be too late
	case f.own.running != nil, f.soon(now):
	default:
		anchored := f.anchored
		f.own.begin(f.aside, func() error { return f.bring(anchored) })
	}
	return nil
}

// soon says whether a sync of the crowd is on its way. It may be one that began
// before the bytes in question came, so none is waited for beyond the next look.
func (f *file) soon(now time.Time) bool {
	if !f.waits.IsZero() && now.Sub(f.waits) >= flushAfter/2 || !f.crowd.due(f.os, f.seen, now) {
		f.waits = time.Time{}
		return false
	}
	if f.waits.IsZero() {
		f.waits = now
	}
	return true
}

// bring brings everything that was written to the disk, and its name if it has
// not been there.
func (f *file) bring(anchored bool) error {
	if err := datasync(f.os); err != nil || anchored {
		return err
	}
	return f.claim.anchor()
}

// settle brings everything to the disk, before a long time without frames, and
// looks whether the file is still there.
func (f *file) settle() error {
	f.own.wait()
	if err := errors.Join(f.flush(), f.own.err); err != nil || f.unsynced.IsZero() {
		return f.fail(err)
	}
	f.unsynced, f.waits = time.Time{}, time.Time{}
	err := f.bring(f.anchored)
	f.anchored = f.anchored || err == nil
	return f.fail(errors.Join(err, f.claim.present(f.os)))
}

// flush gives the buffer to the kernel. What counts of it are the whole tags
// that were taken.
func (f *file) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	f.makeRoom()
	n, err := 0, f.whole()
	if err == nil {
		n, err = f.os.Write(f.buf)
		f.written = time.Now()
	}
	rest := f.buf[:n]
	for {
		t, behind, ok := flv.Split(rest)
		if !ok {
			break
		}
		f.sum.Add(t, f.size)
		f.size += int64(len(rest) - len(behind))
		rest = behind
	}
	f.lost += countFrames(f.buf[n-len(rest):])
	if b := f.buf[:0]; cap(b) <= keepBuffer {
		buffers.Put(&b)
	}
	f.buf = nil
	if err == nil && f.passed {
		err = f.renote()
	}
	return f.fail(err)
}

// Room that is kept on the disk for what is to be written to a file that is no small
// one. The kernel has less to do for each write then.
const (
	firstRoom = 256 << 10
	roomAhead = 1 << 20
)

// makeRoom does so for the buffer and what follows, where the file system knows how and
// has so much.
func (f *file) makeRoom() {
	need := f.size + int64(len(f.buf))
	if need < firstRoom || need <= f.room {
		return
	}
	need += roomAhead
	f.room = need
	if unix.Fallocate(int(f.os.Fd()), unix.FALLOC_FL_KEEP_SIZE, f.size, need-f.size) != nil {
		f.room = math.MaxInt64
	}
}

func (f *file) fail(err error) error {
	if f.err == nil {
		f.err = err
	}
	return err
}

// grown says whether a frame has come to what was there when it was opened.
func (f *file) grown() bool { return f.sum.Frames > f.continued }

// complete ends the file. With no frame in it the file is removed and the place
// is empty. That the medium fails is in f.err and keeps the file from its name
// only when the metadata cannot be written: then it is to be completed later. The
// error returned says that there is no file of that name.
func (f *file) complete(who facts, heard bool) (place, error) {
	defer f.crowd.leave()
	defer f.os.Close()
	defer unlock(f.os) // a sync of the crowd may keep it open
	f.own.wait()
	f.fail(f.own.err)
	f.flush() // when that has failed before, nothing is left of it
	if !f.goes(false) {
		return place{}, errLeft
	}
	if err := f.whole(); err != nil {
		f.fail(err)
	}
	if _, is := errors.AsType[meddling](f.err); is {
		if err := f.salvage(); err != nil {
			return place{}, err
		}
	}
	if f.sum.Frames == 0 {
		return place{}, f.claim.remove(f.os)
	}
	if f.err != nil || f.room > f.size { // perhaps with a part of a tag behind the last whole one
		f.fail(f.os.Truncate(f.size))
	}
	note := ""
	if f.grown() { // else there is nothing to be announced
		m := f.mark(who, heard)
		note, _ = m.set(f.claim, f.os) // what hinders it hinders the rest, or nothing
		f.marked = m.file
	} else {
		f.marked = markFile{}
	}
	if err := f.metadata.Complete(f.os, metadataAt, &f.sum, f.size, note); err != nil {
		return place{}, err
	}
	f.fail(datasync(f.os))
	if f.claim.made && !f.anchored {
		f.fail(f.claim.anchor())
	}
	if !f.goes(true) { // it keeps its mark, or note
		return place{}, errLeft
	}
	to, err := f.claim.finish(f.os, note != "", true, func() error {
		return f.metadata.Complete(f.os, metadataAt, &f.sum, f.size, "")
	})
	if to.name == "" {
		return to, err
	}
	f.fail(err)
	return to, nil
}

// ends prepares the mark, before complete.
func (f *file) ends() {
	if info, err := f.os.Stat(); err == nil {
		f.inode = inode(info)
	}
	f.marked = f.claim.newMark(f.inode)
}

// mark is what is to be announced.
func (f *file) mark(who facts, heard bool) mark {
	return mark{
		facts: who, Duration: f.sum.Duration(), Size: f.size, Error: f.shortfall(),
		file: f.marked, inode: f.inode, heard: heard, frames: f.sum.Frames - f.continued,
	}
}

const slowDisk = "slow disk"

// start is where that lacks which was lost in front of what this recording has written.
func (f *file) start() string {
	if f.from > 0 {
		return fmt.Sprintf("at %.3f s: ", float64(f.from)/1000)
	}
	return before
}

// shortfall says what a file lacks, empty for nothing.
func (f *file) shortfall() string {
	var what []string
	if n := f.missed.frames; n > 0 {
		what = append(what, f.start()+framesLost(f.missedFor, n))
	}
	if f.err != nil && f.lost > 0 {
		what = append(what, framesLost(cause(f.err), f.lost))
	} else if f.err != nil {
		what = append(what, cause(f.err))
	}
	if f.gaps > 0 {
		what = append(what, fmt.Sprintf("%s: %d gaps, %d frames lost", slowDisk, f.gaps, f.skipped))
	}
	return strings.Join(what, "; ")
}

// datasync is fdatasync(2).
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// countFrames counts the frames among the whole tags of b.
func countFrames(b []byte) int {
	n := 0
	for {
		t, rest, ok := flv.Split(b)
		if !ok {
			return n
		}
		if flv.Sniff(t.Type, t.Data)&(flv.AudioFrame|flv.VideoFrame) != 0 {
			n++
		}
		b = rest
	}
}

package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Our own choices.
const (
	commitEvery = 20 * time.Millisecond // at most one sync in this time
	retryEvery  = time.Second           // between tries of a disk that failed
	stallAfter  = time.Second           // without an answer the disk counts as failing
	batchBytes  = 1 << 20               // written at once, about
	leastBatch  = 4 << 10               // likewise by a disk that is full
	wasteBytes  = 16 << 20              // on disk and not held, before anything is moved
	maxCanceled = 1024                  // in the queue, beyond as many that are not
)

// Options are what a Journal needs.
type Options struct {
	Dir     string
	Log     *slog.Logger // nil: silent
	Patient bool         // a directory that another server has is tried again like any other

	// Replay begins to read what the directory holds: what it returns gets every
	// record, oldest first. It is called by Open, and again for each try of a
	// directory that could not be used then. Taken tells that this was all, before
	// anything is written: the owner says now what of that it holds.
	Replay func() func(Record)
	Taken  func()

	// Stored tells which entries are safely on disk, in the order they were
	// appended. Trouble tells that the disk fails or hangs, and with nil that
	// this is over. None of the three is called while a method other than Start
	// runs in the same goroutine.
	Stored  func([]*Entry)
	Trouble func(error)

	// Needed is asked on a full disk what is still needed of some segments: it returns
	// entries that have it once more, with their Seq. Once they are stored their owner
	// releases what they stand for.
	Needed func(segments []uint32) []*Entry
}

// An Entry is a record on its way to the disk. The owner sets the exported
// fields and changes none of them after Append.
type Entry struct {
	Kind    byte
	Seq     uint64 // 0: Append counts on
	Payload []byte
	Hold    bool          // the record is needed until Release
	Owner   any           // for Stored
	Written chan struct{} // not nil: closed when the record survives the process; then ours

	// Guarded by Journal.mu.
	state entryState
	place Place
	copy  Place // held: in a file that was given up, and perhaps all there is; zero: none
	again bool  // some of it may be in a file that was given up
	letGo bool  // its owner has tried to cancel it: it needs no copy
}

// Place is where a stored entry stands. Valid in Stored and after it.
func (e *Entry) Place() Place { return e.place }

type entryState uint8

const (
	queued   entryState = iota
	written             // or being written; also while that is done once more after a failure
	canceled            // never written
)

// A segment is one file.
type segment struct {
	number uint32
	salt   uint32
	size   int // bytes written
	held   int // records
	bytes  int // of them
}

// A Journal appends records. It is safe for concurrent use.
type Journal struct {
	// Static after construction.
	o      Options
	wakeW  chan struct{} // capacity 1: the writer has something to do
	wakeS  chan struct{} // capacity 1: so has the syncer
	synced chan struct{} // capacity 1: the syncer is through
	quit   chan struct{} // closed by Close
	done   sync.WaitGroup
	flush  func(*os.File) error                              // fdatasync, or a test's
	put    func(f *os.File, b []byte, at int64) (int, error) // WriteAt, or a test's
	unlink func(path string) error                           // os.Remove, or a test's

	// The writer's, once it runs.
	refused     error // why the directory is not taken; nil: it is
	lock        *os.File
	buf         []byte
	most        int   // bytes written at once: less when the disk has refused more
	spare       int64 // bytes of the spare file; 0: there is none
	stateFailed bool
	looked      time.Time

	stateMu   sync.Mutex // held while the state's file is written
	troubleMu sync.Mutex // held while Trouble is called

	mu         sync.Mutex
	queue      []*Entry // not written
	canceled   int      // of them, about
	unsynced   []*Entry // written to file, which is not synced yet
	telling    bool     // Stored is being called
	seq        uint64
	segments   []*segment // oldest first; the last one is file's if file is open
	number     uint32     // of the segment made last
	file       *os.File   // nil: a new one is needed
	rolling    bool       // the writer waits for the syncer
	behind     bool       // not all that waited when the disk failed is written
	retryAt    time.Time
	writing    time.Time // since when the writer waits for the disk; zero: it does not
	syncing    time.Time // likewise the syncer
	watch      *time.Timer
	trouble    bool // written under troubleMu, too
	hung       bool // that is only that the disk does not answer
	state      State
	below      uint64 // wanted in state
	unreadable int    // places, of the start
	closing    bool
	ended      bool // the writer is
}

// State returns the facts kept beside the records.
func (j *Journal) State() State {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state
}

// Unreadable is in how many places the directory had what could not be read: damaged
// records, of which there may be several in a place, and files moved aside.
func (j *Journal) Unreadable() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.unreadable
}

// SetState keeps facts, at once.
func (j *Journal) SetState(s State) error {
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	j.mu.Lock()
	j.state, j.below = s, max(j.below, s.Below)
	j.mu.Unlock()
	return writeState(j.o.Dir, s)
}

// KeepBelow has State.Below raised soon.
func (j *Journal) KeepBelow(n uint64) {
	j.mu.Lock()
	j.below = max(j.below, n)
	j.mu.Unlock()
	wake(j.wakeW)
}

// Append queues an entry and returns.
func (j *Journal) Append(e *Entry) {
	if len(e.Payload) > MaxPayload {
		panic(fmt.Sprintf("journal: a record of %d bytes", len(e.Payload)))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if e.Seq == 0 {
		e.Seq = j.seq
		j.seq++
	}
	if j.closing {
		return // the next start finds out from what there is
	}
	j.queue = append(j.queue, e)
	if j.watch == nil {
		j.watch = time.AfterFunc(stallAfter, j.watched)
	}
	wake(j.wakeW)
}

// Cancel takes an entry back that was not written yet, and reports whether it
// could. One that was may be lost with its file, from then on.
func (j *Journal) Cancel(e *Entry) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch e.state {
	case written:
		e.letGo = true
		j.dropCopyLocked(e)
		return false
	case canceled:
		return true
	}
	e.state = canceled
	e.Payload, e.Owner = nil, nil // the writer may be stuck for long
	if j.canceled++; j.canceled >= maxCanceled && j.canceled > len(j.queue)/2 {
		j.sweepLocked()
	}
	return true
}

// dropCopyLocked lets go of what an entry has in a file that was given up.
func (j *Journal) dropCopyLocked(e *Entry) {
	if e.copy != (Place{}) {
		j.holdLocked(e.copy, -1)
		e.copy = Place{}
		wake(j.wakeW)
	}
}

// sweepLocked takes what was canceled out of the queue.
func (j *Journal) sweepLocked() {
	j.queue = slices.DeleteFunc(j.queue, func(e *Entry) bool { return e.state == canceled })
	j.canceled = 0
}

// Hold says that a replayed record is needed.
func (j *Journal) Hold(p Place) { j.hold(p, 1) }

// Release says that a record is not needed any more.
func (j *Journal) Release(p Place) { j.hold(p, -1) }

func (j *Journal) hold(p Place, n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.holdLocked(p, n)
	if n < 0 && j.segments[0].held == 0 && len(j.segments) > 1 {
		wake(j.wakeW)
	}
}

func (j *Journal) holdLocked(p Place, n int) {
	for _, s := range j.segments {
		if s.number == p.Segment {
			s.held += n
			s.bytes += n * int(p.size)
			if s.held < 0 {
				panic("journal: released twice")
			}
			return
		}
	}
	panic(fmt.Sprintf("journal: no segment %d", p.Segment))
}

// ErrDamaged says that a record is lost for good.
var ErrDamaged = errors.New("the record is damaged")

// Read returns the payload of a record that is held.
func (j *Journal) Read(p Place) ([]byte, error) {
	f, err := os.Open(name(j.o.Dir, p.Segment))
	if errors.Is(err, fs.ErrNotExist) {
		if f = j.current(p.Segment); f == nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	} else if err != nil {
		return nil, err
	} else {
		defer f.Close()
	}
	b := make([]byte, p.size)
	switch _, err := f.ReadAt(b, int64(p.offset)); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s is too short: %w", f.Name(), ErrDamaged)
	case err != nil:
		return nil, err
	}
	j.mu.Lock()
	var salt uint32
	for _, s := range j.segments {
		if s.number == p.Segment {
			salt = s.salt
		}
	}
	j.mu.Unlock()
	r, size := parseRecord(b, salt)
	if size == 0 {
		return nil, fmt.Errorf("%s, byte %d: %w", f.Name(), p.offset, ErrDamaged)
	}
	return r.Payload, nil
}

// Wasteful names the oldest segment when far more is on disk than is held. Its
// owner is asked to append what it still needs of it, and to release the rest.
func (j *Journal) Wasteful() (number uint32, yes bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.segments) < 2 || j.trouble {
		return 0, false
	}
	size, held := 0, 0
	for _, s := range j.segments {
		size += s.size
		held += s.bytes
	}
	return j.segments[0].number, size-held > held+wasteBytes
}

// Close writes what is queued and gives the directory up. When ctx ends before,
// it leaves the disk to itself: the directory is given up once that has answered.
func (j *Journal) Close(ctx context.Context) error {
	j.mu.Lock()
	if j.closing {
		j.mu.Unlock()
		return nil
	}
	j.closing = true
	close(j.quit)
	j.mu.Unlock()
	done := make(chan struct{})
	go func() {
		j.done.Wait()
		j.giveUp()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("the journal %s does not answer: %w", j.o.Dir, ctx.Err())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	lost := 0
	for _, e := range j.queue {
		if e.state != canceled {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d records could not be written to %s", lost, filepath.Clean(j.o.Dir))
	}
	return nil
}

// giveUp lets another have the directory, once both goroutines are gone.
func (j *Journal) giveUp() {
	j.mu.Lock()
	if j.watch != nil {
		j.watch.Stop()
	}
	j.mu.Unlock()
	if j.lock != nil {
		j.lock.Close()
	}
}

// wake fills a channel of capacity 1.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Package dvr records publishes as FLV files (directive block dvr).
//
// A Recorder is told of every publish (Published, it is a live.Watcher) and
// starts one goroutine for each whose vhost records. That goroutine reads the
// stream with a reader of its own and writes PATH.tmp; when the publish ends
// the file is completed, renamed to PATH and announced as on_dvr. Close waits
// for all of them: the last files are complete before the hooks are shut down.
//
//	live.Reader ─→ recording (what goes into which file) ─→ file (bytes on disk) ─→ on_dvr
//
// A failing or slow disk never touches the stream: the recording falls behind,
// its reader skips, and the file has a gap; on an error the file is completed
// with what it has, and another one is tried every ten seconds.
//
// Beside the recordings a caretaker (Start) repairs what a killed server has left
// and completes what could not be completed, and a janitor removes old files, in
// each directory on its own (chore.go).
//
// Which publishes share a file is in turn.go, what goes into which file in
// recording.go and plan.go, at which time in clock.go, what becomes of it in
// outcome.go; file.go has the bytes, continued.go those of a file that goes on,
// cut.go what somebody leaves of them, disk.go their way to the kernel, together.go
// that to the disk, path.go the names, repair.go what becomes of files that a crash
// has left, lookout.go when they are looked for, leftover.go how, left.go what is
// told of recordings that a disk keeps from their end, mark.go what keeps an
// announcement from getting lost, origins.go where former configurations recorded to,
// and store.go is the only place that touches the directories of recordings.
package dvr

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"srs/conf"
	"srs/hook"
	"srs/rtmp/live"
)

// Bounds of ours.
const (
	maxLag      = 8 << 20                // bytes that a recording may be behind its stream
	maxLags     = 512 << 20              // that all may be together
	maxDrain    = 4096                   // frames taken at a time
	flushAfter  = 480 * time.Millisecond // a byte waits no longer for the kernel, on a machine that has time: 500 ms are promised, and each write costs
	closingPoll = 20 * time.Millisecond  // and no longer than this once Close was called
	retryAfter  = 10 * time.Second       // between tries of a new file
	closeGrace  = time.Second            // of the time for Close, to complete files of publishes that still run; and for chores
	maxHold     = 30_000                 // ms that are waited for a keyframe, to begin with a picture or to cut
	maxLead     = 1000                   // ms that sound may come behind its picture at a cut and keep its time
)

// Options are what a Recorder needs. Conf and Tell must be set.
type Options struct {
	Conf func() *conf.Config              // the configuration in force; asked once per publish
	Tell func(on hook.Event, kept func()) // takes on_dvr, and says when that survives a crash; must not block
	Log  *slog.Logger
	Cwd  string           // where relative paths begin, and "cwd" of on_dvr
	Now  func() time.Time // wall clock, for names only

	Origins string // file that remembers where was recorded to; empty: nothing is remembered
}

// A Recorder records every publish it is told of. It is safe for concurrent use.
type Recorder struct {
	// Static after construction.
	Options
	ctx     context.Context // ends when Close has no more time
	stop    context.CancelFunc
	closing chan struct{} // closed by Close
	born    time.Time
	lag     *live.Lag // of all readers
	origins origins

	running sync.WaitGroup // recordings
	cares   atomic.Int64   // goroutines beside them

	telling sync.Mutex // from the choice of what is told next until it is, which blocks nobody

	// Guarded by mu.
	mu       sync.Mutex
	closed   bool
	disks    map[string]*disk      // by directory of a template
	crowds   map[uint64]*crowd     // by device
	byName   map[string]*recording // those that further publishes may enter, by turn.name
	active   map[*recording]bool   // that run
	marks    []pendingMark         // oldest first
	owned    map[string]bool       // marks of this process
	kept     map[[2]string]*kept   // what the janitor knows, by vhost and directory; each has one goroutine
	unmended []unmended
	held     []news              // what waits for older files of its stream, in the order of these
	promised map[string]bool     // paths of those of unmended, or tried just now; true: it is known what they are
	chores   map[chore]*sign     // under way
	lookouts map[string]*lookout // by directory
	searches int                 // of all of them
}

// New returns a Recorder without publishes.
func New(o Options) *Recorder {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Recorder{
		Options: o, origins: origins{file: o.Origins}, born: time.Now(), lag: live.NewLag(maxLag, maxLags), closing: make(chan struct{}),
		disks: make(map[string]*disk), crowds: make(map[uint64]*crowd), byName: make(map[string]*recording), active: make(map[*recording]bool), owned: make(map[string]bool), kept: make(map[[2]string]*kept),
		chores: make(map[chore]*sign), lookouts: make(map[string]*lookout), promised: make(map[string]bool),
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

// settings gives the dvr block of a vhost, false when the stream is not recorded.
func (r *Recorder) settings(p live.Publisher) (conf.DVR, bool) {
	for _, v := range r.Conf().Vhosts {
		if v.Name == p.Vhost {
			return v.DVR, v.Enabled && v.DVR.Enabled && applies(v.DVR, p.App, p.Stream)
		}
	}
	return conf.DVR{}, false
}

// heard says whether on_dvr of a vhost goes anywhere.
func (r *Recorder) heard(vhost string) bool {
	return slices.ContainsFunc(r.Conf().Vhosts, func(v *conf.Vhost) bool {
		return v.Name == vhost && v.Hooks.Enabled && len(v.Hooks.OnDVR) > 0
	})
}

// record starts a recording of a publish whose frames open gives. It returns at
// once; the recording ends with its publish, at the latest when Close gives up.
func (r *Recorder) record(p live.Publisher, open func() source) {
	settings, ok := r.settings(p)
	if !ok {
		return
	}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.running.Add(1) // Close waits from here on
	r.mu.Unlock()
	t := turn{publisher: p, settings: settings, source: open(), begun: time.Now()}
	rec, fresh := r.enter(t)
	if !fresh {
		r.running.Done() // the recording it has entered counts itself
		return
	}
	go func() {
		defer r.running.Done()
		defer func() {
			r.mu.Lock()
			delete(r.active, rec)
			r.mu.Unlock()
		}()
		rec.run(t)
	}()
}

// Close waits until every file is complete. Publishes should have ended before;
// those that have not are cut off shortly before ctx ends. An error says that
// files were left as ".tmp" because the disk did not answer in time; each is told of.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.closing)
	}
	r.mu.Unlock()

	cut, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		cut, cancel = context.WithDeadline(ctx, deadline.Add(-min(closeGrace, time.Until(deadline)/2)))
	}
	defer cancel()
	defer r.stop()
	defer r.tellHeld(time.Time{}, true)

	done := make(chan struct{})
	go func() {
		defer close(done)
		r.running.Wait()
	}()
	select {
	case <-done:
		r.leaveChores(ctx)
		return nil
	case <-cut.Done():
	}
	r.stop()
	select {
	case <-done:
		r.leaveChores(ctx)
		return nil
	case <-ctx.Done():
	}
	return fmt.Errorf("dvr: %d recordings not completed, their disks did not answer in time: %w", r.giveUp(), ctx.Err())
}

// leaveChores waits a moment for what is done beside the recordings. What a disk
// keeps waiting then the next start does.
func (r *Recorder) leaveChores(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeGrace)
	defer cancel()
	tick := time.NewTicker(closingPoll)
	defer tick.Stop()
	for r.cares.Load() > 0 {
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for c := range r.chores {
			r.Log.Warn("not waited for, the next start goes on with it", "path", c.dir, "waits", c.kind)
		}
		return
	}
}

// dir is where a place's root is in the file system.
func (r *Recorder) dir(root string) string {
	switch {
	case filepath.IsAbs(root):
		return filepath.Clean(root)
	case r.Cwd != "":
		return filepath.Join(r.Cwd, root)
	}
	return filepath.Clean(root) // "." for ""
}

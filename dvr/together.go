package dvr

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of ours.
const (
	syncCrowd = 16                     // files of a file system that are synced together
	syncWait  = 500 * time.Millisecond // for such a sync, and then a file syncs itself
	syncPause = time.Minute            // without them, after one that was slow or failed
)

// A crowd is the growing files of one file system. When they are many, one syncfs
// stands for a fdatasync of each, which would be a commit of the file system's
// journal every time:
//
//	file A   write....write....write due          write
//	file B       write....write....write | covered    write | not yet
//	crowd                           syncfs
//
// What a file had written before the crowd's sync began is on the disk when that
// has ended well. When it fails each file syncs itself and learns whether it is
// the one; so it does at its end in any case.
type crowd struct {
	// Static after construction.
	able  bool // syncfs of this file system writes all and says whether it could
	sync  func(*os.File) error
	aside func(call func()) // has a goroutine make a call

	mu      sync.Mutex
	files   int
	running bool
	begun   time.Time // the newest sync
	good    time.Time // when the newest began that ended well
	pause   time.Time // no sync before
}

// An ownSync brings one file to the disk, in a goroutine beside its recording.
// That goes on writing meanwhile: what the kernel has, a killed server does not
// lose, however long the disk takes.
type ownSync struct {
	running chan error // has the outcome; nil: none is under way
	begun   time.Time
	good    time.Time // when the newest began that ended well
	err     error     // of the first that failed
}

// begin starts one. Everything that was appended has been written.
func (o *ownSync) begin(aside func(call func()), sync func() error) {
	running := make(chan error, 1)
	o.running, o.begun = running, time.Now()
	aside(func() { running <- sync() })
}

// covers says whether a sync that began at a time and ended well, zero for none,
// has brought to the disk what was written until another.
func covers(good, written time.Time) bool { return !good.IsZero() && !good.Before(written) }

// look sees whether it has ended.
func (o *ownSync) look() {
	select {
	case err := <-o.running:
		o.ended(err)
	default:
	}
}

// wait waits until it has.
func (o *ownSync) wait() {
	if o.running != nil {
		o.ended(<-o.running)
	}
}

func (o *ownSync) ended(err error) {
	o.running = nil
	if err == nil {
		o.good = o.begun
	} else if o.err == nil {
		o.err = err
	}
}

// enterCrowd gives the crowd of a file, one more in it.
func (r *Recorder) enterCrowd(f *os.File) *crowd {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.crowds[st.Dev]
	if c == nil {
		c = &crowd{able: ableToSync(f), sync: syncfs, aside: r.beside}
		r.crowds[st.Dev] = c
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files++
	return c
}

// leave takes a file out of it.
func (c *crowd) leave() {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.files--
	}
}

// newest says when the newest sync began that ended well; zero: there was none.
func (c *crowd) newest() time.Time {
	if c == nil {
		return time.Time{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.good
}

// due is called for a file that is to be synced, and has seen what newest said
// when it looked. When it says soon, that and the others of the crowd wait for a
// common sync, in their own ways: they go on, and may be covered the next time
// they look.
func (c *crowd) due(f *os.File, seen, now time.Time) (soon bool) {
	if c == nil || !c.able {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.good.After(seen) { // it has ended since the file has looked
		return true
	}
	if c.running {
		return now.Sub(c.begun) < syncWait
	}
	if c.files < syncCrowd || now.Before(c.pause) {
		return false
	}
	// The file may be closed meanwhile.
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	own := os.NewFile(uintptr(fd), f.Name())
	c.running, c.begun = true, time.Now()
	c.aside(func() {
		defer own.Close()
		c.ended(c.sync(own))
	})
	return true
}

// ended notes what became of a sync.
func (c *crowd) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
	if err == nil {
		c.good = c.begun
	}
	if now := time.Now(); err != nil || now.Sub(c.begun) > syncWait {
		c.pause = now.Add(syncPause) // others write much there
	}
}

// ableToSync knows file systems of which syncfs(2) is known to bring data to the
// disk; of FUSE, say, it need not.
func ableToSync(f *os.File) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil {
		return false
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
		return true
	}
	return false
}

// syncfs is syncfs(2). Since Linux 5.8 it reports errors of all the file system.
func syncfs(f *os.File) error {
	for {
		if err := unix.Syncfs(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("syncfs", err)
		}
	}
}

package dvr

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
)

// Bounds of repairing.
const (
	repairRate = 64 << 20        // bytes a second that it reads, in each directory
	restFor    = 5 * time.Minute // nobody has written a file for so long that may be another program's
)

var (
	errStopped = errors.New("the server stops") // and the next start goes on
	errForeign = errors.New("another program may be writing the file")
	errNothing = errors.New("nothing of the file is left on its disk")
)

// repairAll repairs what a killed server has left, in each directory one file
// after the other, where recordings go now and where they went before. It forgets
// where nothing more is to be done.
func (r *Recorder) repairAll() {
	r.origins.load()
	now := r.repairIn(r.searchFor(r.patterns()))
	before, err := r.origins.before(r.closing)
	switch {
	case errors.Is(err, errStopped):
		return
	case err != nil:
		r.Log.Error("leftovers are looked for only where dvr_path leads now", "path", r.origins.file, "error", err.Error())
	}
	var former []pattern
	for _, o := range before {
		former = append(former, r.patternOf(o.origin))
	}
	then := r.repairIn(r.searchFor(former))
	for _, over := range slices.Concat(now, then) {
		select {
		case <-over:
		case <-r.closing:
			return // nothing is forgotten
		}
	}
	r.forget(before)
}

// repairIn begins to repair what is in directories.
func (r *Recorder) repairIn(dirs []string) (under []<-chan struct{}) {
	for _, dir := range dirs {
		over := make(chan struct{})
		under = append(under, over)
		r.beside(func() {
			defer close(over)
			r.repairing(dir)
		})
	}
	return under
}

// repairing has a directory repaired, when nobody else is about it.
func (r *Recorder) repairing(dir string) {
	r.mu.Lock()
	l := r.lookouts[dir]
	r.mu.Unlock()
	for {
		if over := r.tend(chore{dir, repairing}, func(alive func()) { r.look(l, alive) }); over != nil {
			<-over
			return
		}
		select {
		case <-time.After(careEvery):
		case <-r.closing:
			return
		}
	}
}

// mend makes a recording of name+".tmp": cut to its last whole tag, patched,
// renamed, announced. What has no frame in it is removed. What somebody writes is
// left alone: files of this server are locked then, and others, known by their
// metadata, or by having none yet, have to be at rest. Killed meanwhile, it is done
// again.
// Marks are the names of marks that may be its own.
func (r *Recorder) mend(p *pattern, name string, known *mark, marks []string) error {
	c := claim{dir: p.dir, want: place{p.root, name}}
	var rep *flv.Report
	var to place
	var m mark
	var err error
	r.disk(p.dir, func() { rep, m, to, err = r.repair(c, p, known, marks) })
	log := r.Log.With("vhost", m.Vhost, "app", m.App, "stream", m.Stream)
	switch {
	case known != nil && errors.Is(err, fs.ErrNotExist):
		return r.missing(c, p, known)
	case err != nil && to.name == "":
		return err // the caller says so, or has
	case to.name == "":
		log.Info("nothing was in the leftover, removed", "path", p.root+name+tmp)
		r.drop(&m.file)
		if known != nil && known.frames > 0 {
			r.lost(c, known, errNothing)
		}
		return nil
	}
	if m.Error != "" {
		log = log.With("reason", m.Error)
	}
	log.Info("recording repaired", "path", to.path(), "duration", rep.Duration(), "size", rep.Size, "frames", rep.Frames, "cut", m.cut)
	r.announceLate(known, news{file: m.file, event: m.event(r.Cwd, to)})
	return nil
}

// missing is what becomes of a recording of this server whose file is not there
// when it is to be completed. As long as its folder is not there either, a disk may
// be away, and the error says so. Else somebody has taken the file: completed it
// by hand (srs dvr repair), when its inode finds it, or removed it.
func (r *Recorder) missing(c claim, p *pattern, m *mark) error {
	var gone bool
	var to place
	r.disk(p.dir, func() {
		if gone = c.gone(m.inode); gone {
			if to = c.completed(*m); to.name != "" {
				c.dropOthers(*m)
			}
		}
	})
	switch {
	case !gone:
		return &fs.PathError{Op: "complete", Path: c.path() + tmp, Err: fs.ErrNotExist}
	case to.name != "":
		r.Log.Info("recording was completed by hand", "vhost", m.Vhost, "app", m.App, "stream", m.Stream, "path", to.path(), "duration", m.Duration, "size", m.Size)
		r.announceLate(m, news{file: m.file, event: m.event(r.Cwd, to)})
		return nil
	}
	r.lost(c, m, errGone)
	return nil
}

// lost tells of a recording that is never to be complete.
func (r *Recorder) lost(c claim, m *mark, why error) {
	r.Log.Error("recording lost", "vhost", m.Vhost, "app", m.App, "stream", m.Stream, "path", c.path()+tmp, "frames", m.frames, "error", why.Error())
	r.drop(&m.file)
	ev := m.facts.event()
	ev.Cwd, ev.File = r.Cwd, c.path()
	ev.Error = andLacks(framesLost(why.Error(), m.frames), m.Error)
	r.announceLate(m, news{event: ev})
}

// repair is mend on the disk. It cuts off what stands behind the last whole tag; in
// the middle of a file only when that is this server's.
func (r *Recorder) repair(c claim, p *pattern, known *mark, marks []string) (rep *flv.Report, m mark, to place, err error) {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return nil, m, place{}, err
	}
	defer root.Close()
	f, err := openRegular(root, c.name()+tmp)
	if err != nil {
		return nil, m, place{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, m, place{}, err
	case known != nil && isOther(info, known.inode):
		return nil, m, place{}, &fs.PathError{Op: "complete", Path: c.path() + tmp, Err: fs.ErrNotExist}
	case known == nil && Rest(f, info) > 0:
		return nil, m, place{}, errForeign // one that begins just now is not to find it locked
	}
	if err := errors.Join(lock(f), c.presentIn(root, f)); err != nil {
		return nil, m, place{}, err
	}
	if _, other := r.isPromised(p, c.name()); known == nil && other {
		return nil, m, place{}, errLocked // its recording ends just now, or did, and sees to it
	}
	if info, err = f.Stat(); err != nil { // nobody writes it any more
		return nil, m, place{}, err
	}
	if err := c.renamable(root); err != nil {
		return nil, m, place{}, err // before a long file is read for nothing
	}
	if known == nil && Rest(f, info) > 0 {
		return nil, m, place{}, errForeign
	}
	ours := known != nil || flv.Ours(f, info.Size())
	from := &paced{from: f, stop: r.closing, alive: p.alive}
	rep, err = flv.Scan(from)
	var more int64
	if err == nil {
		more, err = rep.GoesOn(from)
	}
	cut := info.Size() - rep.Size
	var stale []markFile
	if known != nil {
		m = *known
	} else if err == nil || err == io.EOF || err == io.ErrUnexpectedEOF {
		m, stale = r.whose(c, p, root, rep, info, marks)
	}
	defer func() {
		for _, s := range stale {
			if m.file.name != "" || err == nil && to.name == "" { // it has another, or is gone
				s.remove()
			}
			r.leave(&s)
		}
		switch {
		case to.name != "":
		case known != nil:
			known.file = m.file // for the next try
		default:
			r.leave(&m.file)
		}
	}()
	switch {
	case err == nil && more > 0 && rep.Frames == 0:
		return rep, m, place{}, fmt.Errorf("damaged behind byte %d (%w) with no frame before, and goes on at byte %d", rep.Size, rep.Damage, more)
	case err == nil && more > 0 && !ours:
		return rep, m, place{}, fmt.Errorf("damaged behind byte %d (%w), and goes on at byte %d: srs dvr repair --cut FILE cuts off these %d bytes",
			rep.Size, rep.Damage, more, cut)
	case err == io.EOF, err == io.ErrUnexpectedEOF, err == nil && rep.Frames == 0:
		return rep, m, place{}, c.remove(f)
	case err != nil:
		return rep, m, place{}, err
	}
	m.Recovered, m.Duration, m.Size, m.heard = known == nil, rep.Duration(), rep.Size, r.heard(m.Vhost)
	m.inode, m.cut = inode(info), cut
	if more > 0 {
		m.Error = cutOff(cmp.Or(m.Error, m.Lost), rep.Size, cut)
	}
	note := "" // as in file.complete
	if !m.file.whole {
		if m.file.name != "" {
			stale = append(stale, m.file)
		}
		next := c.newMark(m.inode)
		r.own(&next)
		m.file = next
		if note, _ = m.set(c, f); m.file.name == "" {
			r.disown(&next)
		}
	}
	if err := errors.Join(rep.Repair(f, note), asOld(f, info), datasync(f)); err != nil {
		return rep, m, place{}, err
	}
	c.mode = m.Mode
	to, err = c.finish(f, note != "", ours, func() error { return errors.Join(rep.Repair(f, ""), asOld(f, info)) })
	return rep, m, to, err
}

// Rest is for how long nobody must write to a file that is not this server's before
// it counts as left.
func Rest(f *os.File, info os.FileInfo) time.Duration {
	if flv.Ours(f, info.Size()) {
		return 0
	}
	return max(0, restFor-time.Since(info.ModTime()))
}

// asOld gives a file the time back at which it was recorded: it is announced, and too
// old, by that.
func asOld(f *os.File, info os.FileInfo) error {
	at := unix.NsecToTimeval(info.ModTime().UnixNano())
	return ignore(os.NewSyscallError("futimes", unix.Futimes(int(f.Fd()), []unix.Timeval{at, at})), fs.ErrPermission)
}

// whose finds out whose a leftover is, and its own mark, if it was about to be
// complete. It gives the marks that say nothing, too: they are of no use when it has
// another.
func (r *Recorder) whose(c claim, p *pattern, root *os.Root, rep *flv.Report, info os.FileInfo, marks []string) (m mark, empty []markFile) {
	for _, name := range marks {
		its := markFile{dir: c.dir, name: name}
		if _, number, _, _ := cutMark(name); number != inode(info) || !r.own(&its) {
			continue
		}
		found, err := readMark(root, c.dir, name)
		switch {
		case err != nil:
			r.disown(&its)
		case !found.file.whole:
			empty = append(empty, found.file)
		case found.Size == rep.Size && !m.file.whole:
			m = found
		default: // of a publish before, that has been continued
			r.leave(&found.file)
		}
	}
	if !m.file.whole {
		m.facts = p.whoseFile(c.name(), rep.Note, rep.Owner())
	}
	return m, empty
}

// whoseFile says so of a file without a mark: as its note does, or its owner, or its name.
func (p *pattern) whoseFile(name, note, owner string) facts {
	if who, ok := noted(note); ok {
		return who
	}
	if who, ok := owned(owner); ok {
		return who
	}
	return p.publisher(name)
}

// announceAgain tells of a complete file whose mark is still there: its on_dvr may
// have got lost with the server. It says whether it is one, or whether it waits: the
// file is to be completed first, or another server sees to it.
func (r *Recorder) announceAgain(p *pattern, name, markName string) (told, waits bool) {
	c := claim{dir: p.dir, want: place{p.root, name}}
	its := markFile{dir: p.dir, name: markName}
	if !r.own(&its) {
		return false, false
	}
	var m mark
	var to place
	var err error
	r.disk(p.dir, func() { m, to, waits, err = p.marked(c, markName) })
	switch {
	case to.name != "":
		m.Recovered = true
		if r.heard(m.Vhost) {
			r.Log.Info("recording announced again", "vhost", m.Vhost, "app", m.App, "stream", m.Stream, "path", to.path())
		}
		r.tell(news{file: m.file, event: m.event(r.Cwd, to)})
		return true, false
	case waits || err != nil:
		m.file.unlock()
		r.disown(&its)
		return false, waits || !gone(err)
	}
	whole := m.file.whole
	r.drop(&m.file)
	if whole && r.heard(m.Vhost) {
		r.Log.Warn("a recording is gone before it was surely announced", "vhost", m.Vhost, "app", m.App, "stream", m.Stream, "path", c.path())
		m.Recovered, m.Error = true, andLacks(cmp.Or(m.Error, m.Lost), "the file was removed or moved since")
		r.Tell(m.event(r.Cwd, c.want), func() {})
	}
	return whole, false
}

// marked gives a mark and the place of its complete recording. There is no place
// when the recording is gone, and none yet when it waits for its name.
func (p *pattern) marked(c claim, name string) (m mark, to place, waits bool, err error) {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return m, place{}, false, err
	}
	defer root.Close()
	if m, err = readMark(root, c.dir, name); err != nil {
		return m, place{}, false, err
	}
	var size int64
	if to, size = c.numbered(root, m.inode); to.name == "" {
		info, err := root.Lstat(c.name() + tmp)
		return m, place{}, err == nil && !isOther(info, m.inode), nil
	}
	if m.file.whole && m.Size == size {
		return m, to, false, nil
	}
	// A power cut or a full disk took what was in the mark, or the file has been
	// continued since.
	m.Size = size
	if !m.file.whole {
		m.facts = p.publisher(to.name)
	}
	f, err := openRegular(root, to.name)
	if err != nil {
		return m, to, false, nil
	}
	defer f.Close()
	if lock(f) != nil { // somebody goes on in it
		return m, place{}, true, nil
	}
	if info, err := root.Lstat(to.name); err != nil || isOther(info, m.inode) {
		return m, place{}, true, nil
	}
	told, ours := flv.Tell(f, size)
	m.Duration = told.Duration
	if m.file.whole || !ours {
		return m, to, false, nil
	}
	m.facts = p.whoseFile(to.name, told.Note, told.Owner)
	if told.Note != "" {
		from := &paced{from: f, alive: p.alive}
		if rep, err := flv.Scan(from); err == nil {
			m.Duration = rep.Duration()
			errors.Join(rep.Repair(f, ""), datasync(f))
		}
	}
	claim{dir: c.dir, want: to, mode: m.Mode}.reveal(f) // as it would have been but for the crash
	return m, to, false, nil
}

// paced is a reader that takes its time, so that repairing leaves the disk to
// the recordings.
type paced struct {
	from  *os.File
	stop  <-chan struct{}
	alive func()
	owed  time.Duration
}

func (p *paced) Read(b []byte) (int, error) {
	return p.read(func() (int, error) { return p.from.Read(b) })
}

func (p *paced) ReadAt(b []byte, at int64) (int, error) {
	return p.read(func() (int, error) { return p.from.ReadAt(b, at) })
}

func (p *paced) read(call func() (int, error)) (int, error) {
	if p.owed > 10*time.Millisecond {
		timer := time.NewTimer(p.owed)
		defer timer.Stop()
		select {
		case <-timer.C:
			p.owed = 0
		case <-p.stop:
			return 0, errStopped
		}
	}
	n, err := call()
	p.alive()
	p.owed += time.Duration(n) * time.Second / repairRate
	return n, err
}

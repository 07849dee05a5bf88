package dvr

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

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
)

// repairAll repairs what a killed server has left, in each directory one file
// after the other, where recordings go now and where they went before. It
// remembers where more is to be done.
func (r *Recorder) repairAll() {
	r.origins.load()
	list := r.patterns()
	now := r.repairEach(list, nil)
	before, err := r.origins.before(r.closing)
	switch {
	case errors.Is(err, errStopped):
		return
	case err != nil:
		r.Log.Error("leftovers are looked for only where dvr_path leads now", "path", r.origins.file, "error", err.Error())
	}
	var former []pattern
	for _, o := range before {
		if p := r.patternOf(o); len(addPattern(list, p)) > len(list) {
			former = addPattern(former, p)
		}
	}
	then := r.repairEach(former, now)
	undone, all := now.wait(r.closing)
	more, alsoAll := then.wait(r.closing)
	if undone = append(undone, more...); !all || !alsoAll {
		return // nothing is forgotten
	}
	// Where all has been done it is remembered when something is recorded.
	still := slices.DeleteFunc(before, func(o origin) bool { return len(addPattern(undone, r.patternOf(o))) > len(undone) })
	r.tellAway(still)
	if err := r.origins.keep(still, r.closing); err != nil && !errors.Is(err, errStopped) {
		r.Log.Warn("former places of recordings are not forgotten", "path", r.origins.file, "error", err.Error())
	}
}

// Repairs are under way in some directories.
type repairs struct {
	over map[string]<-chan struct{} // by directory

	mu     sync.Mutex
	undone []pattern // where more is to be done
}

// wait waits for all of them, and says whether they have ended.
func (s *repairs) wait(stop <-chan struct{}) (undone []pattern, all bool) {
	for _, over := range s.over {
		select {
		case <-over:
		case <-stop:
			return nil, false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.undone), true
}

// repairEach begins to repair what patterns find, in each directory when others
// have ended there.
func (r *Recorder) repairEach(list []pattern, others *repairs) *repairs {
	s := &repairs{over: map[string]<-chan struct{}{}}
	byDir := map[string][]pattern{}
	for _, p := range list {
		byDir[p.dir] = append(byDir[p.dir], p)
	}
	for dir, list := range byDir {
		over := make(chan struct{})
		s.over[dir] = over
		r.beside(func() {
			defer close(over)
			if others != nil && others.over[dir] != nil {
				select {
				case <-others.over[dir]:
				case <-r.closing:
					return
				}
			}
			looks := lookoutsOf(list)
			if r.repairing(dir, func(alive func()) { r.repairDir(s, looks, alive) }) {
				r.lookFrom(dir, looks)
			}
		})
	}
	return s
}

// repairing has a directory repaired, when nobody else is about it, and says
// whether it came to that.
func (r *Recorder) repairing(dir string, work func(alive func())) bool {
	for {
		if over := r.tend(chore{dir, repairing}, work); over != nil {
			<-over
			return true
		}
		select {
		case <-time.After(careEvery):
		case <-r.closing:
			return false
		}
	}
}

// repairDir repairs what the patterns of a directory find.
func (r *Recorder) repairDir(s *repairs, list []*lookout, alive func()) {
	begun, n := time.Now(), 0
	for _, l := range list {
		p := l.pattern
		p.alive = alive
		all, err := r.repairBelow(l, &p, &n)
		if !all || err != nil {
			s.mu.Lock()
			s.undone = append(s.undone, p)
			s.mu.Unlock()
		}
		if err != nil && !errors.Is(err, errStopped) && l.fails(err) {
			r.Log.Error("leftovers cannot be looked for", "path", p.root, "error", err.Error())
		}
	}
	if n > 0 {
		r.Log.Info("leftovers looked at", "path", list[0].pattern.root, "files", n, "took", time.Since(begun).Round(time.Millisecond).String())
	}
}

// repairBelow does so for one pattern, counting files, unless that directory has
// been looked into. It says whether nothing is left to be done: all was repaired,
// and the place is there.
func (r *Recorder) repairBelow(l *lookout, p *pattern, n *int) (all bool, err error) {
	fresh, err := l.look()
	if err != nil {
		return false, ignore(err, fs.ErrNotExist) // a disk that is not mounted, perhaps
	}
	if !fresh {
		return true, nil
	}
	all = true
	err = p.walk([]string{tmp, done}, func(f found) error {
		select {
		case <-r.closing:
			return errStopped
		default:
		}
		if f.suffix == tmp && r.isPromised(p, f.name) {
			return nil
		}
		*n++
		if f.suffix == done {
			r.announceAgain(p, f.name)
		} else if err := r.mend(p, f.name, nil); errors.Is(err, errStopped) {
			return err
		} else if err != nil {
			all = false
			if errors.Is(err, errForeign) {
				r.Log.Info("left alone for now, another program may be writing it", "path", p.root+f.name+tmp, "retry", restFor.String())
				r.mendLater(unmended{pattern: *p, name: f.name, due: time.Now().Add(restFor)})
			}
		}
		return nil
	})
	return all, err
}

// mend makes a recording of name+".tmp": cut to its last whole tag, patched,
// renamed, announced. What has no frame in it is removed. What somebody writes is
// left alone: files of this server are locked then, and others, known by their
// metadata, or by having none yet, have to be at rest. Killed meanwhile, it is done
// again.
func (r *Recorder) mend(p *pattern, name string, known *mark) error {
	c := claim{dir: p.dir, want: place{p.root, name}}
	var rep *flv.Report
	var to place
	var m mark
	var err error
	fresh := r.own(c)
	r.disk(p.dir, func() { rep, m, to, err = r.repair(c, p, known) })
	if fresh && to.name == "" {
		r.disown(c)
	}
	log := r.Log.With("vhost", m.Vhost, "app", m.App, "stream", m.Stream)
	switch {
	case known != nil && errors.Is(err, fs.ErrNotExist):
		return r.missing(c, p, *known)
	case known == nil && (errors.Is(err, errLocked) || errors.Is(err, fs.ErrNotExist)):
		return nil
	case errors.Is(err, errForeign), errors.Is(err, errStopped):
		return err
	case err != nil && to.name == "":
		if known == nil { // else it has been said already
			log.Error("recording not repaired; it is left as it is", "path", p.root+name+tmp, "error", err.Error())
		}
		return err
	case to.name == "":
		log.Info("nothing was in the leftover, removed", "path", p.root+name+tmp)
		return nil
	}
	log.Info("recording repaired", "path", to.path(), "duration", rep.Duration(), "size", rep.Size, "frames", rep.Frames, "damaged", rep.Damage != nil)
	r.announce(c, m.event(r.Cwd, to))
	return nil
}

// missing is what becomes of a recording of this server whose file is not there
// when it is to be completed. As long as its folder is not there either, a disk may
// be away, and the error says so. Else somebody has taken the file: completed it
// by hand, when its mark finds it, or removed it.
func (r *Recorder) missing(c claim, p *pattern, m mark) error {
	var gone bool
	var to place
	r.disk(p.dir, func() {
		if gone = c.gone(); gone {
			_, to = c.marked()
		}
	})
	switch {
	case !gone:
		return &fs.PathError{Op: "complete", Path: c.want.path() + tmp, Err: fs.ErrNotExist}
	case to.name != "":
		r.announceAgain(p, c.want.name)
		return nil
	}
	r.Log.Error("recording lost", "vhost", m.Vhost, "app", m.App, "stream", m.Stream, "path", c.want.path()+tmp, "error", errGone.Error())
	r.disk(p.dir, c.unmarkStale)
	ev := m.facts.event()
	ev.Cwd, ev.File = r.Cwd, c.want.path()
	if ev.Error = errGone.Error(); m.Error != "" {
		ev.Error += "; " + m.Error
	}
	r.Tell(ev)
	return nil
}

// repair is mend on the disk.
func (r *Recorder) repair(c claim, p *pattern, known *mark) (rep *flv.Report, m mark, to place, err error) {
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
	if err := errors.Join(lock(f), c.presentIn(root, f)); err != nil {
		return nil, m, place{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, m, place{}, err
	}
	if known == nil && time.Since(info.ModTime()) < restFor && !flv.Ours(f, info.Size()) {
		return nil, m, place{}, errForeign
	}
	rep, err = flv.Scan(&paced{from: f, stop: r.closing, alive: p.alive})
	switch {
	case err == io.EOF, err == io.ErrUnexpectedEOF, err == nil && rep.Frames == 0:
		c.unmark()
		return rep, m, place{}, c.remove(f)
	case err != nil:
		return rep, m, place{}, err
	}
	marked, ok := readMark(root, c.name()+done)
	ok = ok && marked.Stream != ""
	switch {
	case known != nil:
		m = *known
	case ok:
		m = marked
	default:
		who, ok := noted(rep.Note)
		if !ok {
			who = p.publisher(c.name())
		}
		m.facts = who
	}
	m.Recovered, m.Duration, m.Size, m.heard = true, rep.Duration(), rep.Size, r.heard(m.Vhost)
	note := "" // as in file.complete
	if !ok {   // else the mark is whole, and to write it again could cost it
		if err := m.set(c, f); err != nil && !gone(err) {
			who := m.facts
			who.Lost = cmp.Or(m.Error, who.Lost)
			note = who.note()
		}
	}
	if err := errors.Join(rep.Repair(f, note), datasync(f)); err != nil {
		return rep, m, place{}, err
	}
	if to, err = c.publish(f); to.name != "" && note != "" {
		err = errors.Join(err, rep.Repair(f, ""), datasync(f))
	}
	return rep, m, to, err
}

// announceAgain tells of a complete file whose mark is still there: its on_dvr
// may have got lost with the server.
func (r *Recorder) announceAgain(p *pattern, name string) {
	c := claim{dir: p.dir, want: place{p.root, name}}
	if !r.own(c) {
		return
	}
	var m mark
	var to place
	r.disk(p.dir, func() { m, to = c.marked() })
	switch {
	case to.name != "":
		if m.Stream == "" { // a power cut took what was in the mark
			m.facts = p.publisher(name)
		}
		m.Recovered = true
		if r.heard(m.Vhost) {
			r.Log.Info("recording announced again", "vhost", m.Vhost, "app", m.App, "stream", m.Stream, "path", to.path())
		}
		r.announce(c, m.event(r.Cwd, to))
	default:
		r.disk(p.dir, c.unmarkStale)
		r.disown(c)
	}
}

// paced is a reader that takes its time, so that repairing leaves the disk to
// the recordings.
type paced struct {
	from  io.Reader
	stop  <-chan struct{}
	alive func()
	owed  time.Duration
}

func (p *paced) Read(b []byte) (int, error) {
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
	n, err := p.from.Read(b)
	p.alive()
	p.owed += time.Duration(n) * time.Second / repairRate
	return n, err
}

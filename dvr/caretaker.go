package dvr

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"srs/flv"
	"srs/hook"
)

// Bounds of what is done beside the recordings.
const (
	careEvery   = time.Second
	markHold    = time.Second // a mark stays behind its on_dvr, until that is in the journal
	repairRate  = 64 << 20    // bytes a second that repairing reads
	maxUnmended = 10_000      // files that wait for their next try; the others wait for the next start
)

// errStopped ends repairing when the server stops; the next start goes on.
var errStopped = errors.New("the server stops")

// Start begins what is done beside the recordings, until Close: files that a
// killed server has left are repaired and announced, files that could not be
// completed are tried again, old ones are removed. It returns at once.
func (r *Recorder) Start() {
	spare.fill()
	for _, work := range []func(){r.repairAll, r.care, r.clean} {
		r.running.Go(work)
	}
}

// care does what is due, each second.
func (r *Recorder) care() {
	tick := time.NewTicker(careEvery)
	defer tick.Stop()
	for mended := time.Now(); ; {
		spare.fill()
		select {
		case <-r.closing:
			return
		case now := <-tick.C:
			r.unmark(now.Add(-markHold))
			if now.Sub(mended) >= retryAfter {
				mended = now
				r.mendAgain()
				r.rememberAgain()
			}
		}
	}
}

// Settle removes what stays behind for the time in which announcements may get
// lost. It is called when on_dvr of all files is delivered or in the journal.
func (r *Recorder) Settle() { r.unmark(time.Now()) }

// unmark removes marks set before a time.
func (r *Recorder) unmark(before time.Time) {
	r.mu.Lock()
	n := 0
	for n < len(r.marks) && !r.marks[n].at.After(before) {
		n++
	}
	due := r.marks[:n]
	r.marks = slices.Clone(r.marks[n:])
	r.mu.Unlock()
	for _, m := range due {
		r.disk(m.claim.dir, m.claim.unmark)
		r.disown(m.claim)
	}
}

// A markName is where a mark is.
type markName struct{ dir, name string }

// own notes that a claim's mark is this process's: it sees to the announcement,
// and nobody else who finds the mark.
func (r *Recorder) own(c claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.owned[markName{c.dir, c.name()}] = true
}

func (r *Recorder) disown(c claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owned, markName{c.dir, c.name()})
}

func (r *Recorder) owns(c claim) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.owned[markName{c.dir, c.name()}]
}

// announce tells of a file, and has its mark removed some time later.
func (r *Recorder) announce(c claim, ev hook.Event) {
	r.Tell(ev)
	r.mu.Lock() // also where nobody is told any more: there may be a mark of before
	defer r.mu.Unlock()
	r.owned[markName{c.dir, c.name()}] = true
	r.marks = append(r.marks, pendingMark{c, time.Now()})
}

// A pendingMark is a mark whose file has been announced.
type pendingMark struct {
	claim claim
	at    time.Time
}

// An unmended file is one whose recording could not be completed.
type unmended struct {
	pattern pattern
	name    string
	known   mark
}

// mendLater has a file completed that is still ".tmp".
func (r *Recorder) mendLater(u unmended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unmended) < maxUnmended {
		r.unmended = append(r.unmended, u)
	}
}

func (r *Recorder) mendAgain() {
	r.mu.Lock()
	list := r.unmended
	r.unmended = nil
	r.mu.Unlock()
	for _, u := range list {
		if r.mend(&u.pattern, u.name, &u.known) != nil {
			r.mendLater(u)
		}
	}
}

// repairAll repairs what a killed server has left, one file after the other,
// where recordings go now and where they went before.
func (r *Recorder) repairAll() {
	begun, n := time.Now(), 0
	r.origins.load()
	list := r.patterns()
	var undone []pattern // of the list
	for _, p := range list {
		all, err := r.repairBelow(&p, &n)
		if !all || err != nil {
			undone = append(undone, p)
		}
		if err != nil && !errors.Is(err, errStopped) {
			r.Log.Error("leftovers cannot be looked for", "path", p.root, "error", err.Error())
		}
	}
	r.repairBefore(list, undone, &n)
	if n > 0 {
		r.Log.Info("leftovers looked at", "files", n, "took", time.Since(begun).Round(time.Millisecond).String())
	}
}

// repairBefore does so where recordings went before, but for the patterns that
// have been done, and remembers where more is to be done.
func (r *Recorder) repairBefore(tried, undone []pattern, n *int) {
	before, err := r.origins.before(r.closing)
	switch {
	case errors.Is(err, errStopped):
		return
	case err != nil:
		r.Log.Error("leftovers are looked for only where dvr_path leads now", "path", r.origins.file, "error", err.Error())
	}
	var still []origin
	for _, o := range before {
		p := r.patternOf(o)
		if len(addPattern(tried, p)) == len(tried) {
			if len(addPattern(undone, p)) == len(undone) {
				still = append(still, o)
			}
			continue // if all has been done it is remembered when something is recorded
		}
		if all, err := r.repairBelow(&p, n); err != nil || !all {
			still = append(still, o)
		}
	}
	if err := r.origins.keep(still, r.closing); err != nil && !errors.Is(err, errStopped) {
		r.Log.Warn("former places of recordings are not forgotten", "path", r.origins.file, "error", err.Error())
	}
}

// repairBelow does so for one pattern, counting files. It says whether nothing is
// left to be done: all was repaired, and the place is there.
func (r *Recorder) repairBelow(p *pattern, n *int) (all bool, err error) {
	if _, err := os.Stat(p.dir); err != nil {
		return false, ignore(err, fs.ErrNotExist) // a disk that is not mounted, perhaps
	}
	all = true
	err = p.walk([]string{tmp, done}, func(f found) error {
		select {
		case <-r.closing:
			return errStopped
		default:
		}
		*n++
		if f.suffix == done {
			r.announceAgain(p, f.name)
		} else if err := r.mend(p, f.name, nil); errors.Is(err, errStopped) {
			return err
		} else if err != nil {
			all = false
		}
		return nil
	})
	return all, err
}

// mend makes a recording of name+".tmp": cut to its last whole tag, patched,
// renamed, announced. What somebody writes is left alone, what has no frame in
// it is removed. Killed meanwhile, it is done again.
func (r *Recorder) mend(p *pattern, name string, known *mark) error {
	c := claim{dir: p.dir, want: place{p.root, name}}
	var rep *flv.Report
	var to place
	var m mark
	var err error
	r.disk(p.dir, func() { rep, m, to, err = r.repair(c, p, known) })
	log := r.Log.With("vhost", m.Vhost, "app", m.App, "stream", m.Stream)
	switch {
	case errors.Is(err, errLocked), errors.Is(err, fs.ErrNotExist), errors.Is(err, errStopped):
		return ignore(ignore(err, errLocked), fs.ErrNotExist)
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
	rep, err = flv.Scan(&paced{from: f, stop: r.closing})
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
	if !ok { // else it is whole, and to write it again could cost it
		m.set(c, f)
	}
	if err := rep.Repair(f); err != nil {
		return rep, m, place{}, err
	}
	if err := datasync(f); err != nil {
		return rep, m, place{}, err
	}
	to, err = c.publish(f)
	return rep, m, to, err
}

// announceAgain tells of a complete file whose mark is still there: its on_dvr
// may have got lost with the server.
func (r *Recorder) announceAgain(p *pattern, name string) {
	c := claim{dir: p.dir, want: place{p.root, name}}
	if r.owns(c) {
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
	}
}

// paced is a reader that takes its time, so that repairing leaves the disk to
// the recordings.
type paced struct {
	from io.Reader
	stop <-chan struct{}
	owed time.Duration
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
	p.owed += time.Duration(n) * time.Second / repairRate
	return n, err
}

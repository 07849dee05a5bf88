package dvr

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"srs/flv"
	"srs/hook"
)

// Settle removes what stays behind for the time in which announcements may get
// lost. It is called when on_dvr of all files is delivered or in the journal, as far
// as it comes to that; the next start announces the others again. It does not wait
// for a disk that hangs either.
func (r *Recorder) Settle() {
	enough := time.NewTimer(closeGrace)
	defer enough.Stop()
	for _, done := range r.unmark(time.Now().Add(retryAfter)) {
		select {
		case <-done:
		case <-enough.C:
			return
		}
	}
}

// A pendingMark is a mark whose file has been announced.
type pendingMark struct {
	file markFile
	kept *atomic.Bool // on_dvr survives a crash
	next time.Time    // not to be tried before
}

// unmark removes the marks that are not needed any more.
func (r *Recorder) unmark(now time.Time) (under []<-chan struct{}) {
	due := func(m pendingMark) (string, bool) { return m.file.dir, m.kept.Load() && !m.next.After(now) }
	return each(r, unmarking, &r.marks, due, func(m pendingMark, _ func()) {
		var err error
		if r.disk(m.file.dir, func() { err = m.file.remove() }); ignore(err, fs.ErrNotExist) == nil {
			r.leave(&m.file)
			return
		}
		m.next = time.Now().Add(retryAfter)
		r.unmarkLater(m)
	})
}

// unmarkLater has a mark removed when that may be. Too many stay until the next
// start, which announces their files once more; and of many some are not locked.
func (r *Recorder) unmarkLater(m pendingMark) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.marks) >= maxLocked {
		m.file.unlock()
	}
	if len(r.marks) < maxUnmended {
		r.marks = append(r.marks, m)
	} else {
		delete(r.owned, m.file.path())
	}
}

// own notes that a mark is this process's: it sees to the announcement, and nobody
// else who finds the mark. It says whether that is new.
func (r *Recorder) own(a *markFile) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := a.path()
	fresh = !r.owned[path]
	r.owned[path] = true
	return fresh
}

func (r *Recorder) disown(a *markFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.owned, a.path())
}

// leave lets others see to a mark.
func (r *Recorder) leave(a *markFile) {
	a.unlock()
	r.disown(a)
}

// drop takes away the mark of what is not to be announced.
func (r *Recorder) drop(a *markFile) {
	if a.name == "" {
		return
	}
	r.disk(a.dir, func() { a.remove() })
	r.leave(a)
}

// News is an on_dvr about a file.
type news struct {
	file  markFile
	event hook.Event

	// Of those that are held.
	late  *mark // that is to be completed yet: its place among those of its stream; nil: it may be told
	since time.Time
}

// maxHeld is how many wait for older files of their streams, and heldFor how long.
const (
	maxHeld = 1000
	heldFor = time.Minute
)

// announce tells of a file, behind the older ones of its stream: one that is to be
// completed later is waited for, for a while.
func (r *Recorder) announce(n news) {
	owner := ownerOf(n.event)
	r.telling.Lock()
	defer r.telling.Unlock()
	if !r.hold(n, func() bool {
		return slices.ContainsFunc(r.held, func(o news) bool { return ownerOf(o.event) == owner })
	}) {
		r.tell(n)
	}
}

// comesLate keeps the place of a file that is to be completed later.
func (r *Recorder) comesLate(m *mark) {
	r.hold(news{late: m, event: m.facts.event()}, func() bool { return true })
}

// hold has an on_dvr wait, if it is to and there is room.
func (r *Recorder) hold(n news, waits func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.held) >= maxHeld || !waits() {
		return false
	}
	if len(r.held) >= maxLocked {
		n.file.unlock()
	}
	n.since = time.Now()
	r.held = append(r.held, n)
	return true
}

// announceLate tells of a file that came late, or was lost, in its place; known is nil
// when nobody has kept it one.
func (r *Recorder) announceLate(known *mark, n news) {
	r.mu.Lock()
	i := slices.IndexFunc(r.held, func(o news) bool { return known != nil && o.late == known })
	if i >= 0 {
		n.since = r.held[i].since
		r.held[i] = n
	}
	r.mu.Unlock()
	if i >= 0 {
		r.tellHeld(time.Now(), false)
		return
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	// What is held of the very same file was told of it before: it was continued since.
	if !r.hold(n, func() bool {
		return slices.ContainsFunc(r.held, func(o news) bool { return o.late == nil && o.event.File == n.event.File })
	}) {
		r.tell(n)
	}
}

// notLate gives up the place of a file that there is nothing to be told of, if it has one.
func (r *Recorder) notLate(known *mark) {
	if known != nil {
		take(r, &r.held, func(n news) bool { return n.late == known })
	}
}

// tell tells of a file, and has its mark removed when that cannot get lost any more.
func (r *Recorder) tell(n news) {
	kept := new(atomic.Bool)
	r.Tell(n.event, func() { kept.Store(true) })
	if n.file.name != "" {
		r.unmarkLater(pendingMark{file: n.file, kept: kept})
	}
}

// tellHeld tells what has nothing older of its stream to wait for any more, or long
// enough; all of it when the server stops.
func (r *Recorder) tellHeld(now time.Time, all bool) {
	r.telling.Lock()
	defer r.telling.Unlock()
	waits := map[string]bool{} // by owner
	for _, n := range take(r, &r.held, func(n news) bool {
		owner := ownerOf(n.event)
		if n.late != nil && !all && now.Sub(n.since) <= heldFor {
			waits[owner] = true
		}
		return !waits[owner]
	}) {
		if n.late == nil {
			r.tell(n)
		}
	}
}

// ownerOf names the stream of an on_dvr.
func ownerOf(ev hook.Event) string {
	return facts{Vhost: ev.Vhost, App: ev.App, Stream: ev.Stream}.owner()
}

// MarkByHand leaves a mark beside a leftover that is about to be completed by hand,
// so that a server that records there announces it: one that has not been, as its
// note says. The path ends in ".tmp"; cut is what is cut off in the middle of it,
// and release is to be called when all is done. No name: nothing is to be announced.
func MarkByHand(f *os.File, path string, rep *flv.Report, cut int64) (name string, release func(), err error) {
	release = func() {}
	who, ok := noted(rep.Note)
	info, err := f.Stat()
	if !ok || err != nil {
		return "", release, err
	}
	c := claim{dir: filepath.Dir(path), want: place{"", strings.TrimSuffix(filepath.Base(path), tmp)}}
	m := mark{facts: who, Duration: rep.Duration(), Size: rep.Size, inode: inode(info), heard: true}
	if cut > 0 {
		m.Error = cutOff(who.Lost, rep.Size, cut)
	}
	m.file = c.newMark(m.inode)
	_, err = m.set(c, f)
	its := m.file
	release = its.unlock
	if err != nil {
		err = fmt.Errorf("it would not be announced (on_dvr), for its mark cannot be made: %w; nothing was changed", err)
	} else if st, ok := info.Sys().(*syscall.Stat_t); ok { // the server is to read it
		err = ignore(its.lock.Chown(int(st.Uid), int(st.Gid)), fs.ErrPermission)
	}
	if err != nil {
		its.remove()
	}
	return its.name, release, err
}

// cutOff adds to what a recording lacks that its end was cut off.
func cutOff(lacks string, at, bytes int64) string {
	return andLacks(lacks, fmt.Sprintf("damaged at byte %d: %d bytes cut off", at, bytes))
}

// andLacks adds to what a recording lacks, empty for nothing.
func andLacks(lacks, more string) string {
	if lacks == "" || more == "" {
		return lacks + more
	}
	return lacks + "; " + more
}

// MarkOf says of the name of a mark whose it is.
func MarkOf(name string) (recording string, ok bool) {
	recording, _, _, ok = cutMark(name)
	return recording, ok
}

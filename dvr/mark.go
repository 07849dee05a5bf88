package dvr

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"srs/hook"
)

// done is behind the name of a mark: a small file that says what is to be
// announced, if anybody hears of it. It is there from before the recording gets its
// name until on_dvr is delivered or in the journal, so that no crash in between
// loses the announcement. Its name has the recording's, the inode of that, and the
// webhook-id of its on_dvr:
//
//	x.flv.tmp                      a recording under way, or left by a killed server
//	x.flv.tmp, x.flv.1f-ID.done    about to be complete
//	x.flv, x.flv.1f-ID.done        complete, perhaps not announced
//	x.flv                          announced
//
// So each on_dvr has a mark of its own, also where several are about one file that
// was continued, or about files that had one name after the other. Who made a mark,
// or has found it, keeps it locked: other servers leave it alone.
const (
	done        = ".done"
	maxMarkSize = 64 << 10
	markRoom    = len(".-") + 16 + idSize + len(done) // behind the recording's name
	idSize      = 26                                  // of rand.Text
	maxLocked   = 128                                 // marks of which descriptors are held
)

// A mark is what is in it.
type mark struct {
	facts
	Duration  time.Duration `json:"duration"`
	Size      int64         `json:"size"`
	Error     string        `json:"error,omitempty"`
	Recovered bool          `json:"-"`

	file   markFile
	inode  uint64 // of the recording, whatever name it got
	heard  bool   // somebody is told: the vhost has a URL for on_dvr
	frames int    // that came to the recording
	cut    int64  // bytes that its repair has cut off
}

// A markFile is where a mark is.
type markFile struct {
	dir, name string   // below dir; empty: there is none
	id        string   // webhook-id
	lock      *os.File // keeps others from it; nil: nothing does
	whole     bool     // it says all; one that does not is there all the same, for its name
}

// newMark is the mark that a claim's file is to have.
func (c claim) newMark(number uint64) markFile {
	id := rand.Text()
	return markFile{dir: c.dir, name: fmt.Sprintf("%s.%x-%s%s", c.name(), number, id, done), id: id}
}

func (a *markFile) path() string { return filepath.Join(a.dir, a.name) }

// cutMark takes the name of a mark apart.
func cutMark(name string) (file string, number uint64, id string, ok bool) {
	rest, ok := strings.CutSuffix(name, done)
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 0 {
		return "", 0, "", false
	}
	digits, id, ok := strings.Cut(rest[dot+1:], "-")
	number, err := strconv.ParseUint(digits, 16, 64)
	return rest[:dot], number, id, ok && err == nil && len(id) == idSize
}

// event is its on_dvr.
func (m *mark) event(cwd string, to place) hook.Event {
	ev := m.facts.event()
	ev.Cwd, ev.File, ev.ID = cwd, to.path(), m.file.id
	ev.Duration, ev.Size, ev.Error, ev.Recovered = m.Duration, m.Size, m.Error, m.Recovered
	if ev.Error == "" {
		ev.Error = m.Lost
	}
	return ev
}

// set writes the mark of a claim for its file, while the file still has its note:
// so one of the two says who has published, whenever the server is killed. It is
// not synced: when a power cut takes what is in it, its name alone still says that
// something is to be announced. It gives the note that the file is to keep until it
// has its name: none when all is well, else, as on a full disk, the whole one. So
// does a file that is gone: it may come back.
func (m *mark) set(c claim, f *os.File) (note string, err error) {
	if !m.heard {
		m.file = markFile{}
		return "", nil
	}
	kept := m.facts
	if m.Error != "" {
		kept.Lost = m.Error
	}
	text, err := json.Marshal(m)
	made := false
	err = errors.Join(err, c.within(func(root *os.Root) error {
		if err := c.presentIn(root, f); err != nil {
			return err
		}
		o, err := root.OpenFile(m.file.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return err
		}
		made, m.file.lock = true, o
		lock(o)
		_, err = o.Write(text)
		return err
	}))
	if !made {
		m.file = markFile{}
	}
	if m.file.whole = err == nil; !m.file.whole {
		return kept.note(), err
	}
	return "", nil
}

// readMark reads a mark and locks it. It may be empty.
func readMark(root *os.Root, dir, name string) (m mark, err error) {
	_, number, id, ok := cutMark(name)
	if !ok {
		return m, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid}
	}
	o, err := openRegular(root, name)
	if err != nil {
		return m, err
	}
	if err := lock(o); err != nil {
		return m, errors.Join(err, o.Close())
	}
	text, err := io.ReadAll(io.LimitReader(o, maxMarkSize))
	if err != nil {
		return m, errors.Join(err, o.Close())
	}
	if json.Unmarshal(text, &m) != nil {
		m = mark{}
	}
	m.inode, m.file = number, markFile{dir: dir, name: name, id: id, lock: o, whole: m.Stream != ""}
	return m, nil
}

// unlock lets others see to the mark.
func (a *markFile) unlock() {
	if a.lock != nil {
		a.lock.Close()
		a.lock = nil
	}
}

// remove takes a mark away, which is to be unlocked then. What is never removed is
// announced once more by the next start.
func (a *markFile) remove() error {
	if a.name == "" {
		return nil
	}
	return spare.with(func() error {
		root, err := os.OpenRoot(a.dir)
		if err != nil {
			return err
		}
		defer root.Close()
		return ignore(root.Remove(a.name), fs.ErrNotExist)
	})
}

// maxMissing is how many numbers may be free in front of a file that is looked for:
// others of the name may have been moved away.
const maxMissing = 8

// numbered gives the complete recording that has an inode, or the first one for 0.
func (c claim) numbered(root *os.Root, number uint64) (to place, size int64) {
	from := found{name: c.name()}.numbered()
	for _, want := range []struct {
		place
		first int
	}{{place{c.want.root, c.name()}, 0}, {place{c.want.root, from.base + ".flv"}, from.number + 1}} {
		for n, missing := want.first, 0; n < maxNumbers && missing < maxMissing; n++ {
			try := want.numbered(n)
			info, err := root.Lstat(try.name)
			switch {
			case err != nil:
				missing++
			case number == 0 || inode(info) == number:
				return try, info.Size()
			default:
				missing = 0
			}
		}
	}
	return place{}, 0
}

// completed gives the place of a recording that somebody has completed by hand
// before this server did. Its inode may be another file's by now, but hardly with
// its size.
func (c claim) completed(m mark) (to place) {
	c.within(func(root *os.Root) error {
		if found, size := c.numbered(root, m.inode); m.inode != 0 && size == m.Size {
			to = found
		}
		return nil
	})
	return to
}

// dropOthers removes the marks of a recording but its own: whoever has completed it
// by hand has left one.
func (c claim) dropOthers(m mark) {
	c.within(func(root *os.Root) error {
		folder, err := root.Open(path.Dir(c.name()))
		if err != nil {
			return err
		}
		defer folder.Close()
		names, err := folder.Readdirnames(-1)
		for _, base := range names {
			name := path.Join(path.Dir(c.name()), base)
			file, number, _, ok := cutMark(name)
			if !ok || file != c.name() || number != m.inode || name == m.file.name {
				continue
			}
			if other, err := readMark(root, c.dir, name); err == nil {
				other.file.remove()
				other.file.unlock()
			}
		}
		return err
	})
}

// isOther says of a file that it is not the one that had an inode, where that is known.
func isOther(info os.FileInfo, number uint64) bool { return number != 0 && inode(info) != number }

// inode is the number of a file, 0 where there is none.
func inode(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

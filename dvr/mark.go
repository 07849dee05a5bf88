package dvr

import (
	"encoding/json"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"srs/hook"
)

// done is behind the name of a mark: a small file that says what is to be
// announced, if anybody hears of it. It is there from before the recording gets
// its name until a moment after on_dvr was told, so that no crash in between
// loses the announcement:
//
//	x.flv.tmp               a recording under way, or left by a killed server
//	x.flv.tmp, x.flv.done   about to be complete
//	x.flv, x.flv.done       complete, perhaps not announced
//	x.flv                   announced
const (
	done        = ".done"
	maxMarkSize = 64 << 10
)

// A mark is what is in it.
type mark struct {
	facts
	Inode     uint64        `json:"inode"` // of the recording, whatever name it got
	Duration  time.Duration `json:"duration"`
	Size      int64         `json:"size"`
	Error     string        `json:"error,omitempty"`
	Recovered bool          `json:"-"`

	heard  bool  // somebody is told: the vhost has a URL for on_dvr
	frames int   // that came to the recording
	cut    int64 // bytes that its repair has cut off
}

// event is its on_dvr.
func (m *mark) event(cwd string, to place) hook.Event {
	ev := m.facts.event()
	ev.Cwd, ev.File = cwd, to.path()
	ev.Duration, ev.Size, ev.Error, ev.Recovered = m.Duration, m.Size, m.Error, m.Recovered
	if ev.Error == "" {
		ev.Error = m.Lost
	}
	return ev
}

// set writes the mark of a claim for its file, while the file still has its note:
// so one of the two says who has published, whenever the server is killed.
// Without a mark all is well but for a crash between a file's name and its on_dvr:
// after an error the file keeps its note until it has its name. A file that is gone
// gets none. It is not synced: when a power cut takes what is in it, its name alone
// still says that something is to be announced.
func (m mark) set(c claim, f *os.File) error {
	if !m.heard {
		return nil
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return c.within(func(root *os.Root) error {
		if err := c.presentIn(root, f); err != nil {
			return err
		}
		f, err := root.OpenFile(c.name()+done, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.Write(text)
		return err
	})
}

// readMark reads a mark, false when there is none. It may be empty.
func readMark(root *os.Root, name string) (m mark, ok bool) {
	f, err := openRegular(root, name)
	if err != nil {
		return m, false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMarkSize))
	if err != nil {
		return m, false
	}
	if json.Unmarshal(text, &m) != nil {
		m = mark{}
	}
	return m, true
}

// marked gives the claim's mark and the place of its complete recording. There
// is no place when the recording is not complete, or gone.
func (c claim) marked() (m mark, to place) {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return m, place{}
	}
	defer root.Close()
	if _, err := root.Lstat(c.name() + tmp); err == nil {
		return m, place{}
	}
	m, ok := readMark(root, c.name()+done)
	if !ok {
		return m, place{}
	}
	to, size := c.numbered(root, m.Inode)
	if m.Size == 0 {
		m.Size = size
	}
	return m, to
}

// numbered gives the complete recording that has an inode, or the first one for 0.
func (c claim) numbered(root *os.Root, number uint64) (to place, size int64) {
	for n := 0; n < maxNumbers; n++ {
		info, err := root.Lstat(c.want.numbered(n).name)
		if err != nil {
			break
		}
		if number == 0 || inode(info) == number {
			return c.want.numbered(n), info.Size()
		}
	}
	return place{}, 0
}

// completed gives the place of a recording that somebody has completed by hand
// before this server did. Its inode may be another file's by now, but hardly with
// its size.
func (c claim) completed(m mark) (to place) {
	c.within(func(root *os.Root) error {
		if found, size := c.numbered(root, m.Inode); m.Inode != 0 && size == m.Size {
			to = found
		}
		return nil
	})
	return to
}

// unmark removes the claim's mark. What is never removed is announced once more by
// the next start.
func (c claim) unmark() error {
	return c.within(func(root *os.Root) error { return root.Remove(c.name() + done) })
}

// unmarkStale removes a mark that belongs to no file any more.
func (c claim) unmarkStale() {
	c.within(func(root *os.Root) error {
		if _, err := root.Lstat(c.name() + tmp); err == nil {
			return nil
		}
		return root.Remove(c.name() + done)
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

package dvr

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Rights of a recording. As long as it says who has published, param included, which
// may be a secret, it is hidden: its owner alone may read it.
//
//	create              facts ... media ... no facts any more    reveal      renamed to PATH
//	hidden ..................................................    as a new file
//	reopen, hide .............................................   as it was before
const (
	hidden   fs.FileMode = 0o600
	madeMode fs.FileMode = 0o664 // less the umask: of files that are complete
)

// hide hides a complete file that is to be continued, and notes what rights it had.
func (c *claim) hide(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c.mode = info.Mode().Perm()
	return f.Chmod(hidden)
}

// reveal gives the claim's file, clean of who has published, its rights.
func (c claim) reveal(f *os.File) error {
	return c.within(func(root *os.Root) error {
		folder, err := root.Open(path.Dir(c.name()))
		if err != nil {
			return err
		}
		defer folder.Close()
		return reveal(f, c.mode, folder)
	})
}

// Reveal does so for a recording that is completed by hand; note is what it said of
// who has published.
func Reveal(f *os.File, note string) error {
	folder, err := os.Open(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	defer folder.Close()
	who, _ := noted(note)
	return reveal(f, who.Mode, folder)
}

// reveal gives a file rights, or where there are none those of a new one in its folder.
func reveal(f *os.File, mode fs.FileMode, folder *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm() != hidden { // the file system has no rights, or somebody has given others
		return err
	}
	if mode == 0 {
		mode = newMode(folder)
	}
	return ignore(f.Chmod(mode.Perm()), fs.ErrPermission) // likewise
}

// newMode is what rights a new file in a folder gets: by the folder's default ACL if
// it has one, which a nameless file shows, else by the umask.
func newMode(folder *os.File) fs.FileMode {
	fd := int(folder.Fd())
	if n, err := unix.Fgetxattr(fd, "system.posix_acl_default", nil); err == nil && n > 0 {
		if probe, err := unix.Openat(fd, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, uint32(madeMode)); err == nil {
			defer unix.Close(probe)
			var st unix.Stat_t
			if unix.Fstat(probe, &st) == nil {
				return fs.FileMode(st.Mode).Perm()
			}
		}
	}
	return madeMode &^ umask()
}

// umask is this process's, which never changes it.
var umask = sync.OnceValue(func() fs.FileMode {
	mask, err := readUmask("/proc/self/status")
	if err != nil {
		return 0o022
	}
	return mask
})

// readUmask reads it (Linux 4.7). To ask by umask(2) would be to change it.
func readUmask(file string) (fs.FileMode, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "Umask:"); ok {
			mask, err := strconv.ParseUint(strings.TrimSpace(text), 8, 9)
			return fs.FileMode(mask), err
		}
	}
	return 0, errors.New("no umask")
}

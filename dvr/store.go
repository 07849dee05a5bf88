package dvr

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

const (
	tmp        = ".tmp"  // behind the name while recording
	maxNumbers = 1 << 16 // names tried for one file
)

var (
	errNoName = errors.New("no free name")
	errMoved  = errors.New("the file was removed or moved while it was recorded")
)

// A claim is a name that is taken for a recording: name+".tmp" below dir is its
// file. Every claim is its own, also of recordings whose templates give the same
// name: the file is created exclusively.
type claim struct {
	dir    string // the place's root in the file system
	want   place  // as the template says
	number int    // which of want's choices it has
}

func (c claim) name() string { return c.want.numbered(c.number).name }

// create claims a name and opens its file. Everything below dir goes through an
// os.Root: whatever a name or a symbolic link says, nothing outside is touched,
// and exclusive creation opens nothing that was there before.
func create(dir string, want place) (claim, *os.File, error) {
	c := claim{dir: dir, want: want}
	if err := os.MkdirAll(dir, 0o775); err != nil {
		return c, nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return c, nil, err
	}
	defer root.Close()
	if folder := path.Dir(want.name); folder != "." {
		if err := root.MkdirAll(folder, 0o775); err != nil {
			return c, nil, err
		}
	}
	for ; c.number < maxNumbers; c.number++ {
		if _, err := root.Lstat(c.name()); err == nil {
			continue // an earlier recording
		} else if !errors.Is(err, fs.ErrNotExist) {
			return c, nil, err
		}
		f, err := root.OpenFile(c.name()+tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o664)
		if errors.Is(err, fs.ErrExist) {
			continue // another recording's, or left by a killed server
		}
		return c, f, err
	}
	return c, nil, &fs.PathError{Op: "create", Path: want.path(), Err: errNoName}
}

// present says whether the claim's file is still f: an operator may have removed
// or moved it, or a directory above.
func (c claim) present(f *os.File) error {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return c.presentIn(root, f)
}

func (c claim) presentIn(root *os.Root, f *os.File) error {
	ours, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := root.Lstat(c.name() + tmp)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(ours, there) {
		err = &fs.PathError{Op: "record", Path: c.want.numbered(c.number).path() + tmp, Err: errMoved}
	}
	return err
}

// publish gives the file its name and makes that durable. An existing file is
// never replaced, whoever made it and whenever: the next number is taken instead.
func (c claim) publish(f *os.File) (place, error) {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return place{}, err
	}
	defer root.Close()
	if err := c.presentIn(root, f); err != nil {
		return place{}, err
	}
	folder, err := root.Open(path.Dir(c.name()))
	if err != nil {
		return place{}, err
	}
	defer folder.Close()
	from := c.name() + tmp
	for number := c.number; number < maxNumbers; number++ {
		to := c.want.numbered(number)
		err := renameNew(folder, path.Base(from), path.Base(to.name))
		if err == unix.EINVAL || err == unix.ENOSYS || err == unix.EOPNOTSUPP {
			err = linkNew(root, from, to.name)
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			continue
		case err != nil:
			return place{}, &os.LinkError{Op: "rename", Old: from, New: to.path(), Err: err}
		}
		if err := folder.Sync(); err != nil {
			return to, fmt.Errorf("renamed, but not durably: %w", err)
		}
		return to, nil
	}
	return place{}, &fs.PathError{Op: "rename", Path: c.want.path(), Err: errNoName}
}

// renameNew renames within a directory unless the new name exists.
func renameNew(folder *os.File, from, to string) error {
	fd := int(folder.Fd())
	for {
		if err := unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE); err != unix.EINTR {
			return err
		}
	}
}

// linkNew is renameNew for file systems that do not know how: a link to an
// existing name fails too. Where there are no links either (vfat), all that is
// left is to look first.
func linkNew(root *os.Root, from, to string) error {
	err := root.Link(from, to)
	if err == nil {
		return root.Remove(from)
	}
	if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := root.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return fs.ErrExist
	}
	return root.Rename(from, to)
}

// remove takes the claim's file away.
func (c claim) remove(f *os.File) error {
	root, err := os.OpenRoot(c.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := c.presentIn(root, f); err != nil {
		return err
	}
	return root.Remove(c.name() + tmp)
}

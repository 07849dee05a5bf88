package dvr

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
)

const (
	tmp        = ".tmp"  // behind the name while recording
	maxNumbers = 1 << 16 // names tried for one file
)

var (
	errNoName = errors.New("no free name")
	errMoved  = errors.New("the file, or its directory, was removed, moved or unmounted while it was recorded")
	errGone   = errors.New("the file was removed or moved before it was complete")
	errLocked = errors.New("somebody else writes the file")

	errNotRegular = errors.New("not a regular file")
)

// A claim is a name that is taken for a recording: name+".tmp" below dir is its
// file. Every claim is its own, also of recordings whose templates give the same
// name: the file is created exclusively.
type claim struct {
	dir    string // the place's root in the file system
	want   place  // as the template says
	number int    // which of want's choices it has
	made   bool   // folders were made for it

	refused error // of the newest file of the name that may not be opened, when none is continued

	mode fs.FileMode // rights of the file before it was continued; 0: of a new one
}

func (c claim) place() place { return c.want.numbered(c.number) }

func (c claim) name() string { return c.place().name }

func (c claim) path() string { return c.place().path() }

// gone says of an error that a file is not there, or not where it was.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errMoved) }

// create claims a name and opens its file. Everything below dir goes through an
// os.Root: whatever a name or a symbolic link says, nothing outside is touched,
// and exclusive creation opens nothing that was there before.
func create(dir string, want place) (c claim, f *os.File, err error) {
	// The janitor may remove an empty folder between its making and its use.
	for try := 0; try < 3; try++ {
		err = spare.with(func() error {
			c, f, err = createOnce(dir, want)
			return err
		})
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return c, f, err
}

func createOnce(dir string, want place) (claim, *os.File, error) {
	c := claim{dir: dir, want: want}
	if len(dir)+len("/")+len(want.numbered(maxNumbers).name)+markRoom >= unix.PathMax { // who is told of it could not open it
		return c, nil, &fs.PathError{Op: "create", Path: want.path(), Err: unix.ENAMETOOLONG}
	}
	if err := os.MkdirAll(dir, 0o775); err != nil {
		return c, nil, cmp.Or(deadLink(dir), err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return c, nil, err
	}
	defer root.Close()
	if folder := path.Dir(want.name); folder != "." {
		_, err := root.Lstat(folder)
		c.made = err != nil
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
		f, err := root.OpenFile(c.name()+tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL, hidden)
		if errors.Is(err, fs.ErrExist) {
			continue // another recording's, or left by a killed server
		}
		if err == nil && lock(f) != nil {
			f.Close() // somebody cleans up at this very moment, and removes it
			continue
		}
		return c, f, err
	}
	return c, nil, &fs.PathError{Op: "create", Path: want.path(), Err: errNoName}
}

// maxTaken is how many files of a name are looked at for the one to be continued.
const maxTaken = 1 << 10

// reopen takes the newest complete recording of a name that is ours, to be
// continued: the file is the claim's, and called ".tmp" again when take has looked
// at it and returns true, though that is not durable yet (settle). Without such a
// file there is none.
func reopen(dir string, want place, ours, take func(*os.File) bool) (claim, *os.File, error) {
	c := claim{dir: dir, want: want}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return c, nil, ignore(err, fs.ErrNotExist)
	}
	defer root.Close()
	f, err := c.newest(root, os.O_RDWR, ours)
	if f == nil {
		return c, nil, err
	}
	err = lock(f)
	if err == nil { // the janitor, who locks it likewise, may have come before
		err = c.at(root, c.name(), f)
	}
	if err != nil || !take(f) {
		if gone(err) || errors.Is(err, errLocked) {
			err = nil
		}
		return c, nil, errors.Join(err, f.Close())
	}
	folder, err := root.Open(path.Dir(c.name()))
	if err == nil {
		defer folder.Close()
		if err = renameNew(root, folder, c.name(), c.name()+tmp); err != nil {
			err = &os.LinkError{Op: "rename", Old: c.path(), New: c.path() + tmp, Err: err}
		}
	}
	if err != nil {
		return c, nil, errors.Join(ignore(err, fs.ErrExist), f.Close())
	}
	return c, f, nil
}

// standing gives the newest complete recording of a name and an owner, and what it has;
// without one the place as it is.
func standing(dir string, want place, who facts) (_ place, duration time.Duration, size int64) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return want, 0, 0
	}
	defer root.Close()
	c := claim{dir: dir, want: want}
	f, err := c.newest(root, os.O_RDONLY, func(f *os.File) bool {
		info, err := f.Stat()
		if err != nil {
			return false
		}
		told, known := flv.Tell(f, info.Size())
		duration, size = told.Duration, info.Size()
		return known && told.Owner == who.owner()
	})
	if f == nil || err != nil {
		return want, 0, 0
	}
	f.Close()
	return c.place(), duration, size
}

// newest makes the claim that of the newest complete file that is ours, and opens
// it; without one it is that of the name itself. Names of one template may be those of several streams, so the numbers in
// between may be others', and being recorded at this moment.
func (c *claim) newest(root *os.Root, mode int, ours func(*os.File) bool) (*os.File, error) {
	last := -1
	for number := range maxNumbers {
		name := c.want.numbered(number).name
		if _, err := root.Lstat(name); err == nil {
			last = number
		} else if _, err := root.Lstat(name + tmp); err != nil && number > 0 {
			break // but the first may have been moved away
		}
	}
	for c.number = last; c.number > max(-1, last-maxTaken); c.number-- {
		f, err := openRegularAs(root, c.name(), mode)
		switch {
		case errors.Is(err, fs.ErrPermission):
			c.refused = cmp.Or(c.refused, err)
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNotRegular), errors.Is(err, errMoved):
		case err != nil:
			c.number = 0
			return nil, err
		case ours(f):
			return f, nil
		default:
			f.Close()
		}
	}
	c.number = 0
	return nil, nil
}

// ignore makes nothing of an error that is one.
func ignore(err, one error) error {
	if errors.Is(err, one) {
		return nil
	}
	return err
}

// openRegular opens a file for reading and writing that is one: a pipe or a
// device is never opened, for that alone may block or do something.
func openRegular(root *os.Root, name string) (*os.File, error) {
	return openRegularAs(root, name, os.O_RDWR)
}

func openRegularAs(root *os.Root, name string, mode int) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNotRegular}
	}
	// Should it be another in the meantime: no link is followed, and no pipe waited for.
	f, err := root.OpenFile(name, mode|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if there, err := f.Stat(); err != nil || !os.SameFile(info, there) {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: errMoved}, err, f.Close())
	}
	return f, nil
}

// lock keeps other servers, and repair, away from a file that is being written.
// It is gone with the descriptor. Where files cannot be locked, they are not.
func lock(f *os.File) error {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err {
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return &fs.PathError{Op: "lock", Path: f.Name(), Err: errLocked}
		default:
			return nil
		}
	}
}

// unlock is for a descriptor that is not the last of its file.
func unlock(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// present says whether the claim's file is still f: an operator may have removed
// or moved it, or a directory above.
func (c claim) present(f *os.File) error {
	return c.growing(func(root *os.Root) error { return c.presentIn(root, f) })
}

// anchor makes the way to the file durable: what is in a file is of no use when a
// power cut takes its name.
func (c claim) anchor() error {
	return c.growing(func(root *os.Root) error {
		for folder := path.Dir(c.name()); ; folder = path.Dir(folder) {
			f, err := root.Open(folder)
			if err == nil {
				err = errors.Join(f.Sync(), f.Close())
			}
			if err != nil || folder == "." {
				return err
			}
		}
	})
}

// settle makes the names in the claim's folder durable.
func (c claim) settle() error {
	return c.growing(func(root *os.Root) error {
		folder, err := root.Open(path.Dir(c.name()))
		if err != nil {
			return err
		}
		return errors.Join(folder.Sync(), folder.Close())
	})
}

// within makes a call below the claim's directory.
func (c claim) within(call func(root *os.Root) error) error {
	return spare.with(func() error {
		root, err := os.OpenRoot(c.dir)
		if err != nil {
			return err
		}
		defer root.Close()
		return call(root)
	})
}

// growing is within for the file as it is recorded: what is not there was, and has gone.
func (c claim) growing(call func(root *os.Root) error) error {
	err := c.within(call)
	if errors.Is(err, fs.ErrNotExist) {
		return c.moved()
	}
	return err
}

func (c claim) moved() error {
	return &fs.PathError{Op: "record", Path: c.path() + tmp, Err: errMoved}
}

// renamable says why files in the claim's folder cannot get other names, if that
// is known.
func (c claim) renamable(root *os.Root) error {
	folder, err := root.Open(path.Dir(c.name()))
	if err != nil {
		return err
	}
	defer folder.Close()
	err = unix.Faccessat(int(folder.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return &fs.PathError{Op: "write to", Path: path.Dir(c.want.path()), Err: err}
	}
	return nil
}

func (c claim) presentIn(root *os.Root, f *os.File) error { return c.at(root, c.name()+tmp, f) }

// at says whether a name of the claim is f's.
func (c claim) at(root *os.Root, name string, f *os.File) error {
	ours, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(ours, there) {
		err = &fs.PathError{Op: "record", Path: c.want.root + name, Err: errMoved}
	}
	return err
}

// publish gives the file its name and makes that durable; one that is clean of who has
// published gets its rights before. An existing file is never replaced, whoever made
// it and whenever: the next number is taken instead.
func (c claim) publish(f *os.File, clean bool) (to place, err error) {
	err = c.growing(func(root *os.Root) error {
		to, err = c.publishIn(root, f, clean)
		return err
	})
	return to, err
}

// finish is publish for a file that may be noted still, who has published: clean takes
// that out of it when it has its name, and it gets its rights then. One of another
// program keeps those it has.
func (c claim) finish(f *os.File, noted, ours bool, clean func() error) (to place, err error) {
	if to, err = c.publish(f, ours && !noted); to.name == "" || !noted {
		return to, err
	}
	cleaned := errors.Join(clean(), datasync(f))
	if cleaned == nil && ours {
		cleaned = c.reveal(f)
	}
	return to, errors.Join(err, cleaned)
}

func (c claim) publishIn(root *os.Root, f *os.File, clean bool) (place, error) {
	if err := c.presentIn(root, f); err != nil {
		return place{}, err
	}
	folder, err := root.Open(path.Dir(c.name()))
	if err != nil {
		return place{}, err
	}
	defer folder.Close()
	if clean {
		if err := reveal(f, c.mode, folder); err != nil {
			return place{}, err
		}
	}
	from := c.name() + tmp
	for number := c.number; number < maxNumbers; number++ {
		to := c.want.numbered(number)
		err := renameNew(root, folder, from, to.name)
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

// RenameNew gives a file below a directory another name in its folder, durably,
// unless that name exists.
func RenameNew(root *os.Root, from, to string) error {
	folder, err := root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := renameNew(root, folder, from, to); err != nil {
		return err
	}
	return folder.Sync()
}

// renameNew renames in a folder of root unless the new name exists.
func renameNew(root *os.Root, folder *os.File, from, to string) error {
	fd := int(folder.Fd())
	for {
		switch err := unix.Renameat2(fd, path.Base(from), fd, path.Base(to), unix.RENAME_NOREPLACE); err {
		case unix.EINTR:
		case unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP:
			return linkNew(root, from, to)
		default:
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

// gone says that the claim's file, of an inode, is not there although its folder is:
// its disk is not away.
func (c claim) gone(number uint64) (gone bool) {
	c.within(func(root *os.Root) error {
		_, err := root.Stat(path.Dir(c.name()))
		if err == nil {
			var info os.FileInfo
			info, err = root.Lstat(c.name() + tmp)
			gone = errors.Is(err, fs.ErrNotExist) || err == nil && isOther(info, number)
		}
		return err
	})
	return gone
}

// remove takes the claim's file away.
func (c claim) remove(f *os.File) error {
	return c.growing(func(root *os.Root) error {
		if err := c.presentIn(root, f); err != nil {
			return err
		}
		return root.Remove(c.name() + tmp)
	})
}

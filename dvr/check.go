package dvr

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Check reports why nothing can be recorded by a template (directive dvr_path)
// at the moment, or nil. Relative templates are below dir. Nothing is created:
// what counts is the nearest folder that exists.
func Check(template, dir string) error {
	return CheckFolder(expand(template, subject{}).root, dir)
}

// CheckFolder reports likewise why no file can be made in a folder.
func CheckFolder(folder, dir string) error {
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(dir, folder)
	}
	for at := filepath.Clean(folder); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) {
			if link := deadLink(at); link != nil {
				err = link
			} else if at != filepath.Dir(at) {
				continue
			}
		}
		switch {
		case err == nil && !info.IsDir():
			err = &fs.PathError{Op: "write below", Path: at, Err: unix.ENOTDIR}
		case err == nil:
			if errno := unix.Access(at, unix.W_OK|unix.X_OK); errno != nil {
				err = &fs.PathError{Op: "write below", Path: at, Err: errno}
			}
		}
		if err != nil {
			hint := ""
			if text := hintFor(err); text != "" {
				hint = "; " + text
			}
			return fmt.Errorf("%w (as uid %d%s)", err, os.Getuid(), hint)
		}
		return nil
	}
}

// A deadLink is the error of a path that is a symbolic link to nothing, or nil.
func deadLink(path string) error {
	to, err := os.Readlink(path)
	if err != nil {
		return nil
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &fs.PathError{Op: "write below", Path: path, Err: fmt.Errorf("%w: the symbolic link leads to %s", fs.ErrNotExist, to)}
}

// Enough reports why the disk of a template can never have so many bytes free, or
// nil.
func Enough(template, dir string, free int64) error {
	folder := expand(template, subject{}).root
	if !filepath.IsAbs(folder) {
		folder = filepath.Join(dir, folder)
	}
	for at := filepath.Clean(folder); ; at = filepath.Dir(at) {
		_, all, err := roomOf(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
		case err == nil && all < free:
			return fmt.Errorf("its disk has %d MB altogether", all/1e6)
		default:
			return nil
		}
	}
}

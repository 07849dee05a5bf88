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
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			continue
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

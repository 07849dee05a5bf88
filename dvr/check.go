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
	place := expand(template, subject{})
	root := place.root
	if !filepath.IsAbs(root) {
		root = filepath.Join(dir, root)
	}
	for at := filepath.Clean(root); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at):
			continue
		case err == nil && !info.IsDir():
			err = &fs.PathError{Op: "record below", Path: at, Err: unix.ENOTDIR}
		case err == nil:
			if errno := unix.Access(at, unix.W_OK|unix.X_OK); errno != nil {
				err = &fs.PathError{Op: "write below", Path: at, Err: errno}
			}
		}
		if err != nil {
			return fmt.Errorf("%w (as uid %d; under systemd see ReadWritePaths=)", err, os.Getuid())
		}
		return nil
	}
}

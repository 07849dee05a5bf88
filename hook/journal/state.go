package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A State is what is known of a directory beside its records.
type State struct {
	ServerID string `json:"server_id"`        // made at the first start, for those who set none
	Below    uint64 `json:"client_ids_below"` // every client id given out is smaller
	Config   string `json:"config,omitempty"` // path of the configuration of the server that writes it
}

// ReadState reads the facts that a directory has; none is no error.
func ReadState(dir string) (s State, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "state"))
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return s, err
}

// writeState replaces the file as a whole: there is an old one or a new one.
func writeState(dir string, s State) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "state")
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// ErrInUse says that another server has the directory.
var ErrInUse = errors.New("is in use")

// lock keeps a second server out of the directory, as long as the file is open.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l); err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder[:n])))
		return nil, fmt.Errorf("%s %w by process %d; each server needs a journal_dir of its own", dir, ErrInUse, pid)
	}
	f.Truncate(0) // on a full disk the number is missing, the lock holds
	f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return f, nil
}

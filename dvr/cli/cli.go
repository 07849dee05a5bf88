// Package cli is "srs dvr": it looks at recordings and repairs them by hand, also
// those of other programs. A file that a server writes at the moment is looked at
// and never changed.
package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"srs/dvr"
	"srs/flv"
)

// Exit codes.
const (
	exitOK      = 0
	exitDamaged = 1 // of a file at least, or it could not be looked at
	exitUsage   = 2
)

const usage = `srs dvr looks at recordings.

Usage:
  srs dvr check FILE...     say what is in each file: 0 all are whole, 1 some are not;
                            a gap is more than a second without any frame
  srs dvr repair FILE...    cut damaged ends off, write duration, size and index of keyframes, and give
                            FILE.flv.tmp its name; a file that is there already is never replaced.
                            Files of other programs are never rewritten: they get the duration and
                            size for which they have room, and no index
                            --cut: also where the damage is in the middle; all behind it is cut off
                            --now: also a file of another program that may still be writing it,
                            because somebody has written to it within five minutes

`

// Behind a recording's name while it grows.
const tmp = ".tmp"

// Of files that cannot be made recordings. A server removes what it has left so.
const (
	noFrame    = "no frame is in it"
	noneBefore = "no frame is in front of that"
)

var errBusy = errors.New("a server is recording to it; nothing was changed")

// Run is the command line behind "srs dvr".
func Run(args []string, stdout, stderr io.Writer) int {
	paths, o, help, err := parse(args)
	if help {
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "srs dvr: %v\n\n%s", err, usage)
		return exitUsage
	}
	code := exitOK
	for _, path := range paths {
		if recording, is := dvr.MarkOf(path); is {
			fmt.Fprintf(stdout, "%s: passed over, no recording: it is there until %s is announced\n", path, recording)
			continue
		}
		var line string
		var err error
		if args[0] == "check" {
			var whole bool
			if line, whole, err = check(path); err == nil && !whole {
				code = exitDamaged
			}
		} else {
			line, err = repair(path, o)
		}
		if err != nil {
			fmt.Fprintf(stderr, "srs dvr %s: %v\n", args[0], err)
			code = exitDamaged
			continue
		}
		fmt.Fprintf(stdout, "%s: %s\n", path, line)
	}
	return code
}

// options are those of repair.
type options struct{ cut, now bool }

// parse gives the files of a command. Behind "--" everything is a file.
func parse(args []string) (paths []string, o options, help bool, err error) {
	if len(args) == 0 {
		return nil, o, false, errors.New("check or repair?")
	}
	command := args[0]
	if command == "help" {
		return nil, o, true, nil
	}
	for i, a := range args {
		if a == "-h" || a == "-help" || a == "--help" {
			return nil, o, true, nil
		}
		if a == "--cut" && command == "repair" {
			o.cut = true
			continue
		}
		if a == "--now" && command == "repair" {
			o.now = true
			continue
		}
		if a == "--" && i > 0 {
			paths = append(paths, args[i+1:]...)
			break
		}
		if strings.HasPrefix(a, "-") && len(a) > 1 {
			return nil, o, false, fmt.Errorf("unknown option %s; a file of this name is ./%s", a, a)
		}
		if i > 0 {
			paths = append(paths, a)
		}
	}
	switch {
	case command != "check" && command != "repair":
		return nil, o, false, fmt.Errorf("unknown command %q", command)
	case len(paths) == 0:
		return nil, o, false, fmt.Errorf("%s which file?", command)
	}
	return paths, o, false, nil
}

// open opens a regular file; a pipe would have us wait.
func open(path string, mode int) (*os.File, error) {
	f, err := os.OpenFile(path, mode|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func check(path string) (line string, whole bool, err error) {
	f, err := open(path, os.O_RDONLY)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	rep, err := flv.Scan(f)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", path, unread(err))
	}
	state, whole := "whole", rep.Whole() && rep.Frames > 0
	switch {
	case !whole && flv.Ours(f, rep.Size) && locked(f):
		state = "being recorded: a server is writing it, and completes it"
	case rep.Damage != nil:
		at, err := rep.GoesOn(f)
		if err != nil {
			return "", false, err
		}
		state = fmt.Sprintf("damaged behind byte %d (%v)", rep.Size, rep.Damage)
		if at > 0 {
			state += fmt.Sprintf(", goes on at byte %d", at)
		}
		switch {
		case rep.Frames == 0:
			state += ", and " + noneBefore
		case at > 0:
			state += " (repair --cut cuts off all behind the damage)"
		default:
			state += " (repair cuts that off)"
		}
	case rep.Frames == 0:
		state = noFrame
	case !whole && rep.Mendable():
		state = "not completed: " + rep.Flaw() + " (repair mends it)"
	case !whole:
		state = "not right: " + rep.Flaw() + " (repair leaves an index of another program as it is)"
	case !rep.Telling():
		state = "whole, but its metadata does not tell duration and size (repair writes them)"
	}
	return describe(rep, state), whole, nil
}

// locked says whether a server is at work on a file. The lock is held for no longer
// than that takes: a publish may want to go on in it.
func locked(f *os.File) bool {
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return true
	}
	unix.Flock(int(f.Fd()), unix.LOCK_UN)
	return false
}

func repair(path string, o options) (line string, err error) {
	f, err := open(path, os.O_RDWR)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := itself(path); err != nil {
		return "", err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
		return "", fmt.Errorf("%s: %w", path, errBusy)
	}
	rep, err := flv.Scan(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, unread(err))
	}
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	switch {
	case rep.Frames > 0:
	case rep.Damage != nil:
		return "", fmt.Errorf("%s: damaged behind byte %d (%v), and %s: nothing was changed", path, rep.Size, rep.Damage, noneBefore)
	default:
		return "", fmt.Errorf("%s: %s: nothing was changed", path, noFrame)
	}
	growing := strings.HasSuffix(path, tmp)
	right := rep.Whole() && rep.Telling()
	if rest := dvr.Rest(f, info); rest > 0 && !o.now && (growing || !right) {
		return "", fmt.Errorf("%s: another program may be writing it, somebody did %s ago: nothing was changed; repair it in %s, or with --now if nobody does",
			path, time.Since(info.ModTime()).Round(time.Second), rest.Round(time.Second))
	}
	at, err := rep.GoesOn(f)
	switch {
	case err != nil:
		return "", err
	case at > 0 && !o.cut:
		return "", fmt.Errorf("%s: damaged behind byte %d (%v), and goes on at byte %d: nothing was changed; with --cut all behind it goes, %d bytes",
			path, rep.Size, rep.Damage, at, info.Size()-rep.Size)
	}
	mark := ""
	if growing {
		lost := int64(0)
		if at > 0 {
			lost = info.Size() - rep.Size
		}
		name, release, err := dvr.MarkByHand(f, path, rep, lost)
		defer release()
		if err != nil {
			return "", err
		}
		mark = name
	}
	state := "whole, nothing to do"
	if !right {
		if err := errors.Join(rep.Repair(f, ""), f.Sync()); err != nil {
			return "", err
		}
		state = "repaired"
		if flaw := remaining(f); flaw != "" { // an index of another program is left as it is
			state = "repaired as far as it goes: " + flaw
		}
		if cut := info.Size() - rep.Size; cut > 0 {
			state += fmt.Sprintf(", %d bytes cut off", cut)
		}
	}
	if missing := rep.NoRoom(); len(missing) > 0 {
		state += " (its metadata has no room for " + strings.Join(missing, ", ") + ")"
	}
	if flv.Ours(f, info.Size()) && (growing || rep.Note != "") {
		if err := dvr.Reveal(f, rep.Note); err != nil {
			return "", err
		}
	}
	if growing {
		to, err := rename(path)
		if err != nil {
			return "", err
		}
		state += ", now " + to
		if mark != "" {
			state += " (a server that records there announces it with its next start: " + mark + ")"
		}
	}
	return describe(rep, state), nil
}

// itself says of a symbolic link that the file that it leads to is to be named: one that
// grows gets another name, and with that the link would lead nowhere.
func itself(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return err
	}
	to, err := filepath.EvalSymlinks(path)
	if err == nil && (strings.HasSuffix(path, tmp) || strings.HasSuffix(to, tmp)) {
		err = fmt.Errorf("%s: it is a symbolic link to %s: nothing was changed; repair that file itself", path, to)
	}
	return err
}

// remaining is what a repaired file still says wrongly.
func remaining(f *os.File) string {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err.Error()
	}
	rep, err := flv.Scan(f)
	if err != nil {
		return err.Error()
	}
	return rep.Flaw()
}

// unread explains why a file is no recording.
func unread(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("it ends within its header, nothing is in it")
	}
	return err
}

// describe is one line about a file.
func describe(rep *flv.Report, state string) string {
	line := fmt.Sprintf("%s; duration %.3f s, %d frames (%d video, %d audio), %d keyframes, %d gaps",
		state, rep.Duration().Seconds(), rep.Frames, rep.Pictures, rep.Frames-rep.Pictures, rep.Keyframes, rep.Gaps)
	if rep.Gaps > 0 {
		line += fmt.Sprintf(" (the longest %.3f s)", (time.Duration(rep.LongestGap) * time.Millisecond).Seconds())
	}
	return line + fmt.Sprintf(", %d bytes", rep.Size)
}

// maxNumbers bounds the names that are tried.
const maxNumbers = 1 << 16

// rename takes ".tmp" off a name and makes that durable. Where the name is taken
// it gets a number, as a recording does.
func rename(path string) (to string, err error) {
	want := strings.TrimSuffix(path, tmp)
	ext := filepath.Ext(want)
	root, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	defer root.Close()
	for n := range maxNumbers {
		to = want
		if n > 0 {
			to = strings.TrimSuffix(want, ext) + "-" + strconv.Itoa(n) + ext
		}
		err := dvr.RenameNew(root, filepath.Base(path), filepath.Base(to))
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", &os.LinkError{Op: "rename", Old: path, New: to, Err: err}
		}
		return to, nil
	}
	return "", fmt.Errorf("%s: no free name", want)
}

package dvr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"srs/flv"
)

// A meddling is what somebody else did to a growing file: cut it, for a full disk has more
// room then (: > x.flv.tmp), or wrote to it.
type meddling struct {
	what string
	cut  bool
}

func (e meddling) Error() string { return e.what }

// whole looks whether the file has the size that was written to it. It is called before
// each write, for no look behind it could tell.
func (f *file) whole() error {
	var st unix.Stat_t // os.File.Stat would cost as much again
	if err := unix.Fstat(int(f.os.Fd()), &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch more := st.Size - f.size; {
	case more < 0:
		what := fmt.Sprintf("somebody cut the file by %d of its %d bytes while it was recorded", -more, f.size)
		if st.Size < f.began {
			what += ", also what it had before the publish"
		}
		return f.meddled(meddling{what, true})
	case more > 0 && f.err == nil: // else it may have a part of a tag
		return f.meddled(meddling{fmt.Sprintf("somebody wrote %d bytes to the file while it was recorded", more), false})
	}
	return nil
}

func (f *file) meddled(m meddling) error {
	return &fs.PathError{Op: "record", Path: f.claim.path() + tmp, Err: m}
}

// salvage makes the file one of the whole tags that are left of it, perhaps none, and
// counts what is not. From then on nobody has been told of what is in it.
func (f *file) salvage() error {
	scan := func(size int64) (*flv.Report, error) {
		rep, err := flv.Scan(io.NewSectionReader(f.os, 0, size))
		if err == io.EOF || err == io.ErrUnexpectedEOF || errors.Is(err, flv.ErrFormat) { // not even its first bytes
			return &flv.Report{}, nil
		}
		return rep, err
	}
	before, err := scan(f.began) // continued knows no number
	if err != nil {
		return err
	}
	rep, err := scan(math.MaxInt64)
	if err != nil {
		return err
	}
	f.lost += f.sum.Frames - f.continued - (rep.Frames - before.Frames)
	f.sum, f.size, f.continued = rep.Summary, rep.Size, 0
	return nil
}

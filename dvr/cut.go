package dvr

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"srs/flv"
)

// A cutError says that somebody has cut a growing file. A full disk has more room
// then (: > x.flv.tmp), and the next write would leave a hole in the file.
type cutError string

func (e cutError) Error() string { return string(e) }

// isCut says so of an error.
func isCut(err error) bool {
	_, is := errors.AsType[cutError](err)
	return is
}

// whole looks whether what was written to the file is in it. It is called before each
// write, for no look behind it could tell.
func (f *file) whole() error {
	info, err := f.os.Stat()
	if err != nil || info.Size() >= f.size {
		return err
	}
	what := fmt.Sprintf("somebody cut the file to %d of its %d bytes while it was recorded", info.Size(), f.size)
	if info.Size() < f.began {
		what += ", also what it had before the publish"
	}
	return &fs.PathError{Op: "record", Path: f.claim.path() + tmp, Err: cutError(what)}
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

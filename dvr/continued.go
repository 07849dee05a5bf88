package dvr

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"srs/flv"
	"srs/rtmp/live"
)

// continueFile opens the newest complete file that a stream has of a name to go on
// in it, if it is there and not unfit (plan append); else it may say why. An error comes
// with the place of the file that it is about.
func continueFile(dir string, want place, unfit func(*flv.Resumed) string, who facts, syncAfter time.Duration) (_ *file, at place, why string, _ error) {
	var res *flv.Resumed
	var size int64
	ours := func(o *os.File) bool {
		info, err := o.Stat()
		if err != nil {
			return false
		}
		told, known := flv.Tell(o, info.Size())
		if !known {
			why = cmp.Or(why, filepath.Base(o.Name())+" is of another program, or damaged")
		}
		return known && told.Owner == who.owner()
	}
	c, o, err := reopen(dir, want, ours, func(o *os.File) bool {
		info, err := o.Stat()
		if err == nil {
			size = info.Size()
			res, err = flv.Resume(o, size)
		}
		name := filepath.Base(o.Name())
		if why = ""; err != nil {
			why = name + " is damaged, srs dvr repair mends it"
		} else if what := unfit(res); what != "" {
			why = name + ": " + what
		}
		return why == ""
	})
	if o == nil {
		if c.refused != nil {
			why = cmp.Or(why, c.refused.Error())
		}
		return nil, c.place(), why, err
	}
	f := &file{claim: c, os: o, metadata: res.Metadata, syncAfter: syncAfter, size: size, sum: res.Summary, continued: res.Frames, unsaid: true, goes: always}
	f.metadata.Body = nil
	f.from, f.began = f.sum.End(), size
	if who.Lost != "" {
		who.Lost = f.start() + who.Lost
	}
	f.public = f.claim.hide(o) != nil
	f.fail(f.reset(f.noteOf(who)))
	if _, err := o.Seek(size, io.SeekStart); err != nil {
		f.fail(err)
	}
	f.fail(c.settle()) // its new name, now that the file says whose it is
	if err := f.err; err != nil {
		_, completing := f.complete(who, false)
		return nil, c.place(), "", errors.Join(err, completing)
	}
	return f, c.place(), "", nil
}

// noteOf is the note that the file has room for.
func (f *file) noteOf(who facts) string {
	if f.public {
		who.TcURL, who.Param = "", ""
	}
	who.Mode = f.claim.mode
	return who.noteIn(f.metadata)
}

// reset writes the metadata of a file that grows, with a note.
func (f *file) reset(note string) error {
	for _, p := range f.metadata.Reset(note) {
		if _, err := f.os.WriteAt(p.Data, metadataAt+int64(p.At)); err != nil {
			return err
		}
	}
	return nil
}

// pass is told of the first frame of another publish. It is the one that the file is
// announced with from then on, also by who finds it after a crash.
func (f *file) pass(p live.Publisher, log *slog.Logger) {
	f.publisher, f.log, f.passed, f.unsaid = p, log, true, true
}

// renote has the file say so. Where there is no room it keeps the note that it has.
func (f *file) renote() error {
	f.passed = false
	who := factsOf(f.publisher)
	who.Lost = f.shortfall()
	if note := f.noteOf(who); note != "" {
		return f.reset(note)
	}
	return nil
}

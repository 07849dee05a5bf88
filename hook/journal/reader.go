package journal

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// A Reader reads a directory that a server may be writing to, look after look. What
// it has read of a file it knows by the file's salt: numbers begin anew where all
// files were removed.
type Reader struct {
	// Anew, if set, is called when all files were removed and others begin: these count
	// their records from 1.
	Anew func()

	dir    string
	known  map[uint32]*reading // of the files that were there at the last look
	newest *os.File            // of them, kept open: it may be removed before the next look
	last   *reading            // of newest
	most   uint32              // the highest number that was read
}

// A reading is how far a file is read.
type reading struct {
	number, salt uint32
	offset       int64
	file         *os.File // during a look
}

// maxOpen is how many files are open during a look: what is in them is read though
// they are removed meanwhile.
const maxOpen = 256

// NewReader reads from the oldest record on.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// Close lets go of the file that is followed.
func (r *Reader) Close() {
	if r.newest != nil {
		r.newest.Close()
	}
	r.newest, r.last = nil, nil
}

// There reports whether a record that was read is still there, as of the last Read.
func (r *Reader) There(p Place) bool { return r.known[p.Segment] != nil }

// Read calls f for every record that has come since the last Read. It reports whether
// files have vanished since.
func (r *Reader) Read(f func(Record)) (vanished bool, err error) {
	numbers, err := list(r.dir)
	if err != nil {
		return false, err
	}
	var all []*reading
	defer func() {
		for _, at := range all {
			if at.file != nil && at.file != r.newest {
				at.file.Close()
			}
			at.file = nil
		}
	}()
	for _, n := range numbers {
		at, err := r.find(n)
		switch {
		case err != nil:
			return false, err
		case at == nil:
			continue
		case len(all) >= maxOpen:
			at.file.Close()
			at.file = nil
		}
		all = append(all, at)
	}
	if r.newest != nil { // its rest is nowhere else, if it was removed
		if err := r.last.rest(r.newest, f); err != nil {
			return false, err
		}
		r.Close()
	}
	before, left := r.known, 0
	r.known = make(map[uint32]*reading, len(all))
	for _, at := range all {
		r.known[at.number] = at
		if before[at.number] == at {
			left++
		}
	}
	if left == 0 && len(all) > 0 && all[0].number <= r.most {
		r.most = 0
		if r.Anew != nil {
			r.Anew()
		}
	}
	for i, at := range all {
		if at.file == nil {
			if at.file, err = os.Open(name(r.dir, at.number)); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return false, err
			}
		}
		r.most = max(r.most, at.number)
		if err := at.rest(at.file, f); err != nil {
			return false, err
		}
		if i == len(all)-1 {
			r.newest, r.last = at.file, at
		} else {
			at.file.Close()
			at.file = nil
		}
	}
	return left < len(before), nil
}

// find opens a file and tells how far it is read; nil: it is none, or not yet, or not
// any more.
func (r *Reader) find(number uint32) (*reading, error) {
	file, err := os.Open(name(r.dir, number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	header := make([]byte, headerSize)
	n, err := file.ReadAt(header, 0)
	salt, ok := parseHeader(header[:n], number)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		file.Close()
		return nil, err
	case !ok:
		file.Close()
		return nil, nil
	}
	at := r.known[number]
	if at == nil || at.salt != salt {
		at = &reading{number: number, salt: salt, offset: headerSize}
	}
	at.file = file
	return at, nil
}

// rest reads what has come to a file.
func (at *reading) rest(file *os.File, f func(Record)) error {
	b, err := io.ReadAll(io.NewSectionReader(file, at.offset, maxSegment))
	if err != nil {
		return err
	}
	end, _, _ := scan(b, at.number, at.salt, 0, f)
	at.offset += int64(end)
	return nil
}

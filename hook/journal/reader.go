package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	damage []Damage
	told   map[string]bool // files that are damaged as a whole
}

// A reading is how far a file is read.
type reading struct {
	number, salt uint32
	offset       int64
	file         *os.File // during a look
	torn         bool     // its end is counted as damaged
}

// A Damage is something that cannot be read.
type Damage struct {
	File   string
	Places int // where in it; 0: all of it
	Bytes  int
	Aside  bool // it is what a server has found damaged, and kept
}

func (d Damage) String() string {
	switch {
	case d.Aside:
		return d.File + " was damaged when a server started, which kept it to be looked at: what it could not read is lost"
	case d.Places == 0:
		return d.File + " is no file of a journal, or its beginning is damaged: what is in it is missing here, the server moves it aside when it starts"
	}
	return fmt.Sprintf("%s is damaged: %d bytes cannot be read (in places: %d), what they say is missing here", d.File, d.Bytes, d.Places)
}

// maxOpen is how many files are open during a look: what is in them is read though
// they are removed meanwhile.
const maxOpen = 256

// NewReader reads from the oldest record on.
func NewReader(dir string) *Reader { return &Reader{dir: dir, told: make(map[string]bool)} }

// Damage is what could not be read so far. The end of the newest file is none: it may
// be being written.
func (r *Reader) Damage() []Damage { return r.damage }

// wholeFile notes that nothing of a file can be read.
func (r *Reader) wholeFile(d Damage) {
	if !r.told[d.File] {
		r.told[d.File] = true
		r.damage = append(r.damage, d)
	}
}

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
	asides, err := filepath.Glob(filepath.Join(r.dir, "*"+aside))
	if err != nil {
		return false, err
	}
	for _, file := range asides {
		r.wholeFile(Damage{File: file, Aside: true})
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
		if _, err := r.rest(r.newest, r.last, f); err != nil {
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
		left, err := r.rest(at.file, at, f)
		if err != nil {
			return false, err
		}
		if i == len(all)-1 {
			r.newest, r.last = at.file, at
			break
		}
		if left > 0 && !at.torn {
			at.torn = true
			r.damage = append(r.damage, Damage{File: at.file.Name(), Places: 1, Bytes: left})
		}
		at.file.Close()
		at.file = nil
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
		if n == headerSize { // else it is being made
			r.wholeFile(Damage{File: file.Name()})
		}
		return nil, nil
	}
	at := r.known[number]
	if at == nil || at.salt != salt {
		at = &reading{number: number, salt: salt, offset: headerSize}
	}
	at.file = file
	return at, nil
}

// rest reads what has come to a file. It returns how many bytes at its end are no
// record, or not yet.
func (r *Reader) rest(file *os.File, at *reading, f func(Record)) (left int, err error) {
	b, err := io.ReadAll(io.NewSectionReader(file, at.offset, maxSegment))
	if err != nil {
		return 0, err
	}
	end, damaged, places := scan(b, at.number, at.salt, 0, f)
	at.offset += int64(end)
	if places > 0 {
		r.damage = append(r.damage, Damage{File: file.Name(), Places: places, Bytes: damaged})
	}
	return len(b) - end, nil
}

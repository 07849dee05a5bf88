package journal

import (
	"errors"
	"io/fs"
	"slices"
)

// A Reader reads a directory that a server may be writing to.
type Reader struct {
	dir    string
	number uint32 // the segment read last
	salt   uint32
	offset int
}

// NewReader reads from the oldest record on.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// Read calls f for every record that has come since the last Read.
func (r *Reader) Read(f func(Record)) error {
	numbers, err := list(r.dir)
	if err != nil {
		return err
	}
	if n := len(numbers); n > 0 && numbers[n-1] < r.number { // begun anew
		r.number = 0
	}
	i, _ := slices.BinarySearch(numbers, r.number)
	for _, n := range numbers[i:] {
		if n != r.number {
			r.number, r.offset = n, 0
		}
		b, err := load(name(r.dir, n), int64(r.offset))
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			continue
		case err != nil:
			return err
		}
		if r.offset == 0 {
			salt, ok := parseHeader(b, n)
			if !ok {
				continue
			}
			r.salt, r.offset, b = salt, headerSize, b[headerSize:]
		}
		end, _, _ := scan(b, n, r.salt, 0, f)
		r.offset += end
	}
	return nil
}

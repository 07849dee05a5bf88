package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
)

// jsonFile is where -o has figures written. It is opened before anything is
// measured, so that a wrong name is told then and not afterwards.
type jsonFile struct{ file *os.File }

func (j *jsonFile) flag(fs *flag.FlagSet, usage string) {
	fs.Func("o", usage, func(name string) (err error) {
		j.file, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o664)
		return err
	})
}

// write writes figures, if that is wanted, in place of what the file had.
func (j *jsonFile) write(figures any) error {
	if j.file == nil {
		return nil
	}
	b, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	if info, err := j.file.Stat(); err == nil && info.Mode().IsRegular() {
		if err := j.file.Truncate(0); err != nil {
			return err
		}
	}
	_, err = j.file.Write(append(b, '\n'))
	return errors.Join(err, j.file.Close())
}

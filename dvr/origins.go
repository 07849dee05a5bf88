package dvr

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Bounds of what is remembered: the newest templates, of what their file may have.
const (
	maxOrigins    = 256
	maxOriginFile = 1 << 20
)

// An origin is where recordings were begun: a template and whose it was. Those of
// former configurations are remembered in a file, one line of JSON each, until a
// start has found nothing more to do below them. So the next server finds what a
// killed one has left also where dvr_path has been changed in between.
type origin struct {
	Vhost string `json:"vhost"`
	Path  string `json:"dvr_path"`
	Cwd   string `json:"cwd"` // where a relative path begins
}

// origins are those of a Recorder.
type origins struct {
	file string // empty: nothing is remembered

	writing sync.Mutex // the file is written; comes before mu, and is the only one held meanwhile

	// Guarded by mu.
	mu   sync.Mutex
	ours []origin // those recorded to since the start
	old  []origin // those of servers before, as long as they are needed
}

// load reads what the server before has left.
func (o *origins) load() ([]origin, error) {
	if o.file == "" {
		return nil, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	f, err := os.Open(o.file)
	if err != nil {
		return nil, ignore(err, fs.ErrNotExist)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxOriginFile))
	for line := range bytes.Lines(text) {
		var one origin
		if json.Unmarshal(line, &one) == nil && one.Path != "" && !slices.Contains(o.old, one) {
			o.old = append(o.old, one)
		}
	}
	return slices.Clone(o.old), err
}

// keep forgets the old ones but these.
func (o *origins) keep(these []origin) error {
	o.mu.Lock()
	same := len(these) == len(o.old)
	o.old = these
	o.mu.Unlock()
	if same {
		return nil
	}
	return o.write()
}

// enter notes one, and says whether the file has to be written for it.
func (o *origins) enter(one origin) (fresh bool) {
	if o.file == "" {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.Contains(o.ours, one) {
		return false
	}
	o.ours = append(o.ours, one)
	return !slices.Contains(o.old, one)
}

// write replaces the file, durably.
func (o *origins) write() error {
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	all := slices.Concat(o.old, o.ours)
	o.mu.Unlock()
	var text []byte
	for _, one := range all[max(0, len(all)-maxOrigins):] {
		line, err := json.Marshal(one)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	if err := os.MkdirAll(filepath.Dir(o.file), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(o.file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(o.file+".new", o.file)
}

// remember notes where a recording is begun. That it cannot be noted does not
// keep anything from being recorded, nor does the disk that it is noted on. The
// caller is a recording that runs.
func (r *Recorder) remember(vhost, template string) {
	if !r.origins.enter(origin{vhost, template, r.Cwd}) {
		return
	}
	r.running.Go(func() {
		if err := r.origins.write(); err != nil {
			r.Log.Warn("what a crash leaves here is found only while dvr_path stays as it is", "vhost", vhost, "path", template, "error", err.Error())
		}
	})
}

// patternOf finds what was recorded to an origin. A server that begins elsewhere
// names it by its absolute path.
func (r *Recorder) patternOf(o origin) pattern {
	template := o.Path
	if o.Cwd != r.Cwd && !filepath.IsAbs(template) {
		template = filepath.Join(o.Cwd, template)
		if template != fileTemplate(template) {
			template += "/"
		}
	}
	return newPattern(o.Vhost, template, r.dir(literalRoot(fileTemplate(template))))
}

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
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what is remembered: the newest templates, of what their file may have.
const (
	maxOrigins    = 256
	maxOriginFile = 1 << 20
)

// forgetAfter is how long a place is remembered in which nothing of ours is found.
const forgetAfter = 30 * 24 * time.Hour

// An origin is where recordings were begun: a template and whose it was. Those of
// former configurations are remembered in a file, one line of JSON each, until a
// start has found files of ours below them and nothing more to do. So the next
// server finds what a killed one has left also where dvr_path has been changed in
// between, and its disk is not mounted yet.
type origin struct {
	Vhost string `json:"vhost"`
	Path  string `json:"dvr_path"`
	Cwd   string `json:"cwd"` // where a relative path begins
}

// A former origin is one of servers before.
type former struct {
	origin
	Since time.Time `json:"nothing_since,omitzero"` // the first start that found nothing of ours there
}

// origins are those of a Recorder. The disk that the file is on may hang: nothing
// waits for it but goroutines of its own.
type origins struct {
	// Static before the first use.
	file string                            // empty: nothing is remembered
	read func(file string) ([]byte, error) // nil: readSmall

	loading sync.Once
	loaded  chan struct{} // made by load; closed when old is what the file says
	failed  error         // static from then on

	writing sync.Mutex // the file is written; comes before mu, and is the only one held meanwhile

	// Guarded by mu.
	mu    sync.Mutex
	ours  []origin // those recorded to since the start
	old   []former // those of servers before, as long as they are needed
	stale bool     // the file has not got them all
}

// load has read, once, what the server before has left, and says when it is there.
func (o *origins) load() <-chan struct{} {
	o.loading.Do(func() {
		o.loaded = make(chan struct{})
		go func() { // where the disk never answers it ends with the process
			defer close(o.loaded)
			if o.file != "" {
				o.failed = o.fill()
			}
		}()
	})
	return o.loaded
}

// fill is load on the disk.
func (o *origins) fill() error {
	read := o.read
	if read == nil {
		read = readSmall
	}
	text, err := read(o.file)
	o.mu.Lock()
	defer o.mu.Unlock()
	for line := range bytes.Lines(text) {
		var one former
		if json.Unmarshal(line, &one) == nil && one.Path != "" && !o.remembers(one.origin) {
			o.old = append(o.old, one)
		}
	}
	return ignore(ignore(err, fs.ErrNotExist), unix.ENOTDIR) // there is none; what is wrong with its place shows when one is written
}

func (o *origins) remembers(one origin) bool {
	return slices.ContainsFunc(o.old, func(f former) bool { return f.origin == one })
}

// readSmall reads a file that is one: a pipe is not waited for.
func readSmall(file string) ([]byte, error) {
	if info, err := os.Lstat(file); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: file, Err: errNotRegular}
	}
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxOriginFile))
}

// before gives what the server before has left, when that is read.
func (o *origins) before(stop <-chan struct{}) ([]former, error) {
	select {
	case <-o.load():
	case <-stop:
		return nil, errStopped
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.old), o.failed
}

// keep forgets the old ones but these.
func (o *origins) keep(these []former, stop <-chan struct{}) error {
	o.mu.Lock()
	same := slices.Equal(these, o.old)
	o.old = these
	o.stale = o.stale || !same
	o.mu.Unlock()
	if same {
		return nil
	}
	return o.write(stop)
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
	fresh = !slices.Contains(o.old, former{origin: one}) // nor with a time, which is over
	o.stale = o.stale || fresh
	return fresh
}

// due says whether the file has to be written once more.
func (o *origins) due() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stale
}

// write replaces the file, durably, once it is known what is in it.
func (o *origins) write(stop <-chan struct{}) error {
	select {
	case <-o.load():
	case <-stop:
		return errStopped
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	all := slices.DeleteFunc(slices.Clone(o.old), func(one former) bool { return slices.Contains(o.ours, one.origin) })
	for _, one := range o.ours {
		all = append(all, former{origin: one})
	}
	o.stale = false
	o.mu.Unlock()
	var text []byte
	for _, one := range all[max(0, len(all)-maxOrigins):] {
		line, err := json.Marshal(one)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	err := replaceFile(o.file, text)
	if err != nil {
		o.mu.Lock()
		o.stale = true
		o.mu.Unlock()
	}
	return err
}

// replaceFile gives a file another content. After a power cut it has the one or
// the other.
func replaceFile(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.Remove(file + ".new"); ignore(err, fs.ErrNotExist) != nil {
		return err
	}
	f, err := os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// remember notes where a recording is begun. That it cannot be noted does not
// keep anything from being recorded, nor does the disk that it is noted on. The
// caller is a recording that runs.
func (r *Recorder) remember(vhost, template string) {
	if !r.origins.enter(origin{vhost, template, r.Cwd}) {
		return
	}
	r.beside(func() {
		if err := r.origins.write(r.closing); err != nil && !errors.Is(err, errStopped) {
			r.Log.Warn("what a crash leaves here is found only while dvr_path stays as it is", "vhost", vhost, "path", template, "error", err.Error(), "retry", retryAfter)
		}
	})
}

// rememberAgain tries what could not be noted. It is said when that works.
func (r *Recorder) rememberAgain() {
	if !r.origins.due() {
		return
	}
	r.beside(func() {
		if r.origins.write(r.closing) == nil {
			r.Log.Info("places of recordings are noted again", "path", r.origins.file)
		}
	})
}

// forget keeps of the places of servers before those where more is to be done, or
// where nothing of ours was found but may be when a disk is mounted.
func (r *Recorder) forget(before []former) {
	now := time.Now().UTC().Truncate(time.Second)
	var still []former
	told := map[string]bool{}
	for _, o := range before {
		p := r.patternOf(o.origin)
		v := r.verdictOf(p)
		switch v {
		case settled: // it is remembered when something is recorded
			continue
		case away, bare:
			if o.Since.IsZero() {
				o.Since = now
			}
			if now.Sub(o.Since) > forgetAfter {
				r.Log.Info("a place of recordings is forgotten, nothing was found there for long", "path", p.dir, "since", o.Since.Format(time.DateOnly))
				continue
			}
		default:
			o.Since = time.Time{}
		}
		still = append(still, o)
		if v == away && !told[p.dir] {
			told[p.dir] = true
			r.Log.Info("a directory of recordings is not there; what was left in it is looked for when it is", "path", p.dir, "retry", lookEvery.String(),
				"until", o.Since.Add(forgetAfter).Format(time.DateOnly))
		}
	}
	if err := r.origins.keep(still, r.closing); err != nil && !errors.Is(err, errStopped) {
		r.Log.Warn("former places of recordings are not forgotten", "path", r.origins.file, "error", err.Error())
	}
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

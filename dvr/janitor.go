package dvr

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"srs/conf"
)

// How often the janitor looks, and how many files it remembers at a time.
const (
	cleanEvery = time.Minute
	freeEvery  = 10 * time.Second // for room on the disk alone, which costs one call
	maxOldest  = 10_000
)

// clean keeps the recordings of each vhost within its limits (dvr_max_age,
// dvr_max_size, dvr_min_free), from Start to Close.
func (r *Recorder) clean() {
	tick := time.NewTicker(freeEvery)
	defer tick.Stop()
	for looked := time.Now().Add(-cleanEvery); ; {
		now := time.Now()
		all := now.Sub(looked) >= cleanEvery
		if all {
			looked = now
		}
		r.cleanAll(all, now)
		select {
		case <-tick.C:
		case <-r.closing:
			return
		}
	}
}

// cleanAll does so for the vhosts whose limits are to be looked at, in each
// directory one after the other.
func (r *Recorder) cleanAll(all bool, now time.Time) {
	due := map[string][]*conf.Vhost{}
	for _, v := range r.Conf().Vhosts {
		if d := v.DVR; v.Enabled && d.Enabled && (d.MinFree > 0 || all && (d.MaxAge > 0 || d.MaxSize > 0)) {
			dir := r.dir(literalRoot(fileTemplate(d.Path)))
			due[dir] = append(due[dir], v)
		}
	}
	for dir, vhosts := range due {
		r.tend(chore{dir, cleaning}, func(alive func()) {
			for _, v := range vhosts {
				p := newPattern(v.Name, v.DVR.Path, dir)
				p.alive = alive
				r.cleanVhost(p, v.DVR, all, now)
			}
		})
	}
}

func (r *Recorder) cleanVhost(p pattern, d conf.DVR, all bool, now time.Time) {
	r.disk(p.dir, func() {
		free, err := freeBytes(p.dir)
		if errors.Is(err, os.ErrNotExist) {
			return // nothing was recorded yet
		}
		if err == nil && (all || free < d.MinFree) {
			err = r.keepWithin(&p, d, free, now)
		}
		if err != nil {
			r.Log.Error("old recordings cannot be removed", "vhost", p.vhost, "path", p.root, "error", err.Error())
		}
	})
}

// keepWithin removes the oldest complete recordings of a vhost until all limits
// hold.
func (r *Recorder) keepWithin(p *pattern, d conf.DVR, free int64, now time.Time) error {
	var oldest []found
	total := int64(0)
	err := p.walk([]string{""}, func(f found) error {
		select {
		case <-r.closing:
			return errStopped
		default:
		}
		total += f.size
		if oldest = append(oldest, f); len(oldest) >= 2*maxOldest {
			oldest = sortOldest(oldest)[:maxOldest]
		}
		return nil
	})
	if err != nil {
		return ignore(err, errStopped)
	}
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var stuck error // the first that cannot be removed; the next ones can, perhaps
	for _, f := range sortOldest(oldest) {
		p.alive()
		reason := ""
		switch {
		case d.MaxAge > 0 && now.Sub(f.at) > d.MaxAge:
			reason = "dvr_max_age"
		case d.MaxSize > 0 && total > d.MaxSize:
			reason = "dvr_max_size"
		case d.MinFree > 0 && free < d.MinFree:
			reason = "dvr_min_free"
		default:
			return stuck
		}
		if _, err := root.Lstat(f.name + done); err == nil {
			continue // not announced yet
		}
		if err := root.Remove(f.name); err != nil {
			if stuck == nil { // one that is gone meanwhile, or that goes on, is none
				stuck = ignore(err, fs.ErrNotExist)
			}
			continue
		}
		total -= f.size
		free += f.size
		r.Log.Info("old recording removed", "vhost", p.vhost, "path", p.root+f.name, "reason", reason, "size", f.size, "since", f.at.Format(time.DateTime))
		for folder := path.Dir(f.name); folder != "." && root.Remove(folder) == nil; folder = path.Dir(folder) {
			// It was empty: of a day that is over, perhaps.
		}
	}
	return stuck
}

func sortOldest(list []found) []found {
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.name, b.name))
	})
	return list
}

// freeBytes is what may still be written to the file system of a directory.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		if err := unix.Statfs(dir, &st); err != unix.EINTR {
			return int64(st.Bavail) * st.Bsize, err
		}
	}
}

package dvr

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"srs/conf"
	"srs/flv"
)

// How often the janitor looks, and how many files it remembers at a time.
const (
	cleanEvery = time.Minute
	freeEvery  = 10 * time.Second // for room on the disk alone, which costs one call
	shortEvery = 10 * time.Minute // for the line that all that is removed is not enough
	maxOldest  = 10_000
	maxKnown   = 1 << 20 // of the files it has looked into
)

// What the janitor knows of a vhost's files in one place, from one look to the next.
type kept struct {
	mine   map[identity]bool // whether a file is a recording of the vhost
	others bool              // it was said that there are files of others
	short  bool              // it was said that dvr_min_free cannot be met
	said   time.Time         // when
}

// An identity is that of a file as long as nobody changes it.
type identity struct {
	inode uint64
	size  int64
	at    int64
}

func (f found) identity() identity { return identity{f.inode, f.size, f.at.UnixNano()} }

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
		free, room, err := roomOf(p.dir)
		if errors.Is(err, os.ErrNotExist) {
			return // nothing was recorded yet
		}
		if err == nil && room < d.MinFree {
			r.neverFree(&p, d.MinFree, room)
			d.MinFree = 0
		}
		if err == nil && (all && (d.MaxAge > 0 || d.MaxSize > 0 || d.MinFree > 0) || free < d.MinFree) {
			err = r.keepWithin(&p, d, free, now)
		}
		if err != nil {
			r.Log.Error("old recordings cannot be removed", "vhost", p.vhost, "path", p.root, "error", err.Error())
		}
	})
}

// neverFree says once that a dvr_min_free is more than the disk can hold. To remove
// recordings would help nothing.
func (r *Recorder) neverFree(p *pattern, want, room int64) {
	if k := r.keptOf(p); !k.short {
		k.short = true
		r.Log.Warn("dvr_min_free is more than the disk holds, it is not looked at", "vhost", p.vhost, "path", p.root, "dvr_min_free", want, "disk", room)
	}
}

// keepWithin removes the oldest complete recordings of a vhost until all limits
// hold.
func (r *Recorder) keepWithin(p *pattern, d conf.DVR, free int64, now time.Time) error {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	k := r.keptOf(p)
	var oldest []found
	total, others, known := int64(0), 0, make(map[identity]bool)
	unheard := map[uint64]bool{} // inodes
	err = p.walk(func(f found) error {
		select {
		case <-r.closing:
			return errStopped
		default:
		}
		if f.isMark() {
			_, number, _, _ := cutMark(f.name + f.suffix)
			unheard[number] = true
			return nil
		}
		id := f.identity()
		mine, ok := k.mine[id]
		if !ok {
			var err error
			mine, err = recordedBy(root, f.name, p.vhost)
			ok = err == nil
		}
		if ok && len(known) < maxKnown {
			known[id] = mine
		}
		if !mine {
			others++
			return nil
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
	k.mine = known
	if others > 0 && !k.others {
		k.others = true
		r.Log.Info("files that this vhost has not recorded are left alone, and not counted", "vhost", p.vhost, "path", p.root, "files", others)
	}
	removed := 0
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
			k.short = false
			return stuck
		}
		if unheard[f.inode] {
			continue // not announced yet
		}
		switch gone, err := removeOld(root, f); {
		case err != nil:
			stuck = cmp.Or(stuck, err)
			continue
		case !gone:
			continue
		}
		removed++
		total -= f.size
		free += f.size
		r.Log.Info("old recording removed", "vhost", p.vhost, "path", p.root+f.name, "reason", reason, "size", f.size, "since", f.at.Format(time.DateTime))
		for folder := path.Dir(f.name); folder != "." && root.Remove(folder) == nil; folder = path.Dir(folder) {
			// It was empty: of a day that is over, perhaps.
		}
	}
	short := d.MinFree > 0 && free < d.MinFree
	if short = short && stuck == nil; short && (!k.short || removed > 0 && now.Sub(k.said) >= shortEvery) {
		k.said = now
		r.Log.Warn("no recordings are left to remove, and there is less room than dvr_min_free: other files take it, or growing ones",
			"vhost", p.vhost, "path", p.root, "removed", removed, "free", free, "dvr_min_free", d.MinFree)
	}
	k.short = short
	return stuck
}

// removeOld removes a complete recording that was found. One that somebody has changed
// since, or is about to go on in, stays: it is no longer
// the one that is too old. The lock is the one that reopen takes, so that nobody goes
// on in it from the look to the end.
func removeOld(root *os.Root, f found) (removed bool, err error) {
	file, err := openRegular(root, f.name)
	switch {
	case err == nil:
		defer file.Close()
		if lock(file) != nil {
			return false, nil
		}
	case gone(err), errors.Is(err, errNotRegular):
		return false, nil
	case !errors.Is(err, fs.ErrPermission): // what this server may not write to it does not go on in either
		return false, err
	}
	info, err := root.Lstat(f.name)
	if err != nil {
		return false, ignore(err, fs.ErrNotExist)
	}
	if (found{size: info.Size(), at: info.ModTime(), inode: inode(info)}).identity() != f.identity() {
		return false, nil
	}
	err = root.Remove(f.name)
	return err == nil, ignore(err, fs.ErrNotExist)
}

// keptOf gives what is known of the files of a pattern.
func (r *Recorder) keptOf(p *pattern) *kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	place := [2]string{p.vhost, p.dir}
	if r.kept[place] == nil {
		r.kept[place] = &kept{}
	}
	return r.kept[place]
}

// recordedBy says whether a file is a recording of a vhost. Another program's is
// none, and what another vhost has recorded is that one's, whatever its name.
func recordedBy(root *os.Root, name, vhost string) (bool, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && strings.HasPrefix(flv.Owner(f, info.Size()), ownedBy(vhost)), err
}

func sortOldest(list []found) []found {
	slices.SortFunc(list, func(a, b found) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.name, b.name))
	})
	return list
}

// roomOf is how much may still be written to the file system of a directory, and
// how much it can hold at most.
func roomOf(dir string) (free, all int64, err error) {
	var st unix.Statfs_t
	for {
		if err := unix.Statfs(dir, &st); err != unix.EINTR {
			return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, err
		}
	}
}

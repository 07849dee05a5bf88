package journal

import (
	"errors"
	"time"
)

// What waits for the disk says so: the writer and the syncer set the time before each
// thing that the disk may not answer, and take it back when they wait for something
// else. Whatever hangs is so found out.

// busy notes that a goroutine waits for the disk from now on, or does no more.
func (j *Journal) busy(since *time.Time, yes bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	*since = time.Time{}
	if yes {
		*since = time.Now()
	}
}

// watched looks whether the disk answers, as long as something waits. That it has
// answered again is found out here when nothing is left to be written.
func (j *Journal) watched() {
	j.troubleMu.Lock()
	defer j.troubleMu.Unlock()
	j.mu.Lock()
	stalled, waits := false, len(j.queue)+len(j.unsynced) > 0
	for _, since := range []time.Time{j.writing, j.syncing} {
		waits = waits || !since.IsZero() // what is just being written is in neither
		stalled = stalled || !since.IsZero() && time.Since(since) >= stallAfter
	}
	begins, ends := stalled && !j.trouble, !stalled && !waits && j.hung
	switch {
	case begins:
		j.trouble, j.hung = true, true
	case ends:
		j.trouble, j.hung = false, false
	}
	if stalled || waits {
		j.watch.Reset(stallAfter / 4)
	} else {
		j.watch = nil
	}
	j.mu.Unlock()
	switch {
	case begins:
		j.o.Trouble(errors.New("the disk has not answered for " + stallAfter.String()))
	case ends:
		j.o.Trouble(nil)
	}
}

// setTrouble tells of a change.
func (j *Journal) setTrouble(err error) {
	j.troubleMu.Lock()
	defer j.troubleMu.Unlock()
	j.mu.Lock()
	changed := j.trouble != (err != nil)
	j.trouble, j.hung = err != nil, false
	j.mu.Unlock()
	if changed {
		j.o.Trouble(err)
	}
}

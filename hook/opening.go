package hook

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"

	"srs/hook/journal"
)

// An opening is how a journal is opened.
type opening struct {
	dir     string
	rules   func(vhost string) (r *Rules, exists bool) // for what is found at once
	resumed bool                                       // only to tell what an earlier run has left
	patient bool                                       // one that another server has is waited for
}

// OpenJournal makes notices and ends durable in a directory, and takes up what
// an earlier run has left in it: what was not delivered, and the ends of what
// had begun. It is called before anything else. The error is that another server
// has the directory. One that cannot be used is logged and tried again, and taken
// up when it can; until then events are kept in memory.
func (e *Engine) OpenJournal(dir string) error {
	return e.open(opening{dir: dir, rules: e.rules})
}

// SwitchOn is OpenJournal for a reload that switches hooks on; it is called before
// the new rules are in force, so that their first event finds the journal. Where it
// is open already nothing changes. One that another server has is tried again, too.
func (e *Engine) SwitchOn(dir string, rules func(vhost string) (r *Rules, exists bool)) {
	if err := e.open(opening{dir: dir, rules: rules, patient: true}); err != nil {
		panic("hook: " + err.Error()) // it has waited for all there is
	}
}

// ResumeJournal is OpenJournal where nobody has hooks any more: what an earlier
// run has left is still to be told, and then the directory is given back. Nothing
// is made where there is none, and one that another configuration's server has
// written is left to that.
func (e *Engine) ResumeJournal(dir string) {
	if !journal.Exists(dir) {
		return
	}
	if s, err := journal.ReadState(dir); err == nil && s.Config != "" && s.Config != e.config {
		e.log.Info("journal_dir is left alone: it belongs to the server of another configuration, and no vhost of this one has http hooks",
			"dir", dir, "config", s.Config)
		return
	}
	if err := e.open(opening{dir: dir, rules: e.rules, resumed: true}); err != nil {
		e.log.Warn("should callbacks of an earlier run wait in journal_dir, they go on waiting", "error", err.Error())
	}
}

func (e *Engine) open(o opening) error {
	e.mu.Lock()
	for e.giving != nil {
		given := e.giving
		e.mu.Unlock()
		<-given
		e.mu.Lock()
	}
	if j := e.journal; j != nil {
		adopted := e.resumed && !o.resumed && e.taken // else takeUp writes whose it is
		e.resumed = e.resumed && o.resumed
		e.mu.Unlock()
		if adopted {
			e.keepState(j, "")
		}
		return nil
	}
	e.mu.Unlock()
	id := rand.Text() // should there be none
	var found *recovery
	var j *journal.Journal
	var atOnce atomic.Bool
	atOnce.Store(true)
	j, err := journal.Open(journal.Options{
		Dir: o.dir, Log: e.log, Patient: o.patient,
		Replay: func() func(journal.Record) {
			found = newRecovery()
			return found.replay
		},
		Taken: func() {
			rules := e.rules
			if atOnce.Load() {
				rules = o.rules
			}
			e.takeUp(found, id, rules)
			found = nil
		},
		Stored:  func(entries []*journal.Entry) { e.stored(j, entries) },
		Trouble: func(err error) { e.trouble(j, err) },
		Needed:  func(segments []uint32) []*journal.Entry { return e.needed(j, segments) },
	})
	if err == nil {
		e.mu.Lock()
		e.journal, e.dir, e.resumed = j, o.dir, o.resumed
		e.mu.Unlock()
		j.Start()
		atOnce.Store(false)
	}
	e.mu.Lock()
	if e.serverID == "" {
		e.serverID = id
	}
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("journal_dir: %w", err)
	}
	return nil
}

// keepState writes down whose journal it is: the server id, one for a server that
// has none, and the configuration, unless the journal is only resumed.
func (e *Engine) keepState(j *journal.Journal, id string) (serverID string) {
	s := j.State()
	was := s
	if s.ServerID == "" {
		s.ServerID = id
	}
	e.mu.Lock()
	if !e.resumed && e.config != "" {
		s.Config = e.config
	}
	e.mu.Unlock()
	if s != was {
		if err := j.SetState(s); err != nil {
			e.log.Warn("the journal's state cannot be written; the server may have another id after a restart", "error", err.Error())
		}
	}
	return s.ServerID
}

// takeUp goes on with what the journal holds. id is for a server that has none.
func (e *Engine) takeUp(found *recovery, id string, rules func(string) (*Rules, bool)) {
	j := e.journal
	id = e.keepState(j, id)
	e.mu.Lock()
	if e.serverID == "" {
		e.serverID = id
	}
	if e.closed { // this moment; it is for the next start
		found.hold(j)
		e.mu.Unlock()
		return
	}
	waiting, missing := e.recoverLocked(found, rules)
	e.taken = true
	e.giveBackLocked()
	e.mu.Unlock()
	for at, o := range found.orphans {
		e.log.Warn(o.text(), "vhost", clip(at.vhost), "endpoint", at.endpoint, "count", o.count)
	}
	if damaged := found.damaged + j.Unreadable(); waiting+missing+damaged > 0 {
		e.log.Info("http hook events of the last run are taken up", "dir", e.dir, "not_delivered", waiting, "missing_ends", missing, "unreadable", damaged)
	}
}

// giveBackLocked closes a journal that was only resumed when all is delivered:
// nobody has hooks, so another server may have the directory.
func (e *Engine) giveBackLocked() {
	if !e.resumed || !e.taken || !e.numbered || e.pending > 0 || e.feeding || e.closed {
		return
	}
	j, given := e.journal, make(chan struct{})
	e.journal, e.giving, e.resumed, e.taken, e.untrusted = nil, given, false, false, false
	go func() { // Close and open wait for it
		ctx, cancel := context.WithTimeout(context.Background(), closeJournal)
		defer cancel()
		if err := j.Close(ctx); err != nil {
			e.log.Error("the journal of http hooks is not complete", "error", err.Error())
		} else {
			e.log.Info("journal_dir is given back: all that an earlier run has left is told, and no vhost has http hooks", "dir", e.dir)
		}
		e.mu.Lock()
		e.giving = nil
		e.mu.Unlock()
		close(given)
	}()
}

// awaitGiven waits until a journal that is being given back is so.
func (e *Engine) awaitGiven() {
	e.mu.Lock()
	given := e.giving
	e.mu.Unlock()
	if given != nil {
		<-given
	}
}

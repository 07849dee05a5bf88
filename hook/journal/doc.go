// Package journal keeps records in files until their owner lets go of them, so
// that a server that was killed finds again what it owed.
//
//	Append ─→ queue ─→ writer: write(2) ─→ syncer: fdatasync ─→ Options.Stored
//	            │                  └ closes Entry.Written: survives SIGKILL
//	            └ bounded by its owner: Cancel takes out what is not written yet
//
// A directory holds numbered segments that are only ever appended to, one lock
// and one small file of facts (State). Each start begins a new segment. A
// segment is removed when it is the oldest and no record in it is held any more;
// when much of what is on disk is not held, the owner is asked to append the
// rest of the oldest segment once more (Wasteful).
//
// A write or sync that fails ends the trust in its file: what was not known to
// be on disk is written again to a new one, tried once a second. Meanwhile, and
// when the disk does not answer for a second, Options.Trouble says so, and the
// owner goes on without. Segments are removed then, too, once nothing in them is held,
// and what little is still held of the oldest ones moves to a file whose room was
// kept for that (spare.go): a disk that the journal itself has filled has room again.
//
// Likewise a directory that cannot be used at the start (no permission, read-only,
// no directory): it is tried again (take.go), and taken up when it can be.
//
// Files that somebody removes under a running server are put back with the next
// records (removed.go).
//
// The package knows nothing of what the records say.
package journal

// Package hook calls the HTTP endpoints that SRS calls: it asks them whether a
// client may connect, publish or play, and tells them what ended.
//
// One [Engine] serves the whole process. Each RTMP connection takes a [Client]
// from it: [Client.Ask] is a gate, the caller waits and everything that is not
// a clear yes refuses; [Client.Tell] is a notice, it never waits. Recordings
// are announced with [Engine.TellFile]. [Engine.Close] ends every goroutine.
//
//	Ask                                 Tell, TellFile
//	 │ 1 configuration in force          │ 1 configuration in force, body made
//	 │ for each URL:                     │ 2 an item for each URL, in its line       memory, bounded
//	 │ 2 its turn in the client's line   │ 3 journal: on disk                        hook/journal
//	 │ 3 ends of this stream first       │ 4 first in line: into a lane of notices
//	 │ 4 a place among the gates         │ 5 the breaker lets pass
//	 │ 5 the intent into the journal     │ 6 one worker, one call
//	 │ 6 the breaker lets pass           │ 7 taken: done; else rest, and 4 again
//	 │ 7 call, verdict; next URL
//
// An endpoint is what may be down together: scheme, host and port. A line keeps
// order: what one client asks and tells reaches an endpoint one after the other.
// A lane keeps apart: one vhost, one endpoint, gates or notices, and at most so
// many calls under way. A line costs no goroutine while it waits, a lane none
// while it is idle. A million notices may wait: what they say is on disk then.
//
// What has begun is in the journal before the endpoint is asked, so that a
// killed server tells the end at its next start (durable.go, owed.go). Without
// OpenJournal, and while the disk fails, the memory takes its place.
//
// Nothing here knows RTMP.
package hook

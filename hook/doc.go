// Package hook calls the HTTP endpoints that SRS calls: it asks them whether a
// client may connect, publish or play, and tells them what ended.
//
// One [Engine] serves the whole process. Each RTMP connection takes a [Client]
// from it: [Client.Ask] is a gate, the caller waits and everything that is not
// a clear yes refuses; [Client.Tell] is a notice, it never waits. Recordings
// are announced with [Engine.TellFile]. [Engine.Close] ends every goroutine.
//
//	Ask                                Tell, TellFile
//	 │ 1 configuration in force         │ 1 configuration in force, body made
//	 │ 2 its turn in the client's line  │ 2 into the line (client or file)     memory, bounded
//	 │ 3 ends of this stream first      │ 3 first in line: into a notice lane
//	 │ 4 a place in a gate lane         │ 4 a place in the lane: one goroutine, one call
//	 │ 5 call, verdict; next URL: 3     │ 5 next URL: 3; after the last: next in line
//
// A line keeps order: what one client asks and tells reaches the endpoints one
// after the other. A lane keeps apart: one vhost, one endpoint, gates or
// notices, and at most so many calls under way. A line costs no goroutine while
// it waits, a lane none while it is idle.
//
// Where the parts that make notices durable belong: a journal stands between
// steps 1 and 2 of a notice (Engine.tell), repeats and breakers in step 5
// (Engine.deliver), a signature beside webhook-id (Engine.call).
//
// Nothing here knows RTMP.
package hook

// Command bench loads an RTMP server and checks what it delivers.
//
// Its publishers send synthetic media that carries a sequence number, the
// time of sending and a checksum in every message; its players check each
// message that arrives. So loss, disorder and damage are found exactly, and
// latency is measured for every message, not for a sample.
//
// From the bottom up:
//
//	avc, aac       bytes that decoders take: a grey picture, silence, user data
//	stamp          what is written into each message and checked
//	workload       which message of what size when; payload builds its body
//	histogram      latencies in bounded memory
//	verify         a verifier is fed one stream's messages by whoever received
//	               them, a socket or a file; a tally adds up what many find
//	epoll          a set of sockets that never block
//	request        what a client says until it plays or publishes
//	client         one connection: handshake, commands, acknowledgements
//	player, publisher: what a client does then
//	timetable      which client is to be woken next
//	crowd          the one loop that drives all players, or all publishers
//	proc, calls, child: CPU, memory, system calls of a process; starting and
//	               stopping one; listener finds it behind a wrapper
//	profile        what the server does with its time
//	report         figures as text and JSON
//	rig            what all that measure have in common; a scenario uses it
//	turnstile, guests: clients that come and go, one after the other
//	trend          what a process holds, and what of it grows; counters asks srs
//	fanout, mixed, slow, churn, storm, publish, soak, capacity: the scenarios
//	play, demo     subcommands of their own
//	columns, contender, nginx, compare: several servers, in turns
//	floor          the yardstick, a server that is no more than needed:
//	               floor_client answers, floor_stream keeps what is sent
//
// Nothing below the subcommands prints. verifier knows no sockets, so that
// other kinds of player need only call message. It runs on Linux.
package main

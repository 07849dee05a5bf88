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
//	publisher      sends one stream in real time, a goroutine each
//	epoll          a set of sockets that never block
//	player         receives one stream: what to answer, what to check
//	crowd          the one loop that drives all players
//	proc, child    CPU and memory of a process; starting and stopping one
//	report         figures as text and JSON
//	publish, play, fanout, demo: the subcommands that load and check
//	contender, compare: several servers, in turns
//	floor          the yardstick, a server that is no more than needed:
//	               floor_client answers, floor_stream keeps what is sent
//
// Nothing below the subcommands prints. verifier knows no sockets, so that
// other kinds of player need only call message. It runs on Linux.
package main

// Package e2e tests the srs binary from outside: the real process, real
// clients (ffmpeg and srs/rtmp) over loopback, a real HTTP receiver, real
// files, real signals.
//
// It has tests only. The binary is built once; SRS_BINARY names another one to
// test, SRS_RACE=1 builds with the race detector. ffmpeg must be installed.
//
// The pieces that tests are made of, each in a file of its own:
//
//	server_test.go    startServer: a server with a configuration, its log and its exit
//	receiver_test.go  newReceiver: an HTTP endpoint that records calls and answers by script
//	client_test.go    dial: an RTMP client by hand, down to raw bytes
//	conn_test.go      publishWith, playWith: well-behaved clients on srs/rtmp.Conn
//	ffmpeg_test.go    startFFmpeg, publishFFmpeg, playFFmpeg: ffmpeg as a client
//	canary_test.go    startCanary: a stream that notices the slightest disturbance
//	process_test.go   child processes and their output lines
package e2e

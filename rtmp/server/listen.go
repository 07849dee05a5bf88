package server

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Listen opens all addresses, or none.
func Listen(addresses []string) ([]net.Listener, error) {
	var open []net.Listener
	for _, a := range addresses {
		ln, err := net.Listen("tcp", a)
		if err != nil {
			for _, ln := range open {
				ln.Close()
			}
			return nil, fmt.Errorf("listen %s: %w", a, err)
		}
		open = append(open, ln)
	}
	return open, nil
}

// spareDescriptors are kept for recordings, callbacks and the log.
const spareDescriptors = 256

// CheckDescriptors refuses a number of connections that cannot be had.
func CheckDescriptors(connections int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil // unknown: accept will say so
	}
	if need := uint64(connections + spareDescriptors); limit.Cur < need {
		return fmt.Errorf("max_connections %d needs %d file descriptors, the limit is %d: raise it (ulimit -n %d, LimitNOFILE=) or lower max_connections",
			connections, need, limit.Cur, need)
	}
	return nil
}

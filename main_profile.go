//go:build profile

package main

import (
	"fmt"
	"net/http"
	_ "net/http/pprof" // answers under /debug/pprof/
	"os"
	"runtime"
	"time"
)

// A server built with the tag profile (make profile) tells of itself at the
// address in this variable. The shipped one cannot.
const profileVariable = "SRS_PROFILE"

// How closely it looks: one allocation in so many bytes, one wait for a lock in
// so many.
const (
	profileBytes = 4 << 10
	profileLocks = 10
)

func init() {
	address := os.Getenv(profileVariable)
	if address == "" {
		return
	}
	runtime.MemProfileRate = profileBytes
	runtime.SetMutexProfileFraction(profileLocks)
	go func() {
		s := http.Server{Addr: address, ReadHeaderTimeout: time.Second}
		fmt.Fprintf(os.Stderr, "srs: profiles: %v\n", s.ListenAndServe())
	}()
}

package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"srs/rtmp"
)

// A host is the server under test, when we are to start it.
type host struct {
	srs     string // program, run with a configuration of ours
	command string // program with its arguments, run as it is
	vhost   string // directives for the vhost of srs
	cpus    string // where to run it; empty: anywhere

	dir   string
	child *child
}

func (h *host) flags(fs *flag.FlagSet) {
	fs.StringVar(&h.srs, "srs", "", "start this srs `program` on a free port with a configuration of its own, and measure it")
	fs.StringVar(&h.command, "start", "", "start this `command` (words, no shell) to serve -url, and measure it")
	fs.StringVar(&h.vhost, "conf", "", "`directives` for the vhost of -srs, as in \"mw_latency 350;\"")
	fs.StringVar(&h.cpus, "cpu", "", "run the server that is started on these `CPUs` only (taskset)")
}

func (h *host) check() error {
	if h.srs != "" && h.command != "" {
		return fmt.Errorf("%w: either -srs or -start", errUsage)
	}
	return nil
}

// start runs the server, if that is asked for, and points the flags to it.
func (h *host) start(ctx context.Context, c *common, connections int) error {
	switch {
	case h.srs != "":
		return h.startSRS(ctx, c, connections)
	case h.command != "":
		u, err := rtmp.ParseURL(c.url)
		if err != nil {
			return fmt.Errorf("%w: -url: %w", errUsage, err)
		}
		return h.startChild(ctx, c, u.Address, "", strings.Fields(h.command)...)
	}
	return nil
}

func (h *host) startChild(ctx context.Context, c *common, address, dir string, args ...string) error {
	var err error
	if h.child, err = startChild("server", dir, nil, pinned(h.cpus != "", h.cpus, args)...); err != nil {
		return err
	}
	if err := h.child.serves(ctx, address); err != nil {
		h.child.stop()
		return err
	}
	c.pid = h.child.pid()
	return nil
}

func (h *host) startSRS(ctx context.Context, c *common, connections int) error {
	program, err := filepath.Abs(h.srs)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if h.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	file := filepath.Join(h.dir, "srs.conf")
	if err = os.WriteFile(file, fmt.Appendf(nil, srsConf, address, connections+spareFiles, h.dir, h.vhost), 0o664); err == nil {
		err = h.startChild(ctx, c, address, h.dir, program, "-c", file)
	}
	if err != nil {
		os.RemoveAll(h.dir)
		return err
	}
	c.url = "rtmp://" + address + "/live/bench"
	return nil
}

// counters asks the server that start started, if it is srs.
func (h *host) counters() *srsCounters {
	if h.srs == "" {
		return nil
	}
	return &srsCounters{pid: h.child.pid(), log: filepath.Join(h.dir, "srs.log")} // as srsConf has it
}

// stop ends the server that start started.
func (h *host) stop() error {
	if h.child == nil {
		return nil
	}
	err := h.child.stop()
	if h.dir != "" {
		os.RemoveAll(h.dir)
	}
	return err
}

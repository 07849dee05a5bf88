// Package cli is the subcommand "srs hook": it tries an endpoint as the server
// would call it, and reads the journal.
//
// [Run] is the command line; [Rules] makes the hooks of a configured vhost, for
// the server too.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"srs/conf"
	"srs/hook"
)

const usage = `usage:
  srs hook test EVENT --url URL [flags]              call an endpoint with a sample event
  srs hook test EVENT --conf FILE [--vhost V] [flags]  call the URLs of a configured event
  srs hook log [--conf FILE | --dir DIR] [--follow]  what the journal holds

Each URL is called and judged by itself, also behind one that says no, where the
server would stop asking; the last line then says what the server decides.

The log says of an event
  begun      its endpoints are about to be asked; perhaps they refuse
  settled    nothing has to follow what begun: it was refused, or its end is told
  told       it is over, or recorded: its endpoints have to take that; pending
  delivered  an endpoint has taken it
  objected   likewise, with an answer that would refuse a gate; the table's refused
  failed     it was tried once, and retry is off, or its URL is none
  dropped    too much waited for its endpoint
A file of the journal is removed when all in it is done, so the table counts what
is pending, and of what is done the latest.

EVENT is on_connect, on_close, on_publish, on_unpublish, on_play, on_stop or
on_dvr. "srs hook test -h" and "srs hook log -h" show the flags.

Exit status: 0 accepted (test) or read (log), 1 refused or failed, 2 wrong usage,
3 read, but some of the journal is damaged, or was so when a server started and is
kept as *.bad: a line on stderr names each file (log).
`

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitDamaged = 3
)

var (
	errUsage   = errors.New("wrong usage")
	errDamaged = errors.New("some of the journal is damaged") // each file has its line
)

// Run is the subcommand; version names the product in User-Agent.
func Run(args []string, version string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, version, stdout, stderr)
}

func run(ctx context.Context, args []string, version string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) > 0 && args[0] == "test":
		err = test(ctx, args[1:], version, stdout, stderr)
	case len(args) > 0 && args[0] == "log":
		err = log(ctx, args[1:], stdout, stderr)
	case len(args) > 0 && (args[0] == "-h" || args[0] == "-help" || args[0] == "--help"):
		io.WriteString(stderr, usage)
		return exitOK
	case len(args) > 0:
		err = fmt.Errorf("%w: neither test nor log: %q", errUsage, args[0])
	default:
		err = fmt.Errorf("%w: test or log?", errUsage)
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errRefused):
		return exitFailed
	case errors.Is(err, errDamaged):
		return exitDamaged
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "srs hook: %v\n\n%s", err, usage)
		return exitUsage
	}
	fmt.Fprintf(stderr, "srs hook: %v\n", err)
	return exitFailed
}

// parse reads flags; nothing else may follow.
func parse(flags *flag.FlagSet, args []string, stderr io.Writer) error {
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		io.WriteString(stderr, usage+"\nflags:\n")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errUsage, err)
	case flags.NArg() > 0:
		return fmt.Errorf("%w: unexpected argument %q", errUsage, flags.Arg(0))
	}
	return nil
}

// Rules makes what the hook package needs of the http_hooks of each vhost that is
// enabled, by name. It reads the files that they name; its error is everything
// wrong with those, each with its place in the configuration. Where hooks are
// switched off that keeps nobody from serving: it is in unused.
func Rules(c *conf.Config) (all map[string]*hook.Rules, unused, err error) {
	all = make(map[string]*hook.Rules, len(c.Vhosts))
	off := make(map[*conf.Vhost]error)
	err = c.Use(func(v *conf.Vhost) error {
		h := &v.Hooks
		secrets, err := hook.LoadSecrets(h.Secrets)
		certificates, more := hook.LoadTLS(h.CAFile, h.CertFile, h.KeyFile, h.ServerName)
		if err = errors.Join(err, more); err != nil {
			if h.Enabled {
				return err
			}
			off[v] = err
		}
		all[v.Name] = &hook.Rules{
			Enabled: h.Enabled, OnConnect: h.OnConnect, OnClose: h.OnClose,
			OnPublish: h.OnPublish, OnUnpublish: h.OnUnpublish, OnPlay: h.OnPlay, OnStop: h.OnStop, OnDVR: h.OnDVR,
			Timeout: h.Timeout, Workers: h.Workers, Queue: h.Queue, ClientIDString: h.ClientIDString,
			NoRetry: !h.Retry, AllowOnFail: h.AllowOnFail, Secrets: secrets, TLS: certificates,
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return all, c.Use(func(v *conf.Vhost) error { return off[v] }), nil
}

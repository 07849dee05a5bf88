package receiver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"srs/hook"
)

// Our own choices for the server.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	idleTimeout   = 60 * time.Second
	stopTimeout   = 2 * time.Second // for answers under way at the end
	maxHeader     = 32 << 10        // bytes
)

const usage = `usage: srs api-server [flags] [port]

A sample receiver of HTTP callbacks: prints one line per event and answers 0
(yes). It listens on all addresses, like SRS's own; -listen 127.0.0.1:8085
keeps it to this machine. It asks nobody who they are: for trying out only.

  on_connect on_close      http://HOST:8085/api/v1/clients
  on_publish on_unpublish  http://HOST:8085/api/v1/streams
  on_play on_stop          http://HOST:8085/api/v1/sessions
  on_dvr                   http://HOST:8085/api/v1/dvrs

flags:
`

// Run is the subcommand: it serves until SIGINT or SIGTERM and returns the exit
// status, 0 then, 1 when it cannot listen, 2 for a wrong command line.
func Run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, stdout, stderr)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := Options{Output: stdout}
	listen, err := parse(args, &o, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "srs api-server:", err)
		return 2
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		fmt.Fprintln(stderr, "srs api-server:", err)
		return 1
	}
	if err := serve(ctx, l, o); err != nil {
		fmt.Fprintln(stderr, "srs api-server:", err)
		return 1
	}
	return 0
}

// parse reads the command line; flags may follow the port.
func parse(args []string, o *Options, stderr io.Writer) (listen string, err error) {
	fs := flag.NewFlagSet("api-server", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&listen, "listen", ":8085", "`address` to listen on, host:port")
	fs.DurationVar(&o.Delay, "delay", 0, "wait so `long` before each answer, such as 500ms")
	fs.Func("deny", "answer 403 (no) to these `actions`, such as on_publish,on_play; may be repeated", func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			a := hook.Action(strings.TrimSpace(name))
			if _, ok := keys[a]; !ok {
				return fmt.Errorf("no such event %q", name)
			}
			o.Deny = append(o.Deny, a)
		}
		return nil
	})
	port := ""
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				io.WriteString(stderr, usage)
				fs.SetOutput(stderr)
				fs.PrintDefaults()
			}
			return "", err
		}
		if fs.NArg() == 0 {
			break
		}
		if port != "" {
			return "", fmt.Errorf("one port only, not %q too", fs.Arg(0))
		}
		port, args = fs.Arg(0), fs.Args()[1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("port must be a number from 1 to 65535, not %q", port)
		}
	}
	if port != "" {
		set := false
		fs.Visit(func(f *flag.Flag) { set = set || f.Name == "listen" })
		if set {
			return "", errors.New("either -listen or a port, not both")
		}
		listen = ":" + port
	}
	return listen, nil
}

func serve(ctx context.Context, l net.Listener, o Options) error {
	r := New(o)
	srv := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      readTimeout + o.Delay,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	r.print(fmt.Sprintf("api server listen at %s", l.Addr()))
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
	<-failed
	return nil
}

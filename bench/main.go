package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something was lost, out of order or damaged, or did not work at all
	exitUsage  = 2
)

const usage = `bench loads an RTMP server and checks every message that it delivers.

Usage:
  bench publish [flags]   send synthetic streams
  bench play    [flags]   receive such streams and check them
  bench fanout  [flags]   both in one process: measure a server
  bench mixed   [flags]   many streams with few players each
  bench slow    [flags]   players that do not read beside others that must not notice
  bench churn   [flags]   players that come and go beside others that must not notice
  bench storm   [flags]   players that come, see a keyframe and go, over and over
  bench soak    [flags]   all of that for a long time: what the server holds must not grow
  bench capacity [flags]  how many players a server bears
  bench compare [flags]   measure several servers in turns, with any of these
  bench hooks   -srs FILE callbacks: decisions per second, latency, reuse, loss, order
  bench floor   [flags]   the yardstick: the least that a server must do
  bench dvr     [flags]   measure what recording costs, beside dd
  bench demo    -srs FILE show a server at work: callbacks, players, a recording

"bench COMMAND -h" shows the flags. Exit status: 0 all was delivered intact,
1 it was not, 2 wrong usage.
`

// errUsage wraps what is the caller's fault.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	commands := map[string]func(context.Context, []string, io.Writer, io.Writer) error{
		"play": play, "demo": demo, "floor": floorCommand, "compare": compare, "hooks": hooks, "dvr": dvrCommand,
	}
	for name := range scenarios {
		commands[name] = measure(name)
	}
	if len(args) == 0 {
		io.WriteString(stderr, usage)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		io.WriteString(stdout, usage)
		return exitOK
	}
	command, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(stderr, "bench: no such command: %q\n\n%s", args[0], usage)
		return exitUsage
	}
	switch err := command(ctx, args[1:], stdout, stderr); {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "bench %s: %v\n", args[0], err)
		return exitFailed
	}
}

// parse reads the flags of a subcommand, which takes nothing else.
func parse(fs *flag.FlagSet, args []string, stderr io.Writer) error {
	fs.SetOutput(io.Discard) // run prints the error
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stderr, "Usage of bench %s:\n", fs.Name())
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return err
	case err != nil && strings.HasSuffix(err.Error(), ": parse error"): // of a duration, mostly
		return fmt.Errorf("%w: %w: it takes a number, or a time with its unit, as 20s or 350ms", errUsage, err)
	case err != nil:
		return fmt.Errorf("%w: %w", errUsage, err)
	case fs.NArg() > 0:
		return fmt.Errorf("%w: unexpected argument %q", errUsage, fs.Arg(0))
	}
	return checkFractions(fs)
}

// maxFraction bounds flags that need not be whole, and 1/maxFraction those that
// are not 0: times that are made of them stay within their range.
const maxFraction = 1e6

// checkFractions checks all flags that need not be whole, for what is a number
// to strconv and to nobody else.
func checkFractions(fs *flag.FlagSet) error {
	var err error
	fs.Visit(func(f *flag.Flag) {
		g, ok := f.Value.(flag.Getter)
		if !ok {
			return
		}
		if v, ok := g.Get().(float64); ok && v != 0 && !(v >= 1/maxFraction && v <= maxFraction) { // NaN is neither
			err = errors.Join(err, fmt.Errorf("%w: -%s %s: must be 0, or a number from %g to %.0f", errUsage, f.Name, f.Value, 1/maxFraction, float64(maxFraction)))
		}
	})
	return err
}

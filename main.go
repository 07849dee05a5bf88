// Command srs is a live streaming server for RTMP: encoders publish, players
// play, an HTTP endpoint of the owner's decides and is told, streams are
// recorded to FLV files. It stands in for SRS (Simple RTMP Server).
//
// This file is the command line, the wiring and the signals. The rest:
// rtmp/server runs connections, rtmp/live fans streams out, hook calls the
// endpoints, dvr records, conf reads srs.conf.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"srs/conf"
	"srs/conf/pidfile"
	"srs/conf/tank"
	"srs/dvr"
	dvrcli "srs/dvr/cli"
	"srs/hook"
	hookcli "srs/hook/cli"
	"srs/hook/receiver"
	"srs/rtmp/live"
	"srs/rtmp/server"
)

// version is set by the Makefile.
var version = "dev"

// Exit codes. 78 is EX_CONFIG of sysexits.h: systemd is told not to restart then.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78
)

// How long a stop may take: clients, then files, then the last callbacks.
const (
	stopClients = time.Second
	stopFiles   = 5 * time.Second
	stopAll     = 8 * time.Second
)

const usage = `srs is a live streaming server for RTMP.

Usage:
  srs [-c FILE]             serve, with FILE or with the built-in configuration
  srs -t [-c FILE]          check the configuration and exit: 0 good, 78 bad
  srs -v                    print the version and exit
  srs api-server [PORT]     run the sample receiver of callbacks (srs api-server -h)
  srs hook test EVENT ...   call an endpoint and say what the answer means (srs hook)
  srs hook log [--follow]   show what callbacks wait in the journal
  srs dvr check FILE...     say what is in recordings
  srs dvr repair FILE...    complete those that a crash has cut short

Signals:
  SIGHUP              read FILE again; a bad one changes nothing
  SIGUSR1             open the log file anew
  SIGUSR2             print counters to the log
  SIGTERM, SIGINT     stop: complete files and callbacks, 10 s at most; a second one: at once

`

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "api-server":
			os.Exit(receiver.Run(os.Args[2:], os.Stdout, os.Stderr))
		case "hook":
			os.Exit(hookcli.Run(os.Args[2:], version, os.Stdout, os.Stderr))
		case "dvr":
			os.Exit(dvrcli.Run(os.Args[2:], os.Stdout, os.Stderr))
		}
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the command line of the server itself.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("srs", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	file := flags.String("c", "", "")
	test := flags.Bool("t", false, "")
	printVersion := flags.Bool("v", false, "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "srs: unexpected argument %q\n\n%s", flags.Arg(0), usage)
		return exitUsage
	case *printVersion:
		fmt.Fprintln(stdout, version)
		return exitOK
	}
	source, err := newSource(*file)
	if err != nil {
		fmt.Fprintf(stderr, "srs: %v\n", err)
		return exitConfig
	}
	config, err := source.load()
	if err != nil {
		fmt.Fprintf(stderr, "%v\nsrs: the configuration %s is not usable\n", err, source.name)
		return exitConfig
	}
	if *test {
		return check(source, config, stdout, stderr)
	}
	switch err := serve(source, config, stdout, stderr); {
	case badConfig(err):
		fmt.Fprintf(stderr, "%v\nsrs: the configuration %s is not usable\n", err, source.name)
		return exitConfig
	case errors.Is(err, errConfig): // as srs -t says it
		fmt.Fprintf(stderr, "srs: %v\n", err)
		return exitConfig
	case err != nil:
		fmt.Fprintf(stderr, "srs: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// errConfig is an error of what the configuration asks for.
var errConfig = errors.New("configuration")

// source is where the configuration comes from, also at a reload.
type source struct {
	path string // absolute; empty: built in
	name string // as the user wrote it
}

func newSource(file string) (source, error) {
	if file == "" {
		return source{name: "(built in)"}, nil
	}
	path, err := filepath.Abs(file)
	return source{path: path, name: file}, err
}

func (s source) load() (*conf.Config, error) {
	if s.path == "" {
		return conf.Default(), nil
	}
	return conf.Load(s.path)
}

// process is one running server: what is in force, and its parts.
type process struct {
	source source
	stdout io.Writer
	cwd    string
	tank   *tank.Tank
	log    *slog.Logger
	force  atomic.Pointer[inForce]
	begun  *conf.Config // as it was at the start: some of it is not reloaded

	hooks    *hook.Engine
	recorder *dvr.Recorder
	server   *server.Server
}

// inForce is a configuration with what is derived from it.
type inForce struct {
	conf  *conf.Config
	rules map[string]*hook.Rules // by vhost; those that are enabled
	hooks bool                   // some vhost has them switched on

	unused []string // warnings: what is wrong with files of hooks that are off
}

// newInForce reads the files that the hooks of a configuration need.
func newInForce(c *conf.Config) (*inForce, error) {
	rules, unused, err := hookcli.Rules(c)
	if err != nil {
		return nil, err
	}
	f := &inForce{conf: c, rules: rules}
	var places conf.Errors
	if errors.As(unused, &places) {
		for _, d := range places {
			f.unused = append(f.unused, d.String()+" (not used, as http_hooks is off; the server does not start with it once it is on)")
		}
	}
	for _, r := range rules {
		f.hooks = f.hooks || r.Enabled
	}
	return f, nil
}

func (p *process) conf() *conf.Config { return p.force.Load().conf }

func (p *process) rules(vhost string) (*hook.Rules, bool) { return p.force.Load().of(vhost) }

// of returns the hooks of a vhost, and whether there is such a vhost.
func (f *inForce) of(vhost string) (*hook.Rules, bool) {
	r, ok := f.rules[vhost]
	return r, ok
}

// gcPercent: media is in no heap that grows, so collecting at half as much
// garbage as usual costs little, and a server of thousands of players is small.
const gcPercent = 50

// serve runs the server until a signal ends it.
func serve(src source, config *conf.Config, stdout, stderr io.Writer) (err error) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ) // a closed pipe or a file size limit is an error, not an end

	if err := os.Chdir(config.WorkDir); err != nil {
		return fmt.Errorf("%w: work_dir: %w", errConfig, err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("work_dir: %w", err)
	}
	p := &process{source: src, stdout: stdout, cwd: cwd, begun: config}
	force, err := newInForce(config)
	if err != nil {
		return err
	}
	p.force.Store(force)
	p.tank = tank.Console(stdout, tank.ParseLevel(config.Log.Level))
	defer p.tank.Close()
	p.log = slog.New(p.tank)
	defer hook.TakeStandardLog(p.log)()
	if err := p.useLog(config); err != nil {
		return err
	}
	defer func() {
		if err != nil && config.Log.Tank != "console" { // whoever started it sees it, too
			p.log.Error("srs ends with an error", "error", err.Error())
		}
	}()
	if err := server.CheckDescriptors(config.MaxConnections); err != nil {
		return fmt.Errorf("%w: %w", errConfig, err)
	}
	unlock, err := pidfile.Lock(config.PidFile)
	if err != nil {
		return err
	}
	defer unlock()
	listeners, err := server.Listen(config.Listen)
	if err != nil {
		return err
	}
	p.log.Info("srs starts", "version", version, "config", src.name, "cwd", cwd, "max_connections", config.MaxConnections)
	p.warn(config)

	if err := p.start(); err != nil {
		return err
	}
	failed := make(chan error, len(listeners))
	for _, ln := range listeners {
		p.log.Info("listening for RTMP", "address", ln.Addr().String())
		go func() { failed <- p.server.Serve(ln) }()
	}
	p.recorder.Start()
	greet(stdout, listeners[0].Addr())
	if config.Log.Tank != "console" { // whoever started it should see where to look
		for _, w := range slices.Concat(warnings(config, cwd), force.unused) {
			fmt.Fprintln(stderr, w)
		}
		fmt.Fprintf(stdout, "The log is in %s.\n", config.Log.File)
	}
	for {
		select {
		case err := <-failed:
			p.stop()
			return err
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				p.reload()
			case syscall.SIGUSR1:
				if err := p.tank.Reopen(); err != nil {
					p.log.Error("the log file cannot be opened anew", "error", err.Error())
				}
			case syscall.SIGUSR2:
				p.printCounters()
			default:
				go func() { // a second one means: now
					for sig := range signals {
						if sig == syscall.SIGTERM || sig == syscall.SIGINT || sig == syscall.SIGQUIT {
							p.log.Warn("srs stops at once: asked a second time", "signal", sig.String())
							os.Exit(exitFailed)
						}
					}
				}()
				p.log.Info("srs stops", "signal", sig.String())
				p.stop()
				return nil
			}
		}
	}
}

// start makes the parts. They know nothing of each other but what is given here.
func (p *process) start() error {
	p.hooks = hook.New(hook.Options{
		ServerID: p.conf().ServerID, Config: p.source.path, UserAgent: "SRS/" + version, Log: p.log, Rules: p.rules,
	})
	if !p.force.Load().hooks {
		p.hooks.ResumeJournal(p.conf().JournalDir)
	} else if err := p.hooks.OpenJournal(p.conf().JournalDir); err != nil {
		return err
	}
	firstID, err := p.hooks.FirstID(firstClientID(time.Now()))
	if err != nil {
		p.log.Error("the highest client id cannot be kept: should the clock go back before the next start, ids may repeat", "error", err.Error())
	}
	p.recorder = dvr.New(dvr.Options{
		Conf: p.conf, Tell: p.hooks.TellFile, Log: p.log, Cwd: p.cwd, Origins: filepath.Join(p.conf().JournalDir, "recordings"),
	})
	p.server, err = server.New(server.Options{
		Conf: p.conf, Hooks: p.hooks, Registry: live.NewRegistry(p.recorder), Log: p.log,
		Version: version, FirstID: firstID, Engine: p.conf().SendEngine,
	})
	return err
}

// stop ends the parts from the top down: clients, files, callbacks.
func (p *process) stop() {
	begun := time.Now()
	within := func(d time.Duration) (context.Context, context.CancelFunc) {
		return context.WithDeadline(context.Background(), begun.Add(d))
	}
	ctx, cancel := within(stopClients)
	defer cancel()
	if err := p.server.Shutdown(ctx); err != nil {
		p.log.Warn("some clients did not take their leave", "error", err.Error())
	}
	ctx, cancel = within(stopFiles)
	defer cancel()
	if err := p.recorder.Close(ctx); err != nil {
		p.log.Error("some recordings are not complete", "error", err.Error())
	}
	ctx, cancel = within(stopAll)
	defer cancel()
	if err := p.hooks.Close(ctx); err != nil {
		p.log.Error("some callbacks are not delivered", "error", err.Error())
	}
	p.recorder.Settle()
	p.printCounters()
	p.log.Info("srs has stopped", "took", time.Since(begun).Round(time.Millisecond).String())
}

// reload puts the file's present text in force, unless it is bad.
func (p *process) reload() {
	if p.source.path == "" {
		p.log.Warn("nothing to reload: the built-in configuration is in force")
		return
	}
	config, err := p.source.load()
	var force *inForce
	if err == nil {
		force, err = newInForce(config)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			p.log.Error("reload: " + strings.TrimSuffix(line, "\n"))
		}
		p.log.Error("reload: the configuration is bad, nothing was changed", "config", p.source.name)
		return
	}
	old := p.begun
	if err := server.CheckDescriptors(config.MaxConnections); err != nil {
		p.log.Error("reload: nothing was changed", "error", err.Error())
		return
	}
	if err := p.useLog(config); err != nil {
		p.log.Error("reload: nothing was changed", "error", err.Error())
		return
	}
	if force.hooks {
		p.hooks.SwitchOn(old.JournalDir, force.of)
	}
	for vhost, rules := range p.force.Load().rules {
		now, _ := force.of(vhost)
		p.hooks.Replaced(vhost, rules, now)
	}
	p.force.Store(force)
	p.warn(config)
	for _, c := range []struct {
		name    string
		changed bool
	}{
		{"listen", strings.Join(old.Listen, " ") != strings.Join(config.Listen, " ")},
		{"pid", old.PidFile != config.PidFile},
		{"work_dir", old.WorkDir != config.WorkDir},
		{"server_id", old.ServerID != config.ServerID},
		{"send_engine", old.SendEngine != config.SendEngine},
		{"journal_dir", old.JournalDir != config.JournalDir},
	} {
		if c.changed {
			p.log.Warn("reload: the value of the file takes effect at the next start", "directive", c.name)
		}
	}
	p.log.Info("configuration reloaded", "config", p.source.name)
}

func (p *process) warn(config *conf.Config) {
	for _, w := range slices.Concat(warnings(config, p.cwd), p.force.Load().unused) {
		p.log.Warn(w)
	}
}

// useLog turns the log to where a configuration says.
func (p *process) useLog(config *conf.Config) error {
	path := ""
	if config.Log.Tank != "console" {
		path = config.Log.File
		if err := os.MkdirAll(filepath.Dir(path), 0o775); err != nil {
			return fmt.Errorf("srs_log_file: %w", err)
		}
	}
	if err := p.tank.Use(path, p.stdout, tank.ParseLevel(config.Log.Level)); err != nil {
		return fmt.Errorf("srs_log_file: %w", err)
	}
	return nil
}

// greet tells a newcomer what to type next.
func greet(w io.Writer, addr net.Addr) {
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	url := "rtmp://" + net.JoinHostPort(host, port) + "/live/livestream"
	fmt.Fprintf(w, "srs %s serves RTMP on %s. Publish and play, each in a terminal of its own:\n", version, addr)
	fmt.Fprintf(w, "  ffmpeg -re -f lavfi -i testsrc2=size=640x360:rate=25 -f lavfi -i sine -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv %s\n", url)
	fmt.Fprintf(w, "  ffplay %s        (or open it in VLC)\n", url)
}

// firstClientID leaves room for 8192 clients per millisecond since 2015, so
// that no two runs of a server give out the same id.
func firstClientID(now time.Time) uint64 {
	epoch := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC)
	return uint64(now.Sub(epoch).Milliseconds()) * 8192
}

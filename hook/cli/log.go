package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"srs/conf"
	"srs/hook"
)

// followEvery is how often a journal that is followed is looked at.
const followEvery = 200 * time.Millisecond

// log prints what a journal holds, and with --follow what comes.
func log(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("hook log", flag.ContinueOnError)
	dir := flags.String("dir", "", "read this journal `directory` (default: as configured, else ./objs/hooks)")
	file := flags.String("conf", "", "read the journal of the server with this configuration `file`")
	follow := flags.Bool("follow", false, "print each event as it comes, until interrupted")
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	if *dir != "" && *file != "" {
		return fmt.Errorf("%w: either --dir or --conf", errUsage)
	}
	if *dir == "" {
		c := conf.Default()
		if *file != "" {
			var err error
			if c, err = conf.Load(*file); err != nil {
				return err
			}
		}
		if err := os.Chdir(c.WorkDir); err != nil {
			return fmt.Errorf("work_dir: %w", err)
		}
		*dir = c.JournalDir
	}
	if !*follow {
		_, err := os.Stat(*dir)
		if _, lock := os.Stat(filepath.Join(*dir, "lock")); err == nil && errors.Is(lock, fs.ErrNotExist) {
			return fmt.Errorf("%s: no server has kept a journal there", *dir)
		}
	}
	l := hook.OpenLog(*dir)
	defer l.Close()
	told := 0 // of the damage
	read := func(print func(hook.LogLine)) error {
		if err := l.Read(print); err != nil {
			return fmt.Errorf("the journal cannot be read: %w", err)
		}
		for _, d := range l.Damage()[told:] {
			fmt.Fprintf(stderr, "srs hook: %v\n", d)
			told++
		}
		return nil
	}
	end := func() error {
		summary(stdout, *dir, l, time.Now())
		if told > 0 {
			return errDamaged
		}
		return nil
	}
	print := func(hook.LogLine) {}
	if *follow {
		print = func(line hook.LogLine) { write(stdout, line) }
	}
	if err := read(print); err != nil {
		return err
	}
	if !*follow {
		return end()
	}
	print = func(line hook.LogLine) {
		if line.At.IsZero() { // it is not older than the last look
			line.At = time.Now()
		}
		write(stdout, line)
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return end()
		}
		if err := read(print); err != nil {
			return err
		}
	}
}

// write prints one event. Text of clients is quoted.
func write(w io.Writer, l hook.LogLine) {
	var b strings.Builder
	at := "                      -" // the record does not say, and it was there before us
	if !l.At.IsZero() {
		at = l.At.Format("2006-01-02 15:04:05.000")
	}
	fmt.Fprintf(&b, "%s %-9s %s", at, l.What, l.Action)
	if l.Client != 0 {
		fmt.Fprintf(&b, " client=%d vhost=%q app=%q", l.Client, l.Vhost, l.App)
	}
	if l.Stream != "" {
		fmt.Fprintf(&b, " stream=%q", l.Stream)
	}
	if l.URL != "" {
		fmt.Fprintf(&b, " url=%s", l.URL)
	}
	if l.ID != "" {
		fmt.Fprintf(&b, " id=%s", l.ID)
	}
	fmt.Fprintln(w, b.String())
}

// lastWritten says how old a journal is that has something to say: while the disk
// is full, or the server is down, its numbers are of then.
func lastWritten(dir string, now time.Time) string {
	files, err := filepath.Glob(filepath.Join(dir, "*.journal")) // others are there, too
	if err != nil {
		return ""
	}
	var newest time.Time
	for _, f := range files {
		if info, err := os.Stat(f); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if newest.IsZero() {
		return ""
	}
	return fmt.Sprintf(", written last %v ago", max(0, now.Sub(newest)).Round(time.Second))
}

// summary prints one line for each endpoint.
func summary(w io.Writer, dir string, l *hook.Log, now time.Time) {
	fmt.Fprintf(w, "journal %s%s\n", dir, lastWritten(dir, now))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "endpoint\tpending\tdelivered\trefused\tfailed\tdropped\toldest")
	for _, ep := range l.Endpoints() {
		oldest := "-"
		if !ep.Oldest.IsZero() {
			oldest = now.Sub(ep.Oldest).Round(time.Second).String()
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%s\n", ep.Endpoint, ep.Pending, ep.Delivered, ep.Refused, ep.Failed, ep.Dropped, oldest)
	}
	table.Flush()
	open := l.Open()
	fmt.Fprintf(w, "begun and not ended: %d connections, %d publishes, %d plays\n",
		open[hook.OnConnect], open[hook.OnPublish], open[hook.OnPlay])
	fmt.Fprintln(w, "refused: taken with an answer that would refuse a gate; what is done is counted as far as the files reach back, often not at all")
}

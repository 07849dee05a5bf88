package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync/atomic"
)

// publish is the subcommand: streams without players.
func publish(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("publish", flag.ContinueOnError)
	var c common
	var w workload
	c.flags(fs, 0, "how long to publish; 0: until interrupted")
	w.flags(fs)
	publishers := fs.Int("publishers", 1, "how many streams")
	if err := parse(fs, args, stderr); err != nil {
		return err
	}
	if err := errors.Join(c.check(), w.check(), checkCount("publishers", *publishers)); err != nil {
		return err
	}
	urls, err := streamURLs(c.url, *publishers)
	if err != nil {
		return err
	}
	if err := raiseFiles(*publishers); err != nil {
		return err
	}
	meter, err := newMeter(c.pid, nil)
	if err != nil {
		return err
	}
	l := newLoad(new(atomic.Pointer[window]), *publishers)
	crew, stop := newCrew(*publishers), make(chan struct{})
	stagger(ctx, *publishers, c.join, func(i int) {
		p := newPublisher(urls[i], w, l)
		crew.add(func() error { return p.run(context.WithoutCancel(ctx), stop) })
	})
	line := func() string {
		return fmt.Sprintf("%d frames sent, %.1f MB, late p99 %.1f ms",
			l.sent.Load(), float64(l.bytes.Load())/1e6, milliseconds(l.late.percentile(99)))
	}
	crew.attend(ctx, c.duration, c.progress, line, stdout) // an interrupt ends it as the duration does
	close(stop)
	r := &report{Command: "publish", Workload: w, Publishers: *publishers, Late: l.late.quantiles()}
	err = meter.read(r)
	r.Failures = crew.wait()
	r.Sent, r.SentBytes = l.sent.Load(), l.bytes.Load()
	r.conclude()
	return errors.Join(r.finish(stdout, c.file), err)
}

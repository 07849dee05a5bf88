package hook

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Our own choices for names.
const (
	answerFresh   = 2 * time.Second // an answer, or a failure, this young is not asked for anew
	answerPatient = time.Second     // then the last good answer is used instead
	lookupTimeout = 5 * time.Second
	maxNames      = 256 // kept
)

// A resolver finds addresses and keeps the last good answer of each name: a
// name server that fails or hangs costs a second, not the decision.
type resolver struct {
	// Static after construction.
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	dialer net.Dialer
	log    *slog.Logger

	running sync.WaitGroup // lookups
	ended   context.Context
	end     context.CancelFunc

	mu    sync.Mutex
	names map[string]*answerOf
	moved uint64 // times that any name has got other addresses
}

// An answerOf is what is known of one name. Guarded by resolver.mu.
type answerOf struct {
	good   []netip.Addr
	at     time.Time // when good came
	asked  time.Time // when the last lookup began
	asking chan struct{}
	err    error  // of the last lookup
	told   bool   // the log says that it fails
	moves  uint64 // resolver.moved when this name has got others
}

func newResolver(log *slog.Logger) *resolver {
	r := &resolver{
		lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		},
		dialer: net.Dialer{Timeout: connectTimeout},
		log:    log, names: make(map[string]*answerOf),
	}
	r.ended, r.end = context.WithCancel(context.Background())
	return r
}

// close ends the lookups under way. Nothing may dial any more.
func (r *resolver) close() {
	r.end()
	r.running.Wait()
}

// dial connects to the first address of a name that answers.
func (r *resolver) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if network == "unix" || err != nil {
		return r.dialer.DialContext(ctx, network, addr)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return r.dialer.DialContext(ctx, network, addr)
	}
	addrs, err := r.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		var c net.Conn
		if c, err = r.dialer.DialContext(ctx, network, net.JoinHostPort(a.Unmap().String(), port)); err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// resolve returns a fresh answer, or the last good one when none comes.
func (r *resolver) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	a := r.names[host]
	if a == nil {
		if len(r.names) >= maxNames {
			clear(r.names)
		}
		a = new(answerOf)
		r.names[host] = a
	}
	if a.good != nil && a.fresh() {
		defer r.mu.Unlock()
		return a.good, nil
	}
	r.askLocked(a, host)
	asking, has := a.asking, a.good != nil
	r.mu.Unlock()
	var patience <-chan time.Time
	if has {
		timer := time.NewTimer(answerPatient)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case <-asking:
	case <-patience:
	case <-ctx.Done():
		if !has {
			return nil, ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.good != nil {
		return a.good, nil
	}
	return nil, a.err
}

// moves is another, larger number when a name has got other addresses, as far as that
// is known by now; it has the name looked up now and then, which nobody else does while
// connections to it are kept. It waits for nothing.
func (r *resolver) moves(host string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.names[host] // of one that is not looked up, there is none
	if a == nil {
		return 0
	}
	if !a.fresh() {
		r.askLocked(a, host)
	}
	return a.moves
}

// fresh reports whether the last good answer is used without asking: it is young, or a
// lookup has failed just now.
func (a *answerOf) fresh() bool {
	return time.Since(a.at) < answerFresh || a.asking == nil && time.Since(a.asked) < answerFresh
}

// askLocked has a name looked up, if it is not.
func (r *resolver) askLocked(a *answerOf, host string) {
	if a.asking == nil {
		a.asking, a.asked = make(chan struct{}), time.Now()
		done := a.asking
		r.running.Go(func() { r.ask(a, host, done) })
	}
}

// sameAddrs reports whether two answers are alike but for their order.
func sameAddrs(a, b []netip.Addr) bool {
	sorted := func(s []netip.Addr) []netip.Addr { return slices.SortedFunc(slices.Values(s), netip.Addr.Compare) }
	return slices.Equal(sorted(a), sorted(b))
}

// ask looks a name up once, for all who wait.
func (r *resolver) ask(a *answerOf, host string, done chan struct{}) {
	ctx, cancel := context.WithTimeout(r.ended, lookupTimeout)
	defer cancel()
	addrs, err := r.lookup(ctx, host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	// One after the other is tried: a host without a way to IPv6 must not wait for it.
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return cmp.Compare(a.Unmap().BitLen(), b.Unmap().BitLen()) })
	r.mu.Lock()
	a.err, a.asking = err, nil
	tell := a.told != (err != nil) && a.good != nil
	if tell {
		a.told = err != nil
	}
	if err == nil {
		if a.good != nil && !sameAddrs(a.good, addrs) {
			r.moved++
			a.moves = r.moved
		}
		a.good, a.at = addrs, time.Now()
	}
	r.mu.Unlock()
	close(done)
	switch {
	case tell && err != nil:
		r.log.Warn("http hook: a name is not resolved any more, its last address is used", "host", host, "error", clip(err.Error()))
	case tell:
		r.log.Info("http hook: the name is resolved again", "host", host)
	}
}

package hook

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// HK-16: the last good answer is kept when the name server fails or hangs; a
// name that moves is followed within seconds; a deadline covers the lookup.
func TestHK16(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		var book logBook
		r := newResolver(book.logger())
		defer r.close()
		type lookup func(context.Context) ([]netip.Addr, error)
		var lookups atomic.Int32
		var answer atomic.Value
		answer.Store(lookup(func(ctx context.Context) ([]netip.Addr, error) { return []netip.Addr{a}, nil }))
		r.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			lookups.Add(1)
			return answer.Load().(lookup)(ctx)
		}
		resolve := func(want netip.Addr, within time.Duration) {
			t.Helper()
			started := time.Now()
			got, err := r.resolve(t.Context(), "h")
			if err != nil || len(got) != 1 || got[0] != want || time.Since(started) > within {
				t.Errorf("%v %v after %v, want %v", got, err, time.Since(started), want)
			}
		}
		resolve(a, 0)
		resolve(a, 0)
		if lookups.Load() != 1 {
			t.Errorf("%d lookups", lookups.Load())
		}
		answer.Store(lookup(func(context.Context) ([]netip.Addr, error) { return []netip.Addr{b}, nil }))
		<-time.After(answerFresh)
		resolve(b, 0)
		answer.Store(lookup(func(ctx context.Context) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }))
		for range 5 {
			<-time.After(answerFresh)
			resolve(b, answerPatient)
		}
		answer.Store(lookup(func(context.Context) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
		}))
		<-time.After(lookupTimeout)
		resolve(b, answerPatient)
		if n := strings.Count(book.String(), "not resolved any more"); n != 1 {
			t.Errorf("%d lines:\n%s", n, book.String())
		}
		answer.Store(lookup(func(context.Context) ([]netip.Addr, error) { return []netip.Addr{a}, nil }))
		<-time.After(lookupTimeout)
		resolve(a, 0)
		synctest.Wait() // the line comes behind the answer
		if !strings.Contains(book.String(), "resolved again") {
			t.Error(book.String())
		}

		answer.Store(lookup(func(context.Context) ([]netip.Addr, error) { return nil, errors.New("server misbehaving") }))
		if got, err := r.resolve(t.Context(), "other"); err == nil {
			t.Errorf("%v", got)
		}
		answer.Store(lookup(func(ctx context.Context) ([]netip.Addr, error) { <-ctx.Done(); return nil, ctx.Err() }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		started := time.Now()
		if _, err := r.resolve(ctx, "third"); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) != time.Second {
			t.Errorf("%v after %v", err, time.Since(started))
		}
	})
}

// HK-16: an endpoint moves; it is called where it is now within 5 s, also where the old
// address still answers, on connections that are kept.
func TestHK16Moved(t *testing.T) {
	for _, answers := range []bool{false, true} {
		t.Run(map[bool]string{false: "the old address is gone", true: "the old address answers"}[answers], func(t *testing.T) {
			t.Parallel()
			old := newLedger(t, nil)
			_, port, _ := net.SplitHostPort(old.Listener.Addr().String())
			ln, err := net.Listen("tcp", "127.0.0.2:"+port)
			if err != nil {
				t.Fatal(err)
			}
			moved := &ledger{}
			moved.Server = httptest.NewUnstartedServer(moved)
			moved.Listener.Close()
			moved.Listener = ln
			moved.Start()
			defer moved.Close()

			e := testEngine(t, all("http://moves.example:"+port+"/"))
			var at atomic.Value
			at.Store(netip.MustParseAddr("127.0.0.1"))
			e.names.lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{at.Load().(netip.Addr)}, nil }
			if err := e.Client().Ask(t.Context(), event(OnPlay, 1, "s")); err != nil || len(old.seen()) != 1 {
				t.Fatal(err)
			}
			at.Store(netip.MustParseAddr("127.0.0.2"))
			if !answers {
				old.Close()
			}
			begun := time.Now()
			tick := time.NewTicker(400 * time.Millisecond) // seldom enough for the breaker
			defer tick.Stop()
			for len(moved.seen()) == 0 {
				if err := e.Client().Ask(t.Context(), event(OnPlay, 1, "s")); err != nil && answers {
					t.Error(err)
				}
				if <-tick.C; time.Since(begun) > 5*time.Second {
					t.Fatal("it is still called where it was")
				}
			}
			n := len(old.seen())
			for range 5 {
				if err := e.Client().Ask(t.Context(), event(OnPlay, 1, "s")); err != nil {
					t.Error(err)
				}
			}
			if len(old.seen()) != n || len(moved.seen()) < 6 {
				t.Errorf("%d calls more where it was, %d where it is", len(old.seen())-n, len(moved.seen()))
			}
		})
	}
}

// While connections are kept a name is looked up beside the calls, now and then, and a
// name server that hangs delays none; only other addresses count, not their order.
func TestLookedUpBesideUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		r := newResolver(New(Options{}).log)
		defer r.close()
		var answer atomic.Pointer[[]netip.Addr]
		r.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			if addrs := answer.Load(); addrs != nil {
				return slices.Clone(*addrs), nil
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		answer.Store(&[]netip.Addr{a, b})
		if r.resolve(t.Context(), "h"); r.moves("h") != 0 || r.moves("other") != 0 {
			t.Error("it has not moved")
		}
		for _, c := range []struct {
			answer *[]netip.Addr
			want   uint64
		}{{&[]netip.Addr{b, a}, 0}, {nil, 0}, {&[]netip.Addr{b}, 1}, {&[]netip.Addr{b}, 1}, {&[]netip.Addr{a}, 2}} {
			answer.Store(c.answer)
			<-time.After(lookupTimeout + answerFresh) // the answer is old, and one that hung is given up
			begun := time.Now()
			before := r.moves("h")
			synctest.Wait()
			if got := r.moves("h"); got != c.want || before > got || time.Since(begun) != 0 {
				t.Errorf("%v: %d moves, then %d, after %v", c.answer, before, got, time.Since(begun))
			}
		}
		if r.moves("other") != 0 {
			t.Error("another name has moved")
		}
	})
}

// A name server that fails at once is asked as seldom as one that answers, by new
// connections and by kept ones; a name without any answer at every try.
func TestLookedUpSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newResolver(New(Options{}).log)
		defer r.close()
		var lookups, fails int
		r.lookup = func(context.Context, string) ([]netip.Addr, error) {
			if lookups++; lookups <= 2 || fails > 0 {
				fails--
				return nil, errors.New("refused")
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}
		for i := range 3 {
			if _, err := r.resolve(t.Context(), "h"); (err == nil) != (i == 2) {
				t.Errorf("try %d: %v", i, err)
			}
		}
		lookups, fails = 0, 1_000_000
		<-time.After(answerFresh)
		const rounds = 10
		for range 1000 {
			r.moves("h")
			if addrs, err := r.resolve(t.Context(), "h"); err != nil || len(addrs) != 1 {
				t.Fatal(addrs, err)
			}
			synctest.Wait()
			<-time.After(rounds * answerFresh / 1000)
		}
		if lookups < rounds-1 || lookups > rounds {
			t.Errorf("%d lookups in %v", lookups, rounds*answerFresh)
		}
	})
}

// The first address that answers is taken; names are bounded.
func TestDialSeveralAddresses(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	var fails atomic.Bool
	r := newResolver(New(Options{}).log)
	defer r.close()
	r.lookup = func(context.Context, string) ([]netip.Addr, error) {
		if fails.Load() {
			return nil, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	c, err := r.dial(t.Context(), "tcp", "name:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	fails.Store(true)
	for i := range 2 * maxNames {
		if _, err := r.dial(t.Context(), "tcp", "n"+string(rune('a'+i%26))+strings.Repeat("x", i)+":1"); err == nil {
			t.Fatal("connected")
		}
	}
	if len(r.names) > maxNames {
		t.Errorf("%d names", len(r.names))
	}
}

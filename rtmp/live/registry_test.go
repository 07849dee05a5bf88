package live

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOneWins: of a hundred who want a name one gets it, at every turn.
func TestOneWins(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	for range 20 {
		var winners, losers atomic.Int32
		var winner atomic.Pointer[Reservation]
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				v, err := r.Reserve(testKey)
				switch {
				case err == nil:
					winners.Add(1)
					winner.Store(v)
				case errors.Is(err, ErrBusy):
					losers.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 || losers.Load() != 99 {
			t.Fatalf("%d winners, %d losers", winners.Load(), losers.Load())
		}
		winner.Load().Release()
		if n := r.Streams(); n != 0 {
			t.Fatalf("%d streams are left", n)
		}
	}
}

// TestNameIsHeld from Reserve to Close, whatever happens between.
func TestNameIsHeld(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	busy := func(want bool) {
		t.Helper()
		v, err := r.Reserve(testKey)
		if (err != nil) != want {
			t.Errorf("busy: %v, want %v", err, want)
		}
		if err == nil {
			v.Release()
		}
	}
	other := testKey
	other.App = "other"
	v, err := r.Reserve(testKey)
	if err != nil {
		t.Fatal(err)
	}
	busy(true)
	if o, err := r.Reserve(other); err != nil {
		t.Errorf("another name: %v", err)
	} else {
		o.Release()
	}
	p := v.Start(Publisher{ClientID: 7}, usual())
	busy(true)
	if p.Publisher().ClientID != 7 {
		t.Error("publisher lost")
	}
	p.Close()
	p.Close()
	busy(false)
	if n := r.Streams(); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}

// TestStreamStaysForPlayers: a name is forgotten when neither publisher nor
// player is left, and a player of nothing costs one small block.
func TestStreamStaysForPlayers(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	a := r.Subscribe(testKey, time.Second, 128)
	b := r.Subscribe(testKey, time.Second, 128)
	if r.Streams() != 1 {
		t.Error("two players of one name are one stream")
	}
	p := start(t, r, usual())
	p.Close()
	a.Close()
	if r.Streams() != 1 {
		t.Error("the second player has lost its stream")
	}
	b.Close()
	if r.Streams() != 0 {
		t.Error("the stream is left")
	}
}

type watcher func(*Publication)

func (w watcher) Published(p *Publication) { w(p) }

// TestWatchersSeeItFirst: Start returns when all watchers have been told.
func TestWatchersSeeItFirst(t *testing.T) {
	checkLeaks(t)
	var seen []uint64
	w := watcher(func(p *Publication) { seen = append(seen, p.Publisher().ClientID) })
	r := NewRegistry(w, w)
	p := start(t, r, usual())
	if len(seen) != 2 || seen[0] != 1 {
		t.Errorf("seen %v", seen)
	}
	p.Close()
}

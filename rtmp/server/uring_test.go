package server

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUring: what a submission sends arrives byte for byte, as far as each
// socket has room; the results are those of plain calls.
func TestUring(t *testing.T) {
	u, err := newUring()
	if err != nil {
		t.Logf("no io_uring here (%v): the server says so and sends with plain calls", err)
		return
	}
	defer u.close()
	rng := rand.New(rand.NewPCG(7, 8))
	const sockets = 20
	var send, receive [sockets]int
	var sent, got [sockets][]byte
	for i := range sockets {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		send[i], receive[i] = pair[0], pair[1]
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
	}
	drain := func(i int) {
		var b [64 << 10]byte
		for {
			n, errno := rawRecv(receive[i], b[:])
			if errno != 0 || n == 0 {
				return
			}
			got[i] = append(got[i], b[:n]...)
		}
	}
	var outs [sockets]output
	full := 0
	for range 400 {
		var bodies [sockets][]byte
		for i := range sockets {
			own := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(3)*100)
			pieces := [][]byte{bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(40_000))}
			for range rng.IntN(3) {
				pieces = append(pieces, bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(2000)))
			}
			bodies[i] = append(bytes.Clone(own), bytes.Join(pieces, nil)...)
			u.send(i, send[i], &outs[i], outs[i].fill(own, pieces))
		}
		results := 0
		if errno := u.submit(sockets, func(i int, res int32) {
			results++
			switch {
			case res == -int32(unix.EAGAIN):
				full++
			case res <= 0 || int(res) > len(bodies[i]):
				t.Errorf("result %d of %d bytes", res, len(bodies[i]))
			default:
				sent[i] = append(sent[i], bodies[i][:res]...)
			}
		}); errno != 0 {
			t.Fatal(errno)
		}
		if results != sockets {
			t.Fatalf("%d results", results)
		}
		for i := range sockets {
			if rng.IntN(4) == 0 {
				drain(i)
			}
		}
	}
	for i := range sockets {
		drain(i)
		if !bytes.Equal(sent[i], got[i]) {
			t.Errorf("socket %d: %d bytes sent, %d arrived, or others", i, len(sent[i]), len(got[i]))
		}
	}
	if full == 0 {
		t.Error("no socket was ever full")
	}
	unix.Close(receive[0])
	receive[0] = -1
	var broken, closed output
	u.send(0, send[0], &broken, broken.fill([]byte("x"), nil))
	u.send(1, -1, &closed, closed.fill([]byte("x"), nil))
	want := []unix.Errno{unix.EPIPE, unix.EBADF}
	u.submit(2, func(i int, res int32) {
		if unix.Errno(-res) != want[i] {
			t.Errorf("send %d says %v, not %v", i, unix.Errno(-res), want[i])
		}
	})
}

// TestUringFails: when the kernel takes no submission any more, in the middle
// of a group too, all players get all frames by plain calls, and the log says
// so.
func TestUringFails(t *testing.T) {
	engine = EngineUring
	defer func() { engine = EngineEpoll }()
	s := start(t, "min_latency on;")
	rings := uringFiles(t)
	if len(rings) == 0 {
		t.Log("no io_uring here: see TestUring")
		return
	}
	p := s.publish("x")
	send(t, p, 9, 0, videoHeader())
	const players, frames = 150, 60
	var got []chan int
	for range players {
		c := s.play("x")
		last := make(chan int, frames)
		got = append(got, last)
		go func() {
			defer close(last)
			next := 0
			watch(c, false, func(_, n int) bool {
				if n != next {
					t.Errorf("frame %d where %d was due", n, next)
				}
				next = n + 1
				last <- n
				return n == frames-1
			})
		}()
	}
	broken, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	for n := range frames {
		if n == frames/2 {
			for _, ring := range rings {
				if err := unix.Dup3(int(broken.Fd()), ring, unix.O_CLOEXEC); err != nil {
					t.Fatal(err)
				}
			}
		}
		send(t, p, 9, uint32(n)*40, numbered(n))
		for i, c := range got {
			if last, ok := <-c; !ok || last != n {
				t.Fatalf("player %d has %d, %v, not %d", i, last, ok, n)
			}
		}
	}
	if !strings.Contains(s.log.String(), "io_uring fails, players are sent to with a call each from now on") {
		t.Error("nothing in the log")
	}
}

// uringFiles are the descriptors of this process that are rings.
func uringFiles(t *testing.T) []int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var rings []int
	for _, e := range all {
		name, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if fd, err := strconv.Atoi(e.Name()); err == nil && strings.Contains(name, "io_uring") {
			rings = append(rings, fd)
		}
	}
	return rings
}

package server

import (
	"bytes"
	"math/rand/v2"
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

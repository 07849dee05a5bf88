package main

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/rtmp"
)

// A playRequest is what players of one URL send, made once for all of them.
type playRequest struct {
	url      string
	loopback bool // of IPv4: many addresses of our own lead there
	address  unix.Sockaddr
	family   int

	connect, create, play []byte // each is sent when the one before was answered
}

// Transactions of the commands.
const (
	connectTransaction = 1.0
	createTransaction  = 2.0
	playTransaction    = 3.0
)

func newPlayRequest(url string) (*playRequest, error) {
	u, err := rtmp.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("%w: -url: %w", errUsage, err)
	}
	address, err := net.ResolveTCPAddr("tcp", u.Address)
	if err != nil {
		return nil, err
	}
	r := &playRequest{url: url}
	if ip := address.IP.To4(); ip != nil || address.IP == nil {
		r.family, r.loopback = unix.AF_INET, ip != nil && ip.IsLoopback()
		a := &unix.SockaddrInet4{Port: address.Port}
		copy(a.Addr[:], ip)
		r.address = a
	} else {
		r.family = unix.AF_INET6
		r.address = &unix.SockaddrInet6{Port: address.Port, Addr: [16]byte(address.IP.To16())}
	}
	r.connect = rtmp.AppendSetChunkSize(nil, chunkSize)
	r.connect = rtmp.AppendCommand(r.connect, chunkSize, 0, rtmp.CommandConnect, connectTransaction, amf0.Object{
		{Key: "app", Value: u.App}, {Key: "type", Value: "nonprivate"},
		{Key: "flashVer", Value: "srs/bench"}, {Key: "tcUrl", Value: u.TcURL},
	})
	r.create = rtmp.AppendCommand(nil, chunkSize, 0, rtmp.CommandCreateStream, createTransaction, amf0.Null{})
	r.play = rtmp.AppendCommand(nil, chunkSize, rtmp.StreamID, rtmp.CommandPlay, playTransaction, amf0.Null{}, u.Stream, -2.0)
	return r, nil
}

func newPlayRequests(urls []string) ([]*playRequest, error) {
	all := make([]*playRequest, len(urls))
	for i, url := range urls {
		var err error
		if all[i], err = newPlayRequest(url); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// maxSources is how many addresses 127.0.0.x are used in turn; each has some
// 28,000 ports.
const maxSources = 250

// dial begins to connect from 127.0.0.source. pending says that it is under way.
func (r *playRequest) dial(source byte) (fd int, pending bool, err error) {
	fd, err = unix.Socket(r.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, false, fmt.Errorf("socket: %w", err)
	}
	if source > 1 {
		// The port is to be chosen when the other end is known.
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, source}}); err != nil {
			unix.Close(fd)
			return -1, false, fmt.Errorf("bind: %w", err)
		}
	}
	err = unix.Connect(fd, r.address)
	if err == unix.EINPROGRESS {
		return fd, true, nil
	}
	if err != nil {
		unix.Close(fd)
		return -1, false, fmt.Errorf("connect: %w", err)
	}
	return fd, false, nil
}

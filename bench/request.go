package main

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/rtmp"
)

// A request is what the players, or the publisher, of one URL send until they
// play or publish, made once for all of them.
type request struct {
	name     string // "player URL", for errors
	stream   string
	loopback bool // of IPv4: many addresses of our own lead there
	address  unix.Sockaddr
	family   int

	connect, create, start []byte // each is sent when the one before was answered

	transaction float64 // of the last, which is answered with this status
	code        string
}

// Transactions of the commands.
const (
	connectTransaction = 1.0
	createTransaction  = 2.0
	playTransaction    = 3.0
	releaseTransaction = 3.0
	fcPublish          = 4.0
	publishTransaction = 5.0
	fcUnpublish        = 6.0
	deleteTransaction  = 7.0
)

func newPlayRequest(url string) (*request, error) {
	r, err := newRequest("player", url)
	if err != nil {
		return nil, err
	}
	r.start = rtmp.AppendCommand(nil, chunkSize, rtmp.StreamID, rtmp.CommandPlay, playTransaction, amf0.Null{}, r.stream, -2.0)
	r.transaction, r.code = playTransaction, rtmp.CodePlayStart
	return r, nil
}

// newPublishRequest asks as FMLE and those that learned from it do.
func newPublishRequest(url string) (*request, error) {
	r, err := newRequest("publisher", url)
	if err != nil {
		return nil, err
	}
	r.start = rtmp.AppendCommand(nil, chunkSize, 0, rtmp.CommandReleaseStream, releaseTransaction, amf0.Null{}, r.stream)
	r.start = rtmp.AppendCommand(r.start, chunkSize, 0, rtmp.CommandFCPublish, fcPublish, amf0.Null{}, r.stream)
	r.start = rtmp.AppendCommand(r.start, chunkSize, rtmp.StreamID, rtmp.CommandPublish, publishTransaction, amf0.Null{}, r.stream, "live")
	r.transaction, r.code = publishTransaction, rtmp.CodePublishStart
	return r, nil
}

func newRequest(who, url string) (*request, error) {
	u, err := rtmp.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("%w: -url: %w", errUsage, err)
	}
	address, err := net.ResolveTCPAddr("tcp", u.Address)
	if err != nil {
		return nil, err
	}
	r := &request{name: who + " " + url, stream: u.Stream}
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
	return r, nil
}

// newRequests makes one for each URL.
func newRequests(urls []string, one func(string) (*request, error)) ([]*request, error) {
	all := make([]*request, len(urls))
	for i, url := range urls {
		var err error
		if all[i], err = one(url); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// maxSources is how many addresses 127.0.0.x are used in turn.
const maxSources = 250

// dial begins to connect from 127.0.0.source, with a receive buffer of so many
// bytes (0: the system's choice). pending says that it is under way.
func (r *request) dial(source byte, buffer int) (fd int, pending bool, err error) {
	fd, err = unix.Socket(r.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, false, fmt.Errorf("socket: %w", err)
	}
	// What a client writes is whole, and is not to wait for an acknowledgement.
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if buffer > 0 {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	if source > 1 && r.loopback {
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

package hook

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Our own choices towards an endpoint.
const (
	connectTimeout = 3 * time.Second // as SRS 2.0, for each address
	tlsTimeout     = 10 * time.Second

	// idleTimeout is the whole answer to "at most four idle connections an
	// endpoint beyond 5 s": none is. net/http reuses the latest first, so under
	// load the connections needed stay and the surplus goes after 5 s; a call
	// that comes later pays one handshake, shortened by TLS resumption.
	idleTimeout    = 5 * time.Second
	maxIdlePerHost = 256      // surplus connections are closed at once
	maxHeader      = 32 << 10 // bytes of an answer's header
	maxBody        = 64 << 10 // bytes of an answer's body
	maxTransports  = 1024     // endpoints, each with a set of TLS options, in use at the same time
)

// dialFunc is net.Dialer.DialContext, or a test's network.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// newTransport makes the client that all calls of an endpoint with the same TLS options share.
// HTTP/1.1 only: SRS's endpoints are small programs, and one call is one small
// message.
func newTransport(dial dialFunc, o *TLS) *http.Client {
	t := &http.Transport{
		Proxy:                  nil, // hooks never follow HTTP_PROXY
		DialContext:            withSockets(dial),
		TLSClientConfig:        o.config(),
		TLSHandshakeTimeout:    tlsTimeout,
		DisableCompression:     true, // a small body must not grow here
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// config is what net/http gets; o may be nil.
func (o *TLS) config() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64)}
	if o != nil {
		c.RootCAs, c.ServerName = o.roots, o.serverName
		if o.certificate != nil {
			c.Certificates = []tls.Certificate{*o.certificate}
		}
	}
	return c
}

func withSockets(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if name, ok := strings.CutSuffix(host, socketDomain); ok {
			path, err := hex.DecodeString(name)
			if err != nil {
				return nil, err
			}
			return dial(ctx, "unix", string(path))
		}
		c, err := dial(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok {
			return &prompt{TCPConn: tcp}, nil
		}
		return c, err
	}
}

// prompt has the kernel acknowledge at once what was read. Many endpoints write
// header and body of an answer each for itself, and Nagle's algorithm holds the
// second back until the first is acknowledged: on a connection that is kept that
// would be 40 ms later. The kernel forgets the setting, so it is set again after
// each read.
type prompt struct{ *net.TCPConn }

func (p *prompt) Read(b []byte) (int, error) {
	n, err := p.TCPConn.Read(b)
	if n > 0 {
		if raw, err := p.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
		}
	}
	return n, err
}

// A transport has the kept connections to an endpoint, made with the same TLS options.
type (
	transportKey struct {
		endpoint string
		tls      [sha256.Size]byte
	}
	transport struct {
		client *http.Client
		moves  uint64 // of the endpoint's name when it was made
	}
)

// transport finds the client for an endpoint and a set of TLS options. A reload that
// changes them makes a new one; the old ones go when they are too many. So does a name
// that has other addresses now, whether or not the old ones still answer: what was
// connected there is not used again.
func (e *Engine) transport(t *target, o *TLS) *http.Client {
	key, moves := transportKey{t.key, o.key()}, e.names.moves(t.url.Hostname())
	e.mu.Lock()
	defer e.mu.Unlock()
	known, ok := e.transports[key]
	if ok && known.moves >= moves { // another call may have heard of more meanwhile
		return known.client
	}
	if ok {
		known.client.CloseIdleConnections() // and what is under way when it is over: nobody asks for a connection again
	} else if len(e.transports) >= maxTransports {
		for k, old := range e.transports {
			old.client.CloseIdleConnections()
			delete(e.transports, k)
		}
	}
	known = transport{newTransport(e.dial, o), moves}
	e.transports[key] = known
	return known.client
}

package hook

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Our own choices towards an endpoint.
const (
	connectTimeout = 3 * time.Second // as SRS 2.0
	tlsTimeout     = 10 * time.Second

	// idleTimeout is the whole answer to "at most four idle connections an
	// endpoint beyond 5 s": none is. net/http reuses the latest first, so under
	// load the connections needed stay and the surplus goes after 5 s; a call
	// that comes later pays one handshake, shortened by TLS resumption.
	idleTimeout      = 5 * time.Second
	maxIdlePerHost   = 256      // surplus connections are closed at once
	maxHeader        = 32 << 10 // bytes of an answer's header
	maxBody          = 64 << 10 // bytes of an answer's body
	maxEndpointCache = 1024     // parsed URLs kept
)

// An endpoint is one parsed hook URL. Immutable.
type endpoint struct {
	url    *url.URL // what net/http gets; the socket's path hides in the host
	host   string   // Host header where it differs from url
	key    string   // scheme, host and port: what may be down together
	masked string   // for logs: no password, no query values
	err    error    // the URL cannot be called
}

// A unix socket's path goes through net/http as a host name: hexadecimal, in
// the domain that never resolves (RFC 6761 §6.4). So each socket has its own
// pool of connections and no table has to be kept beside the transport.
const socketDomain = ".socket.invalid"

// parseEndpoint never fails: an unusable URL makes an endpoint that refuses.
func parseEndpoint(raw string) *endpoint {
	if rest, ok := strings.CutPrefix(raw, "http://unix:/"); ok {
		return parseSocket("/" + rest)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return &endpoint{key: "invalid", masked: "(invalid URL)", err: errors.New("invalid URL")}
	}
	u.Fragment, u.RawFragment = "", ""
	ep := &endpoint{url: u, masked: mask(u)}
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		ep.key, ep.err = "invalid", errors.New("neither http nor https")
		return ep
	case u.Hostname() == "":
		ep.key, ep.err = "invalid", errors.New("no host in the URL")
		return ep
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	ep.key = u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return ep
}

// parseSocket reads /path.sock:/uri, the URI may be missing.
func parseSocket(s string) *endpoint {
	path, uri, _ := strings.Cut(s, ":")
	if uri == "" {
		uri = "/"
	}
	u, err := url.Parse("http://" + hex.EncodeToString([]byte(path)) + socketDomain + uri)
	if err != nil || !strings.HasPrefix(uri, "/") {
		return &endpoint{key: "invalid", masked: "(invalid URL)", err: errors.New("invalid URL")}
	}
	u.Fragment, u.RawFragment = "", ""
	shown := *u
	shown.Scheme, shown.Host = "", ""
	return &endpoint{
		url: u, host: "localhost", key: "unix:" + path,
		masked: "http://unix:" + path + ":" + mask(&shown),
	}
}

// mask shows a URL without its secrets: u:***@ for user information, *** for
// query values.
func mask(u *url.URL) string {
	var b strings.Builder
	if u.Scheme != "" {
		b.WriteString(u.Scheme)
		b.WriteString("://")
	}
	if u.User != nil {
		if _, ok := u.User.Password(); ok {
			b.WriteString(url.User(u.User.Username()).String())
			b.WriteByte(':')
		}
		b.WriteString("***@") // a name alone is likely to be a token
	}
	b.WriteString(u.Host)
	b.WriteString(u.EscapedPath())
	if u.RawQuery != "" {
		sep := byte('?')
		for pair := range strings.SplitSeq(u.RawQuery, "&") {
			b.WriteByte(sep)
			sep = '&'
			if key, _, ok := strings.Cut(pair, "="); ok {
				b.WriteString(key)
				b.WriteByte('=')
			}
			b.WriteString("***")
		}
	}
	return b.String()
}

// dialFunc is net.Dialer.DialContext, or a test's network.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// newTransport makes the one client all calls share. HTTP/1.1 only: SRS's
// endpoints are small programs, and one call is one small message.
func newTransport(dial dialFunc) *http.Transport {
	t := &http.Transport{
		Proxy:                  nil, // hooks never follow HTTP_PROXY
		DialContext:            withSockets(dial),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64)},
		TLSHandshakeTimeout:    tlsTimeout,
		DisableCompression:     true, // a small body must not grow here
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

func newClient(t *http.Transport) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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
		return dial(ctx, network, addr)
	}
}

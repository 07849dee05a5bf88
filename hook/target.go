package hook

import (
	"encoding/hex"
	"errors"
	"net"
	"net/url"
	"strings"
)

// A target is one parsed hook URL. Immutable.
type target struct {
	url    *url.URL // what net/http gets; the socket's path hides in the host
	host   string   // Host header where it differs from url
	key    string   // scheme, host and port: names the endpoint
	masked string   // for logs: no password, no query values
	err    error    // the URL cannot be called
}

// A unix socket's path goes through net/http as a host name: hexadecimal, in
// the domain that never resolves (RFC 6761 §6.4). So each socket has its own
// pool of connections and no table has to be kept beside the transport.
const socketDomain = ".socket.invalid"

// parseTarget never fails: an unusable URL makes a target that refuses.
func parseTarget(raw string) *target {
	if rest, ok := strings.CutPrefix(raw, "http://unix:/"); ok {
		return parseSocket("/" + rest)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return &target{key: "invalid", masked: "(invalid URL)", err: errors.New("invalid URL")}
	}
	u.Fragment, u.RawFragment = "", ""
	t := &target{url: u, masked: mask(u)}
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		t.key, t.err = "invalid", errors.New("neither http nor https")
		return t
	case u.Hostname() == "":
		t.key, t.err = "invalid", errors.New("no host in the URL")
		return t
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	t.key = u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
	return t
}

// CheckURL reports why a URL cannot be called, or nil.
func CheckURL(raw string) error { return parseTarget(raw).err }

// parseSocket reads /path.sock:/uri, the URI may be missing.
func parseSocket(s string) *target {
	path, uri, _ := strings.Cut(s, ":")
	if uri == "" {
		uri = "/"
	}
	u, err := url.Parse("http://" + hex.EncodeToString([]byte(path)) + socketDomain + uri)
	if err != nil || !strings.HasPrefix(uri, "/") {
		return &target{key: "invalid", masked: "(invalid URL)", err: errors.New("invalid URL")}
	}
	u.Fragment, u.RawFragment = "", ""
	shown := *u
	shown.Scheme, shown.Host = "", ""
	return &target{
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

package rtmp

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of names, in bytes.
const (
	MaxName = 256  // vhost, app and stream
	MaxURL  = 2048 // tcUrl and param
)

// What SRS uses where a URL leaves a name out.
const (
	defaultApp   = "__defaultApp__"
	defaultVhost = "__defaultVhost__"
	definst      = "_definst_" // Flash Media Server's name of the default instance
)

// A Name says which stream a client means, in the one form that callbacks,
// registry and recordings use.
type Name struct {
	Host   string // which vhost is asked for; the configuration resolves it
	App    string
	Stream string
	Param  string // from the "?" on, verbatim; or empty
}

// A NameError says why a name is refused.
type NameError struct {
	Reason string // "name.invalid", "name.too_long" or "name.empty"
	Text   string
}

func (e *NameError) Error() string { return e.Text + " (" + e.Reason + ")" }

// ParseConnect makes the host and app of a connection from what connect
// said. app is used where there is no tcUrl.
//
// Forms of tcUrl (SRS 1.0 to 6.0):
//
//	rtmp://host[:port]/app[/more][?params]
//	rtmp://ip/app?vhost=V         also domain=V
//	rtmp://ip/app...vhost...V     and app,vhost,V: for players that cut at "?"
func ParseConnect(tcURL, app string) (Name, error) {
	u, err := splitURL(tcURL, app)
	if err != nil {
		return Name{}, err
	}
	n := Name{Host: u.vhost(""), App: strings.Join(u.segments, "/"), Param: u.query}
	if n.App == "" {
		n.App = defaultApp
	}
	return n, n.check(false)
}

// ParseStream makes the name of a stream from what connect said and from the
// name in publish or play. App and name are joined; the last segment is the
// stream, so that "live" + "x/y" and "live/x" + "y" meet.
func ParseStream(tcURL, app, stream string) (Name, error) {
	if len(stream) > MaxURL {
		return Name{}, &NameError{"name.too_long", fmt.Sprintf("a stream name of %d bytes, at most %d with parameters", len(stream), MaxURL)}
	}
	u, err := splitURL(tcURL, app)
	if err != nil {
		return Name{}, err
	}
	path, query := cutQuery(oldVhost(strings.Trim(stream, " ")))
	segments := splitPath(path)
	if len(segments) == 0 {
		// Everything is in the URL, as with OBS and an empty stream key; the
		// stream may even stand behind the parameters: "live?k=v/stream".
		if before, after, found := cutLast(u.query, "/"); found && len(u.segments) < 2 {
			after, more := cutQuery(after)
			u.query, segments = before+more, splitPath(after)
		}
		if len(segments)+len(u.segments) < 2 {
			return Name{}, &NameError{"name.empty", "no stream name"}
		}
	}
	all := append(u.segments, segments...)
	n := Name{Host: u.vhost(query), Param: query}
	n.Stream = all[len(all)-1]
	n.App = strings.Join(all[:len(all)-1], "/")
	if n.App == "" {
		n.App = defaultApp
	}
	if n.Param == "" {
		n.Param = u.query
	}
	if strings.HasPrefix(n.Param, "#") { // parameters by another mark
		n.Param = "?" + n.Param[1:]
	}
	switch n.Param {
	case "?", "?vhost=" + defaultVhost, "?domain=" + defaultVhost:
		n.Param = ""
	}
	return n, n.check(true)
}

// parts are a tcUrl, taken apart.
type parts struct {
	host     string
	segments []string
	query    string // with its "?"
}

func splitURL(tcURL, app string) (parts, error) {
	if len(tcURL) > MaxURL || len(app) > MaxURL {
		return parts{}, &NameError{"name.too_long", fmt.Sprintf("tcUrl or app is longer than %d bytes", MaxURL)}
	}
	var u parts
	rest := app
	if tcURL != "" {
		_, after, found := strings.Cut(tcURL, "://")
		switch {
		case found:
			u.host, rest = after, ""
			if i := strings.IndexAny(after, "/?#"); i >= 0 { // rtmp://host?vhost=V too
				u.host, rest = after[:i], after[i:]
			}
			u.host = strings.Trim(hostOnly(u.host), " ")
		case app == "":
			return u, &NameError{"name.invalid", "tcUrl is no URL"}
		}
	}
	path, query := cutQuery(oldVhost(strings.Trim(rest, " ")))
	u.segments, u.query = splitPath(path), query
	return u, nil
}

// hostOnly cuts the port off, and the brackets of an IPv6 address.
func hostOnly(host string) string {
	if strings.HasPrefix(host, "[") {
		inside, _, _ := strings.Cut(host[1:], "]")
		return inside
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}

// oldVhost rewrites the forms of SRS 1.0 for players that lose parameters.
func oldVhost(rest string) string {
	for _, mark := range []string{"...vhost...", ",vhost,"} {
		sep := mark[:len(mark)-len(strings.TrimLeft(mark, ".,"))]
		for {
			before, after, found := strings.Cut(rest, mark)
			if !found {
				break
			}
			vhost, more, found := strings.Cut(after, sep)
			join := "?"
			if strings.Contains(before, "?") {
				join = "&"
			}
			rest = before + join + "vhost=" + vhost
			if found {
				key, value, _ := strings.Cut(more, sep)
				rest += "&" + key + "=" + value
			}
		}
	}
	return rest
}

// cutQuery splits at the first "?" or "#", which stays with the second part.
func cutQuery(s string) (path, query string) {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func splitPath(path string) []string {
	var segments []string
	for s := range strings.SplitSeq(path, "/") {
		if s = strings.Trim(s, " "); s != "" && s != definst {
			segments = append(segments, s)
		}
	}
	return segments
}

// vhost is what the stream's parameters say, else the app's, else the host.
func (u *parts) vhost(query string) string {
	for _, q := range []string{query, u.query} {
		for _, key := range []string{"vhost", "domain"} {
			if v := strings.Trim(queryValue(q, key), " "); v != "" && v != defaultVhost {
				return v
			}
		}
	}
	return u.host
}

func queryValue(query, key string) string {
	for _, pair := range strings.FieldsFunc(query, func(r rune) bool { return strings.ContainsRune("?&#", r) }) {
		if k, v, _ := strings.Cut(pair, "="); k == key {
			return v
		}
	}
	return ""
}

// check refuses what must not reach a log, a callback or a file name. Words
// of a refused name are quoted by whoever logs them.
func (n *Name) check(stream bool) error {
	for _, v := range []struct{ what, text string }{{"vhost", n.Host}, {"app", n.App}, {"stream", n.Stream}} {
		if len(v.text) > MaxName {
			return &NameError{"name.too_long", fmt.Sprintf("%s of %d bytes, at most %d", v.what, len(v.text), MaxName)}
		}
		for s := range strings.SplitSeq(v.text, "/") {
			if s == "." || s == ".." {
				return &NameError{"name.invalid", fmt.Sprintf("%s has a segment %q", v.what, s)}
			}
		}
	}
	if strings.ContainsAny(n.Host, "/[]") {
		return &NameError{"name.invalid", fmt.Sprintf("vhost %q has a character that no host has", n.Host)}
	}
	for _, v := range []struct{ what, text string }{{"vhost", n.Host}, {"app", n.App}, {"stream", n.Stream}, {"param", n.Param}} {
		if !utf8.ValidString(v.text) {
			return &NameError{"name.invalid", v.what + " is not UTF-8"}
		}
		if i := strings.IndexFunc(v.text, unicode.IsControl); i >= 0 {
			return &NameError{"name.invalid", fmt.Sprintf("%s has a control character at byte %d", v.what, i)}
		}
	}
	if stream && strings.TrimSpace(n.Stream) == "" {
		return &NameError{"name.empty", "no stream name"}
	}
	return nil
}

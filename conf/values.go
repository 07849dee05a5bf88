package conf

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// values are the arguments of one directive, on their way into a Config. Each
// method takes them all, reports what is wrong and then returns anything: a
// Config with errors is never handed out.
type values struct {
	log  *log
	node *node
	row  *directive
}

func (v *values) fail(at place, format string, args ...any) {
	v.log.errorf(v.node.file, at, v.node.name()+": "+format, args...)
}

func (v *values) warn(at place, format string, args ...any) {
	v.log.warnf(v.node.file, at, v.node.name()+": "+format, args...)
}

// show quotes a word of the file for a message.
func (v *values) show(s string) string { return show(v.node.file, s) }

// one takes the single argument.
func (v *values) one() (word, bool) {
	args := v.node.args()
	if len(args) == 0 {
		v.fail(v.node.at(), "needs a value: %s", v.row.expected())
		return word{}, false
	}
	if len(args) > 1 {
		v.fail(args[1].at, "takes one value; %s is too much (is a \";\" missing?)", v.show(args[1].text))
		return word{}, false
	}
	return args[0], true
}

// expected describes the arguments of a directive.
func (d *directive) expected() string {
	switch d.shape {
	case shapeOnOff:
		return "on or off"
	case shapeNumber:
		s := "a whole number from " + strconv.Itoa(d.min) + " to " + strconv.Itoa(d.max)
		if d.unit != "" {
			s += " (" + d.unit + ")"
		}
		return s
	case shapeChoice:
		return strings.Join(d.words[:len(d.words)-1], ", ") + " or " + d.words[len(d.words)-1]
	case shapeListen:
		return "a port from 1 to 65535, an address with a port (127.0.0.1:1935, [::]:1935), or several"
	case shapeURLs:
		return "one or more URLs such as http://127.0.0.1:8085/api/v1/streams or http://unix:/path.sock:/uri"
	case shapeSecrets:
		return "file:PATH, env:NAME or whsec_ and base64, or several of them"
	case shapePath:
		return "a path such as ./objs/nginx/html/[app]/[stream].[timestamp].flv"
	case shapeGlobs:
		return "all, or one or more streams such as live/livestream or live/cam-*"
	default:
		return "one word, or text in quotes"
	}
}

// onOff takes a switch. SRS takes any other word for the default, silently;
// files that rely on it exist, so it is only warned about.
func (v *values) onOff() bool {
	w, _ := v.one()
	switch w.text {
	case "on":
		return true
	case "off":
		return false
	case "":
	default:
		v.warn(w.at, "%s is neither on nor off, so the default %s holds", v.show(w.text), v.row.def)
	}
	return v.row.def == "on"
}

// number takes digits and nothing else: no sign, unit, fraction or exponent,
// so that 10k is never ten.
func (v *values) number() int {
	w, ok := v.one()
	if !ok {
		return 0
	}
	n, ok := digits(w.text)
	if !ok || n < v.row.min || n > v.row.max {
		v.fail(w.at, "%s is not %s", v.show(w.text), v.row.expected())
	}
	return n
}

// digits reads a decimal number that fits an int.
func digits(s string) (int, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

func (v *values) duration() time.Duration {
	n := time.Duration(v.number())
	if v.row.unit == "s" {
		return n * time.Second
	}
	return n * time.Millisecond
}

// megabytes are of 1000 x 1000 bytes, as disks are sold.
func (v *values) megabytes() int64 { return int64(v.number()) * 1_000_000 }

func (v *values) choice() string {
	w, ok := v.one()
	if ok && !slices.Contains(v.row.words, w.text) {
		v.fail(w.at, "%s is not %s%s", v.show(w.text), v.row.expected(), hint(v.node.file, w.text, v.row.words))
	}
	return w.text
}

// secrets takes secrets, or better the places where they are. What may be one is
// not shown in the message.
func (v *values) secrets() []string {
	args := v.node.args()
	if len(args) == 0 {
		v.fail(v.node.at(), "needs a value: %s", v.row.expected())
	}
	var all []string
	for _, w := range args {
		kind, where, _ := strings.Cut(w.text, ":")
		switch {
		case w.text == "":
			v.fail(w.at, "needs a value: %s", v.row.expected())
		case (kind != "file" && kind != "env" || where == "") && !strings.HasPrefix(w.text, "whsec_"):
			v.fail(w.at, "expected %s", v.row.expected())
		}
		all = append(all, w.text)
	}
	return all
}

func (v *values) text() string {
	w, _ := v.one()
	return w.text
}

var jitterWords = []string{"full", "zero", "off"}

func (v *values) jitter() Jitter {
	switch v.choice() {
	case "zero":
		return JitterZero
	case "off":
		return JitterOff
	default:
		return JitterFull
	}
}

// listen takes ports and addresses. The same one twice cannot be bound and is
// an error; one that a wildcard of the same port covers already is left out.
func (v *values) listen() []string {
	args := v.node.args()
	if len(args) == 0 {
		v.fail(v.node.at(), "needs a value: %s", v.row.expected())
	}
	var addrs, out []string
	seen, wild := map[string]bool{}, map[string]string{}
	for _, w := range args {
		addr, port, every, ok := listenAddr(w.text)
		switch {
		case !ok:
			v.fail(w.at, "%s is not %s", v.show(w.text), v.row.expected())
			addr = ""
		case seen[addr]:
			v.fail(w.at, "%s is given twice", v.show(w.text))
			addr = ""
		case every && wild[port] == "":
			wild[port] = addr
		}
		seen[addr] = true
		addrs = append(addrs, addr)
	}
	for i, addr := range addrs {
		if addr == "" {
			continue
		}
		if all := wild[addr[strings.LastIndexByte(addr, ':')+1:]]; all != "" && all != addr {
			v.warn(args[i].at, "%s is left out: another value listens on this port for every address", v.show(args[i].text))
			continue
		}
		out = append(out, addr)
	}
	return out
}

// listenAddr makes "1935", "ip:port" or "[ip6]:port" ready for net.Listen. every
// reports that it means every address, IPv6 too, as net.Listen takes it.
func listenAddr(s string) (addr, port string, every, ok bool) {
	host, port, err := net.SplitHostPort(s)
	var ip netip.Addr
	if err == nil {
		if ip, err = netip.ParseAddr(host); err != nil {
			return "", "", false, false
		}
		host = ip.String()
	} else {
		host, port = "", s
	}
	n, ok := digits(port)
	if !ok || n < 1 || n > 65535 {
		return "", "", false, false
	}
	port = strconv.Itoa(n)
	return net.JoinHostPort(host, port), port, host == "" || ip.IsUnspecified(), true
}

func (v *values) urls() []string {
	if len(v.node.args()) == 0 {
		v.fail(v.node.at(), "needs a value: %s", v.row.expected())
	}
	var out []string
	for _, w := range v.node.args() {
		if problem := checkURL(w.text); problem != "" {
			v.fail(w.at, "%s %s; expected is %s", v.showURL(w.text), problem, v.row.expected())
		}
		if strings.HasSuffix(w.text, ",") || strings.Contains(w.text, ",http://") || strings.Contains(w.text, ",https://") {
			v.warn(w.at, "the comma in %s belongs to the URL; blanks are between several", v.showURL(w.text))
		}
		out = append(out, w.text)
	}
	return out
}

// checkURL says what is wrong with a hook URL, or nothing.
func checkURL(s string) string {
	if strings.Contains(s, " ") {
		return "has a blank in it"
	}
	if rest, ok := strings.CutPrefix(s, "http://unix:"); ok {
		sock, uri, ok := strings.Cut(rest, ":")
		if !strings.HasPrefix(sock, "/") || sock == "/" || !ok || !strings.HasPrefix(uri, "/") {
			return "is not the URL of a unix socket"
		}
		return ""
	}
	u, err := url.Parse(s)
	if err != nil {
		return "is not a URL"
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return "is not an http or https URL"
	}
	if u.Opaque != "" || u.Hostname() == "" {
		return "has no host"
	}
	if p := u.Port(); p != "" {
		if n, ok := digits(p); !ok || n < 1 || n > 65535 {
			return "has a port that is not from 1 to 65535"
		}
	}
	return ""
}

// showURL is show without what may be secret: user-info and query.
func (v *values) showURL(s string) string {
	if i := strings.IndexByte(s, '?'); i >= 0 {
		s = s[:i] + "?..."
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		scheme, _, ok := strings.Cut(s[:i], "//")
		if ok {
			scheme += "//"
		} else {
			scheme = ""
		}
		s = scheme + "***" + s[i:]
	}
	return v.show(s)
}

// globs takes names of streams as app/stream, with * ? and [] as in a shell; a
// "*" does not reach across "/".
func (v *values) globs() []string {
	if len(v.node.args()) == 0 {
		v.fail(v.node.at(), "needs a value: %s", v.row.expected())
	}
	var out []string
	for _, w := range v.node.args() {
		if _, err := path.Match(w.text, ""); err != nil {
			v.fail(w.at, "%s is a bad pattern; expected is %s", v.show(w.text), v.row.expected())
		} else if w.text != "all" && !strings.Contains(w.text, "/") {
			v.fail(w.at, "%s names no app: a stream is app/stream; expected is %s", v.show(w.text), v.row.expected())
		} else if slices.ContainsFunc(strings.Split(w.text, "/"), unnamed) {
			v.warn(w.at, "%s is no stream, so nothing is recorded by it: a stream is app/stream, with no \"/\" or space around either", v.show(w.text))
		} else if strings.Contains(w.text, ",") && (strings.Count(w.text, "/") > 1 || strings.Contains(","+w.text+",", ",all,") || strings.Contains(","+w.text+",", ",,")) {
			v.warn(w.at, "%s is one pattern, with a comma in it: several are separated by blanks", v.show(w.text))
		}
		out = append(out, w.text)
	}
	return out
}

// unnamed says whether no part of a stream's name is written so: "/" only separates
// parts, spaces around them and the default instance are left out, "." is refused.
func unnamed(part string) bool {
	return strings.Trim(part, " ") != part || slices.Contains([]string{"", ".", "..", "_definst_"}, part)
}

// pathVars are the variables of dvr_path, of SRS 2.0.
var pathVars = []string{"[vhost]", "[app]", "[stream]", "[2006]", "[01]", "[02]", "[15]", "[04]", "[05]", "[999]", "[timestamp]"}

// path takes a template that cannot lead out of its own directory.
func (v *values) path() string {
	w, ok := v.one()
	if !ok {
		return ""
	}
	if path.Clean(w.text) == "/" {
		v.fail(w.at, "the root directory is no place for recordings; expected is %s", v.row.expected())
	}
	if slices.Contains(strings.Split(w.text, "/"), "..") {
		v.fail(w.at, "the path must not contain \"..\"")
	}
	for rest := w.text; ; {
		i := strings.IndexByte(rest, '[')
		if i < 0 {
			break
		}
		n := strings.IndexByte(rest[i:], ']')
		if n < 0 {
			v.fail(w.at, "a \"[\" is not closed by \"]\"")
			break
		}
		if name := rest[i : i+n+1]; !slices.Contains(pathVars, name) {
			v.fail(w.at, "%s is no variable; there are %s", v.show(name), strings.Join(pathVars, " "))
		}
		rest = rest[i+n+1:]
	}
	if ext := path.Ext(w.text); ext != ".flv" && slices.Contains(fileEndings, strings.ToLower(ext)) {
		v.warn(w.at, "recordings are FLV, and what does not end in .flv is a directory: their names are %s/[stream].[timestamp].flv", w.text)
	}
	return w.text
}

// fileEndings are behind names that are hardly meant to be a directory's.
var fileEndings = []string{".flv", ".mp4", ".f4v", ".mov", ".mkv", ".ts", ".m3u8", ".tmp", ".done"}

package dvr

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxComponent bounds each component of a path, in bytes. File systems allow
// 255; a suffix "-12345", ".flv" and ".tmp" fit behind it.
const maxComponent = 200

// A subject is what a recording is named after.
type subject struct {
	vhost, app, stream string
	at                 time.Time // wall clock, in the zone of the names
}

// A place is where a file is to be. Root is the literal start of the template
// (empty: the working directory), and nothing is ever touched outside it; name
// is the rest, below root, and ends in ".flv".
//
//	./objs/nginx/html/[app]/[stream].[timestamp].flv
//	└──── root ──────┘└─────────── name ───────────┘
type place struct {
	root, name string
}

// path is the path as configured: relative stays relative, "./" stays.
func (p place) path() string { return p.root + p.name }

// numbered is the n-th choice when others are taken: x.flv, x-1.flv, x-2.flv.
func (p place) numbered(n int) place {
	if n > 0 {
		p.name = strings.TrimSuffix(p.name, ".flv") + "-" + strconv.Itoa(n) + ".flv"
	}
	return p
}

// expand gives the place that a template (directive dvr_path) means for a
// subject. Variables are replaced in one pass, so that a stream called
// "[timestamp]" is a file called that; an unknown "[x]" stays as it is. A
// template that does not end in ".flv" is a directory.
//
// Values are encoded so that they are names and nothing else, and so that they
// can be read back: see encode. In [app], "/" separates folders, and no folder below
// root is called like a file: see folder.
func expand(template string, s subject) place {
	template = fileTemplate(template)
	root := literalRoot(template)
	var b strings.Builder
	for _, piece := range split(template[len(root):]) {
		if value, known := s.variable(piece.variable); known {
			b.WriteString(value)
		} else {
			b.WriteString(piece.literal)
		}
	}
	components := strings.Split(b.String(), "/")
	last := len(components) - 1
	for i, c := range components[:last] {
		components[i] = shorten(folder(c), false)
	}
	components[last] = shorten(components[last], true)
	return place{root: root, name: strings.Join(components, "/")}
}

// fileTemplate is the template of a file also where a directory is given.
func fileTemplate(template string) string {
	if strings.HasSuffix(template, ".flv") {
		return template
	}
	return strings.TrimRight(template, "/") + "/[stream].[timestamp].flv"
}

// A piece of a template is text, and what is between its brackets if it may be a
// variable.
type piece struct {
	literal, variable string
}

// split takes a template apart. Of "[app[stream]" the first bracket is text.
func split(template string) (pieces []piece) {
	for rest := template; rest != ""; {
		open := strings.IndexByte(rest, '[')
		if open < 0 {
			return append(pieces, piece{literal: rest})
		}
		if open > 0 {
			pieces = append(pieces, piece{literal: rest[:open]})
		}
		rest = rest[open:]
		end := strings.IndexByte(rest, ']')
		if _, known := variables[rest[1:max(end, 1)]]; !known {
			pieces = append(pieces, piece{literal: "["})
			rest = rest[1:]
			continue
		}
		pieces = append(pieces, piece{rest[:end+1], rest[1:end]})
		rest = rest[end+1:]
	}
	return pieces
}

// literalRoot is the template up to the last "/" in front of its first bracket.
func literalRoot(template string) string {
	head, _, _ := strings.Cut(template, "[")
	return head[:strings.LastIndexByte(head, '/')+1]
}

// variable gives the encoded value of a variable.
func (s subject) variable(name string) (string, bool) {
	switch name {
	case "vhost":
		return encode(s.vhost), true
	case "app":
		folders := strings.Split(s.app, "/")
		for i, f := range folders {
			folders[i] = encode(f)
		}
		return strings.Join(folders, "/"), true
	case "stream":
		return encode(s.stream), true
	case "2006", "01", "02", "15", "04", "05":
		return s.at.Format(name), true
	case "999":
		return fmt.Sprintf("%03d", s.at.Nanosecond()/1e6), true
	case "timestamp":
		return strconv.FormatInt(s.at.UnixMilli(), 10), true
	}
	return "", false
}

// plain are the ASCII signs besides letters and digits that stay as they are.
const plain = "-_.~+=,@[]"

// encode makes a value safe within a component. ASCII letters, digits, the plain
// signs and printable letters of other scripts stay; every other byte, "%" and
// "/" among them, becomes %XX. At the front ".", "-" and "~" and at the end "."
// become %XX too: no hidden files, no "..", nothing that a shell's tools take for
// an option or a home. No value is the lone "%". So url.PathUnescape gives
// the value back.
func encode(value string) string {
	if value == "" {
		return "%"
	}
	var b strings.Builder
	for i := 0; i < len(value); {
		r, size := utf8.DecodeRuneInString(value[i:])
		first, last := i == 0, i+size == len(value)
		keep := false
		switch {
		case r >= utf8.RuneSelf:
			keep = !(r == utf8.RuneError && size == 1) && unicode.IsPrint(r)
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			keep = true
		case r == '.':
			keep = !first && !last
		case r == '-', r == '~':
			keep = !first
		default:
			keep = strings.ContainsRune(plain, r)
		}
		if keep {
			b.WriteString(value[i : i+size])
		} else {
			for _, c := range []byte(value[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += size
	}
	return b.String()
}

// folder makes the name of a folder one that no recording has, nor one that grows,
// nor a mark: "s.flv" would keep the stream s of the folder above from being
// recorded, or be kept by that. The dot is %2E then, as encode would write it.
func folder(name string) string {
	for _, suffix := range []string{".flv", tmp, done} {
		if base, is := strings.CutSuffix(name, suffix); is {
			return base + "%2E" + suffix[1:]
		}
	}
	return name
}

// shorten cuts a component to maxComponent bytes. What is cut is replaced by
// "%~" and a hash of the whole, so that two long names stay two; "%~" cannot come
// out of encode. The last component keeps its ".flv".
func shorten(component string, last bool) string {
	if len(component) <= maxComponent {
		return component
	}
	sum := sha256.Sum256([]byte(component))
	tail := "%~" + hex.EncodeToString(sum[:8])
	if last {
		tail += ".flv"
	}
	cut := maxComponent - len(tail)
	for !utf8.RuneStart(component[cut]) {
		cut--
	}
	// Not within a %XX either.
	if i := strings.LastIndexByte(component[:cut], '%'); i >= 0 && cut-i < 3 {
		cut = i
	}
	return component[:cut] + tail
}

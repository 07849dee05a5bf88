package dvr

import (
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A pattern finds the files that a template can have made.
type pattern struct {
	vhost string // the block it is of
	root  string // as configured
	dir   string // root in the file system
	name  *regexp.Regexp
	depth int // folders below root; negative: any number

	alive func() // called now and then while files are looked for, and at
}

// variables is what a variable of a template can have become.
var variables = map[string]string{
	"vhost": "[^/]+", "app": ".+", "stream": "[^/]+", "timestamp": `-?\d+`, "999": `\d{3}`,
	"2006": `\d{4,}`, "01": `\d\d`, "02": `\d\d`, "15": `\d\d`, "04": `\d\d`, "05": `\d\d`,
}

// newPattern is expand the other way round.
func newPattern(vhost, template, dir string) pattern {
	template = fileTemplate(template)
	root := literalRoot(template)
	var b strings.Builder
	b.WriteString("^")
	seen := map[string]bool{}
	for _, piece := range split(strings.TrimSuffix(template[len(root):], ".flv")) {
		expression, known := variables[piece.variable]
		if piece.variable == "vhost" {
			expression = regexp.QuoteMeta(encode(vhost))
		}
		switch {
		case !known:
			b.WriteString(regexp.QuoteMeta(piece.literal))
		case seen[piece.variable]:
			b.WriteString("(?:" + expression + ")")
		default:
			seen[piece.variable] = true
			b.WriteString("(?P<v" + piece.variable + ">" + expression + ")")
		}
	}
	b.WriteString(`(?:-\d+)?\.flv$|%~[0-9a-f]{16}(?:-\d+)?\.flv$`) // numbered; or shortened, which may take all but the hash
	depth := strings.Count(template[len(root):], "/")
	if seen["app"] {
		depth = -1
	}
	return pattern{vhost: vhost, root: root, dir: dir, name: regexp.MustCompile(b.String()), depth: depth, alive: func() {}}
}

// publisher is what a name tells of who has published.
func (p *pattern) publisher(name string) facts {
	who := facts{Vhost: p.vhost}
	values := p.name.FindStringSubmatch(name)
	for i, group := range p.name.SubexpNames() {
		if i >= len(values) {
			break
		}
		value, err := url.PathUnescape(values[i])
		if err != nil {
			value = values[i]
		}
		switch group {
		case "vvhost":
			who.Vhost = value
		case "vapp":
			who.App = value
		case "vstream":
			who.Stream = value
		}
	}
	if who.Stream == "" {
		who.Stream = strings.TrimSuffix(path.Base(name), ".flv")
	}
	return who
}

// A found file is one that a pattern finds, with what stands behind ".flv".
type found struct {
	name   string // below the root, without suffix
	suffix string
	size   int64
	at     time.Time // of the last change
	inode  uint64
}

// walk gives the regular files of a pattern whose suffix is one of these to a
// function, folder by folder, until that returns an error. What cannot be looked
// into is passed over.
func (p *pattern) walk(suffixes []string, visit func(found) error) error {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return ignore(err, fs.ErrNotExist)
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		p.alive()
		switch {
		case err != nil:
			return nil
		case d.IsDir():
			if p.depth >= 0 && name != "." && strings.Count(name, "/") >= p.depth {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		for _, suffix := range suffixes {
			base, ok := strings.CutSuffix(name, ".flv"+suffix)
			if !ok || !p.name.MatchString(base+".flv") {
				continue
			}
			info, err := d.Info()
			if err != nil {
				return nil
			}
			return visit(found{name: base + ".flv", suffix: suffix, size: info.Size(), at: info.ModTime(), inode: inode(info)})
		}
		return nil
	})
}

// patterns are those of the vhosts that record; the same place is there once.
func (r *Recorder) patterns() (list []pattern) {
	for _, v := range r.Conf().Vhosts {
		if v.Enabled && v.DVR.Enabled {
			list = addPattern(list, r.patternOf(origin{v.Name, v.DVR.Path, r.Cwd}))
		}
	}
	return list
}

// addPattern adds one that is not there.
func addPattern(list []pattern, p pattern) []pattern {
	if slices.ContainsFunc(list, func(o pattern) bool { return o.dir == p.dir && o.name.String() == p.name.String() }) {
		return list
	}
	return append(list, p)
}

package dvr

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A pattern finds the files that a template can have made.
type pattern struct {
	vhost string // the block it is of
	root  string // as configured
	dir   string // root in the file system
	name  *regexp.Regexp
	depth int  // folders below root; negative: any number
	dots  bool // some of them begin with a dot, which no variable does

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
	folders, file := path.Split(strings.TrimSuffix(template[len(root):], ".flv"))
	above := split(folders)
	for i, piece := range slices.Concat(above, split(file)) {
		expression, known := variables[piece.variable]
		switch {
		case !known:
			expression = regexp.QuoteMeta(piece.literal)
		case piece.variable == "vhost":
			expression = regexp.QuoteMeta(encode(vhost))
		}
		if i < len(above) { // see folder; those of an earlier version kept their dot
			expression = strings.ReplaceAll(expression, `\.`, `(?:\.|%2E)`)
		}
		switch {
		case !known:
			b.WriteString(expression)
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
	return pattern{vhost: vhost, root: root, dir: dir, name: regexp.MustCompile(b.String()), depth: depth, alive: func() {},
		dots: strings.Contains("/"+template[len(root):], "/.")}
}

// publisher is what a name tells of who has published.
func (p *pattern) publisher(name string) facts {
	who := facts{Vhost: p.vhost}
	values := p.name.FindStringSubmatch(name)
	for i, group := range p.name.SubexpNames() {
		if i >= len(values) {
			break
		}
		value := decode(values[i])
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

// isMark says whether it is the mark of a recording of that name.
func (f found) isMark() bool { return strings.HasSuffix(f.suffix, done) }

// entries gives the regular files below the directory to a function, folder by
// folder, until that returns an error. What cannot be looked into is passed over,
// and told to blind.
func (p *pattern) entries(visit func(name string, d fs.DirEntry) error, blind func(name string, err error)) error {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		p.alive()
		switch {
		case errors.Is(err, fs.ErrNotExist): // meanwhile
			return nil
		case err != nil:
			blind(name, err)
			return nil
		case d.IsDir():
			if p.depth >= 0 && name != "." && strings.Count(name, "/") >= p.depth || !p.dots && strings.HasPrefix(d.Name(), ".") && name != "." {
				return fs.SkipDir // of the file system, perhaps: .snapshot
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		return visit(name, d)
	})
}

// file gives the name of the recording that a file of some name is, will be, or is
// the mark of, and what stands behind that.
func (p *pattern) file(name string) (base, suffix string, ok bool) {
	base = name
	if marked, _, _, is := cutMark(name); is {
		base = marked
	} else if left, is := strings.CutSuffix(name, tmp); is {
		base = left
	}
	return base, name[len(base):], p.name.MatchString(base)
}

// walk gives the complete recordings of a pattern, and marks, to a function, folder
// by folder, until that returns an error. What cannot be looked into is passed over.
func (p *pattern) walk(visit func(found) error) error {
	err := p.entries(func(name string, d fs.DirEntry) error {
		base, suffix, ok := p.file(name)
		if !ok || suffix == tmp {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		return visit(found{name: base, suffix: suffix, size: info.Size(), at: info.ModTime(), inode: inode(info)})
	}, func(string, error) {})
	return ignore(err, fs.ErrNotExist)
}

// openable says why a file cannot be opened.
func (p *pattern) openable(name string) error {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := openRegular(root, name)
	if err != nil {
		return err
	}
	return f.Close()
}

// maxLeftovers is how many are remembered at a time.
const maxLeftovers = 10_000

// leftovers gives the oldest leftovers and marks behind one of them, in their turn,
// and says whether there are more and whether any file is of the pattern, a complete
// one, too.
func (p *pattern) leftovers(last found, stop <-chan struct{}, blind func(name string, err error)) (list []found, more, ours bool, err error) {
	oldest := func() {
		slices.SortFunc(list, inTurn)
		if len(list) > maxLeftovers {
			list, more = list[:maxLeftovers], true
		}
	}
	err = p.entries(func(name string, d fs.DirEntry) error {
		select {
		case <-stop:
			return errStopped
		default:
		}
		base, suffix, ok := p.file(name)
		ours = ours || ok
		if !ok || suffix == "" {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				blind(name, err)
			}
			return nil
		}
		if f := (found{name: base, suffix: suffix, at: info.ModTime()}); inTurn(last, f) < 0 {
			list = append(list, f)
		}
		if len(list) >= 2*maxLeftovers {
			oldest()
		}
		return nil
	}, blind)
	oldest()
	return list, more, ours, err
}

// inTurn orders files as they were written: by time, then by the number in the name.
func inTurn(a, b found) int {
	one, other := a.numbered(), b.numbered()
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(one.base, other.base), cmp.Compare(one.number, other.number), cmp.Compare(a.name+a.suffix, b.name+b.suffix))
}

// A numberedName is what place.numbered has made of a name.
type numberedName struct {
	base   string
	number int
}

func (f found) numbered() numberedName {
	base := strings.TrimSuffix(f.name, ".flv")
	if i := strings.LastIndexByte(base, '-'); i >= 0 {
		if n, err := strconv.Atoi(base[i+1:]); err == nil {
			return numberedName{base[:i], n}
		}
	}
	return numberedName{base, 0}
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

// same says whether two find the same files.
func (p pattern) same(o pattern) bool { return p.dir == o.dir && p.name.String() == o.name.String() }

// addPattern adds one that is not there.
func addPattern(list []pattern, p pattern) []pattern {
	if slices.ContainsFunc(list, p.same) {
		return list
	}
	return append(list, p)
}

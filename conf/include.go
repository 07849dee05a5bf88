package conf

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A reader opens a file for the include directive of another one.
type reader func(name string, from *file) (*file, error)

// include reads the files an include directive (SRS 5.0) names, in their
// order. Each must be complete in itself: its blocks end where it ends.
func (p *parser) include(n *node, depth int) []*node {
	if len(n.args()) == 0 {
		p.log.errorf(n.file, n.at(), "include: needs the path of a file")
	}
	var nodes []*node
	for _, w := range n.args() {
		if p.broken || p.log.full() {
			break
		}
		f, err := p.read(w.text, n.file)
		if err != nil {
			p.log.errorf(n.file, w.at, "include: cannot read %s: %s", show(n.file, w.text), reason(err))
			continue
		}
		if !p.mayInclude(f, w) {
			continue
		}
		nodes = append(nodes, p.parse(f, depth)...)
	}
	return nodes
}

// mayInclude refuses files that include themselves, and long chains. The chain
// is named: its files were all opened, so their names are no secret.
func (p *parser) mayInclude(f *file, w word) bool {
	chain, deep, circle := f.name, 0, false
	for g := f.from; g != nil; g = g.from {
		chain = g.name + " -> " + chain
		circle = circle || g.path == f.path
		deep++
	}
	if circle {
		p.log.errorf(f.from, w.at, "include: the file includes itself: %s", chain)
		return false
	}
	if deep > maxInclude {
		p.log.errorf(f.from, w.at, "include: files include files more than %d deep: %s", maxInclude, chain)
		return false
	}
	return true
}

// readInclude opens a file as SRS does, relative to the working directory;
// where there is none, relative to the file that includes it.
func readInclude(name string, from *file) (*file, error) {
	f, err := readRegular(name, from)
	if errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(name) {
		return readRegular(filepath.Join(filepath.Dir(from.name), name), from)
	}
	return f, err
}

// readRegular reads a plain file. Opening a pipe or a terminal could wait for
// ever, at a reload too, so nothing else is opened.
func readRegular(name string, from *file) (*file, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	text, err := readFile(name)
	return &file{name: name, text: text, path: identity(name), from: from}, err
}

// readFile reads up to one byte more than is allowed, which parse then refuses.
func readFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var b strings.Builder
	_, err = io.Copy(&b, io.LimitReader(f, maxBytes+1))
	return b.String(), err
}

// identity is the one path a file has, however it was named.
func identity(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	return name
}

// reason is an error without the path that os puts in front of it: the message
// has the path already, or may not have it.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err.Error()
	}
	return err.Error()
}

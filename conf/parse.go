package conf

import (
	"strings"
	"unicode/utf8"
)

// The grammar, as SRS 1.0 to 6.0 have it:
//
//	file      = { directive }
//	directive = name { argument } ( ";" | "{" { directive } "}" )
//
// with blanks, line breaks and comments between any two words. A text becomes
// a Config in three steps:
//
//	1. checkText   refuses what is no text at all
//	2. parser      text -> tree of nodes; include is replaced by what it names
//	3. checker     tree -> Config, along the table in directives.go

// Our own bounds. A configuration is written by a human or by a script of one;
// whatever is larger than this is the wrong file.
const (
	maxBytes   = 4 << 20  // all files of one configuration together
	maxLine    = 64 << 10 // bytes
	maxDepth   = 32       // nested blocks
	maxWords   = 1 << 18  // names and arguments, all files together
	maxInclude = 16       // files including files
)

// A node is one directive with its arguments and, if it has one, its block.
type node struct {
	file  *file
	words []word // the name first; never empty
	block bool
	body  []*node
}

func (n *node) name() string { return n.words[0].text }
func (n *node) args() []word { return n.words[1:] }
func (n *node) at() place    { return n.words[0].at }

// A parser makes trees of files.
type parser struct {
	log   *log
	read  reader
	bytes int // of all files so far
	words int

	// broken is set when the rest cannot be understood, or is too much.
	// Nothing is reported after it, for it would only be noise.
	broken bool
}

// parse reads one file, main or included, that sits depth blocks deep.
func (p *parser) parse(f *file, depth int) []*node {
	p.bytes += len(f.text)
	if p.bytes > maxBytes {
		p.broken = true
		p.log.errorf(f, place{1, 1}, "the configuration is larger than %d MiB; is this the right file?", maxBytes>>20)
		return nil
	}
	f.text = strings.TrimPrefix(f.text, "\ufeff")
	if !checkText(f, p.log) {
		p.broken = true
		return nil
	}
	x := newLexer(f, p.log)
	nodes := p.directives(x, nil, depth)
	p.broken = p.broken || x.broken
	return nodes
}

// directives reads until the "}" of the block that opener opened, or until the
// end of the file where opener is nil. It recovers from all it can, so that
// one run shows all errors.
func (p *parser) directives(x *lexer, opener *node, depth int) []*node {
	var nodes []*node
	var words []word
	for {
		k, w := x.next()
		switch k {
		case kindWord:
			if p.words++; p.words > maxWords {
				p.stop(x, w.at, "more than %d words; is this the right file?", maxWords)
				return nodes
			}
			words = append(words, w)
			continue

		case kindEnd:
			if words == nil {
				p.log.errorf(x.file, w.at, "empty directive: there is nothing before this \";\"")
			} else {
				nodes = p.add(nodes, &node{file: x.file, words: words}, depth)
			}

		case kindOpen:
			if words == nil {
				p.log.errorf(x.file, w.at, "unexpected \"{\": a block needs a name before it")
			}
			if depth == maxDepth {
				p.stop(x, w.at, "unexpected \"{\": blocks are nested more than %d deep", maxDepth)
				return nodes
			}
			n := &node{file: x.file, words: words, block: true}
			if words == nil {
				n.words = []word{w} // for positions only; the node is dropped
			}
			n.body = p.directives(x, n, depth+1)
			if words != nil {
				nodes = p.add(nodes, n, depth)
			}

		case kindClose:
			if words != nil {
				p.log.errorf(x.file, w.at, "unexpected \"}\": a \";\" is missing before it")
				nodes = p.add(nodes, &node{file: x.file, words: words}, depth)
			}
			if opener != nil {
				return nodes
			}
			if words == nil {
				p.log.errorf(x.file, w.at, "unexpected \"}\": no block is open here")
			}

		case kindEOF:
			if x.broken || p.broken {
				return nodes
			}
			if words != nil {
				p.log.errorf(x.file, words[0].at, "unexpected end of file: the directive that begins here is not ended by \";\"")
				nodes = p.add(nodes, &node{file: x.file, words: words}, depth)
			}
			if opener != nil {
				p.log.errorf(x.file, opener.at(), "unexpected end of file: the block that begins here is not closed by \"}\"")
			}
			return nodes
		}
		if words = nil; x.broken || p.broken {
			return nodes
		}
	}
}

// stop reports what makes the rest not worth reading.
func (p *parser) stop(x *lexer, at place, format string, args ...any) {
	p.log.errorf(x.file, at, format, args...)
	p.broken = true
	x.broken = true
}

// add appends a directive, or instead of an include what the files say.
func (p *parser) add(nodes []*node, n *node, depth int) []*node {
	if n.name() == "include" && !n.block && !n.words[0].quoted {
		return append(nodes, p.include(n, depth)...)
	}
	return append(nodes, n)
}

// checkText refuses what no editor wrote. It reports the first place only:
// a binary file has them everywhere.
func checkText(f *file, l *log) bool {
	line, bol := int32(1), 0
	at := func(i int) place { return place{line, int32(i-bol) + 1} }
	for i := 0; i < len(f.text); {
		c := f.text[i]
		switch {
		case c == 0:
			l.errorf(f, at(i), "the file has a NUL byte; it must be text")
			return false
		case i-bol >= maxLine && c != '\n':
			l.errorf(f, place{line, 1}, "the line is longer than %d KiB; is this the right file?", maxLine>>10)
			return false
		case c == '\n':
			i++
			line++
			bol = i
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRuneInString(f.text[i:])
			if r == utf8.RuneError && n == 1 {
				l.errorf(f, at(i), "the file is not valid UTF-8; save it as UTF-8")
				return false
			}
			i += n
		}
	}
	return true
}

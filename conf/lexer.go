package conf

import "strings"

// A file is one text being read: the main file or an included one.
type file struct {
	name string
	text string
	from *file // the file whose include named this one; nil for the main file
	path string
}

// included reports that the text may be anything, /etc/shadow too: messages
// about it give positions and names of ours, never its own words.
func (f *file) included() bool { return f.from != nil }

// A place is a position in a file, both from 1.
type place struct{ line, col int32 }

// A word is one argument, or the name of a directive.
type word struct {
	text   string
	at     place
	quoted bool
	fresh  bool // first on its line: where a forgotten ";" shows
}

type kind uint8

const (
	kindEOF kind = iota
	kindWord
	kindEnd   // ;
	kindOpen  // {
	kindClose // }
)

// A lexer cuts a file into words, ";", "{" and "}".
type lexer struct {
	file *file
	log  *log
	i    int // next byte
	line int32
	bol  int // where the line starts
	last int // end of the last token, to see whether a word is fresh

	// broken is set when nothing behind this position can be understood.
	broken bool
}

func newLexer(f *file, l *log) *lexer {
	return &lexer{file: f, log: l, line: 1}
}

func (x *lexer) place() place { return place{x.line, int32(x.i-x.bol) + 1} }

// next returns the next token. An empty quoted string is dropped, as SRS does:
// `pid "";` has no argument.
func (x *lexer) next() (kind, word) {
	for {
		x.skip()
		if x.i >= len(x.file.text) || x.broken {
			return kindEOF, word{at: x.place()}
		}
		at := x.place()
		fresh := x.last <= x.bol
		switch c := x.file.text[x.i]; c {
		case ';', '{', '}':
			x.i++
			x.last = x.i
			return map[byte]kind{';': kindEnd, '{': kindOpen, '}': kindClose}[c], word{text: string(c), at: at}
		case '"', '\'':
			text, ok := x.quoted(c)
			if !ok {
				return kindEOF, word{at: at}
			}
			if text != "" {
				return kindWord, word{text: text, at: at, quoted: true, fresh: fresh}
			}
		default:
			return kindWord, word{text: x.bare(), at: at, fresh: fresh}
		}
	}
}

// skip passes blanks and comments. "#" begins a comment only here, between
// words: a#b is a word.
func (x *lexer) skip() {
	for x.i < len(x.file.text) {
		switch x.file.text[x.i] {
		case '\n':
			x.i++
			x.line++
			x.bol = x.i
		case ' ', '\t', '\r':
			x.i++
		case '#':
			n := strings.IndexByte(x.file.text[x.i:], '\n')
			if n < 0 {
				n = len(x.file.text) - x.i
			}
			x.i += n
		default:
			return
		}
	}
}

// bare reads an unquoted word, which ends before a blank, ";" or "{". "}", "#"
// and quotes inside it are part of it.
func (x *lexer) bare() string {
	rest := x.file.text[x.i:]
	n := strings.IndexAny(rest, " \t\r\n;{")
	if n < 0 {
		n = len(rest)
	}
	x.i += n
	x.last = x.i
	return rest[:n]
}

// quoted reads a quoted word: everything up to the same quote, no escapes.
func (x *lexer) quoted(q byte) (string, bool) {
	start := x.place()
	rest := x.file.text[x.i+1:]
	n := strings.IndexByte(rest, q)
	if n < 0 {
		x.log.errorf(x.file, start, "unclosed quote: the %c that begins here has no partner", q)
		x.broken = true
		return "", false
	}
	text := rest[:n]
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' {
			x.line++
			x.bol = x.i + 1 + i + 1
		}
	}
	x.i += n + 2
	x.last = x.i
	if x.i < len(x.file.text) && !strings.ContainsRune(" \t\r\n;{", rune(x.file.text[x.i])) {
		x.log.errorf(x.file, x.place(), "unexpected character behind a closing quote: a blank, \";\" or \"{\" was expected")
	}
	return text, true
}

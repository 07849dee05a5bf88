package conf

import (
	"fmt"
	"strings"
	"testing"
)

// TestPlaces: every token knows where it stands, and whether it begins a line.
func TestPlaces(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a b;", "1:1*a 1:3 b 1:4 ;"},
		{"  a\n\tb\r\n;", "1:3*a 2:2*b 3:1 ;"},
		{"a{b;}c;", "1:1*a 1:2 { 1:3 b 1:4 ; 1:5 } 1:6 c 1:7 ;"},
		{"# x\n a # y\n b;", "2:2*a 3:2*b 3:3 ;"},
		{"'a' \"b\"\n'c';", "1:1*a 1:5 b 2:1*c 2:4 ;"},
		{"'a\nb' c\nd;", "1:1*a|b 2:4 c 3:1*d 3:2 ;"},
		{"'\n\n' a;", "1:1*|| 3:3 a 3:4 ;"},
		{"a '' b\n'' c;", "1:1*a 1:6 b 2:4 c 2:5 ;"},
		{"ä b;", "1:1*ä 1:4 b 1:5 ;"},
		{"a}b }", "1:1*a}b 1:5 }"},
	} {
		x := newLexer(&file{name: "t", text: c.text}, &log{})
		var got []string
		for {
			k, w := x.next()
			if k == kindEOF {
				break
			}
			mark := " "
			if w.fresh {
				mark = "*"
			}
			got = append(got, fmt.Sprintf("%d:%d%s%s", w.at.line, w.at.col, mark, strings.ReplaceAll(w.text, "\n", "|")))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%q is\n%s\nwant\n%s", c.text, s, c.want)
		}
	}
}

// TestLexerEnd: the end stays the end, also behind an unclosed quote.
func TestLexerEnd(t *testing.T) {
	for _, text := range []string{"", "a", "a 'b", "#"} {
		l := &log{}
		x := newLexer(&file{name: "t", text: text}, l)
		for range 5 {
			x.next()
		}
		if k, _ := x.next(); k != kindEOF || len(l.errors) > 1 {
			t.Errorf("%q ends with kind %d, %v", text, k, l.errors)
		}
	}
}

package conf

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// unknown reports a name that the table does not have at this place.
func (c *checker) unknown(scope string, n *node) {
	name := n.name()
	if places := scopes[name]; len(places) > 0 {
		var where []string
		for _, p := range places {
			where = append(where, scopeName(p))
		}
		c.log.errorf(n.file, n.at(), "%s: not allowed in %s; it belongs in %s", name, scopeName(scope), strings.Join(where, " or "))
		return
	}
	here, all := []string{}, slices.Sorted(maps.Keys(scopes))
	for _, s := range all {
		if slices.Contains(scopes[s], scope) {
			here = append(here, s)
		}
	}
	h := hint(n.file, name, here)
	if h == "" {
		h = hint(n.file, name, all)
	}
	c.log.errorf(n.file, n.at(), "%s: unknown directive in %s%s", label(n.file, name), scopeName(scope), h)
}

// scopeName writes a place as a user would: vhost { play { } }.
func scopeName(scope string) string {
	if scope == "" {
		return "the top level"
	}
	return strings.ReplaceAll(scope, ".", " { ") + " { }" + strings.Repeat(" }", strings.Count(scope, "."))
}

// maxShown is how much of a word a message repeats, in bytes.
const maxShown = 64

// show quotes a word of a file for a message. Words of included files are not
// repeated: a configuration may include any file the server can read, and its
// messages may be read by those who cannot.
func show(f *file, s string) string {
	if f.included() {
		return "the value"
	}
	if len(s) > maxShown {
		n := maxShown
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "..."
	}
	return strconv.Quote(s)
}

// label is show for the name of an unknown directive.
func label(f *file, name string) string {
	if recognisedName(name) {
		return name
	}
	if f.included() {
		return "(a name in an included file)"
	}
	if len(name) <= maxShown && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == "" {
		return name
	}
	return show(f, name)
}

func recognisedName(name string) bool { return len(scopes[name]) > 0 }

// hint asks whether one of the known words was meant, if one is near enough.
func hint(f *file, word string, known []string) string {
	if f.included() || len(word) > maxShown {
		return ""
	}
	best, bestDistance := "", 3
	if len(word) <= 3 {
		bestDistance = 2
	}
	for _, k := range known {
		if d := distance(strings.ToLower(word), k, bestDistance); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is the number of bytes to insert, delete or replace to make b of a,
// two neighbours that changed places counting as one; or bound, if it is that
// or more.
func distance(a, b string, bound int) int {
	if len(a)-len(b) >= bound || len(b)-len(a) >= bound {
		return bound
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
			least = min(least, cur[j])
		}
		if least >= bound {
			return bound
		}
		before, prev, cur = prev, cur, before
	}
	return min(prev[len(b)], bound)
}

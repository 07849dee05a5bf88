package conf

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wrap puts a directive into the blocks its path names, in a file that is
// otherwise right.
func wrap(path, args string) string {
	parts := strings.Split(path, ".")
	text := parts[len(parts)-1] + " " + args + ";"
	for i := len(parts) - 2; i >= 0; i-- {
		name := parts[i]
		if name == "vhost" {
			name += " a.com"
		}
		text = name + " { " + text + " }"
	}
	if path != "listen" {
		text = "listen 1935; " + text
	}
	if !strings.HasPrefix(path, "vhost.") {
		text += " vhost a.com {}"
	}
	return text
}

// TestTable holds the rows to what the rest of the package assumes of them.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range directives {
		for _, s := range d.spell {
			if seen[s] {
				t.Errorf("%s is in the table twice", s)
			}
			seen[s] = true
			if i := strings.LastIndexByte(s, '.'); i >= 0 && !slices.Contains(blocks, s[:i]) {
				t.Errorf("%s stands in a block that is not looked into", s)
			}
			if _, ok := unserved[s]; ok {
				t.Errorf("%s is both served and not", s)
			}
		}
		if d.effect < atRestart || d.effect > atNextEvent {
			t.Errorf("%s does not say when a change takes effect", d.spell[0])
		}
		if d.shape == shapeNumber && d.max <= d.min {
			t.Errorf("%s has no range", d.spell[0])
		}
		if d.shape == shapeChoice && !slices.Contains(d.words, d.def) {
			t.Errorf("%s has the default %q", d.spell[0], d.def)
		}
		if d.shape == shapeOnOff && d.def != "on" && d.def != "off" {
			t.Errorf("%s has the default %q", d.spell[0], d.def)
		}
	}
	for path := range unserved {
		if slices.Contains(blocks, path) {
			t.Errorf("%s is a block that is looked into, and one that is not", path)
		}
	}
}

// TestTableDefaults: saying the default is saying nothing, in every spelling.
func TestTableDefaults(t *testing.T) {
	plain := mustParse(t, "listen 1935; vhost a.com {}")
	for _, d := range directives {
		if d.def == "" {
			continue
		}
		for _, s := range d.spell {
			c := mustParse(t, wrap(s, d.def))
			if diff := diff(c, plain); diff != "" || len(c.Warnings) > 0 {
				t.Errorf("%s %s changes something: %s %v", s, d.def, diff, c.Warnings)
			}
		}
	}
}

// sample is a value that is allowed and not the default.
func sample(d *directive) string {
	switch d.shape {
	case shapeOnOff:
		if d.def == "on" {
			return "off"
		}
		return "on"
	case shapeNumber:
		return strconv.Itoa(d.max)
	case shapeChoice:
		return d.words[(slices.Index(d.words, d.def)+1)%len(d.words)]
	case shapeListen:
		return "127.0.0.1:1936 1935"
	case shapeURLs:
		return "http://a/ https://b/"
	case shapeGlobs:
		return "live/cam-*"
	case shapeSecrets:
		return "file:/run/secret env:OLD_SECRET"
	case shapePath:
		return "/rec/[stream].flv"
	default:
		return "'some text'"
	}
}

// TestSpellings: however it is spelled, a directive does the same, and something.
func TestSpellings(t *testing.T) {
	plain := mustParse(t, "listen 1935; vhost a.com {}")
	for _, d := range directives {
		first := mustParse(t, wrap(d.spell[0], sample(d)))
		if diff(first, plain) == "" {
			t.Errorf("%s %s changes nothing", d.spell[0], sample(d))
		}
		for _, s := range d.spell[1:] {
			if diff := diff(mustParse(t, wrap(s, sample(d))), first); diff != "" {
				t.Errorf("%s and %s differ: %s", s, d.spell[0], diff)
			}
		}
	}
}

// TestNumbers: every numeric directive, at and beyond its bounds (CF-08).
func TestNumbers(t *testing.T) {
	for _, d := range directives {
		if d.shape != shapeNumber {
			continue
		}
		for _, s := range d.spell {
			for _, n := range []int{d.min, d.min + 1, d.max - 1, d.max} {
				mustParse(t, wrap(s, strconv.Itoa(n)))
			}
			bad := []string{strconv.Itoa(d.min - 1), strconv.Itoa(d.max + 1), "-1", "-0", "+1", "99999999999999999999",
				"18446744073709551616", "18446744073709551617", "4294967297000000000", "9223372036854775808",
				"1e9", "1e3", "10k", "10K", "0x10", "0b1", "0o7", "1_000", "1,000", "1.0", "1.", ".5", "NaN", "Inf", "'1 '", "١٢٣", "on"}
			for _, text := range bad {
				_, err := Parse("t", []byte(wrap(s, text)))
				if err == nil {
					t.Errorf("%s takes %s", s, text)
					continue
				}
				if e := err.Error(); !strings.Contains(e, " is not a whole number from "+strconv.Itoa(d.min)+" to "+strconv.Itoa(d.max)) ||
					strings.Count(e, "\n") > 0 {
					t.Errorf("%s %s says %s", s, text, e)
				}
			}
		}
	}
}

// TestArguments: none, an empty one and too many, for every directive.
func TestArguments(t *testing.T) {
	for _, d := range directives {
		for _, s := range d.spell {
			for _, args := range []string{"", "''", `""`} {
				if _, err := Parse("t", []byte(wrap(s, args))); err == nil || !strings.Contains(err.Error(), ": needs a value: ") {
					t.Errorf("%s with %q says %v", s, args, err)
				}
			}
			if d.shape == shapeListen || d.shape == shapeURLs || d.shape == shapeGlobs || d.shape == shapeSecrets {
				continue
			}
			if _, err := Parse("t", []byte(wrap(s, sample(d)+" "+sample(d)))); err == nil || !strings.Contains(err.Error(), ": takes one value; ") {
				t.Errorf("%s with two values says %v", s, err)
			}
		}
		for _, args := range []string{"'a\nb'", "'a\tb'", "'a\x7f'", "'http://a/\r\nX: y'"} {
			if _, err := Parse("t", []byte(wrap(d.spell[0], args))); err == nil || !strings.Contains(err.Error(), "a control character or a line break") {
				t.Errorf("%s with %q says %v", d.spell[0], args, err)
			}
		}
	}
}

// TestSwitches: other words than on and off count as the default, loudly.
func TestSwitches(t *testing.T) {
	plain := mustParse(t, "listen 1935; vhost a.com {}")
	for _, d := range directives {
		if d.shape != shapeOnOff {
			continue
		}
		for _, word := range []string{"yes", "true", "On", "OFF", "1", "0"} {
			c := mustParse(t, wrap(d.spell[0], word))
			if diff := diff(c, plain); diff != "" {
				t.Errorf("%s %s: %s", d.spell[0], word, diff)
			}
			want := ": \"" + word + "\" is neither on nor off, so the default " + d.def + " holds"
			if len(c.Warnings) != 1 || !strings.HasSuffix(c.Warnings[0].Text, want) {
				t.Errorf("%s %s warns %v", d.spell[0], word, c.Warnings)
			}
		}
	}
}

// TestUnserved: every other directive of SRS is known, as a value and as a
// block, whatever is in it, and leaves everything as it is.
func TestUnserved(t *testing.T) {
	plain := mustParse(t, "listen 1935; vhost a.com {}")
	for _, path := range slices.Sorted(maps.Keys(unserved)) {
		for _, text := range []string{wrap(path, "on"), wrap(path, ""), wrap(path, "x { nonsense 1; listen { } } listen 1935")} {
			text = strings.ReplaceAll(text, "} listen 1935;", "}")
			c, err := Parse("t", []byte(text))
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			if d := diff(c, plain); d != "" || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Text, ": known from SRS, but without effect here") {
				t.Errorf("%s: %s %v", text, d, c.Warnings)
			}
		}
	}
	c := mustParse(t, "listen 1; vhost a { security { deny play all; } }")
	if !strings.HasSuffix(c.Warnings[0].Text, "clients are NOT restricted by it") {
		t.Errorf("security warns %v", c.Warnings)
	}
}

// effectWords is how full.conf says an effect.
var effectWords = map[effect]string{
	atRestart: "at restart", atReload: "at once", atConnect: "new clients", atPublish: "new streams", atNextEvent: "next event",
}

// TestFullConf holds full.conf and the table together, both ways: each row has
// its line, with its default, its range and its other spellings in the comment
// above, and there is no line without a row.
func TestFullConf(t *testing.T) {
	raw, err := os.ReadFile("full.conf")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	l := &log{}
	nodes := (&parser{log: l, read: noFiles}).parse(&file{name: "full.conf", text: uncomment(string(raw))}, 0)
	if len(l.errors) > 0 {
		t.Fatal(Errors(l.errors))
	}

	shown := map[string]bool{}
	var walk func(scope string, nodes []*node)
	walk = func(scope string, nodes []*node) {
		for _, n := range nodes {
			path := join(scope, n.name())
			if n.block {
				if !slices.Contains(blocks, path) {
					t.Errorf("line %d: no block %s in the table", n.at().line, path)
				}
				walk(path, n.body)
				continue
			}
			d := byPath[path]
			if d == nil || d.spell[0] != path {
				t.Errorf("line %d: %s is no first spelling in the table", n.at().line, path)
				continue
			}
			shown[path] = true
			checkFullLine(t, d, n, lines)
		}
	}
	walk("", nodes)
	for _, d := range directives {
		if !shown[d.spell[0]] {
			t.Errorf("full.conf does not show %s", d.spell[0])
		}
	}
}

func checkFullLine(t *testing.T, d *directive, n *node, lines []string) {
	at := int(n.at().line) - 1
	if d.def != "" && (len(n.args()) != 1 || n.args()[0].text != d.def) {
		t.Errorf("line %d: %s is not shown with its default %s", at+1, d.spell[0], d.def)
	}
	comment := ""
	for i := at - 1; i >= 0 && strings.HasPrefix(strings.TrimSpace(lines[i]), "#"); i-- {
		comment = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(lines[i]), "#")) + " " + comment
	}
	want := []string{"Change: " + effectWords[d.effect] + "."}
	if d.def != "" {
		want = append(want, "Default: "+d.def+".")
	}
	if d.unit != "" && d.name() != "chunk_size" {
		want = append(want, d.unit)
	}
	for _, s := range d.spell[1:] {
		i := strings.LastIndexByte(s, '.')
		block := s[:i]
		block = block[strings.LastIndexByte(block, '.')+1:]
		want = append(want, "Also as: "+block+" { "+s[i+1:]+" }")
	}
	for _, w := range want {
		if !strings.Contains(comment, w) {
			t.Errorf("line %d: the comment of %s lacks %q: %s", at+1, d.spell[0], w, comment)
		}
	}
	// Where a range is given it is the table's.
	if m := regexp.MustCompile(`(\d+) to (\d+)`).FindStringSubmatch(comment); d.shape == shapeNumber && m != nil {
		if m[1] != strconv.Itoa(d.min) || m[2] != strconv.Itoa(d.max) {
			t.Errorf("line %d: the comment of %s says %s", at+1, d.spell[0], m[0])
		}
	}
}

// TestFullConfLoads: as it stands, full.conf is the defaults and some URLs;
// with everything uncommented it is right too.
func TestFullConfLoads(t *testing.T) {
	c, err := Load("full.conf")
	if err != nil {
		t.Fatal(err)
	}
	h := &c.Vhosts[0].Hooks
	for _, urls := range []*[]string{&h.OnConnect, &h.OnClose, &h.OnPublish, &h.OnUnpublish, &h.OnPlay, &h.OnStop, &h.OnDVR} {
		if len(*urls) == 0 {
			t.Error("full.conf lacks URLs")
		}
		*urls = nil
	}
	if d := diff(c, mustParse(t, "listen 1935; vhost __defaultVhost__ {}")); d != "" || len(c.Warnings) > 0 {
		t.Errorf("%s %v", d, c.Warnings)
	}
	raw, _ := os.ReadFile("full.conf")
	if c := mustParse(t, uncomment(string(raw))); len(c.Warnings) > 0 {
		t.Errorf("uncommented it warns: %v", c.Warnings)
	}
}

package conf

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:embed srs.conf
var defaultText string

// Load reads the configuration file at path and whatever it includes. A file
// that cannot be read gives the error of os, wrapped; one that can but is wrong
// gives Errors, with everything wrong in it.
func Load(path string) (*Config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parseConfig(path, text, readInclude)
}

// Parse is Load for a text at hand; name stands for its path in messages and
// in the search for included files. Its error is always Errors.
func Parse(name string, text []byte) (*Config, error) {
	return parseConfig(name, string(text), readInclude)
}

// Default is the configuration that runs where no file is given.
func Default() *Config {
	c, err := Parse("built-in srs.conf", DefaultText())
	if err != nil {
		panic("conf: the built-in configuration is wrong: " + err.Error())
	}
	return c
}

// DefaultText is the text of Default, for users to begin their own with.
func DefaultText() []byte { return []byte(defaultText) }

func parseConfig(name, text string, read reader) (*Config, error) {
	l := &log{}
	p := &parser{log: l, read: read}
	main := &file{name: name, path: identity(name), text: text}
	nodes := p.parse(main, 0)
	whole := len(l.errors) == 0

	c := newChecker(l)
	seen := map[string]bool{}
	c.block("", nodes, &target{cfg: c.cfg}, seen)
	switch start := (place{1, 1}); {
	case !whole: // what is missing may be what could not be read
	case len(nodes) == 0:
		l.errorf(main, start, "the configuration is empty; it needs at least \"listen 1935;\"")
	case !seen["listen"]:
		l.errorf(main, start, "listen: missing; say on which port, for instance \"listen 1935;\"")
	}
	if len(l.errors) > 0 {
		return nil, Errors(inOrder(l.errors))
	}
	for _, v := range c.cfg.Vhosts {
		if v.ChunkSize == 0 {
			v.ChunkSize = c.cfg.ChunkSize
		}
	}
	c.cfg.Warnings = inOrder(l.warnings)
	return c.cfg, nil
}

// A checker makes a Config of a tree.
type checker struct {
	log    *log
	cfg    *Config
	proto  Vhost // a vhost whose block is empty
	vhosts map[string]bool
}

// newChecker begins with the table's defaults.
func newChecker(l *log) *checker {
	c := &checker{log: l, cfg: &Config{}, vhosts: map[string]bool{}}
	c.proto.Play.MWLatency = -time.Millisecond
	t := &target{cfg: c.cfg, vhost: &c.proto}
	for _, d := range directives {
		if d.def != "" {
			n := &node{words: []word{{text: d.name()}, {text: d.def}}}
			d.set(t, &values{log: &log{}, node: n, row: d})
		}
	}
	return c
}

// block checks the directives of one block. seen has what the block said
// already; the blocks within a vhost share it, for a directive may be spelled
// inside and outside them.
func (c *checker) block(scope string, nodes []*node, t *target, seen map[string]bool) {
	for _, whole := range nodes {
		for _, n := range c.split(scope, whole) {
			if c.log.full() {
				return
			}
			c.directive(scope, n, t, seen)
		}
	}
}

func (c *checker) directive(scope string, n *node, t *target, seen map[string]bool) {
	path := join(scope, n.name())
	switch why, unserved := unserved[path]; {
	case byPath[path] != nil:
		c.set(byPath[path], n, t, seen)
	case path == "vhost":
		c.vhost(n)
	case slices.Contains(blocks, path):
		c.enter(path, n, t, seen)
	case unserved:
		c.log.warnf(n.file, n.at(), "%s: known from SRS, but without effect here%s", n.name(), why)
	default:
		c.unknown(scope, n)
	}
}

func (c *checker) set(d *directive, n *node, t *target, seen map[string]bool) {
	v := &values{log: c.log, node: n, row: d}
	again := seen[d.spell[0]]
	seen[d.spell[0]] = true
	switch {
	case n.block:
		v.fail(n.at(), "takes no block { }; it must end with \";\"")
	case again:
		v.warn(n.at(), "given before, perhaps by its other name; the first one holds and this one is ignored")
	case c.printable(n):
		t.keepPlace(d, n)
		d.set(t, v)
	}
}

// enter checks a block within a vhost.
func (c *checker) enter(path string, n *node, t *target, seen map[string]bool) {
	if !n.block {
		c.log.errorf(n.file, n.at(), "%s: needs a block { }", n.name())
		return
	}
	if len(n.args()) > 0 {
		c.log.errorf(n.file, n.args()[0].at, "%s: takes no value before its \"{\"", n.name())
	}
	if seen[path] {
		c.log.warnf(n.file, n.at(), "%s: a second block of this name; the first one holds and this one is ignored", n.name())
		return
	}
	seen[path] = true
	c.block(path, n.body, t, seen)
	switch path {
	case "vhost.dvr":
		c.appends(n, t.vhost.DVR)
	case "vhost.http_hooks":
		c.calls(n, &t.vhost.Hooks)
	}
}

// calls warns of hooks that are switched on and call nobody.
func (c *checker) calls(n *node, h *Hooks) {
	if h.Enabled && len(slices.Concat(h.OnConnect, h.OnClose, h.OnPublish, h.OnUnpublish, h.OnPlay, h.OnStop, h.OnDVR)) == 0 {
		c.log.warnf(n.file, n.at(), "%s: enabled, and no event has a URL: nobody is asked, every client is accepted", n.name())
	}
}

// merges cuts times of merging that would make a publisher dead between two
// reads, or a player late between two writes, and warns.
func (c *checker) merges(n *node, v *Vhost) {
	cut := func(at *node, value *time.Duration, most time.Duration, of string) {
		if *value <= most {
			return
		}
		c.log.warnf(at.file, at.at(), "%s: %d is more than half of %s; %d holds", at.name(), value.Milliseconds(), of, most.Milliseconds())
		*value = most
	}
	if v.Publish.MergedRead {
		at := find(n, "mr_latency")
		if at == n { // as SRS 2.0 has it: mr { latency }
			at = find(find(n, "mr"), "latency")
		}
		cut(at, &v.Publish.MRLatency, v.Publish.NormalTimeout/2, "normal_timeout")
	}
	if !v.Play.MinLatency {
		cut(find(n, "mw_latency"), &v.Play.MWLatency, v.Play.QueueLength/2, "queue_length")
	}
}

// find returns a directive of a block or the blocks in it, or the block itself
// where it is not written.
func find(n *node, name string) *node {
	for _, one := range n.body {
		if one.name() == name {
			return one
		}
		if in := find(one, name); in != one {
			return in
		}
	}
	return n
}

// perPublish are the variables of which each publish has others.
var perPublish = []string{"[timestamp]", "[999]", "[05]", "[04]"}

// appends warns where no publish can continue a file, because each has a name of
// its own (dvr_plan append).
func (c *checker) appends(n *node, d DVR) {
	at := find(n, "dvr_plan")
	if d.Plan == "append" && d.TimeJitter == JitterOff {
		c.log.warnf(at.file, at.at(), "%s: append with time_jitter off: an encoder that begins anew at 0, as most do, begins a new file; full and zero go on in the old one", at.name())
	}
	if d.Plan != "append" {
		return
	}
	why := ""
	if !strings.HasSuffix(d.Path, ".flv") {
		why = "is a directory, with files [stream].[timestamp].flv in it"
	} else if i := slices.IndexFunc(perPublish, func(v string) bool { return strings.Contains(d.Path, v) }); i >= 0 {
		why = "has " + perPublish[i] + " in it"
	}
	if why != "" {
		c.log.warnf(at.file, at.at(), "%s: append has no effect: dvr_path %s, so that each publish gets a file of its own; \"dvr_path DIRECTORY/[app]/[stream].flv;\" continues one",
			at.name(), why)
	}
}

// vhost checks a vhost block. One whose name was there before is checked too,
// and then dropped.
func (c *checker) vhost(n *node) {
	switch args := n.args(); {
	case len(args) == 0:
		c.log.errorf(n.file, n.at(), "vhost: needs a name, for instance %s", DefaultVhost)
	case len(args) > 1:
		c.log.errorf(n.file, args[1].at, "vhost: takes one name; %s is too much", show(n.file, args[1].text))
	case len(args[0].text) > maxName:
		c.log.errorf(n.file, args[0].at, "vhost: the name is longer than %d bytes", maxName)
	case !n.block:
		c.log.errorf(n.file, n.at(), "vhost: needs a block { }")
	}
	v := c.proto
	if len(n.args()) > 0 && c.printable(n) {
		v.Name = n.args()[0].text
		if c.vhosts[v.Name] {
			c.log.warnf(n.file, n.at(), "vhost: %s has a block already; the first one holds and this one is ignored", show(n.file, v.Name))
		} else {
			c.vhosts[v.Name] = true
			c.cfg.Vhosts = append(c.cfg.Vhosts, &v)
		}
	}
	c.block("vhost", n.body, &target{cfg: c.cfg, vhost: &v}, map[string]bool{})
	c.merges(n, &v)
}

// maxName is the length of a vhost's name, as of every name a client sends.
const maxName = 256

// printable refuses control characters, which quotes let through: they would
// end in logs, URLs and file names.
func (c *checker) printable(n *node) bool {
	for _, w := range n.args() {
		if strings.ContainsFunc(w.text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			c.log.errorf(n.file, w.at, "%s: the value contains a control character or a line break", n.name())
			return false
		}
	}
	return true
}

// split finds the ";" that was forgotten at the end of a line: the next line
// then begins with a word that is a directive here. What follows is checked as
// the directive it was meant to be.
func (c *checker) split(scope string, n *node) []*node {
	var nodes []*node
	start := 0
	for i := 1; i < len(n.words) && !c.log.full(); i++ {
		w := n.words[i]
		if !w.fresh || w.quoted || !recognised(join(scope, w.text)) {
			continue
		}
		c.log.errorf(n.file, w.at, "%s: a \";\" seems to be missing before this %q (if it is meant as a value, write it in quotes)",
			label(n.file, n.words[start].text), w.text)
		nodes = append(nodes, &node{file: n.file, words: n.words[start:i]})
		start = i
	}
	return append(nodes, &node{file: n.file, words: n.words[start:], block: n.block, body: n.body})
}

func recognised(path string) bool {
	_, ok := unserved[path]
	return ok || byPath[path] != nil || slices.Contains(blocks, path)
}

package conf

import "errors"

// A spot is a directive of a vhost, without the names of the blocks around it, or
// one of its values, counted from 1.
type spot struct {
	vhost, directive string
	value            int
}

// keepPlace remembers where a directive stands that names something outside: a
// file that may be missing, for one. Of two the first holds.
func (t *target) keepPlace(d *directive, n *node) {
	if t.vhost == nil || d.shape != shapeText && d.shape != shapeSecrets {
		return
	}
	at := spot{t.vhost.Name, d.name(), 0}
	if _, known := t.cfg.places[at]; known {
		return
	}
	if t.cfg.places == nil {
		t.cfg.places = make(map[spot]Diagnostic)
	}
	for i, w := range n.words {
		at.value = i
		t.cfg.places[at] = Diagnostic{File: n.file.name, Line: int(w.at.line), Col: int(w.at.col)}
		if d.shape != shapeSecrets {
			break
		}
	}
}

// A fault is an error that names the directive whose value is wrong, and where
// there may be several which one: counted from 1, or 0.
type fault interface {
	error
	Directive() string
	Value() int
}

// Use has something made of each vhost that is enabled. What use says is wrong,
// one or more joined errors, becomes Errors like those of Load: all of them, each
// with the place of its directive where the error tells that (fault).
func (c *Config) Use(use func(v *Vhost) error) error {
	var all []Diagnostic
	for _, v := range c.Vhosts {
		if !v.Enabled {
			continue
		}
		for _, err := range apart(use(v)) {
			var d Diagnostic
			var f fault
			if errors.As(err, &f) {
				d = c.places[spot{v.Name, f.Directive(), f.Value()}]
			}
			if d.Text = err.Error(); d.File == "" {
				d.File = "vhost " + v.Name
			}
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return Errors(inOrder(all))
}

// apart takes joined errors apart.
func apart(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, apart(e)...)
		}
		return all
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

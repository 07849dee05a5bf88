package conf

import (
	"errors"
	"fmt"
	"testing"
)

// named is an error of a directive, as hook has it.
type named struct {
	directive, text string
	value           int
}

func (n named) Error() string     { return n.directive + ": " + n.text }
func (n named) Directive() string { return n.directive }
func (n named) Value() int        { return n.value }

// What is wrong with values shows where they stand: everything, in the order of
// the text, of the vhosts that are enabled and of the first of a name.
func TestUse(t *testing.T) {
	c := mustParse(t, `listen 1935;
vhost a { http_hooks {
	ca_file ca;
	secret env:good
		file:x;
	secret file:ignored;
} }
vhost off { enabled off; http_hooks { ca_file ca; } }
vhost a { http_hooks { key_file ignored; } }
vhost b { http_hooks { cert_file cert; } }
`)
	var used []string
	err := c.Use(func(v *Vhost) error {
		used = append(used, v.Name)
		if v.Name == "a" {
			return errors.Join(errors.Join(named{"secret", "none", 2}, named{"secret", "both", 0}), fmt.Errorf("with %w", named{"ca_file", "bad", 0}), errors.New("something"))
		}
		return named{"cert_file", "old", 0}
	})
	const want = "t:3:2: with ca_file: bad\nt:4:2: secret: both\nt:5:3: secret: none\nt:10:24: cert_file: old\nvhost a: something"
	var all Errors
	if !errors.As(err, &all) || err.Error() != want || fmt.Sprint(used) != "[a b]" {
		t.Errorf("%v used, error %v", used, err)
	}
	if err := c.Use(func(*Vhost) error { return nil }); err != nil {
		t.Error(err)
	}
}

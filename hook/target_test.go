package hook

import (
	"strconv"
	"testing"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		raw, key, masked string
		bad              bool
	}{
		{raw: "http://h/api", key: "http://h:80", masked: "http://h/api"},
		{raw: "http://H.Example:8085/a%2Fb?x=1#f", key: "http://h.example:8085", masked: "http://H.Example:8085/a%2Fb?x=***"},
		{raw: "https://h", key: "https://h:443", masked: "https://h"},
		{raw: "http://[::1]/x", key: "http://[::1]:80", masked: "http://[::1]/x"},
		{raw: "http://u:SECRET@h/?k=SECRET&j=SECRET&SECRET", key: "http://h:80", masked: "http://u:***@h/?k=***&j=***&***"},
		{raw: "http://SECRET@h/", key: "http://h:80", masked: "http://***@h/"},
		{raw: "http://unix/x", key: "http://unix:80", masked: "http://unix/x"},
		{raw: "http://unix:8080/x", key: "http://unix:8080", masked: "http://unix:8080/x"},
		{raw: "http://unix:/run/a.sock:/api?k=SECRET", key: "unix:/run/a.sock", masked: "http://unix:/run/a.sock:/api?k=***"},
		{raw: "http://unix:/run/a.sock", key: "unix:/run/a.sock", masked: "http://unix:/run/a.sock:/"},
		{raw: "http://unix:/run/a.sock:SECRET", bad: true, key: "invalid", masked: "(invalid URL)"},
		{raw: "http://h:SECRET/", bad: true, key: "invalid", masked: "(invalid URL)"},
		{raw: "ftp://h/x", bad: true, key: "invalid", masked: "ftp://h/x"},
		{raw: "file:///etc/passwd", bad: true, key: "invalid", masked: "file:///etc/passwd"},
		{raw: "http:///x", bad: true, key: "invalid", masked: "http:///x"},
		{raw: "", bad: true, key: "invalid", masked: ""},
		{raw: "\x00", bad: true, key: "invalid", masked: "(invalid URL)"},
	} {
		ep := parseTarget(c.raw)
		if ep.key != c.key || ep.masked != c.masked || (ep.err != nil) != c.bad {
			t.Errorf("%q: key %q masked %q err %v", c.raw, ep.key, ep.masked, ep.err)
		}
	}
}

func TestTargetCacheIsBounded(t *testing.T) {
	e := testEngine(t, nil)
	for i := range 3 * maxTargets {
		e.mu.Lock()
		e.targetLocked("http://h/" + strconv.Itoa(i))
		e.mu.Unlock()
	}
	if n := len(e.targets); n > maxTargets {
		t.Errorf("%d URLs kept", n)
	}
}

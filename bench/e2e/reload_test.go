package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestReload changes the file of a running server: the next event goes to the
// new endpoint, clients stay.
func TestReload(t *testing.T) {
	t.Parallel()
	first, second := newReceiver(t), newReceiver(t)
	s := startServer(t, defaultVhost(hooks(first)))
	other := startCanary(t, s, "canary/c")
	if got := first.actions(""); len(got) != 4 {
		t.Fatalf("calls before the reload: %q", got)
	}

	s.writeConf(t, defaultVhost(hooks(second)))
	s.signal(t, syscall.SIGHUP)
	s.waitLog(t, "configuration reloaded")
	c := publishWith(t, s.url("live/new"))
	c.Close()
	second.wait(t, "on_unpublish", "new", 1)
	second.wait(t, "on_close", "", 1)
	if h := other.over(t, 10); h.lost > 0 {
		t.Errorf("the reload cost a stream %d frames", h.lost)
	}

	// Ends of what began before go where the file says now, too.
	other.stop()
	second.wait(t, "on_unpublish", "c", 1)
	second.wait(t, "on_stop", "c", 1)
	second.wait(t, "on_close", "", 3)
	if got := first.actions(""); len(got) != 4 {
		t.Errorf("the old endpoint was called after the reload: %q", got)
	}
}

// TestReloadOfABadFile changes nothing and says why, with the place.
func TestReloadOfABadFile(t *testing.T) {
	t.Parallel()
	rcv := newReceiver(t)
	s := startServer(t, defaultVhost(hooks(rcv)))
	other := startCanary(t, s, "canary/c")
	for _, bad := range []struct{ name, text, say string }{
		{"unknown directive", "vhost __defaultVhost__ {\n  http_hoks {\n  }\n}", `:7:3: .*http_hoks.*http_hooks`},
		{"unclosed block", "vhost __defaultVhost__ {\n", `:6:\d+: `},
		{"bad value", "chunk_size 12;", `:6:12: chunk_size: `},
	} {
		mark := s.mark()
		s.writeConf(t, bad.text)
		s.signal(t, syscall.SIGHUP)
		s.waitLine(t, mark, "the configuration is bad, nothing was changed")
		if len(s.matching(mark, `\[error\].*`+regexp.QuoteMeta(s.conf)+bad.say)) != 1 {
			t.Errorf("%s: the log does not say %s%s:\n%s", bad.name, s.conf, bad.say, strings.Join(s.matching(mark, "reload"), "\n"))
		}
	}
	mark := s.mark()
	if err := os.Remove(s.conf); err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGHUP)
	s.waitLine(t, mark, "the configuration is bad, nothing was changed")

	before := len(rcv.all())
	publishWith(t, s.url("live/s"))
	var got []string
	for _, c := range rcv.all()[before:] {
		got = append(got, c.action())
	}
	if !slices.Equal(got, []string{"on_connect", "on_publish"}) {
		t.Errorf("calls after the bad reloads: %q", got)
	}
	if h := other.over(t, 5); h.lost > 0 {
		t.Errorf("bad reloads cost a stream %d frames", h.lost)
	}
}

// TestReloadOfWhatNeedsAStart: the log says so as long as the file says other
// than what is in force, and no longer.
func TestReloadOfWhatNeedsAStart(t *testing.T) {
	t.Parallel()
	s := startServer(t, "send_engine epoll;", defaultVhost())
	for _, c := range []struct {
		engine string
		lines  int
	}{{"uring", 1}, {"uring", 1}, {"epoll", 0}, {"auto", 1}} {
		mark := s.mark()
		s.writeConf(t, "send_engine "+c.engine+";", defaultVhost())
		s.signal(t, syscall.SIGHUP)
		s.waitLine(t, mark, "configuration reloaded")
		if got := s.matching(mark, "takes effect at the next start directive=send_engine"); len(got) != c.lines {
			t.Errorf("reload to %s: %q", c.engine, got)
		}
	}
}

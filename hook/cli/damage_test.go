package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"srs/hook"
)

// What of a journal cannot be read has a line, and an exit code.
func TestLogOfDamage(t *testing.T) {
	rules := &hook.Rules{Enabled: true, OnStop: []string{"http://127.0.0.1:1/"}}
	for name, c := range map[string]struct {
		find string // its first letter is damaged, where it stands first
		file string
		want string
	}{
		"whole":       {file: "0000000001.journal"},
		"a record":    {file: "0000000001.journal", find: `"on_stop"`, want: "0000000001.journal is damaged: "},
		"its header":  {file: "0000000001.journal", find: "SRSHOOK1", want: "0000000001.journal is no file of a journal"},
		"kept by one": {file: "0000000001.journal.bad", find: "SRSHOOK1", want: "0000000001.journal.bad was damaged when a server started"},
	} {
		dir := t.TempDir()
		e := hook.New(hook.Options{Rules: func(string) (*hook.Rules, bool) { return rules, true }})
		if err := e.OpenJournal(dir); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			e.Client().Tell(hook.Event{Action: hook.OnStop, ClientID: 1, Vhost: "v"})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		e.Close(ctx)
		cancel()
		journal := filepath.Join(dir, "0000000001.journal")
		b, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		if c.find != "" {
			b[bytes.Index(b, []byte(c.find))] ^= 1
		}
		if err := os.WriteFile(filepath.Join(dir, c.file), b, 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := output(t, "log", "--dir", dir)
		if want := map[bool]int{true: 3}[c.want != ""]; code != want || !strings.Contains(errs, c.want) || (errs == "") != (c.want == "") || strings.Count(errs, "\n") > 1 {
			t.Errorf("%s: exit %d, %s%s", name, code, errs, out)
		}
		if _, _, help := output(t, "log", "-h"); !strings.Contains(help, "\n3 ") {
			t.Error(help)
		}
	}
}

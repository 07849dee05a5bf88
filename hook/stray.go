package hook

import (
	"log"
	"log/slog"
	"os"
	"strings"
)

// A strayLog takes what the standard library says to its own logger instead of
// returning it. Its text may quote what an endpoint sent, so only how it begins
// is passed on, and only where we know it.
type strayLog struct{ log *slog.Logger }

// TakeStandardLog has the standard library's lines go to ours, until the function
// it returns is called.
func TakeStandardLog(to *slog.Logger) (end func()) {
	flags := log.Flags()
	log.SetFlags(0)
	log.SetOutput(strayLog{to})
	return func() {
		log.SetOutput(os.Stderr)
		log.SetFlags(flags)
	}
}

func (s strayLog) Write(b []byte) (int, error) {
	text := "a library has said something that is left out: it may quote others"
	if strings.HasPrefix(string(b), "Unsolicited response received") {
		text = "an http hook endpoint sent something it was not asked for; the connection is closed"
	}
	s.log.Debug(text, "bytes", len(b))
	return len(b), nil
}

// Package receiver is the sample receiver of hooks, as SRS ships one as
// research/api-server: it says yes to everything (or no, where asked to) and
// prints one line per event.
//
// [New] makes an http.Handler for tests and demonstrations; [Run] is the
// subcommand "srs api-server".
package receiver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"srs/hook"
)

// Codes of SRS's api-server. The HTTP status is 200 with all of them.
const (
	CodeOK            = 0
	CodeNotJSON       = 100
	CodeUnknownAction = 200
	CodeDenied        = 403 // ours, for Options.Deny
)

const (
	maxBody  = 64 << 10 // bytes of a request's body
	maxValue = 1024     // bytes of one value in a line
)

// Options says how to answer. The zero value says yes and prints nothing.
type Options struct {
	Deny    []hook.Action // answered with CodeDenied
	Delay   time.Duration // before each answer
	Output  io.Writer     // one line per event; nil: none
	OnEvent func(Event)   // called before the answer, perhaps from many goroutines at once
}

// An Event is one request that was understood.
type Event struct {
	Action hook.Action
	ID     string // webhook-id: the same when the event is sent again
	Body   []byte // the JSON object as it came
	Code   int    // the answer
	fields map[string]json.RawMessage
}

// Text returns a value of the body: strings without their quotes, others as
// written, "" if the key is missing.
func (ev *Event) Text(key string) string {
	raw := ev.fields[key]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// keys says what is printed of an event, and paths where it may arrive.
// "client id" is the spelling of SRS's receiver.
var keys = map[hook.Action][]string{
	hook.OnConnect:   {"tcUrl", "pageUrl"},
	hook.OnClose:     {"send_bytes", "recv_bytes"},
	hook.OnPublish:   {"stream", "param"},
	hook.OnUnpublish: {"stream", "param"},
	hook.OnPlay:      {"stream", "param", "pageUrl"},
	hook.OnStop:      {"stream", "param"},
	hook.OnDVR:       {"stream", "cwd", "file", "duration", "size"},
}

var paths = map[string][]hook.Action{
	"/api/v1/clients":  {hook.OnConnect, hook.OnClose},
	"/api/v1/streams":  {hook.OnPublish, hook.OnUnpublish},
	"/api/v1/sessions": {hook.OnPlay, hook.OnStop},
	"/api/v1/dvrs":     {hook.OnDVR},
}

// A Receiver answers hooks. It is an http.Handler.
type Receiver struct {
	o  Options
	mu sync.Mutex // one line at a time
}

// New makes a receiver.
func New(o Options) *Receiver { return &Receiver{o: o} }

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	actions, ok := paths[strings.TrimSuffix(req.URL.Path, "/")]
	if !ok {
		http.NotFound(w, req)
		return
	}
	if req.Method != http.MethodPost {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, "{}")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		http.Error(w, "request body too large or cut short", http.StatusRequestEntityTooLarge)
		return
	}
	ev := Event{ID: req.Header.Get("Webhook-Id"), Body: body}
	switch {
	case json.Unmarshal(body, &ev.fields) != nil || ev.fields == nil:
		ev.Code = CodeNotJSON
		r.print(fmt.Sprintf("invalid request on %s: no JSON object, %d bytes", shown(req.URL.Path), len(body)))
	default:
		ev.Action = hook.Action(ev.Text("action"))
		if !slices.Contains(actions, ev.Action) {
			ev.Code = CodeUnknownAction
			r.print(fmt.Sprintf("unknown action %s on %s", shown(string(ev.Action)), shown(req.URL.Path)))
			break
		}
		if slices.Contains(r.o.Deny, ev.Action) {
			ev.Code = CodeDenied
		}
		r.print(ev.line())
		if r.o.OnEvent != nil {
			r.o.OnEvent(ev)
		}
	}
	if r.o.Delay > 0 {
		timer := time.NewTimer(r.o.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, strconv.Itoa(ev.Code))
}

// line describes an event as SRS's receiver does; keys the sender left out are
// left out.
func (ev *Event) line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "srs %s: client id=%s, ip=%s, vhost=%s, app=%s", ev.Action,
		shown(ev.Text("client_id")), shown(ev.Text("ip")), shown(ev.Text("vhost")), shown(ev.Text("app")))
	for _, key := range append(slices.Clip(keys[ev.Action]), "reason", "recovered", "error") {
		if _, ok := ev.fields[key]; ok {
			fmt.Fprintf(&b, ", %s=%s", key, shown(ev.Text(key)))
		}
	}
	if ev.Code != CodeOK {
		fmt.Fprintf(&b, " (answered %d)", ev.Code)
	}
	return b.String()
}

// shown quotes what could break a line or look like another field.
func shown(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue] + "..."
	}
	odd := func(r rune) bool { return r == unicode.ReplacementChar || !strconv.IsPrint(r) }
	if strings.ContainsAny(s, ",\"` ") || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

func (r *Receiver) print(text string) {
	if r.o.Output == nil {
		return
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "[%s][trace] %s\n", time.Now().Format(time.DateTime), text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.o.Output.Write(b.Bytes())
}

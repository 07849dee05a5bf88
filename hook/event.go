package hook

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// An Action names an event on the wire.
type Action string

// The events of SRS.
const (
	OnConnect   Action = "on_connect"
	OnClose     Action = "on_close"
	OnPublish   Action = "on_publish"
	OnUnpublish Action = "on_unpublish"
	OnPlay      Action = "on_play"
	OnStop      Action = "on_stop"
	OnDVR       Action = "on_dvr"
)

// DefaultVhost is the vhost that stream_url leaves out.
const DefaultVhost = "__defaultVhost__"

// An Event is what an endpoint hears of. Which fields are sent depends on the
// action, see AppendJSON.
type Event struct {
	Action   Action
	ClientID uint64

	IP      string // of the socket peer, no port
	Vhost   string
	App     string
	TcURL   string
	PageURL string
	Stream  string
	Param   string // begins with "?", or empty

	SendBytes, RecvBytes uint64 // on_close

	Cwd, File string        // on_dvr
	Duration  time.Duration // on_dvr
	Size      int64         // on_dvr, bytes

	Reason    string // why it ended, left out when empty
	Recovered bool   // found by a later start, left out when false
	Error     string // left out when empty

	ID string // webhook-id of a recording that may have been announced before; empty: it has none yet
}

// A streamKey names a stream.
type streamKey struct{ vhost, app, stream string }

func (ev *Event) streamKey() streamKey { return streamKey{ev.Vhost, ev.App, ev.Stream} }

// ofStream reports whether the action is about one stream.
func (a Action) ofStream() bool {
	switch a {
	case OnPublish, OnUnpublish, OnPlay, OnStop, OnDVR:
		return true
	}
	return false
}

// AppendJSON appends the request body: compact JSON, the keys of SRS 1.0 first
// and in its order, then those of later versions, then ours. The text of a
// value is escaped as encoding/json does it, HTML left alone.
func (ev *Event) AppendJSON(dst []byte, serverID string, idAsString bool) []byte {
	dst = append(dst, `{"action":`...)
	dst = appendString(dst, string(ev.Action))
	dst = append(dst, `,"client_id":`...)
	if idAsString {
		dst = append(dst, '"')
	}
	dst = strconv.AppendUint(dst, ev.ClientID, 10)
	if idAsString {
		dst = append(dst, '"')
	}
	dst = appendText(dst, "ip", ev.IP)
	dst = appendText(dst, "vhost", ev.Vhost)
	dst = appendText(dst, "app", ev.App)
	if ev.Action.ofStream() {
		dst = appendText(dst, "stream", ev.Stream)
		dst = appendText(dst, "tcUrl", ev.TcURL)
		dst = appendText(dst, "param", ev.Param)
	}
	switch ev.Action {
	case OnConnect:
		dst = appendText(dst, "tcUrl", ev.TcURL)
		dst = appendText(dst, "pageUrl", ev.PageURL)
	case OnClose:
		dst = append(dst, `,"send_bytes":`...)
		dst = strconv.AppendUint(dst, ev.SendBytes, 10)
		dst = append(dst, `,"recv_bytes":`...)
		dst = strconv.AppendUint(dst, ev.RecvBytes, 10)
	case OnPlay:
		dst = appendText(dst, "pageUrl", ev.PageURL)
	case OnDVR:
		dst = appendText(dst, "cwd", ev.Cwd)
		dst = appendText(dst, "file", ev.File)
		dst = append(dst, `,"duration":`...)
		dst = strconv.AppendFloat(dst, ev.Duration.Seconds(), 'f', 3, 64)
		dst = append(dst, `,"size":`...)
		dst = strconv.AppendInt(dst, ev.Size, 10)
	}
	dst = appendText(dst, "server_id", serverID)
	if ev.Action.ofStream() {
		dst = append(dst, `,"stream_url":"`...)
		if ev.Vhost != DefaultVhost {
			dst = appendEscaped(dst, ev.Vhost)
		}
		dst = append(appendEscaped(append(dst, '/'), ev.App), '/')
		dst = append(appendEscaped(dst, ev.Stream), '"')
	}
	if ev.Reason != "" {
		dst = appendText(dst, "reason", ev.Reason)
	}
	if ev.Recovered {
		dst = append(dst, `,"recovered":true`...)
	}
	if ev.Error != "" {
		dst = appendText(dst, "error", ev.Error)
	}
	return append(dst, '}')
}

func appendText(dst []byte, key, value string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, key...)
	dst = append(dst, '"', ':')
	return appendString(dst, value)
}

func appendString(dst []byte, s string) []byte {
	return append(appendEscaped(append(dst, '"'), s), '"')
}

// appendEscaped writes s as the inside of a JSON string. encoding/json has no
// append form; a fuzz target keeps the two equal.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\b':
				dst = append(dst, '\\', 'b')
			case '\f':
				dst = append(dst, '\\', 'f')
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1: // not UTF-8
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
		case r == '\u2028' || r == '\u2029': // line ends to JavaScript
			dst = append(append(dst, s[start:i]...), `\u202`...)
			dst = append(dst, hex[r&15])
		default:
			i += size
			continue
		}
		i += size
		start = i
	}
	return append(dst, s[start:]...)
}

package dvr

import (
	"encoding/json"
	"io/fs"
	"net/url"
	"strings"

	"srs/flv"
	"srs/hook"
	"srs/rtmp/live"
)

// maxNote bounds the facts in a growing file, bytes.
const maxNote = 8 << 10

// Facts are what on_dvr says of the publisher. A growing file has them in its
// metadata, so that whoever finds it after a crash can announce it; a complete
// file has them no more, because param may be a secret.
type facts struct {
	ClientID uint64 `json:"client_id"`
	IP       string `json:"ip"`
	Vhost    string `json:"vhost"`
	App      string `json:"app"`
	Stream   string `json:"stream"`
	TcURL    string `json:"tcUrl,omitempty"`
	Param    string `json:"param,omitempty"`
	Lost     string `json:"lost,omitempty"` // in a growing file: what is known to lack

	Mode fs.FileMode `json:"mode,omitempty"` // of a file that was continued: the rights it had
}

func factsOf(p live.Publisher) facts {
	return facts{ClientID: p.ClientID, IP: p.IP, Vhost: p.Vhost, App: p.App, Stream: p.Stream, TcURL: p.TcURL, Param: p.Param}
}

// owner names the stream, the same for each publish of it: what may continue a
// file, and whose limits a file counts for. No part of it has a "/" in it.
func (f facts) owner() string { return ownedBy(f.Vhost) + encode(f.App) + "/" + encode(f.Stream) }

// ownedBy is how all owners of a vhost begin.
func ownedBy(vhost string) string { return encode(vhost) + "/" }

// owned reads an owner back, false when there is none.
func owned(owner string) (f facts, ok bool) {
	parts := strings.Split(owner, "/")
	if len(parts) != 3 {
		return f, false
	}
	return facts{Vhost: decode(parts[0]), App: decode(parts[1]), Stream: decode(parts[2])}, true
}

// decode is encode the other way round.
func decode(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// event is an on_dvr of this publisher.
func (f facts) event() hook.Event {
	return hook.Event{
		Action: hook.OnDVR, ClientID: f.ClientID, IP: f.IP, Vhost: f.Vhost, App: f.App, Stream: f.Stream, TcURL: f.TcURL, Param: f.Param,
	}
}

// note writes the facts; what clients may make as long as they like is left out
// where it is too long.
func (f facts) note() string {
	text, err := json.Marshal(f)
	if err == nil && len(text) > maxNote {
		f.TcURL, f.Param = "", ""
		text, err = json.Marshal(f)
	}
	if err != nil {
		return ""
	}
	return string(text)
}

// noteIn is the note for which there is room in metadata that is there already, with less
// in it where need be, or none.
func (f facts) noteIn(m flv.FileMetadata) string {
	bare := f
	bare.TcURL, bare.Param = "", ""
	for _, note := range []string{f.note(), bare.note()} {
		if m.Fits(note) {
			return note
		}
	}
	return ""
}

// noted reads them back, false when there are none.
func noted(text string) (f facts, ok bool) {
	err := json.Unmarshal([]byte(text), &f)
	return f, err == nil && f.Stream != ""
}

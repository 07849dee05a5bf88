package rtmp

import (
	"errors"
	"fmt"

	"srs/amf0"
)

// Command names that the server knows (RTMP 1.0 §7.2 and what encoders send).
const (
	CommandConnect      = "connect"
	CommandCreateStream = "createStream"
	CommandDeleteStream = "deleteStream"
	CommandCloseStream  = "closeStream"
	CommandPublish      = "publish"
	CommandPlay         = "play"
	CommandPause        = "pause"
	CommandReceiveAudio = "receiveAudio"
	CommandReceiveVideo = "receiveVideo"

	// Not in the specification: FMLE, OBS, ffmpeg and librtmp send these
	// around publish.
	CommandReleaseStream = "releaseStream"
	CommandFCPublish     = "FCPublish"
	CommandFCUnpublish   = "FCUnpublish"

	// librtmp and Flash players ask for these before play.
	CommandFCSubscribe     = "FCSubscribe"
	CommandGetStreamLength = "getStreamLength"
	CommandCheckBandwidth  = "_checkbw"

	// What a client sends back, and needs no answer.
	CommandResult   = "_result"
	CommandError    = "_error"
	CommandOnStatus = "onStatus"
	CommandOnBWDone = "onBWDone"
)

// A Command is a decoded command message (RTMP 1.0 §7.2).
type Command struct {
	Name        string
	Transaction float64
	Object      amf0.Object // the command object; nil where it is null or no object
	Args        []any       // behind the command object
}

// ErrCommand says that a message is no command: it has no name.
var ErrCommand = errors.New("rtmp: a command message without a name")

// ParseCommand decodes a command message. AMF 3 command messages (type 17)
// are AMF 0 behind one lead byte, in every encoder known.
func ParseCommand(typ uint8, body []byte) (Command, error) {
	if typ == TypeCommandAMF3 && len(body) > 0 && body[0] == 0 {
		body = body[1:]
	}
	values, err := amf0.Decode(body, amf0.DefaultLimits)
	if err != nil {
		return Command{}, fmt.Errorf("rtmp: command: %w", err)
	}
	var c Command
	var ok bool
	if len(values) == 0 {
		return c, ErrCommand
	}
	if c.Name, ok = values[0].(string); !ok {
		return c, ErrCommand
	}
	if len(values) > 1 {
		c.Transaction, _ = values[1].(float64)
	}
	if len(values) > 2 {
		switch v := values[2].(type) {
		case amf0.Object:
			c.Object = v
		case amf0.ECMAArray:
			c.Object = amf0.Object(v)
		}
		c.Args = values[3:]
	}
	return c, nil
}

// StringArg returns argument i, or "" and false where it is missing or of
// another type.
func (c *Command) StringArg(i int) (string, bool) {
	if i >= len(c.Args) {
		return "", false
	}
	s, ok := c.Args[i].(string)
	return s, ok
}

// BoolArg returns argument i. A number counts as true unless it is 0: some
// players send pause and receiveAudio so.
func (c *Command) BoolArg(i int) bool {
	if i >= len(c.Args) {
		return false
	}
	switch v := c.Args[i].(type) {
	case bool:
		return v
	case float64:
		return v != 0
	}
	return false
}

// Identity is what a server tells of itself in the answer to connect.
type Identity struct {
	Product  string // "srs"
	Version  string
	IP       string // local address of the connection
	PID      int
	ClientID uint64
}

// AppendConnectResult adds the answer to an accepted connect. Players and
// SRS's own edges read srs_server_ip, srs_pid and srs_id to trace a stream.
func AppendConnectResult(dst []byte, size int, c *Command, id Identity) []byte {
	encoding := c.Object.Number("objectEncoding")
	data := amf0.ECMAArray{
		{Key: "version", Value: "3,5,3,888"},
		{Key: "srs_sig", Value: "SRS"},
		{Key: "srs_server", Value: id.Product + "/" + id.Version},
		{Key: "srs_license", Value: "MIT"},
		{Key: "srs_role", Value: "origin"},
		{Key: "srs_version", Value: id.Version},
		{Key: "srs_server_ip", Value: id.IP},
		{Key: "srs_pid", Value: id.PID},
		{Key: "srs_id", Value: float64(id.ClientID)},
	}
	return AppendCommand(dst, size, 0, "_result", c.Transaction,
		amf0.Object{{Key: "fmsVer", Value: "FMS/3,5,3,888"}, {Key: "capabilities", Value: 127.0}, {Key: "mode", Value: 1.0}},
		amf0.Object{
			{Key: "level", Value: "status"},
			{Key: "code", Value: CodeConnectSuccess},
			{Key: "description", Value: "Connection succeeded"},
			{Key: "objectEncoding", Value: encoding},
			{Key: "data", Value: data},
		})
}

// AppendConnectError adds the answer to a refused connect.
func AppendConnectError(dst []byte, size int, transaction float64, code, description string) []byte {
	return AppendCommand(dst, size, 0, "_error", transaction, amf0.Null{}, amf0.Object{
		{Key: "level", Value: "error"}, {Key: "code", Value: code}, {Key: "description", Value: description},
	})
}

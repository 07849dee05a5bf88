package rtmp

import (
	"bytes"
	"encoding/binary"
	"sync"

	"srs/amf0"
	"srs/flv"
	"srs/rtmp/chunk"
)

// Message types (RTMP 1.0 §5.4, §6.1, §7.1).
const (
	TypeSetChunkSize = chunk.TypeSetChunkSize
	TypeAbort        = chunk.TypeAbort
	TypeAck          = chunk.TypeAck
	TypeUserControl  = chunk.TypeUserControl
	TypeWindowAck    = chunk.TypeWindowAck
	TypePeerBW       = chunk.TypePeerBW
	TypeAudio        = flv.TypeAudio
	TypeVideo        = flv.TypeVideo
	TypeDataAMF3     = 15
	TypeObjectAMF3   = 16
	TypeCommandAMF3  = 17
	TypeData         = flv.TypeScript
	TypeObject       = 19
	TypeCommand      = 20
	TypeAggregate    = 22
)

// User control events (RTMP 1.0 §7.1.7).
const (
	EventStreamBegin  = 0
	EventStreamEOF    = 1
	EventBufferLength = 3
	EventPing         = 6
	EventPong         = 7
)

// Chunk streams of what we send beside media: protocol control messages have
// theirs fixed (§5.4); commands of the connection and of the stream use what
// SRS uses.
const (
	csidControl = 2
	csidCommand = 3
	csidStream  = 5
)

// StreamID is the message stream that createStream gives: always the same,
// as with SRS, since a connection has one stream at a time.
const StreamID = 1

// AppendWindowAck adds a Window Acknowledgement Size (§5.4.4).
func AppendWindowAck(dst []byte, size uint32) []byte {
	return appendControl(dst, TypeWindowAck, binary.BigEndian.AppendUint32(nil, size))
}

// AppendPeerBandwidth adds a Set Peer Bandwidth (§5.4.5) of the dynamic kind.
func AppendPeerBandwidth(dst []byte, size uint32) []byte {
	return appendControl(dst, TypePeerBW, append(binary.BigEndian.AppendUint32(nil, size), 2))
}

// AppendSetChunkSize adds a Set Chunk Size (§5.4.1).
func AppendSetChunkSize(dst []byte, size int) []byte {
	return appendControl(dst, TypeSetChunkSize, binary.BigEndian.AppendUint32(nil, uint32(size)))
}

// AppendAck adds an Acknowledgement (§5.4.3) of all bytes received so far.
func AppendAck(dst []byte, received uint32) []byte {
	return appendControl(dst, TypeAck, binary.BigEndian.AppendUint32(nil, received))
}

// AppendUserControl adds a User Control message (§5.4.6) with one number.
func AppendUserControl(dst []byte, event uint16, value uint32) []byte {
	return appendControl(dst, TypeUserControl, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, event), value))
}

func appendControl(dst []byte, typ uint8, body []byte) []byte {
	return chunk.Append(dst, chunk.Message{CSID: csidControl, Type: typ, Body: body}, chunk.DefaultSize)
}

// AppendCommand adds a command of the connection (message stream 0) or of the
// stream, cut into chunks of size bytes.
func AppendCommand(dst []byte, size int, streamID uint32, values ...any) []byte {
	return appendValues(dst, size, TypeCommand, streamID, values)
}

// AppendData adds a data message of the stream.
func AppendData(dst []byte, size int, values ...any) []byte {
	return appendValues(dst, size, TypeData, StreamID, values)
}

// rooms are for bodies of commands, before they are cut into chunks.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

const maxRoom = 4 << 10 // a larger one is not kept

func appendValues(dst []byte, size int, typ uint8, streamID uint32, values []any) []byte {
	csid := uint32(csidCommand)
	if streamID != 0 {
		csid = csidStream
	}
	room := rooms.Get().(*[]byte)
	*room = amf0.Append((*room)[:0], values...)
	dst = chunk.Append(dst, chunk.Message{CSID: csid, Type: typ, StreamID: streamID, Body: *room}, size)
	if cap(*room) <= maxRoom {
		rooms.Put(room)
	}
	return dst
}

// Status codes of onStatus and _error (RTMP 1.0 §7.2.2 and what SRS sends).
const (
	CodeConnectSuccess    = "NetConnection.Connect.Success"
	CodeConnectRejected   = "NetConnection.Connect.Rejected"
	CodeConnectInvalidApp = "NetConnection.Connect.InvalidApp"
	CodePublishStart      = "NetStream.Publish.Start"
	CodePublishBadName    = "NetStream.Publish.BadName"
	CodePublishDenied     = "NetStream.Publish.Denied"
	CodeUnpublishSuccess  = "NetStream.Unpublish.Success"
	CodePlayReset         = "NetStream.Play.Reset"
	CodePlayStart         = "NetStream.Play.Start"
	CodePlayFailed        = "NetStream.Play.Failed"
	CodePauseNotify       = "NetStream.Pause.Notify"
	CodeUnpauseNotify     = "NetStream.Unpause.Notify"
)

// clientID is what SRS puts into every onStatus as "clientid".
const clientID = "ASAICiss"

// AppendStatus adds an onStatus. level is "status" or "error".
func AppendStatus(dst []byte, size int, level, code, description string, more ...amf0.Property) []byte {
	info := make(amf0.Object, 0, 4+len(more))
	info = append(info, amf0.Property{Key: "level", Value: level}, amf0.Property{Key: "code", Value: code},
		amf0.Property{Key: "description", Value: description})
	info = append(info, more...)
	info = append(info, amf0.Property{Key: "clientid", Value: clientID})
	return AppendCommand(dst, size, StreamID, "onStatus", 0.0, amf0.Null{}, info)
}

// StripData takes off what wraps a publisher's data message: the one lead
// byte of an AMF 3 data message, and "@setDataFrame". It reports false for a
// message with nothing left to relay: no name, a wrapper around nothing, or
// one around another wrapper.
func StripData(typ uint8, body []byte) ([]byte, bool) {
	if typ == TypeDataAMF3 && len(body) > 0 && body[0] == 0 {
		body = body[1:]
	}
	const wrapper = "\x02\x00\x0d@setDataFrame"
	body, wrapped := bytes.CutPrefix(body, []byte(wrapper))
	// What is left must begin with the message's name, a string.
	if len(body) <= 3 || body[0] != 2 {
		return nil, false
	}
	end := 3 + (int(body[1])<<8 | int(body[2]))
	if end == 3 || end > len(body) || wrapped && (end == len(body) || bytes.HasPrefix(body, []byte(wrapper))) {
		return nil, false
	}
	return body, true
}

// Aggregate calls f for each tag of an aggregate message (§7.1.6): FLV tags
// with their previous-tag sizes. Times are moved so that the first tag has
// the message's own. Data is stripped of its wrapper. Tags other than audio,
// video and data are left out, and empty ones. It reports false when the message is damaged; what came before was delivered.
func Aggregate(timestamp uint32, body []byte, f func(flv.Tag)) bool {
	const head, back = 11, 4
	var offset uint32
	for first := true; len(body) > 0; first = false {
		if len(body) < head {
			return false
		}
		size := int(body[1])<<16 | int(body[2])<<8 | int(body[3])
		time := uint32(body[4])<<16 | uint32(body[5])<<8 | uint32(body[6]) | uint32(body[7])<<24
		if len(body) < head+size {
			return false
		}
		if first {
			offset = timestamp - time
		}
		tag := flv.Tag{Type: body[0] & 0x1f, Timestamp: time + offset, Data: body[head : head+size]}
		wanted := false
		switch tag.Type {
		case flv.TypeAudio, flv.TypeVideo:
			wanted = size > 0
		case flv.TypeScript:
			tag.Data, wanted = StripData(TypeData, tag.Data)
		}
		if wanted {
			f(tag)
		}
		body = body[head+size:]
		body = body[min(back, len(body)):]
	}
	return true
}

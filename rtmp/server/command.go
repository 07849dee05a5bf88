package server

import (
	"encoding/binary"
	"time"

	"srs/rtmp"
	"srs/rtmp/chunk"
)

// handle acts on one message.
func (c *session) handle(m chunk.Message) error {
	unknown := c.unknown
	c.unknown = 0
	switch m.Type {
	case rtmp.TypeAudio, rtmp.TypeVideo, rtmp.TypeData, rtmp.TypeDataAMF3, rtmp.TypeAggregate:
		return c.media(m)
	case rtmp.TypeCommand, rtmp.TypeCommandAMF3:
		if len(m.Body) == 0 {
			return nil
		}
		cmd, err := rtmp.ParseCommand(m.Type, m.Body)
		if err != nil {
			return err
		}
		return c.command(&cmd)
	case rtmp.TypeWindowAck:
		c.window = uint64(binary.BigEndian.Uint32(m.Body))
	case rtmp.TypeUserControl:
		if binary.BigEndian.Uint16(m.Body) == rtmp.EventPing && len(m.Body) >= 6 {
			stamp := binary.BigEndian.Uint32(m.Body[2:])
			c.out = rtmp.AppendUserControl(c.out, rtmp.EventPong, stamp)
		}
	case rtmp.TypeSetChunkSize, rtmp.TypeAbort, rtmp.TypeAck, rtmp.TypePeerBW, rtmp.TypeObject, rtmp.TypeObjectAMF3:
	default:
		if c.unknown = unknown + 1; c.unknown > maxUnknown {
			return end(reasonUnknown, "too many messages of unknown types")
		}
	}
	return nil
}

// media is for the publish under way; what comes before any is an error, what
// comes after its end is late and of no use.
func (c *session) media(m chunk.Message) error {
	switch {
	case c.state == statePublishing:
		return c.publish.message(c, m)
	case c.served, m.Type == rtmp.TypeData, m.Type == rtmp.TypeDataAMF3:
		return nil
	}
	return end(reasonOrder, "audio or video before publish")
}

// command acts on one command.
func (c *session) command(cmd *rtmp.Command) error {
	if c.state == stateFresh {
		if cmd.Name != rtmp.CommandConnect {
			return end(reasonOrder, "the first command must be connect")
		}
		return c.connect(cmd)
	}
	switch cmd.Name {
	case rtmp.CommandConnect:
		return end(reasonTwice, "connect twice on one connection")
	case rtmp.CommandCreateStream:
		return c.createStream(cmd)
	case rtmp.CommandPublish:
		return c.startPublish(cmd)
	case rtmp.CommandPlay:
		return c.startPlay(cmd)
	case rtmp.CommandReleaseStream, rtmp.CommandFCPublish:
		c.answer(cmd, amf0Undefined)
	case rtmp.CommandFCUnpublish:
		return c.fcUnpublish(cmd)
	case rtmp.CommandDeleteStream, rtmp.CommandCloseStream:
		c.stopStream()
	case rtmp.CommandPause:
		c.pause(cmd)
	case rtmp.CommandReceiveAudio, rtmp.CommandReceiveVideo:
		c.receive(cmd)
	case rtmp.CommandGetStreamLength:
		c.answer(cmd, 0.0)
	case rtmp.CommandResult, rtmp.CommandError, rtmp.CommandOnStatus, rtmp.CommandOnBWDone:
	default:
		c.answer(cmd, amf0Null)
	}
	return nil
}

// answer sends a _result, where the client has asked for one.
func (c *session) answer(cmd *rtmp.Command, result any) {
	if cmd.Transaction == 0 {
		return
	}
	c.out = rtmp.AppendCommand(c.out, c.size(), 0, rtmp.CommandResult, cmd.Transaction, amf0Null, result)
}

func (c *session) createStream(cmd *rtmp.Command) error {
	switch c.created++; {
	case c.created > 2*maxCreateStreams:
		return end(reasonStreams, "createStream over and over")
	case c.created > maxCreateStreams:
		c.out = rtmp.AppendConnectError(c.out, c.size(), cmd.Transaction, "NetConnection.Call.Failed", "Too many streams.")
		return nil
	}
	c.out = rtmp.AppendCommand(c.out, c.size(), 0, rtmp.CommandResult, cmd.Transaction, amf0Null, float64(rtmp.StreamID))
	return nil
}

// stopStream ends what the client does with its stream; it may begin again.
func (c *session) stopStream() {
	switch c.state {
	case statePublishing:
		c.endPublish(nil)
	case statePlaying:
		c.leaving = true // at the next message end
		return
	default:
		return
	}
	c.state, c.created = stateConnected, 0
	c.setDeadline(time.Now().Add(againTime))
}

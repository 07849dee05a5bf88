package server

import (
	"time"

	"srs/amf0"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/live"
)

// startPlay decides about a play: the name, then on_play. The stream need not
// be published: the player waits.
func (c *session) startPlay(cmd *rtmp.Command) error {
	refuse := func(code, text string, err error) error {
		c.reply(func(dst []byte) []byte { return rtmp.AppendStatus(dst, c.size(), "error", code, text) })
		return err
	}
	if c.state != stateConnected {
		return refuse(rtmp.CodePlayFailed, "This connection has a stream already.", nil)
	}
	name, vhost, err := c.streamName(cmd)
	if err != nil {
		return refuse(nameCode(err, rtmp.CodePlayFailed), "The stream name is not accepted.", err)
	}
	ev := c.event(hook.OnPlay)
	ev.Vhost, ev.App, ev.Stream, ev.Param = vhost.Name, name.App, name.Stream, name.Param
	accepted, err := c.ask(ev)
	ev.Action, ev.PageURL = hook.OnStop, ""
	if err != nil {
		if accepted { // but the client is gone
			ev.Reason = c.tellReason(err)
			c.hooks.Tell(ev)
		}
		return refuse(rtmp.CodePlayFailed, "Play refused.", err)
	}
	p := newPlayer(c, ev)
	key := live.Key{Vhost: vhost.Name, App: name.App, Stream: name.Stream}
	p.sub = c.server.Registry.Subscribe(key, vhost.Play.QueueLength, c.chunkSize)
	p.nagle = !vhost.Play.TCPNodelay
	c.player = p
	c.server.counts.players.Add(1)
	c.server.counts.played.Add(1)
	c.state, c.served, c.created = statePlaying, true, 0
	arg, _ := cmd.StringArg(0)
	p.inject(func(dst []byte) []byte {
		dst = append(dst, c.out...)
		dst = rtmp.AppendUserControl(dst, rtmp.EventStreamBegin, rtmp.StreamID)
		details := amf0.Property{Key: "details", Value: cut(arg, rtmp.MaxURL)}
		dst = rtmp.AppendStatus(dst, c.chunkSize, "status", rtmp.CodePlayReset, "Playing and resetting stream.", details)
		dst = rtmp.AppendStatus(dst, c.chunkSize, "status", rtmp.CodePlayStart, "Started playing stream.", details)
		return rtmp.AppendData(dst, c.chunkSize, "|RtmpSampleAccess", true, true)
	})
	c.out = nil
	c.log.Info("play started", "ip", c.ip, "vhost", vhost.Name, "app", name.App, "stream", name.Stream, "param", maskParam(name.Param))
	return c.handOver(p)
}

// pause stops and resumes a player; elsewhere it means nothing.
func (c *session) pause(cmd *rtmp.Command) {
	p := c.player
	if p == nil {
		c.answer(cmd, amf0Null)
		return
	}
	on := cmd.BoolArg(0)
	p.order(func() {
		if on {
			p.sub.Pause()
		} else {
			p.sub.Resume()
		}
	}, func(dst []byte) []byte {
		event, code, text := uint16(rtmp.EventStreamBegin), rtmp.CodeUnpauseNotify, "Unpaused stream."
		if on {
			event, code, text = rtmp.EventStreamEOF, rtmp.CodePauseNotify, "Paused stream."
		}
		dst = rtmp.AppendStatus(dst, c.size(), "status", code, text)
		return rtmp.AppendUserControl(dst, event, rtmp.StreamID)
	})
}

// receive switches a player's audio or video off and on (RTMP 1.0 §7.2.2.4, §7.2.2.5).
func (c *session) receive(cmd *rtmp.Command) {
	p := c.player
	if p == nil {
		c.answer(cmd, amf0Null)
		return
	}
	on, audio := cmd.BoolArg(0), cmd.Name == rtmp.CommandReceiveAudio
	p.order(func() {
		if audio {
			p.audio = on
		} else {
			p.video = on
		}
		p.sub.Receive(p.audio, p.video)
	}, nil)
}

// endPlay ends the play under way, if there is one, and tells of it. err is
// why the session ends; nil when only the play does.
func (c *session) endPlay(err error) {
	p := c.player
	if p == nil {
		return
	}
	c.player, c.chunkSize = nil, p.sub.ChunkSize()
	p.sub.Close()
	c.server.counts.players.Add(-1)
	if err != nil {
		p.event.Reason = c.tellReason(err)
	}
	c.hooks.Tell(p.event)
	args := []any{"ip", c.ip, "vhost", p.event.Vhost, "app", p.event.App, "stream", p.event.Stream,
		"took", time.Since(p.begun).Round(time.Millisecond).String()}
	if p.skips > 0 {
		args = append(args, "skips", p.skips, "skipped", p.skipped)
	}
	c.log.Info("play ended", args...)
}

package server

import (
	"time"

	"golang.org/x/sys/unix"

	"srs/amf0"
	"srs/conf"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/live"
)

// startPlay decides about a play: the name, then on_play. The stream need not
// be published: the player waits.
func (c *session) startPlay(cmd *rtmp.Command) error {
	refuse := func(code, text string, err error) error {
		c.out = rtmp.AppendStatus(c.out, c.size(), "error", code, text)
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
	arg, _ := cmd.StringArg(0)
	return c.ask(ev, func(accepted bool, err error) error {
		ev.Action, ev.PageURL = hook.OnStop, ""
		if err != nil {
			if accepted { // but the client is gone
				ev.Reason = c.tellReason(err)
				c.hooks.Tell(ev)
			}
			return refuse(rtmp.CodePlayFailed, "Play refused.", err)
		}
		c.play(vhost, arg)
		return nil
	})
}

// play begins: the client is told, and gets what there is as soon as its loop
// has found it a seat.
func (c *session) play(vhost *conf.Vhost, arg string) {
	name := c.wanted
	p := newPlayer(c, vhost.Name)
	key := live.Key{Vhost: vhost.Name, App: name.App, Stream: name.Stream}
	p.sub = c.server.Registry.Subscribe(key, vhost.Play.QueueLength, c.chunkSize)
	p.nagle = !vhost.Play.TCPNodelay
	if n := vhost.Play.SendBuffer; n > 0 {
		rawOption(c.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, int32(n))
	}
	c.player = p
	c.server.counts.players.Add(1)
	c.server.counts.played.Add(1)
	c.state, c.served, c.created = statePlaying, true, 0
	c.setDeadline(time.Time{})
	c.out = rtmp.AppendUserControl(c.out, rtmp.EventStreamBegin, rtmp.StreamID)
	details := amf0.Property{Key: "details", Value: cut(arg, rtmp.MaxURL)}
	c.out = rtmp.AppendStatus(c.out, c.chunkSize, "status", rtmp.CodePlayReset, "Playing and resetting stream.", details)
	c.out = rtmp.AppendStatus(c.out, c.chunkSize, "status", rtmp.CodePlayStart, "Started playing stream.", details)
	c.out = rtmp.AppendData(c.out, c.chunkSize, "|RtmpSampleAccess", true, true)
	c.info("play started", "ip", c.ip, "vhost", vhost.Name, "app", name.App, "stream", name.Stream, "param", maskParam(name.Param))
}

// pause stops and resumes a player; elsewhere it means nothing.
func (c *session) pause(cmd *rtmp.Command) {
	p := c.player
	if p == nil {
		c.answer(cmd, amf0Null)
		return
	}
	on := cmd.BoolArg(0)
	event, code, text := uint16(rtmp.EventStreamBegin), rtmp.CodeUnpauseNotify, "Unpaused stream."
	do := p.sub.Resume
	if on {
		event, code, text = rtmp.EventStreamEOF, rtmp.CodePauseNotify, "Paused stream."
		do = p.sub.Pause
	}
	p.order(do)
	c.out = rtmp.AppendStatus(c.out, c.size(), "status", code, text)
	c.out = rtmp.AppendUserControl(c.out, event, rtmp.StreamID)
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
	})
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
	ev := c.event(hook.OnStop)
	ev.PageURL = ""
	ev.Vhost, ev.App, ev.Stream, ev.Param = p.vhost, c.wanted.App, c.wanted.Stream, c.wanted.Param
	if err != nil {
		ev.Reason = c.tellReason(err)
	}
	c.hooks.Tell(ev)
	args := []any{"ip", c.ip, "vhost", ev.Vhost, "app", ev.App, "stream", ev.Stream,
		"took", time.Since(p.begun).Round(time.Millisecond).String()}
	if p.skips > 0 {
		args = append(args, "skips", p.skips, "skipped", p.skipped)
	}
	c.info("play ended", args...)
}

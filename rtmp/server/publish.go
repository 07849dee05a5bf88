package server

import (
	"errors"
	"time"

	"srs/amf0"
	"srs/conf"
	"srs/flv"
	"srs/hook"
	"srs/rtmp"
	"srs/rtmp/chunk"
	"srs/rtmp/live"
)

// publish is an accepted publish of a session.
type publish struct {
	claim  *claim
	relay  *live.Publication
	event  hook.Event // on_unpublish, ready to be told
	first  time.Duration
	normal time.Duration
	begun  time.Time
	last   time.Time // when a message came last
	media  bool      // one has come
	fresh  bool      // one has come since last was set

	mergeRead time.Duration // its socket is read this often; 0: when something comes
}

// startPublish decides about a publish: the name, then on_publish.
//
//  1. the name is parsed and its vhost found
//  2. the stream's name is claimed: one publisher at a time
//  3. on_publish is asked
//  4. the publication starts; recorders attach
//  5. the client is told, media may come
func (c *session) startPublish(cmd *rtmp.Command) error {
	refuse := func(code, text string, err error) error {
		c.out = rtmp.AppendStatus(c.out, c.size(), "error", code, text)
		return err
	}
	if c.state != stateConnected {
		return refuse(rtmp.CodePublishBadName, "This connection has a stream already.", nil)
	}
	name, vhost, err := c.streamName(cmd)
	if err != nil {
		return refuse(nameCode(err, rtmp.CodePublishBadName), "The stream name is not accepted.", err)
	}
	key := live.Key{Vhost: vhost.Name, App: name.App, Stream: name.Stream}
	mine := c.server.claim(c, key)
	if mine == nil && !vhost.Publish.Takeover {
		return c.refusePublish(errBusy)
	}
	ev := c.event(hook.OnPublish)
	ev.Vhost, ev.App, ev.Stream, ev.Param = vhost.Name, name.App, name.Stream, name.Param
	return c.ask(ev, func(accepted bool, err error) error {
		ev.Action = hook.OnUnpublish
		if err != nil {
			if accepted { // but the client is gone; told before the name is free
				ev.Reason = c.tellReason(err)
				c.hooks.Tell(ev)
			}
			if mine != nil {
				mine.release()
			}
			return c.refusePublish(err)
		}
		if mine == nil {
			return c.takeOver(ev, vhost, key)
		}
		c.begin(ev, vhost, mine)
		return nil
	})
}

// begin is the start of an accepted publish.
func (c *session) begin(ev hook.Event, vhost *conf.Vhost, mine *claim) {
	now := time.Now()
	c.publish = &publish{
		claim: mine, event: ev, begun: now, last: now,
		first: vhost.Publish.FirstPktTimeout, normal: vhost.Publish.NormalTimeout,
	}
	if vhost.Publish.MergedRead {
		c.publish.mergeRead = vhost.Publish.MRLatency
	}
	c.publish.relay = mine.reserved.Start(live.Publisher{
		ClientID: c.id, IP: c.ip, Vhost: vhost.Name, App: ev.App, Stream: ev.Stream, Param: ev.Param, TcURL: c.tcURL,
	}, settings(vhost))
	c.server.counts.publishers.Add(1)
	c.server.counts.published.Add(1)
	c.state, c.served, c.created = statePublishing, true, 0
	c.reader.Limits = fullLimits
	c.setDeadline(now.Add(c.publish.first))
	c.out = rtmp.AppendCommand(c.out, c.chunkSize, rtmp.StreamID, "onFCPublish", 0.0, amf0Null, amf0.Object{
		{Key: "code", Value: rtmp.CodePublishStart}, {Key: "description", Value: "Started publishing stream."},
	})
	c.out = rtmp.AppendStatus(c.out, c.chunkSize, "status", rtmp.CodePublishStart, "Started publishing stream.")
	c.info("publish started", "ip", c.ip, "vhost", vhost.Name, "app", ev.App, "stream", ev.Stream, "param", maskParam(ev.Param))
}

// streamName finds out which stream a publish or play means.
func (c *session) streamName(cmd *rtmp.Command) (rtmp.Name, *conf.Vhost, error) {
	arg, ok := cmd.StringArg(0)
	if !ok {
		return rtmp.Name{}, nil, &rtmp.NameError{Reason: "name.invalid", Text: cmd.Name + " without a stream name"}
	}
	name, err := rtmp.ParseStream(c.tcURL, c.argApp, arg)
	if err != nil {
		return name, nil, err
	}
	c.wanted = name
	vhost := c.server.Conf().Vhost(name.Host)
	if vhost == nil {
		return name, nil, end(reasonNoVhost, "no vhost "+quote(name.Host))
	}
	return name, vhost, nil
}

// nameCode is the status for a name that is refused: a vhost that does not
// exist has one of its own.
func nameCode(err error, otherwise string) string {
	if reasonOf(err) == reasonNoVhost {
		return rtmp.CodeConnectInvalidApp
	}
	return otherwise
}

// settings are what the relay needs to know of a vhost.
func settings(v *conf.Vhost) live.Settings {
	s := live.Settings{
		ChunkSize: v.ChunkSize, GopCache: v.Play.GopCache, MaxFrames: v.Play.GopCacheMaxFrames,
		Flush: live.Flush{Immediate: v.Play.MinLatency || v.Play.MWLatency == 0},
	}
	if !s.Flush.Immediate && v.Play.MWLatency > 0 {
		s.Flush.Every = v.Play.MWLatency
	}
	switch {
	case v.Play.ATC, v.Play.TimeJitter == conf.JitterOff:
		s.Time = live.TimeOff
	case v.Play.TimeJitter == conf.JitterZero:
		s.Time = live.TimeZero
	}
	return s
}

// message relays one media message.
func (p *publish) message(c *session, m chunk.Message) error {
	if p.fresh = true; !p.media {
		p.media = true // from now on the shorter timeout
		c.setDeadline(time.Now().Add(p.normal))
	}
	if len(m.Body) == 0 {
		return nil
	}
	switch m.Type {
	case rtmp.TypeAggregate:
		if !rtmp.Aggregate(m.Timestamp, m.Body, p.relay.Write) {
			return end(reasonAggregate, "a damaged aggregate message")
		}
	case rtmp.TypeData, rtmp.TypeDataAMF3:
		body, ok := rtmp.StripData(m.Type, m.Body)
		if !ok {
			return nil
		}
		p.relay.Write(flv.Tag{Type: flv.TypeScript, Timestamp: m.Timestamp, Data: body})
	default:
		p.relay.Write(flv.Tag{Type: m.Type, Timestamp: m.Timestamp, Data: m.Body})
	}
	return nil
}

// progress notes whether a whole media message came: pings keep no name. The
// deadline stays where it is; expired sets right what that makes too early.
func (p *publish) progress(now time.Time) {
	if p.fresh {
		p.fresh, p.last = false, now
	}
}

// expired decides whether a publisher has been silent too long.
func (p *publish) expired(c *session, now time.Time) error {
	limit := p.normal
	if !p.media {
		limit = p.first
	}
	due := p.last.Add(limit)
	if now.Before(due) {
		c.setDeadline(due)
		return nil
	}
	return end(reasonPubTime, "no message from the publisher for "+limit.String())
}

// fcUnpublish ends a publish as FMLE and OBS do it.
func (c *session) fcUnpublish(cmd *rtmp.Command) error {
	if c.state != statePublishing {
		c.answer(cmd, amf0Undefined)
		return nil
	}
	c.stopStream()
	c.out = rtmp.AppendCommand(c.out, c.chunkSize, rtmp.StreamID, "onFCUnpublish", 0.0, amf0Null, amf0.Object{
		{Key: "code", Value: rtmp.CodeUnpublishSuccess}, {Key: "description", Value: "Stop publishing stream."},
	})
	c.answer(cmd, amf0Undefined)
	c.out = rtmp.AppendStatus(c.out, c.chunkSize, "status", rtmp.CodeUnpublishSuccess, "Stream is now unpublished")
	return nil
}

// endPublish ends the publish under way, if there is one, and tells of it.
// err is why the session ends; nil when only the publish does.
func (c *session) endPublish(err error) {
	p := c.publish
	if p == nil {
		return
	}
	c.publish = nil
	if err != nil {
		p.event.Reason = c.tellReason(err)
	}
	c.hooks.Tell(p.event) // before the name is free: the next publisher's gate waits for it
	p.claim.drop(p.relay.Close)
	c.server.memory.fell(c.server.Registry.Held())
	c.server.counts.publishers.Add(-1)
	reason := "unpublished"
	var e *ending
	if err != nil {
		reason = reasonOf(err)
		if errors.As(err, &e) {
			reason = e.reason
		}
	}
	c.info("publish ended", "ip", c.ip, "vhost", p.event.Vhost, "app", p.event.App, "stream", p.event.Stream,
		"reason", reason, "took", time.Since(p.begun).Round(time.Millisecond).String())
}

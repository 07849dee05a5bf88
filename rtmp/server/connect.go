package server

import (
	"os"

	"srs/hook"
	"srs/rtmp"
)

// maxText is how much is kept of what a client says about itself, bytes.
const maxText = 512

// connect decides about a connection: its vhost, then on_connect.
func (c *session) connect(cmd *rtmp.Command) error {
	c.tcURL, c.argApp = cmd.Object.String("tcUrl"), cmd.Object.String("app")
	c.pageURL = cut(cmd.Object.String("pageUrl"), maxText)
	name, err := rtmp.ParseConnect(c.tcURL, c.argApp)
	if err != nil {
		return c.refuseConnect(cmd, rtmp.CodeConnectRejected, "The URL is not accepted.", err)
	}
	config := c.server.Conf()
	if c.vhost = config.Vhost(name.Host); c.vhost == nil {
		return c.refuseConnect(cmd, rtmp.CodeConnectInvalidApp, "No such vhost.",
			end(reasonNoVhost, "no vhost "+quote(name.Host)))
	}
	c.app = name.App
	ev := c.event(hook.OnConnect)
	ev.Vhost, ev.App = c.vhost.Name, c.app
	return c.ask(ev, func(accepted bool, err error) error {
		if c.accepted = accepted; err != nil {
			return c.refuseConnect(cmd, rtmp.CodeConnectRejected, "Rejected by the server.", err)
		}
		c.connected(cmd)
		return nil
	})
}

// connected tells an accepted client.
func (c *session) connected(cmd *rtmp.Command) {
	c.chunkSize = c.vhost.ChunkSize
	c.out = rtmp.AppendWindowAck(c.out, ourWindow)
	c.out = rtmp.AppendPeerBandwidth(c.out, ourWindow)
	c.out = rtmp.AppendSetChunkSize(c.out, c.chunkSize)
	c.out = rtmp.AppendConnectResult(c.out, c.chunkSize, cmd, rtmp.Identity{
		Product: "srs", Version: c.server.Version, IP: localIP(c.fd), PID: os.Getpid(), ClientID: c.id,
	})
	c.out = rtmp.AppendCommand(c.out, c.chunkSize, 0, rtmp.CommandOnBWDone, 0.0, amf0Null)
	c.state = stateConnected
	c.info("client connected", "ip", c.ip, "vhost", c.vhost.Name, "app", c.app, "page", maskURL(c.pageURL))
}

func (c *session) refuseConnect(cmd *rtmp.Command, code, text string, err error) error {
	c.out = rtmp.AppendConnectError(c.out, c.chunkSize, cmd.Transaction, code, text)
	return err
}

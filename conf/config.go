// Package conf reads srs.conf: the nginx-like dialect of SRS 1.0 to 6.0.
//
// Load parses a file, checks every directive against one table and gives an
// immutable Config, or all errors at once, each with its file:line:col.
package conf

import "time"

// A Config is one configuration in force. It is never changed after Load:
// a reload makes a new one and swaps a pointer.
type Config struct {
	Listen         []string // host:port, ready for net.Listen ("listen 1935;" is ":1935")
	MaxConnections int
	ChunkSize      int // outgoing, bytes
	PidFile        string
	Daemon         bool
	WorkDir        string
	SendEngine     string // "auto", "epoll" or "uring"
	ServerID       string // empty: made at random by the server
	JournalDir     string // of HTTP callbacks
	Log            Log
	Vhosts         []*Vhost // in the file's order, the first of a name only

	Warnings []Diagnostic // known but unsupported directives, duplicates

	places map[spot]Diagnostic // of values that are checked when they are used
}

// Log says where log lines go.
type Log struct {
	Tank  string // "console" or "file"
	Level string // "verbose", "info", "trace", "warn" or "error"
	File  string
}

// DefaultVhost is the name of the block that serves hosts without one.
const DefaultVhost = "__defaultVhost__"

// A Vhost is one vhost block.
type Vhost struct {
	Name      string
	Enabled   bool
	ChunkSize int // the global one where the block says nothing
	Play      Play
	Publish   Publish
	Hooks     Hooks
	DVR       DVR
}

// Play holds what concerns players.
type Play struct {
	GopCache          bool
	GopCacheMaxFrames int
	QueueLength       time.Duration
	MWLatency         time.Duration // merged write; negative: not set, the server batches by itself
	MinLatency        bool
	TCPNodelay        bool
	TimeJitter        Jitter
	ATC               bool
	SendBuffer        int // of the kernel, per player, bytes; 0: as the kernel sees fit
}

// Publish holds what concerns publishers.
type Publish struct {
	FirstPktTimeout time.Duration
	NormalTimeout   time.Duration
	MergedRead      bool
	MRLatency       time.Duration // how often a publisher is read with MergedRead
	Takeover        bool          // on_conflict takeover
}

// Jitter names a time correction.
type Jitter uint8

// The corrections of time_jitter.
const (
	JitterFull Jitter = iota // base subtracted, jumps replaced
	JitterZero               // base subtracted
	JitterOff                // untouched
)

// Hooks is an http_hooks block. The URL lists are empty where a directive is missing.
type Hooks struct {
	Enabled        bool
	OnConnect      []string
	OnClose        []string
	OnPublish      []string
	OnUnpublish    []string
	OnPlay         []string
	OnStop         []string
	OnDVR          []string
	Timeout        time.Duration // a whole gate with all its URLs; one attempt of a notice
	Workers        int           // calls under way at most, per lane
	Queue          int           // gates waiting at most, per lane
	ClientIDString bool          // client_id_type string
	Retry          bool          // of notices
	AllowOnFail    bool          // on_fail allow
	Secrets        []string      // file:PATH or env:NAME
	CAFile         string        // of https endpoints, as the next three
	CertFile       string
	KeyFile        string
	ServerName     string
}

// DVR is a dvr block.
type DVR struct {
	Enabled      bool
	Plan         string   // "session", "segment" or "append"
	Apply        []string // "all", or names and globs of app/stream
	Path         string
	Duration     time.Duration // of a segment; 0: never cut
	WaitKeyframe bool
	TimeJitter   Jitter

	Sync           time.Duration // a byte waits no longer for the disk
	ReconnectGrace time.Duration // a publisher that returns in time continues the file
	MaxAge         time.Duration // of complete recordings; 0: no limit, as for the next two
	MaxSize        int64         // of all together, bytes
	MinFree        int64         // bytes, of the disk
}

// Vhost returns the block that serves a host: the one of that name, else the
// default one, else nil. A block with "enabled off" is as good as absent: its
// own name then finds nothing.
func (c *Config) Vhost(host string) *Vhost {
	var def *Vhost
	for _, v := range c.Vhosts {
		if v.Name == host {
			if !v.Enabled {
				return nil
			}
			return v
		}
		if v.Name == DefaultVhost && v.Enabled {
			def = v
		}
	}
	return def
}

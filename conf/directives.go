package conf

import (
	"maps"
	"slices"
	"strings"
)

// A shape is what the arguments of a directive look like.
type shape uint8

const (
	shapeOnOff   shape = iota // on | off
	shapeNumber               // one decimal number between min and max
	shapeChoice               // one of words
	shapeText                 // one word of any text
	shapeListen               // one or more ports or addresses
	shapeURLs                 // one or more hook URLs
	shapePath                 // one dvr_path template
	shapeGlobs                // one or more names of streams, or globs
	shapeSecrets              // one or more places of a secret
)

// An effect says when a change of a directive is felt after a reload. What is
// running already keeps the Config it began with.
type effect uint8

const (
	atRestart   effect = iota + 1
	atReload           // at once
	atConnect          // by clients that connect from then on
	atPublish          // by streams published from then on
	atNextEvent        // by the next call of a hook
)

// A directive is one row of the table.
type directive struct {
	// spell has every way to write it, as the names of the blocks around it and
	// its own name joined by dots. The first is the one full.conf shows; the
	// others are where SRS had it before, or has it since.
	spell    []string
	shape    shape
	min, max int      // of shapeNumber
	unit     string   // of shapeNumber: "", "bytes", "MB", "ms" or "s"
	words    []string // of shapeChoice
	def      string   // the value where it is missing; empty: none
	effect   effect
	set      func(*target, *values)
}

// name is the directive's own name in its first spelling.
func (d *directive) name() string { return d.spell[0][strings.LastIndexByte(d.spell[0], '.')+1:] }

// A target is where setters write.
type target struct {
	cfg   *Config
	vhost *Vhost // nil outside vhost blocks
}

func spell(paths ...string) []string { return paths }

const (
	day  = 24 * 60 * 60 * 1000 // ms
	year = 365 * 24 * 60 * 60  // s
)

// directives is THE table: every directive that does something. Reading it is
// reading what the server can be told; full.conf says the same to users, and a
// test holds the two together. Names SRS knows and we do not serve are in
// known.go.
//
// Defaults are those of SRS 2.0 (J15) unless a comment says otherwise.
var directives = slices.Concat(globalDirectives, playDirectives, publishDirectives, hookDirectives, dvrDirectives)

var globalDirectives = []*directive{
	{spell: spell("listen"), shape: shapeListen, effect: atRestart,
		set: func(t *target, v *values) { t.cfg.Listen = v.listen() }},
	{spell: spell("max_connections"), shape: shapeNumber, min: 1, max: 10_000_000, def: "1000", effect: atReload,
		set: func(t *target, v *values) { t.cfg.MaxConnections = v.number() }},
	{spell: spell("chunk_size"), shape: shapeNumber, unit: "bytes", min: 128, max: 65536, def: "60000", effect: atConnect,
		set: func(t *target, v *values) { t.cfg.ChunkSize = v.number() }},
	{spell: spell("pid"), shape: shapeText, def: "./objs/srs.pid", effect: atRestart,
		set: func(t *target, v *values) { t.cfg.PidFile = v.text() }},
	// SRS: on. A service manager wants the foreground, and so does a terminal.
	{spell: spell("daemon"), shape: shapeOnOff, def: "off", effect: atRestart,
		set: func(t *target, v *values) { t.cfg.Daemon = v.onOff() }},
	{spell: spell("work_dir"), shape: shapeText, def: "./", effect: atRestart,
		set: func(t *target, v *values) { t.cfg.WorkDir = v.text() }},
	// Ours.
	{spell: spell("send_engine"), shape: shapeChoice, words: []string{"auto", "epoll", "uring"}, def: "auto", effect: atRestart,
		set: func(t *target, v *values) { t.cfg.SendEngine = v.choice() }},
	{spell: spell("server_id"), shape: shapeText, effect: atRestart,
		set: func(t *target, v *values) { t.cfg.ServerID = v.text() }},
	// Ours, as SRS has no journal.
	{spell: spell("journal_dir"), shape: shapeText, def: "./objs/hooks", effect: atRestart,
		set: func(t *target, v *values) { t.cfg.JournalDir = v.text() }},
	{spell: spell("srs_log_tank"), shape: shapeChoice, words: []string{"file", "console"}, def: "file", effect: atReload,
		set: func(t *target, v *values) { t.cfg.Log.Tank = v.choice() }},
	{spell: spell("srs_log_level"), shape: shapeChoice,
		words: []string{"verbose", "info", "trace", "warn", "error"}, def: "trace", effect: atReload,
		set: func(t *target, v *values) { t.cfg.Log.Level = v.choice() }},
	{spell: spell("srs_log_file"), shape: shapeText, def: "./objs/srs.log", effect: atReload,
		set: func(t *target, v *values) { t.cfg.Log.File = v.text() }},

	{spell: spell("vhost.enabled"), shape: shapeOnOff, def: "on", effect: atConnect,
		set: func(t *target, v *values) { t.vhost.Enabled = v.onOff() }},
	// Without it the global chunk_size holds, the one directive a vhost inherits.
	{spell: spell("vhost.chunk_size"), shape: shapeNumber, unit: "bytes", min: 128, max: 65536, effect: atConnect,
		set: func(t *target, v *values) { t.vhost.ChunkSize = v.number() }},
	{spell: spell("vhost.tcp_nodelay"), shape: shapeOnOff, def: "off", effect: atConnect,
		set: func(t *target, v *values) { t.vhost.Play.TCPNodelay = v.onOff() }},
	{spell: spell("vhost.min_latency", "vhost.play.min_latency"), shape: shapeOnOff, def: "off", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Play.MinLatency = v.onOff() }},
}

// SRS 1.0 and 2.0 had these at the vhost, 3.0 moved them into play { }.
var playDirectives = []*directive{
	{spell: spell("vhost.play.gop_cache", "vhost.gop_cache"), shape: shapeOnOff, def: "on", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Play.GopCache = v.onOff() }},
	{spell: spell("vhost.play.gop_cache_max_frames"), shape: shapeNumber, min: 0, max: 1_000_000, def: "2500", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Play.GopCacheMaxFrames = v.number() }},
	{spell: spell("vhost.play.queue_length", "vhost.queue_length"), shape: shapeNumber, unit: "s", min: 1, max: 3600, def: "30", effect: atConnect,
		set: func(t *target, v *values) { t.vhost.Play.QueueLength = v.duration() }},
	// SRS: 350. Without a number the server batches by itself.
	{spell: spell("vhost.play.mw_latency", "vhost.mw_latency"), shape: shapeNumber, unit: "ms", min: 0, max: 60_000, effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Play.MWLatency = v.duration() }},
	{spell: spell("vhost.play.time_jitter", "vhost.time_jitter"), shape: shapeChoice, words: jitterWords, def: "full", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Play.TimeJitter = v.jitter() }},
	{spell: spell("vhost.play.atc", "vhost.atc"), shape: shapeOnOff, def: "off", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Play.ATC = v.onOff() }},
	// Ours. SRS sizes the buffer by mw_latency.
	{spell: spell("vhost.play.so_sndbuf"), shape: shapeNumber, unit: "bytes", min: 4096, max: 64 << 20, effect: atConnect,
		set: func(t *target, v *values) { t.vhost.Play.SendBuffer = v.number() }},
}

// SRS 2.0 had these at the vhost by other names, 3.0 moved them into publish { }.
var publishDirectives = []*directive{
	{spell: spell("vhost.publish.firstpkt_timeout", "vhost.publish_1stpkt_timeout"),
		shape: shapeNumber, unit: "ms", min: 1, max: day, def: "20000", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Publish.FirstPktTimeout = v.duration() }},
	{spell: spell("vhost.publish.normal_timeout", "vhost.publish_normal_timeout"),
		shape: shapeNumber, unit: "ms", min: 1, max: day, def: "5000", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Publish.NormalTimeout = v.duration() }},
	{spell: spell("vhost.publish.mr", "vhost.mr.enabled"), shape: shapeOnOff, def: "off", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Publish.MergedRead = v.onOff() }},
	{spell: spell("vhost.publish.mr_latency", "vhost.mr.latency"), shape: shapeNumber, unit: "ms", min: 0, max: 60_000, def: "350", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Publish.MRLatency = v.duration() }},
	// Ours. SRS refuses the second publisher.
	{spell: spell("vhost.publish.on_conflict"), shape: shapeChoice, words: []string{"reject", "takeover"}, def: "reject", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.Publish.Takeover = v.choice() == "takeover" }},
}

// From timeout on they are ours; SRS has constants there, or nothing.
var hookDirectives = []*directive{
	{spell: spell("vhost.http_hooks.enabled"), shape: shapeOnOff, def: "off", effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.Enabled = v.onOff() }},
	{spell: spell("vhost.http_hooks.on_connect"), shape: shapeURLs, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.OnConnect = v.urls() }},
	{spell: spell("vhost.http_hooks.on_close"), shape: shapeURLs, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.OnClose = v.urls() }},
	{spell: spell("vhost.http_hooks.on_publish"), shape: shapeURLs, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.OnPublish = v.urls() }},
	{spell: spell("vhost.http_hooks.on_unpublish"), shape: shapeURLs, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.OnUnpublish = v.urls() }},
	{spell: spell("vhost.http_hooks.on_play"), shape: shapeURLs, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.OnPlay = v.urls() }},
	{spell: spell("vhost.http_hooks.on_stop"), shape: shapeURLs, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.OnStop = v.urls() }},
	{spell: spell("vhost.http_hooks.on_dvr"), shape: shapeURLs, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.OnDVR = v.urls() }},
	{spell: spell("vhost.http_hooks.timeout"), shape: shapeNumber, unit: "ms", min: 1, max: day, def: "30000", effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.Timeout = v.duration() }},
	{spell: spell("vhost.http_hooks.workers"), shape: shapeNumber, min: 1, max: 4096, def: "64", effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.Workers = v.number() }},
	{spell: spell("vhost.http_hooks.queue"), shape: shapeNumber, min: 1, max: 1_000_000, def: "1024", effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.Queue = v.number() }},
	{spell: spell("vhost.http_hooks.client_id_type"), shape: shapeChoice, words: []string{"number", "string"}, def: "number", effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.ClientIDString = v.choice() == "string" }},
	{spell: spell("vhost.http_hooks.retry"), shape: shapeOnOff, def: "on", effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.Retry = v.onOff() }},
	{spell: spell("vhost.http_hooks.on_fail"), shape: shapeChoice, words: []string{"deny", "allow"}, def: "deny", effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.AllowOnFail = v.choice() == "allow" }},
	{spell: spell("vhost.http_hooks.secret"), shape: shapeSecrets, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.Secrets = v.secrets() }},
	{spell: spell("vhost.http_hooks.ca_file"), shape: shapeText, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.CAFile = v.text() }},
	{spell: spell("vhost.http_hooks.cert_file"), shape: shapeText, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.CertFile = v.text() }},
	{spell: spell("vhost.http_hooks.key_file"), shape: shapeText, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.KeyFile = v.text() }},
	{spell: spell("vhost.http_hooks.server_name"), shape: shapeText, effect: atNextEvent,
		set: func(t *target, v *values) { t.vhost.Hooks.ServerName = v.text() }},
}

// dvr_sync and what follows is ours.
var dvrDirectives = []*directive{
	{spell: spell("vhost.dvr.enabled"), shape: shapeOnOff, def: "off", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.Enabled = v.onOff() }},
	{spell: spell("vhost.dvr.dvr_plan"), shape: shapeChoice, words: []string{"session", "segment", "append"}, def: "session", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.Plan = v.choice() }},
	{spell: spell("vhost.dvr.dvr_path"), shape: shapePath, def: "./objs/nginx/html/[app]/[stream].[timestamp].flv", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.Path = v.path() }},
	{spell: spell("vhost.dvr.dvr_duration"), shape: shapeNumber, unit: "s", min: 0, max: year, def: "30", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.Duration = v.duration() }},
	{spell: spell("vhost.dvr.dvr_wait_keyframe"), shape: shapeOnOff, def: "on", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.WaitKeyframe = v.onOff() }},
	{spell: spell("vhost.dvr.time_jitter"), shape: shapeChoice, words: jitterWords, def: "full", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.TimeJitter = v.jitter() }},
	{spell: spell("vhost.dvr.dvr_apply"), shape: shapeGlobs, def: "all", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.Apply = v.globs() }},
	{spell: spell("vhost.dvr.dvr_sync"), shape: shapeNumber, unit: "ms", min: 100, max: 60_000, def: "4000", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.Sync = v.duration() }},
	{spell: spell("vhost.dvr.dvr_reconnect_grace"), shape: shapeNumber, unit: "s", min: 0, max: 3600, def: "0", effect: atPublish,
		set: func(t *target, v *values) { t.vhost.DVR.ReconnectGrace = v.duration() }},
	{spell: spell("vhost.dvr.dvr_max_age"), shape: shapeNumber, unit: "s", min: 0, max: 100 * year, def: "0", effect: atReload,
		set: func(t *target, v *values) { t.vhost.DVR.MaxAge = v.duration() }},
	{spell: spell("vhost.dvr.dvr_max_size"), shape: shapeNumber, unit: "MB", min: 0, max: 1_000_000_000, def: "0", effect: atReload,
		set: func(t *target, v *values) { t.vhost.DVR.MaxSize = v.megabytes() }},
	{spell: spell("vhost.dvr.dvr_min_free"), shape: shapeNumber, unit: "MB", min: 0, max: 1_000_000_000, def: "0", effect: atReload,
		set: func(t *target, v *values) { t.vhost.DVR.MinFree = v.megabytes() }},
}

// blocks are the directives that open a block we look into.
var blocks = []string{"vhost", "vhost.play", "vhost.publish", "vhost.mr", "vhost.http_hooks", "vhost.dvr"}

// byPath finds a directive by any of its spellings.
var byPath = func() map[string]*directive {
	m := map[string]*directive{}
	for _, d := range directives {
		for _, s := range d.spell {
			m[s] = d
		}
	}
	return m
}()

// scopes maps every name we recognise, served or not, to the blocks it may
// stand in, in a fixed order; "" is the top level.
var scopes = func() map[string][]string {
	m := map[string][]string{}
	add := func(path string) {
		i := strings.LastIndexByte(path, '.')
		m[path[i+1:]] = append(m[path[i+1:]], path[:max(i, 0)])
	}
	for _, d := range directives {
		for _, s := range d.spell {
			add(s)
		}
	}
	for _, b := range blocks {
		add(b)
	}
	for _, path := range slices.Sorted(maps.Keys(unserved)) {
		add(path)
	}
	return m
}()

// join is the path of a name in a scope.
func join(scope, name string) string {
	if scope == "" {
		return name
	}
	return scope + "." + name
}

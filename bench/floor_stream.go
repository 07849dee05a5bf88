package main

import (
	"slices"
	"time"

	"srs/flv"
	"srs/rtmp"
	"srs/rtmp/chunk"
)

// Bounds of a stream's log, bytes.
const (
	firstLog   = 256 << 10
	maxLag     = 8 << 20 // a player further behind is dropped when room is needed; a longer GOP is forgotten
	floorChunk = 60000   // chunk size of all that is sent
)

// A floorStream is what one publisher sends, as its players get it: one run of
// bytes. Positions count from the first byte ever logged.
//
//	      base        bookmark               end
//	       |              |                   |
//	log:   [ ............ [keyframe] ........ ]
//	               |                |       |
//	            a slow player    players, most of them at the end
type floorStream struct {
	name      string
	publisher *floorClient
	players   []*floorClient

	log      []byte // messages, each begins with a type 0 header
	base     int64
	bookmark int64     // where players start: the last keyframe; none if below base
	headers  [3][]byte // metadata, video and audio header in force, as they are sent
	prologue []byte    // headers, as they were at the bookmark
	changed  bool      // headers are not what the prologue is made of
	picture  bool      // video has come: sound is no place to start

	unsent  bool      // in floor.unsent
	until   time.Time // coalescing: rests until then, zero: does not
	waiting bool      // something came while it rested
}

func newFloorStream(name string) *floorStream {
	return &floorStream{name: name, log: make([]byte, 0, firstLog), bookmark: -1}
}

func (s *floorStream) end() int64 { return s.base + int64(len(s.log)) }

// bookmarked says whether there is a place to start.
func (s *floorStream) bookmarked() bool { return s.bookmark >= s.base }

// begin makes the stream ready for a new publisher.
func (s *floorStream) begin(c *floorClient) {
	s.publisher, s.bookmark, s.headers, s.changed, s.picture = c, -1, [3][]byte{}, true, false
}

// add logs a message. It returns the players that have no room to wait for any
// longer: they are to be dropped.
func (s *floorStream) add(m chunk.Message) (lagging []*floorClient) {
	info := flv.Sniff(m.Type, m.Body)
	m.CSID, m.StreamID = csidOf(m.Type), rtmp.StreamID
	switch {
	case m.Type == rtmp.TypeData:
		s.header(0, m)
	case info&flv.VideoHeader != 0:
		s.header(1, m)
	case info&flv.AudioHeader != 0:
		s.header(2, m)
	}
	size := chunk.WireSize(m.CSID, m.Timestamp, len(m.Body), floorChunk)
	if len(s.log)+size > cap(s.log) {
		lagging = s.makeRoom(size)
	}
	s.picture = s.picture || m.Type == rtmp.TypeVideo
	if info&flv.Keyframe != 0 || !s.picture && m.Type == rtmp.TypeAudio && !info.Header() {
		s.bookmark = s.end()
		if s.changed {
			s.changed = false
			s.prologue = slices.Concat(s.headers[:]...)
		}
	}
	s.log = chunk.Append(s.log, m, floorChunk)
	return lagging
}

func (s *floorStream) header(i int, m chunk.Message) {
	m.Timestamp = 0
	s.headers[i] = chunk.Append(nil, m, floorChunk)
	s.changed = true
}

// makeRoom forgets what no player needs, and grows the log if that is little.
func (s *floorStream) makeRoom(size int) (lagging []*floorClient) {
	oldest := s.end() - maxLag
	keep := s.end()
	if s.bookmarked() && s.bookmark >= oldest {
		keep = s.bookmark
	}
	for _, c := range s.players {
		switch {
		case c.pos < 0: // waits for a keyframe
		case c.pos < oldest:
			lagging = append(lagging, c)
		default:
			keep = min(keep, c.pos)
		}
	}
	rest := s.log[keep-s.base:]
	if need := len(rest) + size; need > cap(s.log)/2 {
		s.log = append(make([]byte, 0, 4*need), rest...)
	} else {
		s.log = s.log[:copy(s.log[:cap(s.log)], rest)]
	}
	s.base = keep
	return lagging
}

// lacks returns what a player has not got of the log, from its start on.
func (s *floorStream) lacks(c *floorClient) []byte {
	if c.pos < 0 {
		if !s.bookmarked() {
			return nil
		}
		c.pos = s.bookmark
		c.out = append(c.out, s.prologue...)
	}
	return s.log[c.pos-s.base:]
}

func (s *floorStream) join(c *floorClient) {
	c.stream, c.pos, c.index = s, -1, len(s.players)
	s.players = append(s.players, c)
}

// leave takes a player out; the last one gets its place.
func (s *floorStream) leave(c *floorClient) {
	last := len(s.players) - 1
	s.players[c.index] = s.players[last]
	s.players[c.index].index = c.index
	s.players[last] = nil
	s.players = s.players[:last]
}

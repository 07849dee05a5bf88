package flv

import (
	"slices"
	"time"
)

// LongestStep is the longest time from one frame to the next of its kind that is
// taken for the length of a frame, and a longer time without any frame is a gap.
const LongestStep = 1000 // ms

// An IndexEntry is a keyframe in the index of a file.
type IndexEntry struct {
	Time     uint32 // ms
	Position int64  // of the tag in the file
}

// A Summary is what a file has in it, gathered tag by tag.
type Summary struct {
	Audio, Video bool   // any tag of the kind
	Frames       int    // of both kinds
	Pictures     int    // frames that are video
	Keyframes    int    // of them
	Gaps         int    // times without any frame
	LongestGap   uint32 // ms
	First, Last  uint32 // ms: the first frame's time, the latest one

	end    uint32 // ms: of the frame that lasts longest
	tracks [2]struct {
		seen       bool
		last, step uint32
	}
	// The index has every thin-th keyframe, one for each time.
	index   []IndexEntry
	thin    int
	indexed int // keyframes with a time of their own
}

// Add takes the tag at a position of the file.
func (s *Summary) Add(t Tag, position int64) {
	s.Audio = s.Audio || t.Type == TypeAudio
	s.Video = s.Video || t.Type == TypeVideo
	info := Sniff(t.Type, t.Data)
	if info&(AudioFrame|VideoFrame) == 0 {
		return
	}
	if s.Frames == 0 {
		s.First, s.Last = t.Timestamp, t.Timestamp
	} else if t.Timestamp > s.Last && t.Timestamp-s.Last > LongestStep {
		s.Gaps++
		s.LongestGap = max(s.LongestGap, t.Timestamp-s.Last)
	}
	s.Frames++
	if t.Type == TypeVideo {
		s.Pictures++
	}
	if info&Keyframe != 0 {
		s.Keyframes++
		s.enter(IndexEntry{t.Timestamp, position})
	}
	track := &s.tracks[t.Type&1]
	if step := t.Timestamp - track.last; track.seen && step > 0 && step <= LongestStep {
		track.step = step
	}
	track.seen, track.last = true, t.Timestamp
	s.Last = max(s.Last, t.Timestamp)
	s.end = max(s.end, t.Timestamp+track.step)
}

// enter puts a keyframe into the index, which is thinned when it is full: a
// player that seeks finds one a little before.
func (s *Summary) enter(k IndexEntry) {
	if n := len(s.index); n > 0 && k.Time <= s.index[n-1].Time {
		return
	}
	s.thin = max(s.thin, 1)
	if s.indexed++; (s.indexed-1)%s.thin != 0 {
		return
	}
	if len(s.index) == MaxKeyframes {
		s.index = everySecond(s.index)
		s.thin *= 2
		if (s.indexed-1)%s.thin != 0 {
			return
		}
	}
	s.index = append(s.index, k)
}

// Index gives at most room keyframes, evenly spread over the file.
func (s *Summary) Index(room int) []IndexEntry {
	if room <= 0 {
		return nil
	}
	index := s.index
	for len(index) > room {
		index = everySecond(slices.Clone(index))
	}
	return index
}

// everySecond keeps the first, the third and so on, in place.
func everySecond(index []IndexEntry) []IndexEntry {
	n := 0
	for i := 0; i < len(index); i += 2 {
		index[n] = index[i]
		n++
	}
	return index[:n]
}

// Duration is the time from the first frame to the end of the last one: a frame
// lasts as long as the one before it.
func (s *Summary) Duration() time.Duration {
	if s.end < s.First {
		return 0
	}
	return time.Duration(s.end-s.First) * time.Millisecond
}

// Next is when the next frame of a kind is expected, false when none came yet.
func (s *Summary) Next(typ uint8) (uint32, bool) {
	track := &s.tracks[typ&1]
	return track.last + track.step, track.seen
}

package flv

import (
	"slices"
	"time"
)

// Times of a file, ms.
const (
	// LongestStep is the longest time without any frame that is no gap. A longer
	// one from one frame to the next of its kind is the length of a frame where the
	// stream is that slow, and a pause where it is not.
	LongestStep = 1000

	loneFrame = 40 // that a file lasts whose frames all begin at one time: nobody knows
)

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

	resumed uint32 // ms: where it ended when it was continued
	tracks  [2]track
	// The index has every thin-th keyframe, one for each time.
	index   []IndexEntry
	thin    int
	indexed int // keyframes with a time of their own
}

// A track is what is known of the times of one kind of frames, ms.
type track struct {
	seen   bool
	last   uint32 // the newest frame's time
	latest uint32
	step   uint32 // to the last frame, the last time that it was later than the one before; 0: unknown
	length uint32 // of a frame
}

func (t *track) add(at uint32) {
	if t.seen && at > t.last {
		step := at - t.last
		t.length = step
		if step > LongestStep && t.step > 0 {
			t.length = min(step, t.step)
		}
		t.step = step
	}
	t.seen, t.last, t.latest = true, at, max(t.latest, at)
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
	s.tracks[t.Type&1].add(t.Timestamp)
	s.Last = max(s.Last, t.Timestamp)
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

// End is the time at which the frame that lasts longest ends, ms. The last frame of
// a kind lasts as long as the one before it; where there are both kinds no longer
// than LongestStep, for the other one tells what goes on.
func (s *Summary) End() uint32 {
	end := s.resumed
	for i := range s.tracks {
		if t := &s.tracks[i]; t.seen {
			length := t.length
			if s.tracks[1-i].seen {
				length = min(length, LongestStep)
			}
			end = max(end, t.latest+length)
		}
	}
	if s.Frames > 0 && end == s.First {
		end += loneFrame
	}
	return end
}

// Duration is the time from the first frame to the end of the last one.
func (s *Summary) Duration() time.Duration {
	end := s.End()
	if end < s.First {
		return 0
	}
	return time.Duration(end-s.First) * time.Millisecond
}

// Next is when the next frame of a kind is expected, false when none came yet.
func (s *Summary) Next(typ uint8) (uint32, bool) {
	t := &s.tracks[typ&1]
	return t.last + t.length, t.seen
}

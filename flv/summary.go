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
	Time     int64 // ms, as in Summary
	Position int64 // of the tag in the file
}

// A Summary is what a file has in it, gathered tag by tag. Its times are those of
// the tags, ms, and go on where the 32 bits of these wrap.
type Summary struct {
	Audio, Video bool  // any tag of the kind
	Frames       int   // of both kinds
	Pictures     int   // frames that are video
	Keyframes    int   // of them
	Gaps         int   // times without any frame
	LongestGap   int64 // ms
	First, Last  int64 // the first frame's time, the latest one

	shown   int64 // when the picture that is shown last is shown
	now     int64 // the newest frame's time
	resumed int64 // where it ended when it was continued
	tracks  [2]track
	// The index has all keyframes, one for each time, until it has been full. Then
	// it goes on with those that are nearest to every so many ms.
	index   []IndexEntry
	every   int64
	lastKey int64 // the newest keyframe's time
}

// A track is what is known of the times of one kind of frames, ms.
type track struct {
	seen   bool
	last   int64 // the newest frame's time
	latest int64
	step   int64 // to the last frame, the last time that it was later than the one before; 0: unknown
	length int64 // of a frame
}

func (t *track) add(at int64) {
	if t.seen && at > t.last {
		step := at - t.last
		t.length = step
		if step > LongestStep && t.step > 0 {
			t.length = min(step, t.step)
		}
		t.step = step
	}
	if t.latest = max(t.latest, at); !t.seen {
		t.latest = at
	}
	t.seen, t.last = true, at
}

// Add takes the tag at a position of the file.
func (s *Summary) Add(t Tag, position int64) {
	s.Audio = s.Audio || t.Type == TypeAudio
	s.Video = s.Video || t.Type == TypeVideo
	info := Sniff(t.Type, t.Data)
	if info&(AudioFrame|VideoFrame) == 0 {
		return
	}
	at := s.now + int64(int32(t.Timestamp-uint32(s.now)))
	if s.Frames == 0 {
		at = int64(t.Timestamp)
		s.First, s.Last = at, at
	} else if at-s.Last > LongestStep {
		s.Gaps++
		s.LongestGap = max(s.LongestGap, at-s.Last)
	}
	s.Frames++
	if t.Type == TypeVideo {
		s.Pictures++
		s.shown = max(s.shown, at+CompositionTime(t.Data))
	}
	if info&Keyframe != 0 {
		s.Keyframes++
		s.enter(IndexEntry{at, position})
	}
	s.tracks[t.Type&1].add(at)
	s.now, s.Last = at, max(s.Last, at)
}

// enter puts a keyframe into the index, which is thinned when it is full: a
// player that seeks finds one a little before.
func (s *Summary) enter(k IndexEntry) {
	n := len(s.index)
	if n > 0 && k.Time <= s.index[n-1].Time {
		return
	}
	step := k.Time - s.lastKey
	s.lastKey = k.Time
	if n > 0 && k.Time-s.index[n-1].Time < s.every-step/2 {
		return
	}
	if s.index = append(s.index, k); len(s.index) > MaxKeyframes {
		s.index = everySecond(s.index)
		s.every = meanStep(s.index)
	}
}

// meanStep is how far the keyframes of an index are from each other.
func meanStep(index []IndexEntry) int64 {
	n := len(index) - 1
	return (index[n].Time - index[0].Time) / int64(n)
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
func (s *Summary) End() int64 {
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

// Shown is when the picture that is shown last is shown, ms; 0 without pictures.
func (s *Summary) Shown() int64 { return s.shown }

// Duration is the time from the first frame to the end of the last one.
func (s *Summary) Duration() time.Duration {
	end := s.End()
	if end < s.First {
		return 0
	}
	return time.Duration(end-s.First) * time.Millisecond
}

// Next is when the next frame of a kind is expected, false when none came yet.
func (s *Summary) Next(typ uint8) (int64, bool) {
	t := &s.tracks[typ&1]
	return t.last + t.length, t.seen
}

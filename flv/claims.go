package flv

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"srs/amf0"
)

// What metadata may say that is not quite so. Programs think differently of how
// long the last frame lasts, where time begins, and what an index has at its ends.
const (
	ownSlack     = 0.2 // seconds of duration, in files of ours
	durationSlip = 1.0 // and in others
	sizeSlip     = 16  // bytes
	indexSlip    = 50  // ms

	maxSeconds = 1 << 40 // that a time may be: what is more is no time
)

// Claims are what the metadata says of its file. A number that is not there, or
// 0, says nothing.
type claims struct {
	duration, size float64
	index          []IndexEntry // by position
	next           int          // of index, to be compared
	wrong          *IndexEntry  // the first at which there is no keyframe
}

func claimsOf(body []byte) (c claims) {
	properties, _ := ParseMetadata(body)
	for _, p := range properties {
		switch p.Key {
		case "duration":
			c.duration, _ = p.Value.(float64)
		case "filesize", "fileSize":
			size, _ := p.Value.(float64)
			c.size = cmp.Or(c.size, size)
		case "keyframes":
			c.index = readIndex(p.Value)
		}
	}
	return c
}

// readIndex reads keyframes{times,filepositions}, as far as it goes.
func readIndex(v any) (index []IndexEntry) {
	object, ok := v.(amf0.Object)
	if array, also := v.(amf0.ECMAArray); also {
		object, ok = amf0.Object(array), true
	}
	if !ok {
		return nil
	}
	var times, positions amf0.StrictArray
	for _, p := range object {
		switch p.Key {
		case "times":
			times, _ = p.Value.(amf0.StrictArray)
		case "filepositions":
			positions, _ = p.Value.(amf0.StrictArray)
		}
	}
	for i := range min(len(times), len(positions)) {
		seconds, ok := times[i].(float64)
		position, also := positions[i].(float64)
		if ok && also && seconds >= 0 && seconds <= maxSeconds && position >= 0 && position <= 1<<53 {
			index = append(index, IndexEntry{int64(seconds*1000 + 0.5), int64(position)})
		}
	}
	slices.SortStableFunc(index, func(a, b IndexEntry) int { return cmp.Compare(a.Position, b.Position) })
	return index
}

// compare looks whether the index is right about a tag. Some begin with the
// header in front of the first keyframe, or end with the last tag whatever it is.
func (c *claims) compare(t Tag, position int64) {
	for ; c.next < len(c.index) && c.index[c.next].Position <= position; c.next++ {
		k := c.index[c.next]
		info := Sniff(t.Type, t.Data)
		last := c.next == len(c.index)-1
		switch {
		case c.wrong != nil:
		case k.Position != position,
			info&(Keyframe|VideoHeader) == 0 && !last,
			info&Keyframe != 0 && away(uint32(k.Time), t.Timestamp) > indexSlip:
			c.wrong = &k
		}
	}
}

// away is how far two times are from each other, of which 32 bits are known.
func away(a, b uint32) uint32 { return min(a-b, b-a) }

// Whole reports whether nothing is left to repair.
func (r *Report) Whole() bool { return r.Damage == nil && r.Flaw() == "" }

// Flaw is what header and metadata say wrongly of the tags, empty for nothing. Of
// a file of another program only what is there is looked at, and there is room for
// opinions.
func (r *Report) Flaw() string {
	c, has := &r.claims, Flags(r.Audio, r.Video)
	ours := r.metadata.tail > 0
	seconds := r.Duration().Seconds()
	off := math.Abs(c.duration - seconds)
	switch {
	case ours && c.duration == 0 && c.size == 0 && r.Frames > 0:
		return "its metadata does not say what is in it"
	case ours && r.Note != "":
		return "its metadata has who has published in place of the index"
	case r.flags&has != has, ours && r.flags != has:
		return "its header does not say that there is sound or video, or says so of what is not there"
	case ours && off > ownSlack,
		!ours && c.duration != 0 && off > durationSlip && math.Abs(c.duration-float64(r.Last)/1000) > durationSlip:
		return fmt.Sprintf("its metadata says that it lasts %.3f s", c.duration)
	case ours && c.size != float64(r.Size), !ours && c.size != 0 && math.Abs(c.size-float64(r.Size)) > sizeSlip:
		return fmt.Sprintf("its metadata says that it has %.0f bytes", c.size)
	case c.wrong != nil:
		return fmt.Sprintf("its index has a keyframe of %.3f s at byte %d, where there is none", float64(c.wrong.Time)/1000, c.wrong.Position)
	case c.next < len(c.index) && c.index[c.next].Position > r.Size:
		return fmt.Sprintf("its index has a keyframe at byte %d, behind its end", c.index[c.next].Position)
	}
	return ""
}

// Mendable reports whether Repair puts right what Flaw tells: all but the index of
// another program.
func (r *Report) Mendable() bool {
	return r.metadata.tail > 0 || r.claims.wrong == nil && r.claims.next == len(r.claims.index)
}

// Telling reports whether the metadata has duration and size, as far as it has
// room for them. Without them a file is played, but not sought in.
func (r *Report) Telling() bool {
	for _, key := range []string{"duration", "filesize", "fileSize"} {
		if at := r.metadata.place(key); at >= 0 && binary.BigEndian.Uint64(r.metadata.Body[at:]) == 0 {
			return false
		}
	}
	return true
}

// NoRoom names what a player wants to know that the metadata neither tells nor has
// room for: metadata of another program, for that of this server always has.
func (r *Report) NoRoom() (what []string) {
	if r.metadata.tail > 0 {
		return nil
	}
	if r.metadata.place("duration") < 0 {
		what = append(what, "duration")
	}
	if r.metadata.place("filesize") < 0 && r.metadata.place("fileSize") < 0 {
		what = append(what, "size")
	}
	if r.Keyframes >= minIndex && len(r.claims.index) == 0 {
		what = append(what, "an index of keyframes")
	}
	return what
}

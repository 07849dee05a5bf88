package flv

import (
	"encoding/binary"
	"errors"
	"io"
	"math"

	"srs/amf0"
)

var errNotOurs = errors.New("flv: no complete file of this server")

// Bounds of what Resume looks at, tags.
const (
	maxPrologue = 64  // in front of the first frame
	maxTail     = 256 // at the end
	reordered   = 17  // pictures: the one shown last is among the last so many (ITU-T H.264 A.3.1: at most 16 are held back)
)

// A Resumed is what must be known to continue a complete file.
type Resumed struct {
	Summary  // as the metadata has it; Frames is not 0, and not true either
	Metadata FileMetadata
	Headers  []Tag     // in front of the first frame
	Codecs   [2]uint32 // by Type&1, see Codec; 0: unknown
}

// SeveralCodecs is the codec of a file that has had others of its kind.
const SeveralCodecs = 1<<32 - 1

// Owner says whose a file is, as NewFileMetadata was told; empty: nobody's.
func Owner(f io.ReaderAt, size int64) string {
	told, _ := Tell(f, size)
	return told.Owner
}

// Ours reports whether a file begins as this server's do, complete or not.
func Ours(f io.ReaderAt, size int64) bool { return ourMetadata(f, size) != nil }

// ourMetadata gives the metadata of a file of this server, nil of any other.
func ourMetadata(f io.ReaderAt, size int64) []byte {
	t, err := NewReader(io.NewSectionReader(f, 0, size)).Next()
	if err != nil || Sniff(t.Type, t.Data) != Metadata {
		return nil
	}
	if m, _ := ParseFileMetadata(t.Data); m.tail == 0 {
		return nil
	}
	return t.Data
}

// Resume reads the beginning of a complete file, and looks at its end.
func Resume(f io.ReaderAt, size int64) (*Resumed, error) {
	r := NewReader(io.NewSectionReader(f, 0, size))
	t, err := r.Next()
	if err != nil {
		return nil, err
	}
	res := &Resumed{}
	res.Metadata, _ = ParseFileMetadata(append([]byte(nil), t.Data...))
	properties, err := ParseMetadata(t.Data)
	if err != nil {
		return nil, err
	}
	values := amf0.ECMAArray(properties)
	said, _ := values.Get("filesize")
	if res.Metadata.tail == 0 || said != float64(size) {
		return nil, errNotOurs
	}
	if _, _, whole := tagBefore(f, size); !whole {
		return nil, errNotOurs
	}
	res.Audio, res.Video = r.flags&4 != 0, r.flags&1 != 0
	for n := 0; ; n++ {
		t, err := r.Next()
		if err != nil || n == maxPrologue {
			return nil, errors.Join(errNotOurs, err)
		}
		if codec := Codec(t.Type, t.Data); codec != 0 && Track(t.Type, t.Data) == 0 {
			res.Codecs[t.Type&1] = codec
		}
		if Sniff(t.Type, t.Data)&(AudioFrame|VideoFrame) != 0 {
			res.First = int64(t.Timestamp)
			break
		}
		t.Data = append([]byte(nil), t.Data...)
		res.Headers = append(res.Headers, t)
	}
	res.resume(values)
	res.newest(f, size)
	if n := len(res.index); n >= minIndex && 2*n > res.Metadata.Room() { // it may have been thinned
		res.every = meanStep(res.index)
	}
	if res.Video && res.Keyframes == 0 { // too short for an index
		rep, err := Scan(io.NewSectionReader(f, 0, size))
		if err != nil || rep.Damage != nil {
			return nil, errors.Join(errNotOurs, err, rep.Damage)
		}
		res.Summary = rep.Summary
	}
	return res, nil
}

// resume takes what the metadata says.
func (s *Summary) resume(values amf0.ECMAArray) {
	milliseconds := func(v any) int64 {
		seconds, _ := v.(float64)
		return int64(math.Round(min(max(0, seconds), maxSeconds) * 1000))
	}
	duration, _ := values.Get("duration")
	last, _ := values.Get("lasttimestamp")
	s.Frames = 1
	s.Last, s.resumed = milliseconds(last), s.First+milliseconds(duration)
	s.now = s.Last
	keyframes, _ := values.Get("keyframes")
	index, _ := keyframes.(amf0.Object)
	times, _ := index.Get("times")
	positions, _ := index.Get("filepositions")
	at, _ := positions.(amf0.StrictArray)
	for i, v := range atMost(times, len(at)) {
		position, _ := at[i].(float64)
		s.Keyframes++
		s.enter(IndexEntry{milliseconds(v), int64(position)})
	}
}

// atMost is an array of at most n values.
func atMost(array any, n int) amf0.StrictArray {
	list, _ := array.(amf0.StrictArray)
	return list[:min(n, len(list))]
}

// newest looks for the codecs at the end of a file, which may not be those of its
// beginning, and for how long its last frames are. The beginning counts for a media
// type that is not there.
func (r *Resumed) newest(f io.ReaderAt, size int64) {
	unknown := [2]bool{TypeAudio & 1: r.Audio, TypeVideo & 1: r.Video} // codecs
	endless, ends, pictures := unknown, &r.tracks, 0
	for range maxTail {
		t, at, ok := tagBefore(f, size)
		if !ok || unknown == [2]bool{} && endless == [2]bool{} && (pictures >= reordered || !r.Video) {
			break
		}
		size = at
		if t.Type == TypeScript {
			continue
		}
		i := t.Type & 1
		if codec := Codec(t.Type, t.Data); unknown[i] && codec != 0 && Track(t.Type, t.Data) == 0 {
			if unknown[i] = false; r.Codecs[i] != 0 && r.Codecs[i] != codec {
				codec = SeveralCodecs
			}
			r.Codecs[i] = codec
		}
		if Sniff(t.Type, t.Data)&(AudioFrame|VideoFrame) == 0 {
			continue
		}
		when := r.Last + int64(int32(t.Timestamp-uint32(r.Last)))
		if t.Type == TypeVideo {
			pictures++
			r.shown = max(r.shown, when+CompositionTime(t.Data))
		}
		if endless[i] {
			k := &ends[i]
			if endless[i] = !k.seen; endless[i] {
				*k = track{seen: true, last: when, latest: when}
			} else if step := k.last - when; 0 < step && step <= LongestStep {
				k.step, k.length = step, step
			}
		}
	}
}

// tagBefore reads the tag that ends at a place of a file, with no more of its body
// than tells what it is. It reports false when there is none.
func tagBefore(f io.ReaderAt, end int64) (t Tag, at int64, ok bool) {
	const enough = 64
	var trailer [TagTrailer]byte
	if _, err := f.ReadAt(trailer[:], end-TagTrailer); err != nil {
		return t, 0, false
	}
	length := int64(binary.BigEndian.Uint32(trailer[:]))
	at = end - TagTrailer - length
	if at < HeaderSize || length < TagHeader {
		return t, 0, false
	}
	head := make([]byte, min(length, TagHeader+enough))
	if _, err := f.ReadAt(head, at); err != nil {
		return t, 0, false
	}
	t, body, err := parseTagHeader(head)
	t.Data = head[TagHeader:]
	return t, at, err == nil && int64(body)+TagHeader == length
}

// Reset gives what puts the metadata of a complete file back to that of a file
// that grows, with a note.
func (m FileMetadata) Reset(note string) []Patch {
	return m.fill(&Summary{}, 0, m.fitting(note))
}

// fitting is a note for which there is room, or none.
func (m FileMetadata) fitting(note string) string {
	if !m.Fits(note) {
		return ""
	}
	return note
}

// Fits says whether there is room for a note in metadata that is there already.
func (m FileMetadata) Fits(note string) bool {
	return len(encodePadding(note, 0)) <= m.size-m.tail-withoutRoom
}

// ReadIndex gives the keyframe index that metadata has, empty for none.
func ReadIndex(body []byte) []IndexEntry {
	properties, err := ParseMetadata(body)
	if err != nil {
		return nil
	}
	var s Summary
	s.resume(amf0.ECMAArray(properties))
	return s.index
}

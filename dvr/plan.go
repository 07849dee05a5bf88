package dvr

import (
	"bytes"
	"cmp"
	"path"
	"slices"

	"srs/conf"
	"srs/flv"
	"srs/rtmp/live"
)

// Bounds of what is kept for the start of the next file.
const (
	maxHeaders    = 16      // sequence headers and the like: one of a kind for each track
	maxHeaderSize = 1 << 20 // bytes of one, and of the metadata
)

// maxStepBack is how far the time of one media type may go back before its
// encoder's clock has jumped, milliseconds: as on the time line.
const maxStepBack = 1000

// Plans, as the directive dvr_plan has them.
const (
	planSegment = "segment"
	planAppend  = "append"
)

// Why a file ends before its publish does.
const (
	otherCodecs   = "other codecs"
	noPictures    = "no pictures in it"
	noSound       = "no sound in it"
	otherHeaders  = "other headers"
	otherSettings = "other settings"
	timeBack      = "time jumps back"
)

// applies says whether a stream is among those that are recorded (dvr_apply).
func applies(d conf.DVR, app, stream string) bool {
	name := app + "/" + stream
	return slices.ContainsFunc(d.Apply, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok || pattern == name || pattern == "all"
	})
}

// A plan says where one file ends and the next begins. What it knows:
//
//	length   the file has reached dvr_duration (segment)
//	change   codec or headers are others than the file's, or come to a file that has
//	         nothing of the kind, or time has jumped back
//
// Either cuts in front of the next keyframe, so that the keyframe begins the new
// file; in front of any frame when this publish has no picture in it; and, because a
// stream without keyframes must not grow its file for ever, in front of any
// frame when the file is too long by as much again, and by maxHold.
type plan struct {
	settings conf.DVR
	joined   bool // the file has been continued by a second publish

	change   string    // why the next file is due; empty: it is not
	pictures bool      // of this publish, in the file
	codecs   [2]uint32 // by media type, as they came last in this publish
	former   media     // in the file in front of it
	raw      [2]uint32 // times
	came     [2]bool
}

// begin is told of a new file.
func (p *plan) begin() {
	p.change, p.pictures, p.joined, p.former = "", false, false, media{}
}

// join is told of a publish that continues the file, which has other codecs where
// this one has sent none.
func (p *plan) join(former media) {
	p.former, p.joined, p.pictures = former, true, false
}

// newest are the codecs of a file to which the publish writes.
func (p *plan) newest() (codecs [2]uint32) {
	for i := range codecs {
		codecs[i] = cmp.Or(p.codecs[i], p.former.codecs[i])
	}
	return codecs
}

// Media are what a file has that a publish may continue, by media type.
type media struct {
	codecs [2]uint32 // 0: unknown, or none
	lacks  [2]bool   // it has nothing of the kind
	told   [2]uint32 // what its metadata tells, though there may be none
}

func newMedia(codecs [2]uint32, s *flv.Summary, metadata []byte) media {
	there := [2]bool{flv.TypeAudio & 1: s.Audio, flv.TypeVideo & 1: s.Video}
	m := media{codecs: codecs, told: flv.ToldCodecs(metadata)}
	for i := range there {
		m.lacks[i] = !there[i] && codecs[i] == 0
	}
	return m
}

func mediaOf(res *flv.Resumed) media {
	return newMedia(res.Codecs, &res.Summary, res.Metadata.Body)
}

// differ says how the publish differs from a file: it has other codecs, or a kind of media
// that the file has none of; empty: not. It has sent it, or else its metadata tells of it, which comes
// before the first sound. Encoders that never have any sound may tell of one each time,
// and others tell of another codec than they send.
func (r *recording) differ(from media) string {
	told := flv.ToldCodecs(r.prologue.metadata)
	for i, sent := range r.plan.codecs {
		has := from.codecs[i]
		switch {
		case from.lacks[i]:
			if sent != 0 || r.plan.came[i] || told[i] != 0 && from.told[i] == 0 {
				return lacking(i)
			}
		case has == 0:
		case sent != 0:
			if sent != has {
				return otherCodecs
			}
		case told[i] != 0 && told[i] != has && told[i] != from.told[i]:
			return otherCodecs
		}
	}
	return ""
}

// lacking says that a file has nothing of a media type.
func lacking(i int) string {
	if i == flv.TypeAudio&1 {
		return noSound
	}
	return noPictures
}

// watch looks at a frame or header in front of everything else.
func (p *plan) watch(f live.Frame) {
	i := f.Type & 1
	if codec := flv.Codec(f.Type, f.Data); codec != 0 && flv.Track(f.Type, f.Data) == 0 {
		if was := p.newest()[i]; was != 0 && was != codec {
			p.change = otherCodecs
		}
		p.codecs[i] = codec
	}
	frame := f.Info&(flv.VideoFrame|flv.AudioFrame) != 0
	if p.former.lacks[i] && (frame || f.Info.Header()) {
		p.change = lacking(int(i))
	}
	if !frame {
		return
	}
	if p.came[i] && int32(f.Raw-p.raw[i]) < -maxStepBack && p.strict() && p.settings.TimeJitter == conf.JitterFull {
		p.change = timeBack // session: the time line has mended it; zero and off: see bridge
	}
	p.came[i], p.raw[i] = true, f.Raw
}

// header is told of a header that differs from the one before. A file that is to be
// continued has those that it begins with.
func (p *plan) header() {
	if p.change == "" && (p.strict() || p.settings.Plan == planAppend) {
		p.change = otherHeaders
	}
}

// strict plans have one set of headers and one run of time in a file.
func (p *plan) strict() bool { return p.settings.Plan == planSegment || p.joined }

// cuts says whether a frame begins a new file, the present one having lasted
// for age milliseconds, and for so many real ones.
func (p *plan) cuts(f live.Frame, age, real int64) bool {
	start := !p.pictures || f.Info&flv.Keyframe != 0
	length := p.settings.Duration.Milliseconds()
	long := p.settings.Plan == planSegment && length > 0
	switch {
	case start:
		return p.change != "" || long && age >= length
	case long:
		return real >= length+max(length, maxHold)
	}
	return false
}

// A prologue is what a file begins with: the newest metadata and headers.
type prologue struct {
	metadata []byte   // the newest body that can be read
	headers  []header // the newest of each track and kind, in the order they came
}

// A header is one that the publish has sent, or the one before it that began the
// file: no other file begins with that.
type header struct {
	flv.Tag
	former bool
}

// former is told of a publish that continues the file.
func (p *prologue) former() {
	p.metadata = nil
	for i := range p.headers {
		p.headers[i].former = true
	}
}

// inherit takes the headers of a file that is continued.
func (p *prologue) inherit(headers []flv.Tag) {
	for _, h := range headers {
		if p.find(h.Type, h.Data, flv.Sniff(h.Type, h.Data)) < 0 && len(p.headers) < maxHeaders {
			p.headers = append(p.headers, header{Tag: h, former: true})
		}
	}
}

// find gives the header of the same track and kind, or -1.
func (p *prologue) find(typ uint8, body []byte, info flv.Info) int {
	track := flv.Track(typ, body)
	return slices.IndexFunc(p.headers, func(h header) bool {
		return h.Type == typ && flv.Track(h.Type, h.Data) == track && flv.Sniff(h.Type, h.Data) == info
	})
}

// begin is told of a new file.
func (p *prologue) begin() {
	p.headers = slices.DeleteFunc(p.headers, func(h header) bool { return h.former })
}

// script takes a data message. A file has one onMetaData, its first tag: one
// that comes later counts for the next file. Other data messages are not
// recorded, as in SRS.
func (p *prologue) script(f live.Frame) {
	if f.Info&flv.Metadata == 0 || len(f.Data) > maxHeaderSize {
		return
	}
	if _, err := flv.ParseMetadata(f.Data); err == nil {
		p.metadata = bytes.Clone(f.Data)
	}
}

// remember keeps a sequence header, or what belongs beside one, and says whether
// it is another than before.
func (p *prologue) remember(f live.Frame) (differs bool) {
	if len(f.Data) > maxHeaderSize {
		return false
	}
	if i := p.find(f.Type, f.Data, f.Info); i >= 0 {
		h := &p.headers[i]
		if h.former = false; bytes.Equal(h.Data, f.Data) {
			return false
		}
		h.Data = bytes.Clone(f.Data)
		return true
	}
	if len(p.headers) < maxHeaders {
		p.headers = append(p.headers, header{Tag: flv.Tag{Type: f.Type, Data: bytes.Clone(f.Data)}})
	}
	return false
}

// of gives the headers of a media type that frames of a codec need; 0: of any.
func (p *prologue) of(typ uint8, codec uint32) (headers []flv.Tag) {
	for _, h := range p.headers {
		its := flv.Codec(typ, h.Data)
		other := its != 0 && codec != 0 && its != codec && flv.Track(typ, h.Data) == 0 && flv.Sniff(typ, h.Data).Header()
		if h.Type == typ && !h.former && !other { // the codec may come back, and its header with it or not
			headers = append(headers, h.Tag)
		}
	}
	return headers
}

// headers are those that the next frames of a media type need.
func (r *recording) headers(typ uint8) []flv.Tag { return r.prologue.of(typ, r.plan.codecs[typ&1]) }

// unfit says why the next frames cannot follow in a file, the first of them at a time of
// the stream; empty: they can. Where the file has the stream's own times it is not to go back.
func (r *recording) unfit(res *flv.Resumed, at uint32) string {
	if r.turn.settings.TimeJitter == conf.JitterOff && int32(at-uint32(res.Last)) < 0 {
		return timeBack
	}
	if what := r.differ(mediaOf(res)); what != "" {
		return what
	}
	for _, h := range slices.Concat(r.headers(flv.TypeVideo), r.headers(flv.TypeAudio)) {
		if !slices.ContainsFunc(res.Headers, func(o flv.Tag) bool { return o.Type == h.Type && bytes.Equal(o.Data, h.Data) }) {
			return otherHeaders
		}
	}
	return ""
}

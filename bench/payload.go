package main

import (
	"math/rand/v2"

	"srs/amf0"
	"srs/flv"
)

// A payload builds the bodies of one stream. It is not safe for concurrent use.
type payload struct {
	workload
	stream       uint32
	sequence     uint32 // of the next frame
	video, audio int    // bytes of a frame
	noise        []byte
	buf          []byte
}

// noiseShift moves the noise from message to message: a piece of one that got
// into another is then no fitting piece.
const noiseShift = 251

func newPayload(w workload, stream uint32) *payload {
	p := &payload{workload: w, stream: stream}
	p.video, p.audio = w.sizes()
	p.noise = make([]byte, max(keyWeight*p.video, p.audio, stampSize)+noiseShift)
	source := rand.New(rand.NewPCG(uint64(stream), 0))
	for i := range p.noise {
		p.noise[i] = byte(1 + source.IntN(255)) // no zeros: see seiID
	}
	return p
}

// frame returns the body of a frame that is sent now (ns since 1970). It is
// valid until the next call. Frames must come in the order they are sent in.
func (p *payload) frame(f frame, now int64) []byte {
	noise := p.noise[p.sequence%noiseShift:]
	switch {
	case f.typ == flv.TypeAudio:
		p.buf = appendAudio(p.buf[:0], noise, p.audio)
	case f.key:
		slice := idrSlices[f.number/p.frames()%uint32(len(idrSlices))]
		p.buf = appendVideo(p.buf[:0], true, slice, noise, keyWeight*p.video)
	default:
		slice := interSlices[f.number%p.frames()%uint32(len(interSlices))]
		p.buf = appendVideo(p.buf[:0], false, slice, noise, p.video)
	}
	stamp{stream: p.stream, number: f.number, sequence: p.sequence, sent: now}.write(f.typ, p.buf)
	p.sequence++
	return p.buf
}

// headers are the messages that come first: metadata as encoders send it,
// then how to decode.
func (p *payload) headers() []flv.Tag {
	properties := amf0.ECMAArray{
		{Key: "width", Value: float64(width)}, {Key: "height", Value: float64(height)},
		{Key: "framerate", Value: float64(p.FPS)},
		{Key: "videocodecid", Value: 7.0}, {Key: "videodatarate", Value: float64(p.Kbps - p.AudioKbps)},
	}
	if p.AudioKbps > 0 {
		properties = append(properties, amf0.ECMAArray{
			{Key: "audiocodecid", Value: 10.0}, {Key: "audiodatarate", Value: float64(p.AudioKbps)},
			{Key: "audiosamplerate", Value: float64(sampleRate)}, {Key: "audiosamplesize", Value: 16.0}, {Key: "stereo", Value: false},
		}...)
	}
	properties = append(properties, amf0.Property{Key: "encoder", Value: "srs/bench"})
	tags := []flv.Tag{
		{Type: flv.TypeScript, Data: amf0.Append(nil, "@setDataFrame", "onMetaData", properties)},
		{Type: flv.TypeVideo, Data: avcHeader},
	}
	if p.AudioKbps > 0 {
		tags = append(tags, flv.Tag{Type: flv.TypeAudio, Data: aacHeader})
	}
	return tags
}

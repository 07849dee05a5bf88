package flv

import (
	"encoding/binary"
	"math"
)

// Info is what the first bytes of a tag body tell.
type Info uint8

// Facts that Sniff finds. A frame is an audio or video tag with media in it.
const (
	Keyframe    Info = 1 << iota // a video frame from which decoding can start: of the main track, 0, where there are several
	VideoHeader                  // a video sequence header (decoder configuration)
	AudioHeader                  // an audio sequence header
	Metadata                     // a script tag named onMetaData
	VideoFrame                   // a video tag with a picture, or of unknown content
	AudioFrame                   // an audio tag with sound, or of unknown content
	Setup                        // no header, but wanted beside it: colour info, channel layout
)

// Header reports whether the tag configures a decoder.
func (i Info) Header() bool { return i&(VideoHeader|AudioHeader) != 0 }

// Legacy codec ids (FLV specification E.4.2.1 and E.4.3.1) that carry a
// packet type byte behind them, and the values of that byte.
const (
	soundFormatAAC      = 10
	soundFormatExHeader = 9 // Enhanced RTMP v2: the low bits are a packet type

	codecAVC  = 7
	codecHEVC = 12 // not in the specification; used by Chinese encoders
	codecAV1  = 13 // likewise

	frameTypeKey     = 1
	frameTypeCommand = 5 // one byte for the player (client-side seeking), no picture
)

// Packet types of Enhanced RTMP v2 (section "Enhanced Video", "Enhanced Audio").
const (
	exSequenceStart        = 0
	exCodedFrames          = 1
	exSequenceEnd          = 2
	exVideoCodedFramesX    = 3
	exVideoMetadata        = 4
	exVideoMPEG2TSSequence = 5
	exVideoMultitrack      = 6
	exAudioMultichannel    = 4
	exAudioMultitrack      = 5
	exModEx                = 7
)

// maxModEx bounds the modifier records that are skipped to find the packet type.
const maxModEx = 16

// metadataName is an AMF0 string marker, its length and "onMetaData".
var metadataName = []byte("\x02\x00\x0aonMetaData")

// Sniff tells what a tag is from its first bytes. It never fails: a body that
// is too short or of an unknown shape is a frame, or nothing when empty.
func Sniff(typ uint8, body []byte) Info {
	if len(body) == 0 {
		return 0
	}
	switch typ {
	case TypeVideo:
		return sniffVideo(body)
	case TypeAudio:
		return sniffAudio(body)
	case TypeScript:
		if len(body) >= len(metadataName) && string(body[:len(metadataName)]) == string(metadataName) {
			return Metadata
		}
	}
	return 0
}

func sniffVideo(body []byte) Info {
	frameType := body[0] >> 4 & 7
	key := frameType == frameTypeKey
	if frameType == frameTypeCommand {
		return 0 // of legacy and enhanced bodies alike, whatever stands behind it
	}
	if body[0]&0x80 != 0 {
		packet, track := exPacketType(body, exVideoMultitrack)
		switch packet {
		case exSequenceStart, exVideoMPEG2TSSequence:
			return VideoHeader
		case exCodedFrames, exVideoCodedFramesX:
			if key && track == 0 {
				return VideoFrame | Keyframe
			}
		case exVideoMetadata:
			return Setup
		case exSequenceEnd:
			return 0
		}
		return VideoFrame
	}
	switch body[0] & 0x0f {
	case codecAVC, codecHEVC, codecAV1:
		if len(body) < 2 {
			return 0
		}
		switch body[1] {
		case 0:
			return VideoHeader
		case 2: // end of sequence
			return 0
		}
	}
	if key {
		return VideoFrame | Keyframe
	}
	return VideoFrame
}

func sniffAudio(body []byte) Info {
	switch body[0] >> 4 {
	case soundFormatAAC:
		if len(body) < 2 {
			return 0
		}
		if body[1] == 0 {
			return AudioHeader
		}
	case soundFormatExHeader:
		packet, _ := exPacketType(body, exAudioMultitrack)
		switch packet {
		case exSequenceStart:
			return AudioHeader
		case exAudioMultichannel:
			return Setup
		case exSequenceEnd:
			return 0
		}
	}
	return AudioFrame
}

// Track gives the track that an audio or video body belongs to: the track id
// of an Enhanced RTMP message with one track, else 0. Each track has a sequence
// header of its own.
func Track(typ uint8, body []byte) uint8 {
	if len(body) == 0 {
		return 0
	}
	switch {
	case typ == TypeVideo && body[0]&0x80 != 0:
		_, track := exPacketType(body, exVideoMultitrack)
		return track
	case typ == TypeAudio && body[0]>>4 == soundFormatExHeader:
		_, track := exPacketType(body, exAudioMultitrack)
		return track
	}
	return 0
}

// exPacketType follows ModEx records and the multitrack byte of an enhanced
// header to the packet type that says what the body is, and to the track id.
// A body that ends before it has said so counts as coded frames of no known
// kind, of track 0.
func exPacketType(body []byte, multitrack byte) (packet, track byte) {
	const (
		unknown  = 0xff
		oneTrack = 0 // AvMultitrackType: FourCC, track id, body
	)
	packet, rest := body[0]&0x0f, body[1:]
	for n := 0; packet == exModEx; n++ {
		if n == maxModEx || len(rest) < 1 {
			return unknown, 0
		}
		size := int(rest[0]) + 1
		rest = rest[1:]
		if size == 256 {
			if len(rest) < 2 {
				return unknown, 0
			}
			size = int(rest[0])<<8 | int(rest[1])
			size++
			rest = rest[2:]
		}
		if len(rest) < size+1 {
			return unknown, 0
		}
		packet = rest[size] & 0x0f
		rest = rest[size+1:]
	}
	if packet == multitrack {
		if len(rest) < 1 {
			return unknown, 0
		}
		kind := rest[0] >> 4
		packet = rest[0] & 0x0f
		if kind == oneTrack && len(rest) >= 6 {
			track = rest[5]
		}
	}
	return packet, track
}

// Codec gives the codec of an audio or video body: the FourCC of an enhanced
// body, the codec id of a legacy one, 0 when it is not said or lies deeper than
// the first bytes (several tracks, modifiers).
func Codec(typ uint8, body []byte) uint32 {
	if len(body) == 0 {
		return 0
	}
	enhanced, deeper := body[0]&0x80 != 0, byte(exVideoMultitrack)
	id := body[0] & 0x0f
	if typ == TypeAudio {
		enhanced, deeper = body[0]>>4 == soundFormatExHeader, exAudioMultitrack
		id = body[0] >> 4
	}
	switch {
	case !enhanced:
		return 1 + uint32(id)
	case body[0]&0x0f >= deeper || len(body) < 5:
		return 0
	}
	return binary.BigEndian.Uint32(body[1:])
}

// ToldCodecs gives the codecs that the body of a publisher's onMetaData tells, by
// Type&1 and as Codec does; 0 where it tells none. Many say 0 where there is no sound.
func ToldCodecs(metadata []byte) (codecs [2]uint32) {
	properties, _ := ParseMetadata(metadata)
	for _, p := range properties {
		id, _ := p.Value.(float64)
		if id <= 0 || id > math.MaxUint32 {
			continue
		}
		codec := uint32(id)
		if codec < 1<<4 {
			codec++ // not a FourCC
		}
		switch p.Key {
		case "audiocodecid":
			codecs[TypeAudio&1] = codec
		case "videocodecid":
			codecs[TypeVideo&1] = codec
		}
	}
	return codecs
}

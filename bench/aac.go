package main

// Sound: silence, in frames that are filled up with data stream elements,
// which decoders skip.
const (
	sampleRate     = 44100
	samplesOfFrame = 1024

	dseHead    = 0x81 // id_syn_ele 4, tag 0, data_byte_align_flag (ISO 14496-3 table 4.10)
	maxDSE     = 510  // bytes of one element: count and escape count
	escapeFrom = 255
)

// FLV audio tag head: AAC; the other bits are fixed for it (FLV E.4.2.1).
var aacHead = []byte{0xaf, 1}

// aacHeader is the audio sequence header: AudioSpecificConfig of AAC-LC, 44100
// Hz, mono (ISO 14496-3 §1.6.2.1).
var aacHeader = []byte{0xaf, 0, 0x12, 0x08}

// silence is a single channel element without any band in use, 29 bits of
// zeros, and the end of the frame (ISO 14496-3 table 4.4).
var silence = []byte{0, 0, 0, 0x07}

// audioStampAt is where the stamp stands: alone in the first element.
const audioStampAt = 2 + 2

// appendAudio adds the body of an audio frame of about size bytes, with room
// for the stamp.
func appendAudio(dst, noise []byte, size int) []byte {
	end := len(dst) + size - len(silence)
	dst = append(dst, aacHead...)
	dst = append(dst, dseHead, stampSize)
	dst = append(dst, noise[:stampSize]...) // the stamp's place
	for {
		n := end - len(dst) - 2
		if n >= escapeFrom {
			n = min(n-1, maxDSE)
		}
		if n <= 0 {
			break
		}
		if n >= escapeFrom {
			dst = append(dst, dseHead, escapeFrom, byte(n-escapeFrom))
		} else {
			dst = append(dst, dseHead, byte(n))
		}
		dst = append(dst, noise[:n]...)
	}
	return append(dst, silence...)
}

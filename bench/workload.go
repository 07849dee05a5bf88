package main

import (
	"flag"
	"fmt"
	"time"

	"srs/flv"
)

// A workload says what a stream is made of.
type workload struct {
	Kbps      int           `json:"kbps"`       // of all bodies, 1000 bit/s
	AudioKbps int           `json:"audio_kbps"` // of them; 0: no audio
	FPS       int           `json:"fps"`
	GOP       time.Duration `json:"gop_ns"` // from keyframe to keyframe
}

// keyWeight is how many times larger a keyframe is than another frame.
const keyWeight = 5

// maxFrame bounds a frame: what servers take as a message.
const maxFrame = 8 << 20

func (w *workload) flags(fs *flag.FlagSet) {
	fs.IntVar(&w.Kbps, "kbps", 500, "rate of a stream in `kbit/s`, audio included")
	fs.IntVar(&w.AudioKbps, "audio-kbps", 128, "of it audio, `kbit/s`, in 43 messages/s; 0: no audio")
	fs.IntVar(&w.FPS, "fps", 25, "video `frames` per second")
	fs.DurationVar(&w.GOP, "gop", 2*time.Second, "`time` between keyframes")
}

func (w workload) check() error {
	switch {
	case w.FPS < 1 || w.FPS > 1000:
		return fmt.Errorf("%w: -fps must be 1 to 1000", errUsage)
	case w.AudioKbps < 0 || w.Kbps <= w.AudioKbps:
		return fmt.Errorf("%w: -kbps must be more than -audio-kbps, which must not be below 0", errUsage)
	case w.GOP < 0 || w.GOP > time.Hour:
		return fmt.Errorf("%w: -gop must be 0 to 1h", errUsage)
	}
	if video, audio := w.sizes(); keyWeight*video > maxFrame || audio > maxFrame {
		return fmt.Errorf("%w: -kbps %d makes frames of more than %d bytes", errUsage, w.Kbps, maxFrame)
	}
	return nil
}

// frames returns how many video frames there are from keyframe to keyframe.
func (w workload) frames() uint32 {
	return uint32(max(1, w.GOP*time.Duration(w.FPS)/time.Second))
}

// sizes returns how large a video frame that is no keyframe is, and an audio frame.
func (w workload) sizes() (video, audio int) {
	n := int(w.frames())
	perGOP := float64(w.Kbps-w.AudioKbps) * 1000 / 8 * float64(n) / float64(w.FPS)
	video = int(perGOP / float64(n-1+keyWeight))
	audio = int(float64(w.AudioKbps) * 1000 / 8 * samplesOfFrame / sampleRate)
	return video, audio
}

// A frame is one message to be sent.
type frame struct {
	typ    uint8
	key    bool
	number uint32        // among the frames of its type
	at     time.Duration // since the start of the stream
}

func (f frame) timestamp() uint32 { return uint32(f.at / time.Millisecond) }

// A schedule gives the frames of a stream in the order of their times. It
// begins with a keyframe.
type schedule struct {
	workload
	video, audio uint32 // frames given so far
}

func (s *schedule) next() frame {
	gop := s.frames()
	v := frame{typ: flv.TypeVideo, key: s.video%gop == 0, number: s.video, at: perSecond(uint64(s.video), uint64(s.FPS))}
	a := frame{typ: flv.TypeAudio, number: s.audio, at: perSecond(uint64(s.audio)*samplesOfFrame, sampleRate)}
	if s.AudioKbps == 0 || v.at <= a.at {
		s.video++
		return v
	}
	s.audio++
	return a
}

// perSecond is the time of event n of so many per second, without overflow.
func perSecond(n, rate uint64) time.Duration {
	return time.Duration(n/rate)*time.Second + time.Duration(n%rate)*time.Second/time.Duration(rate)
}

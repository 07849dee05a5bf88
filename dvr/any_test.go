package dvr

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"srs/amf0"
	"srs/conf"
	"srs/flv"
)

// TestAnyPublish plays publishes made by chance through settings made by chance and
// looks at all files: each frame is in one, in its order, behind its own header; a file
// is whole and as it was told of, begins near 0 and with a keyframe, and its times are as
// far apart as they were sent. DVR_SEEDS says how many (make stress), DVR_SEED the first of them.
func TestAnyPublish(t *testing.T) {
	number := func(name string, otherwise uint64) uint64 {
		n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
		if err != nil {
			return otherwise
		}
		return n
	}
	const maxFailures = 3
	failures := 0
	for seed := range number("DVR_SEEDS", 150) {
		seed += number("DVR_SEED", 1)
		if a := playAny(t, seed); len(a.wrong) > 0 {
			t.Errorf("DVR_SEED=%d: %s\n\t%s", seed, a.story.String(), strings.Join(a.wrong[:min(len(a.wrong), 5)], "\n\t"))
			if failures++; failures == maxFailures {
				return
			}
		}
	}
}

// An anyRun is what one seed makes.
type anyRun struct {
	*rand.Rand
	settings conf.DVR // as far as they are chosen
	sent     []anyFrame
	now      [2]anyFrame // by media type: codec and header of the next one
	clocks   int
	story    strings.Builder
	wrong    []string
	found    map[uint32]string // the file of a frame
}

// An anyFrame is one that was sent; its payload ends in its place among them.
type anyFrame struct {
	codec, header byte
	at            uint32
	publish       int  // and how often clocks have jumped before
	wanted        bool // in a file
}

const (
	avc, hevc = 7, 12
	aac, mp3s = 10, 2
)

func playAny(t *testing.T, seed uint64) *anyRun {
	a := &anyRun{Rand: rand.New(rand.NewPCG(seed, 0)), found: map[uint32]string{}}
	a.now = [2]anyFrame{flv.TypeAudio & 1: {codec: aac, header: 1}, flv.TypeVideo & 1: {codec: avc, header: 1}}
	d := &a.settings
	d.Plan = []string{"session", planSegment, planAppend}[a.IntN(3)]
	d.Duration = time.Duration(2+a.IntN(4)) * time.Second
	d.WaitKeyframe = !a.oneOf(4)
	d.TimeJitter = []conf.Jitter{conf.JitterFull, conf.JitterZero, conf.JitterOff}[a.IntN(3)]
	if a.oneOf(2) {
		d.ReconnectGrace = 10 * time.Second
	}
	fmt.Fprintf(&a.story, "%s of %v, wait %v, jitter %v, grace %v", d.Plan, d.Duration, d.WaitKeyframe, d.TimeJitter, d.ReconnectGrace)
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv", func(c *conf.DVR) {
			c.Plan, c.Duration, c.WaitKeyframe, c.TimeJitter, c.ReconnectGrace = d.Plan, d.Duration, d.WaitKeyframe, d.TimeJitter, d.ReconnectGrace
		})
		for range 1 + a.IntN(3) {
			f := s.start("x")
			a.publish(f)
			f.unpublish()
			if a.oneOf(3) {
				time.Sleep(time.Duration(a.IntN(14)) * time.Second)
			}
		}
		time.Sleep(d.ReconnectGrace + retryAfter)
		synctest.Wait()
		a.judge(s)
	})
	return a
}

// oneOf is true in one of n cases.
func (a *anyRun) oneOf(n int) bool { return a.IntN(n) == 0 }

// between is a number from one to below another.
func (a *anyRun) between(least, most uint32) uint32 { return least + a.Uint32N(most-least) }

// tell adds to the story of the run.
func (a *anyRun) tell(format string, args ...any) { fmt.Fprintf(&a.story, format, args...) }

func (a *anyRun) fault(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

// publish sends up to nine seconds of pictures, sound or both, in which codecs, headers
// and the clock change now and then.
func (a *anyRun) publish(f *feed) {
	video, sound := !a.oneOf(5), !a.oneOf(5)
	sound = sound || !video
	base, length, late, groups := uint32(0), a.between(0, 9000), uint32(0), a.between(200, 1900)
	switch a.IntN(6) {
	case 0:
		base = -a.between(0, 5000) // the 32 bits wrap
	case 1, 2, 3:
		base = a.between(0, 100_000)
	}
	switch a.IntN(6) {
	case 0:
		late = a.between(0, 3000)
	case 1, 2:
		late = a.between(0, 300)
	}
	a.clocks++
	a.tell("; publish video %v, sound %v, from %d for %d ms, sound %d ms late, groups of %d ms", video, sound, base, length, late, groups)
	if a.oneOf(2) {
		f.send(metadata(a.told("videocodecid", flv.TypeVideo, video), a.told("audiocodecid", flv.TypeAudio, sound)))
	}
	if video {
		a.header(f, flv.TypeVideo, 0)
	}
	if sound {
		a.header(f, flv.TypeAudio, 0)
	}
	pictureAt, soundAt, keyAt := a.between(0, 100), a.between(0, 100), uint32(0)
	const maxSteps = 2 // forward: more would count for as much as a keyframe is waited for
	begun, shown, steps := false, false, 0
	for at := uint32(0); at < length; at += 20 {
		if video && pictureAt <= at {
			key := !begun && !a.oneOf(3) || begun && pictureAt-keyAt >= groups
			if begun = true; key {
				keyAt, shown = pictureAt, true
			}
			a.change(f, flv.TypeVideo, base+pictureAt, key && a.oneOf(25), a.oneOf(150))
			a.frame(f, flv.TypeVideo, base+pictureAt, key, shown || !a.settings.WaitKeyframe)
			pictureAt += 40
		}
		if sound && soundAt+late <= at {
			a.change(f, flv.TypeAudio, base+soundAt, a.oneOf(400), a.oneOf(200))
			a.frame(f, flv.TypeAudio, base+soundAt, true, true)
			soundAt += 23
		}
		if back := a.between(1001, 20_000); a.oneOf(400) && back < base {
			base -= back
			a.clocks++
			a.tell(", back by %d at %d", back, at)
		} else if a.oneOf(400) && steps < maxSteps {
			steps++
			base += 2 * back
			a.clocks++
			a.tell(", on by %d at %d", 2*back, at)
		}
		if a.oneOf(50) {
			time.Sleep(time.Duration(a.IntN(900)) * time.Millisecond)
		}
	}
}

// told is a codec in the metadata, not always a true one.
func (a *anyRun) told(property string, typ uint8, there bool) amf0.Property {
	switch {
	case !there:
		return amf0.Property{Key: "comment", Value: ""}
	case a.oneOf(4):
		return amf0.Property{Key: property, Value: 6.0}
	}
	return amf0.Property{Key: property, Value: float64(a.now[typ&1].codec)}
}

// change sends another codec or header.
func (a *anyRun) change(f *feed, typ uint8, at uint32, codec, header bool) {
	now := &a.now[typ&1]
	if codec {
		now.codec = map[byte]byte{avc: hevc, hevc: avc, aac: mp3s, mp3s: aac}[now.codec]
		a.tell(", codec %d at %d", now.codec, at)
	}
	if codec || header {
		now.header++
		a.tell(", header %d of %d at %d", now.header, now.codec, at)
		a.header(f, typ, at)
	}
}

// header sends the newest header of a media type, if its codec has one.
func (a *anyRun) header(f *feed, typ uint8, at uint32) {
	now := a.now[typ&1]
	switch {
	case typ == flv.TypeVideo:
		f.send(flv.Tag{Type: typ, Timestamp: at, Data: []byte{0x10 | now.codec, 0, 0, 0, 0, now.header}})
	case now.codec == aac:
		f.send(flv.Tag{Type: typ, Timestamp: at, Data: []byte{0xaf, 0, now.header}})
	}
}

// frame sends a frame.
func (a *anyRun) frame(f *feed, typ uint8, at uint32, key, wanted bool) {
	now := a.now[typ&1]
	data := []byte{now.codec<<4 | 0xf, 1}
	if typ == flv.TypeVideo {
		data = []byte{0x20 | now.codec, 1, 0, 0, 0}
		if key {
			data[0] = 0x10 | now.codec
		}
	}
	f.send(flv.Tag{Type: typ, Timestamp: at, Data: binary.BigEndian.AppendUint32(data, uint32(len(a.sent)))})
	now.at, now.publish, now.wanted = at, a.clocks, wanted
	a.sent = append(a.sent, now)
}

// judge looks at all files.
func (a *anyRun) judge(s *site) {
	durations, order := map[string]float64{}, []string(nil) // as they were told of last
	for _, ev := range s.events() {
		if ev.Error != "" {
			a.fault("%s lacks %s", ev.File, ev.Error)
		}
		if _, again := durations[ev.File]; !again {
			order = append(order, ev.File)
		}
		durations[ev.File] = ev.Duration.Seconds()
	}
	for _, name := range s.files() {
		if !slices.Contains(order, name) {
			a.fault("nobody was told of %s", name)
		}
	}
	for _, name := range order {
		p := parse(s.t, s.cwd+"/"+name)
		if p.duration != durations[name] {
			a.fault("%s lasts %v s, told were %v", name, p.duration, durations[name])
		}
		a.judgeFile(name, p)
		f, err := os.Open(s.cwd + "/" + name)
		if err != nil {
			s.t.Fatal(err)
		}
		if rep, err := flv.Scan(f); err != nil || !rep.Whole() {
			a.fault("%s: %v, %v", name, rep.Flaw(), err)
		}
		f.Close()
	}
	for number, sent := range a.sent {
		if a.found[uint32(number)] == "" && sent.wanted {
			a.fault("frame %d is in no file", number)
		}
	}
}

// judgeFile looks at one file.
func (a *anyRun) judgeFile(name string, p parsed) {
	var header [2]anyFrame
	var last [2]uint32
	var came [2]bool
	var before [2]uint32
	publish, least := -1, uint32(0)
	begun, shown, previous := false, false, -1
	for _, tag := range p.tags {
		i, info := tag.Type&1, flv.Sniff(tag.Type, tag.Data)
		codec := tag.Data[0] & 15
		if tag.Type == flv.TypeAudio {
			codec = tag.Data[0] >> 4
		}
		if info.Header() {
			header[i] = anyFrame{codec: codec, header: tag.Data[len(tag.Data)-1]}
			continue
		}
		number := binary.BigEndian.Uint32(tag.Data[len(tag.Data)-4:])
		if other := a.found[number]; other != "" {
			a.fault("frame %d is in %s and in %s", number, other, name)
		}
		if a.found[number] = name; int(number) <= previous {
			a.fault("%s: frame %d comes behind %d", name, number, previous)
		}
		previous = int(number)
		if sent := a.sent[number]; sent.codec != mp3s && (header[i].codec != sent.codec || header[i].header != sent.header) {
			a.fault("%s: frame %d of header %d has header %d", name, number, sent.header, header[i].header)
		}
		at := tag.Timestamp
		if !begun && at > maxStepBack && a.settings.TimeJitter != conf.JitterOff {
			a.fault("%s begins at %d", name, at)
		}
		begun = true
		if came[i] && int32(at-last[i]) < -maxStepBack {
			a.fault("%s: the time goes back from %d to %d", name, last[i], at)
		}
		was, is := a.sent[before[i]], a.sent[number]
		if is.publish != publish {
			publish, least = is.publish, at
		}
		// What is from before the first frame has its time.
		if came[i] && was.publish == publish && int32(last[i]-least) > 0 && at != last[i]+is.at-was.at {
			a.fault("%s: frame %d comes %d ms behind %d, and was sent %d ms behind", name, number, int32(at-last[i]), before[i], is.at-was.at)
		}
		came[i], last[i], before[i] = true, at, number
		if tag.Type == flv.TypeVideo {
			if !shown && a.settings.WaitKeyframe && info&flv.Keyframe == 0 {
				a.fault("%s begins with frame %d, no keyframe", name, number)
			}
			shown = true
		}
	}
	if !begun {
		a.fault("%s has no frame", name)
	}
}

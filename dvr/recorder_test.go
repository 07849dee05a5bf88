package dvr

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"srs/conf"
	"srs/flv"
	"srs/hook"
	"srs/rtmp/live"
)

// A feed is the frame source of a test: what live.Reader is to a recording.
type feed struct {
	mu     sync.Mutex
	frames []live.Frame
	given  live.Frame // last
	ended  bool
	short  bool // the last frames were skipped
	over   chan struct{}
	closed chan struct{}
}

func newFeed() *feed { return &feed{over: make(chan struct{}), closed: make(chan struct{})} }

func (f *feed) Over() <-chan struct{} { return f.over }

func (f *feed) Poll() (live.Frame, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case len(f.frames) > 0:
		frame := f.frames[0]
		f.frames, f.given = f.frames[1:], frame
		f.given.Gap, f.given.Skipped = false, 0 // it has been said
		return frame, true, nil
	case f.ended:
		return live.Frame{Gap: f.short, Skipped: 5}, false, io.EOF
	}
	return live.Frame{}, false, nil
}

func (f *feed) Unread() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frames = append([]live.Frame{f.given}, f.frames...)
}

func (f *feed) Wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.frames) - 1; i > 0; i-- {
		if f.frames[i].Info&flv.Keyframe != 0 {
			for _, passed := range f.frames[:i] {
				f.frames[i].Skipped += 1 + passed.Skipped
			}
			f.frames = f.frames[i:]
			f.frames[0].Gap = true
			return
		}
	}
}

func (f *feed) Close() { close(f.closed) }

func (f *feed) add(frame live.Frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frames = append(f.frames, frame)
}

// send publishes tags.
func (f *feed) send(tags ...flv.Tag) {
	for _, t := range tags {
		f.add(live.Frame{
			Tag:  flv.Tag{Type: t.Type, Timestamp: t.Timestamp, Data: bytes.Clone(t.Data)},
			Raw:  t.Timestamp,
			Info: flv.Sniff(t.Type, t.Data),
		})
	}
}

// gap publishes a tag behind seven skipped ones.
func (f *feed) gap(t flv.Tag) {
	f.add(live.Frame{Tag: t, Raw: t.Timestamp, Info: flv.Sniff(t.Type, t.Data), Gap: true, Skipped: 7})
}

// unpublish ends the publish and waits until the recording has done with it.
func (f *feed) unpublish() {
	f.end()
	<-f.closed
	synctest.Wait()
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	close(f.over)
}

// A site is a Recorder on a directory of the test.
type site struct {
	t *testing.T
	*Recorder
	cwd  string
	conf atomic.Pointer[conf.Config]

	mu        sync.Mutex
	heard     []hook.Event
	forgetful bool // nothing of what is told survives a crash
	goesOn    bool // a file may be continued (append) before it is told of, when one before it is completed late
	logged    bytes.Buffer
	publish   uint64
}

// newSite makes one whose vhost "v" records to template.
func newSite(t *testing.T, template string, change ...func(*conf.DVR)) *site {
	s := &site{t: t, cwd: t.TempDir()}
	sites.Store(s, true)
	t.Cleanup(func() { sites.Delete(s) })
	dvr := conf.DVR{Enabled: true, Plan: "session", Apply: []string{"all"}, Path: template, WaitKeyframe: true, Sync: testSync}
	for _, c := range change {
		c(&dvr)
	}
	config := &conf.Config{Vhosts: []*conf.Vhost{
		{Name: "off", Enabled: true},
		{Name: "absent", DVR: conf.DVR{Enabled: true, Path: template}},
		{Name: "v", Enabled: true, DVR: dvr, Hooks: conf.Hooks{Enabled: true, OnDVR: []string{"http://127.0.0.1/"}}},
	}}
	s.conf.Store(config)
	s.Recorder = New(Options{
		Conf: s.conf.Load,
		Tell: s.tell,
		Log:  slog.New(slog.NewTextHandler(lockedWriter{s}, nil)),
		Cwd:  s.cwd,
		Now:  func() time.Time { return third },
	})
	return s
}

// run has the caretaker work, from now on to the end of the test.
func (s *site) run() {
	s.Start()
	s.t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
}

type lockedWriter struct{ s *site }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.logged.Write(b)
}

// tell takes on_dvr; the file must be there already, with what the event says.
func (s *site) tell(ev hook.Event, kept func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.forgetful {
		kept()
	}
	s.heard = append(s.heard, ev)
	path := ev.File
	if !filepath.IsAbs(path) {
		path = filepath.Join(ev.Cwd, ev.File)
	}
	if ev.Size == 0 && ev.Error != "" || strings.Contains(ev.Error, "moved since") {
		return // of frames that are in no file, or of one that is gone
	}
	st, err := os.Stat(path)
	for try := 0; s.goesOn && err != nil && try < 100; try++ { // it may get the one name or the other between two looks
		if st, err = os.Stat(path + tmp); err != nil {
			st, err = os.Stat(path)
		}
	}
	if err != nil || st.Size() != ev.Size && (!s.goesOn || st.Size() < ev.Size) {
		s.t.Errorf("told of %s with %d bytes: %v, %v", ev.File, ev.Size, st, err)
	}
}

func (s *site) events() []hook.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]hook.Event(nil), s.heard...)
}

// only gives the one event that came.
func (s *site) only() hook.Event {
	s.t.Helper()
	ev := s.events()
	if len(ev) != 1 {
		s.t.Fatalf("%d on_dvr, want 1: %+v\n%s", len(ev), ev, s.log())
	}
	return ev[0]
}

// wantLost checks that the one event tells of frames that are in no file.
func (s *site) wantLost(file, why string) {
	s.t.Helper()
	if ev := s.only(); ev.File != file || ev.Size != 0 || ev.Duration != 0 || ev.Error != why {
		s.t.Errorf("%+v, want %q, %q", ev, file, why)
	}
}

func (s *site) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logged.String()
}

// start begins a publish.
func (s *site) start(stream string) *feed { return s.startAs("v", stream) }

func (s *site) startAs(vhost, stream string) *feed {
	s.publish++
	f := newFeed()
	opened := false
	s.record(live.Publisher{ClientID: s.publish, IP: "127.0.0.1", Vhost: vhost, App: "live", Stream: stream, TcURL: "rtmp://h/live", Param: "?k=v"},
		func() source { opened = true; return f })
	if !opened {
		return nil
	}
	return f
}

// files lists everything below the working directory but marks, which are there
// for a moment behind each on_dvr.
func (s *site) files() []string {
	s.t.Helper()
	var files []string
	err := filepath.WalkDir(s.cwd, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) != done {
			name, _ := filepath.Rel(s.cwd, path)
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

func (s *site) wantFiles(want ...string) {
	s.t.Helper()
	if got := s.files(); strings.Join(got, " ") != strings.Join(want, " ") {
		s.t.Errorf("files %q, want %q", got, want)
	}
}

// A parsed file, with its metadata apart.
type parsed struct {
	audio, video       bool
	properties         map[string]any
	tags               []flv.Tag // behind the metadata
	size               int64
	duration, filesize float64
}

func parse(t *testing.T, path string) parsed {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := flv.NewReader(bytes.NewReader(b))
	p := parsed{size: int64(len(b)), properties: map[string]any{}}
	if p.audio, p.video, err = r.Header(); err != nil {
		t.Fatal(err)
	}
	for {
		tag, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: tag %d: %v", path, len(p.tags), err)
		}
		tag.Data = bytes.Clone(tag.Data)
		p.tags = append(p.tags, tag)
	}
	if len(p.tags) == 0 || p.tags[0].Type != flv.TypeScript || p.tags[0].Timestamp != 0 {
		t.Fatalf("%s does not begin with metadata", path)
	}
	properties, err := flv.ParseMetadata(p.tags[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, property := range properties {
		p.properties[property.Key] = property.Value
	}
	p.duration, _ = p.properties["duration"].(float64)
	p.filesize, _ = p.properties["filesize"].(float64)
	if int64(p.filesize) != p.size {
		t.Errorf("%s: filesize %v, has %d", path, p.filesize, p.size)
	}
	p.tags = p.tags[1:]
	return p
}

// frames counts its frames.
func (p parsed) frames() (n int) {
	for _, tag := range p.tags {
		if flv.Sniff(tag.Type, tag.Data)&(flv.VideoFrame|flv.AudioFrame) != 0 {
			n++
		}
	}
	return n
}

// read parses the file of an event.
func (s *site) read(ev hook.Event) parsed {
	s.t.Helper()
	p := parse(s.t, filepath.Join(s.cwd, ev.File))
	if p.duration != ev.Duration.Seconds() {
		s.t.Errorf("duration %v in the file, %v in the event", p.duration, ev.Duration)
	}
	return p
}

func wantTags(t *testing.T, got []flv.Tag, want ...flv.Tag) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d tags, want %d\n got %v\nwant %v", len(got), len(want), got, want)
	}
	for i := range want {
		if got[i].Type != want[i].Type || got[i].Timestamp != want[i].Timestamp || !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("tag %d = %v, want %v", i, got[i], want[i])
		}
	}
}

// Tags as an AVC and AAC encoder sends them.
var (
	videoHeader = flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 0, 0, 0, 0, 1, 0x64}}
	audioHeader = flv.Tag{Type: flv.TypeAudio, Data: []byte{0xaf, 0, 0x12, 0x10}}
)

func key(at uint32) flv.Tag {
	return flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: []byte{0x17, 1, 0, 0, 0, 'K', byte(at)}}
}

func inter(at uint32) flv.Tag {
	return flv.Tag{Type: flv.TypeVideo, Timestamp: at, Data: []byte{0x27, 1, 0, 0, 0, 'P', byte(at)}}
}

func audio(at uint32) flv.Tag {
	return flv.Tag{Type: flv.TypeAudio, Timestamp: at, Data: []byte{0xaf, 1, 'A', byte(at)}}
}

func at(t flv.Tag, ts uint32) flv.Tag {
	t.Timestamp = ts
	return t
}

func TestOnDVR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "./objs/html/[app]/[stream].[timestamp].flv")
		f := s.start("livestream")
		f.send(videoHeader, key(0), inter(40), inter(80))
		f.unpublish()
		want := hook.Event{
			Action: hook.OnDVR, ClientID: 1, IP: "127.0.0.1", Vhost: "v", App: "live", Stream: "livestream",
			TcURL: "rtmp://h/live", Param: "?k=v",
			Cwd: s.cwd, File: "./objs/html/live/livestream." + thirdMillis + ".flv",
			Duration: 120 * time.Millisecond, Size: s.only().Size, ID: s.only().ID,
		}
		if got := s.only(); got != want {
			t.Errorf("event %+v\n want %+v", got, want)
		}
		s.wantFiles("objs/html/live/livestream." + thirdMillis + ".flv")
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestVhostsThatDoNotRecord(t *testing.T) {
	s := newSite(t, "[stream].flv")
	for _, vhost := range []string{"off", "absent", "unknown"} {
		if s.startAs(vhost, "x") != nil {
			t.Errorf("vhost %q records", vhost)
		}
	}
}

func TestAbsolutePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := newSite(t, dir+"/new/[stream].flv")
		f := s.start("x")
		f.send(audio(0))
		f.unpublish()
		if got := s.only().File; got != dir+"/new/x.flv" {
			t.Errorf("file %q", got)
		}
	})
}

// TestClose: what has been published is complete when Close returns.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		var feeds []*feed
		for _, stream := range []string{"a", "b", "c"} {
			f := s.start(stream)
			f.send(audio(0), audio(23))
			feeds = append(feeds, f)
		}
		go func() {
			for _, f := range feeds {
				time.Sleep(time.Second) // of the bubble
				f.end()
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took < 3*time.Second || took > 3*time.Second+2*closingPoll {
			t.Errorf("Close took %v", took)
		}
		if len(s.events()) != 3 {
			t.Errorf("%d on_dvr", len(s.events()))
		}
		s.wantFiles("a.flv", "b.flv", "c.flv")
		if s.start("late") != nil {
			t.Error("a closed recorder records")
		}
	})
}

// TestCloseCutsOff: a publish that does not end keeps nobody from shutting down,
// and its file is complete.
func TestCloseCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		f := s.start("x")
		f.send(audio(0), audio(23))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		<-f.closed
		if p := s.read(s.only()); len(p.tags) != 2 {
			t.Errorf("%d tags", len(p.tags))
		}
		s.wantFiles("x.flv")
	})
}

// TestCloseGivesUp: a hung disk does not hang Close.
func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "[stream].flv")
		hung := make(chan struct{})
		for range diskCalls {
			go s.disk(s.cwd, func() { <-hung })
		}
		synctest.Wait()
		f := s.start("x")
		f.send(audio(0)) // waits for the disk from here on
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err == nil || !strings.Contains(err.Error(), "1 recordings") {
			t.Errorf("Close: %v", err)
		}
		// Another directory is not affected.
		ran := false
		s.disk("/elsewhere", func() { ran = true })
		if !ran {
			t.Error("a hung disk stops another")
		}
		close(hung)
		<-f.closed
		synctest.Wait()
	})
}

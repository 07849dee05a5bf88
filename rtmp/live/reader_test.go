package live

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"srs/flv"
	"srs/rtmp/chunk"
)

// read takes all tags that are there and returns them in words, in front
// of the one behind a gap "|" and how many were passed over.
// end is io.EOF where the publication is over.
func read(t testing.TB, r *Reader, end error) []string {
	t.Helper()
	var words []string
	for {
		f, ok, err := r.Poll()
		if !ok {
			if err != end {
				t.Errorf("the reading ends with %v, want %v", err, end)
			}
			if f.Gap {
				words = append(words, fmt.Sprint("|", f.Skipped))
			}
			return words
		}
		gap := ""
		if f.Gap {
			gap = fmt.Sprint("|", f.Skipped, ":")
		}
		if f.Info != flv.Sniff(f.Type, f.Data) {
			t.Errorf("info %b", f.Info)
		}
		words = append(words, fmt.Sprintf("%s%s/%d", gap, word(chunk.Message{Body: f.Data, Timestamp: f.Timestamp}), f.Raw))
	}
}

// TestReaderReadsItsPublication from first to last, and not the next one.
func TestReaderReadsItsPublication(t *testing.T) {
	checkLeaks(t)
	var readers []*Reader
	r := NewRegistry(watcher(func(p *Publication) { readers = append(readers, p.NewReader(NewLag(1<<20, 1<<40))) }))
	player := hear(t, r, time.Second)
	p := start(t, r, usual())
	write(p, at(5, meta("1")), at(5, videoHeader("1")), at(1000, key(300)), at(1040, inter(9)))
	middle := p.NewReader(NewLag(1<<20, 1<<40))
	write(p, at(1080, inter(9)))
	p.Close()
	next := start(t, r, usual())
	write(next, at(9, sound(9)))
	want(t, read(t, readers[0], io.EOF), "meta1@0/5 video1@0/5 key@0/1000 inter@40/1040 inter@80/1080")
	want(t, read(t, readers[0], io.EOF), "")
	want(t, read(t, middle, io.EOF), "inter@80/1080")
	want(t, read(t, readers[1], nil), "sound@120/9")
	next.Close()
	want(t, read(t, readers[1], io.EOF), "")
	for _, rd := range append(readers, middle) {
		rd.Close()
	}
	player.sub.Close()
}

// TestReaderTooLate: a reader of a publication that is over is at its end,
// whether the stream is still there or a new one has its name.
func TestReaderTooLate(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	write(p, key(9))
	p.Close()
	other := start(t, r, usual())
	rd := p.NewReader(NewLag(1, 1<<40))
	want(t, read(t, rd, io.EOF), "")
	rd.Close()
	if r.Streams() != 1 {
		t.Error("the other stream was forgotten")
	}
	other.Close()
	player := hear(t, r, time.Second)
	p = start(t, r, usual())
	write(p, key(9))
	p.Close()
	rd = p.NewReader(NewLag(1, 1<<40))
	want(t, read(t, rd, io.EOF), "")
	rd.Close()
	player.sub.Close()
}

// TestReaderPayload: what is read back is what was written, at every size
// around the chunk and block sizes, with and without extended timestamps.
func TestReaderPayload(t *testing.T) {
	checkLeaks(t)
	sizes := []int{0, 1, 5, 127, 128, 129, 255, 256, 257, 4095, 4096, 4097, 65535, 65536, 65537, 1<<20 - 30, 1 << 20, 1<<20 + 1, 2 << 20}
	for _, size := range []int{128, 4096, 60000} {
		s := usual()
		s.ChunkSize, s.Time = size, TimeOff
		p := start(t, NewRegistry(), s)
		rd := p.NewReader(NewLag(64<<20, 1<<40))
		for i, n := range sizes {
			for _, time := range []uint32{0, 0xfffffe, 0xffffff, 0xffffffff} {
				body := []byte(strings.Repeat(string(rune('a'+i)), n))
				p.Write(flv.Tag{Type: flv.TypeVideo, Timestamp: time, Data: body})
				clear(body) // it is the caller's again
				f, ok, err := rd.Poll()
				if !ok || err != nil || f.Timestamp != time || string(f.Data) != strings.Repeat(string(rune('a'+i)), n) {
					t.Fatalf("chunk size %d, %d bytes at %d: got %d bytes at %d, %v", size, n, time, len(f.Data), f.Timestamp, err)
				}
			}
		}
		p.Close()
		rd.Close()
	}
}

// TestReaderOver: it is said when the publication ends; what is left can be
// read then.
func TestReaderOver(t *testing.T) {
	checkLeaks(t)
	p := start(t, NewRegistry(), usual())
	rd := p.NewReader(NewLag(1<<20, 1<<40))
	write(p, at(0, key(9)))
	select {
	case <-rd.Over():
		t.Error("it is over already")
	default:
	}
	p.Close()
	<-rd.Over()
	want(t, read(t, rd, io.EOF), "key@0/0")
	rd.Close()
}

// TestReaderLags: the publisher moves a reader on that does not come, to the newest
// keyframe if the reader's bound lets it, and the tag behind the gap says so.
func TestReaderLags(t *testing.T) {
	for _, c := range []struct {
		name   string
		maxLag int
		words  string
	}{
		{"within its bound", 1 << 20, "key@0/0 inter@40/40 key@80/80 inter@120/120 sound@130/130"},
		{"to the keyframe", 100_000, "|2:key@80/80 inter@120/120 sound@130/130"},
		{"to the end", 1000, "|3:inter@120/120 sound@130/130"},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLeaks(t)
			p := start(t, NewRegistry(), usual())
			rd := p.NewReader(NewLag(c.maxLag, 1<<40))
			write(p, at(0, key(40_000)), at(40, inter(40_000)), at(80, key(40_000)), at(120, inter(40_000)), at(130, sound(9)))
			want(t, read(t, rd, nil), c.words)
			p.Close()
			want(t, read(t, rd, io.EOF), "")
			rd.Close()
		})
	}
}

// TestReaderGapHasHeaders: headers that changed inside the gap come before the
// first tag behind it.
func TestReaderGapHasHeaders(t *testing.T) {
	checkLeaks(t)
	p := start(t, NewRegistry(), usual())
	rd := p.NewReader(NewLag(100_000, 1<<40))
	write(p, at(0, videoHeader("1")), at(0, audioHeader("1")), at(0, key(40_000)), at(40, inter(40_000)),
		at(80, videoHeader("2")), at(80, key(40_000)), at(120, inter(40_000)))
	want(t, read(t, rd, nil), "|5:audio1@80/80 video2@80/80 key@80/80 inter@120/120")
	p.Close()
	want(t, read(t, rd, io.EOF), "")
	rd.Close()
}

// TestReaderLagsBehindTheNext: a reader still busy with a publication that is
// over must not pile up the next one's bytes. It learns that it has lost some.
func TestReaderLagsBehindTheNext(t *testing.T) {
	checkLeaks(t)
	r := NewRegistry()
	p := start(t, r, usual())
	rd := p.NewReader(NewLag(10_000, 1<<40))
	write(p, at(0, key(9000)))
	p.Close()
	p = start(t, r, usual())
	write(p, at(0, key(9000)), at(40, inter(9000)))
	want(t, read(t, rd, io.EOF), "|1")
	rd.Close()
	p.Close()
}

// TestLagOfAll: as long as all readers together are within their bound, one may
// be behind by its own, however many there are; beyond it only by its share.
func TestLagOfAll(t *testing.T) {
	checkLeaks(t)
	lag := NewLag(1<<20, 600_000)
	idle := start(t, NewRegistry(), usual())
	for range 9 { // with nothing to read
		rd := idle.NewReader(lag)
		defer rd.Close()
	}
	defer idle.Close()
	p := start(t, NewRegistry(), usual())
	rd := p.NewReader(lag)
	for i := range uint32(10) {
		write(p, at(i*40, key(40_000)))
	}
	if n := len(read(t, rd, nil)); n != 10 || lag.behind.Load() != 0 {
		t.Errorf("%d frames of 10, %d bytes behind at the end", n, lag.behind.Load())
	}
	for i := range uint32(20) {
		write(p, at(400+i*40, key(40_000)))
	}
	if got := lag.behind.Load(); got > 700_000 {
		t.Errorf("%d bytes behind", got)
	}
	words := read(t, rd, nil)
	if n := len(words); n == 0 || n > 17 || !strings.HasPrefix(words[0], "|") {
		t.Errorf("%q", words)
	}
	p.Close()
	rd.Close()
}

// TestReaderWaits: who takes no tags for a while keeps nothing but what players
// begin with, and a tag that was given back comes once more, if it is there.
func TestReaderWaits(t *testing.T) {
	checkLeaks(t)
	off := usual()
	off.GopCache = false
	for _, c := range []struct {
		name     string
		settings Settings
		more     []flv.Tag // behind "key@0 inter@40", of which the second was given back
		want     string    // and then at the end
		end      string
	}{
		{"no newer keyframe", usual(), []flv.Tag{at(80, inter(9))}, "inter@40/40 inter@80/80", ""},
		{"a newer one", usual(), []flv.Tag{at(80, inter(9)), videoHeader("2"), at(120, key(9)), at(160, inter(9))},
			"|3:video2@120/120 key@120/120 inter@160/160", ""},
		{"no picture is kept", off, []flv.Tag{at(80, inter(9)), at(120, key(9)), at(160, inter(9))}, "", "|4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, NewRegistry(), c.settings)
			rd := p.NewReader(NewLag(1<<20, 1<<40))
			write(p, at(0, key(9)), at(40, inter(9)))
			want(t, read(t, rd, nil), "key@0/0 inter@40/40")
			rd.Unread()
			rd.Wait()
			write(p, c.more...)
			rd.Wait()
			rd.Wait()
			want(t, read(t, rd, nil), c.want)
			p.Close()
			rd.Wait()
			want(t, read(t, rd, io.EOF), c.end)
			rd.Close()
		})
	}
}

// TestReaderUnreadTooLate: a tag that is given back when the reader was moved on
// is one of those that were passed over.
func TestReaderUnreadTooLate(t *testing.T) {
	checkLeaks(t)
	p := start(t, NewRegistry(), usual())
	rd := p.NewReader(NewLag(1<<20, 1<<40))
	write(p, at(0, inter(9)))
	want(t, read(t, rd, nil), "inter@0/0")
	write(p, at(40, inter(9)), at(80, key(9)))
	rd.Wait()
	rd.Unread()
	want(t, read(t, rd, nil), "|2:key@80/80")
	p.Close()
	rd.Close()
}

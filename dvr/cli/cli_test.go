package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"srs/flv"
)

// growing is a file as a server writes it, of some pictures, one a second.
func growing(pictures int) []byte {
	b := flv.AppendHeader(nil, true, true)
	b = flv.AppendTag(b, flv.Tag{Type: flv.TypeScript, Data: flv.NewFileMetadata(nil, 10, "note", "").Body})
	for i := range pictures {
		b = flv.AppendTag(b, flv.Tag{Type: flv.TypeVideo, Timestamp: uint32(i) * 1000, Data: []byte{0x17, 1, 0, 0, 0, byte(i)}})
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rest has a file look as if nobody had written to it for long.
func rest(t *testing.T, path string) {
	t.Helper()
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
}

// run is the command line in a directory.
func run(args ...string) (code int, stdout, stderr string) {
	var out, diag bytes.Buffer
	code = Run(args, &out, &diag)
	return code, out.String(), diag.String()
}

func TestCheckAndRepair(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	b := growing(4)
	write(t, "x.flv.tmp", b[:len(b)-3])
	write(t, "x.flv", []byte("an earlier recording"))

	code, out, diag := run("check", "x.flv.tmp")
	if code != 1 || diag != "" || !strings.HasPrefix(out, "x.flv.tmp: damaged behind byte ") || !strings.Contains(out, "(unexpected EOF) (repair cuts that off); ") ||
		!strings.Contains(out, "; duration 3.000 s, 3 frames (3 video, 0 audio), 3 keyframes, 0 gaps, ") {
		t.Errorf("check: %d, %s%s", code, out, diag)
	}
	code, out, diag = run("repair", "x.flv.tmp")
	if code != 0 || diag != "" || !strings.HasPrefix(out, "x.flv.tmp: repaired, 18 bytes cut off, now x-1.flv; duration 3.000 s, 3 frames") {
		t.Errorf("repair: %d, %s%s", code, out, diag)
	}
	if earlier, _ := os.ReadFile("x.flv"); string(earlier) != "an earlier recording" {
		t.Error("an existing file was replaced")
	}
	for _, command := range []string{"check", "repair"} {
		code, out, diag = run(command, "x-1.flv")
		if code != 0 || diag != "" || !strings.HasPrefix(out, "x-1.flv: whole") {
			t.Errorf("%s of the repaired file: %d, %s%s", command, code, out, diag)
		}
	}
	if left, _ := filepath.Glob("*"); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
}

// TestDamageInTheMiddle: what is whole behind the damage is not cut off unasked.
func TestDamageInTheMiddle(t *testing.T) {
	t.Chdir(t.TempDir())
	b := growing(6)
	picture := flv.TagFrame + 6
	b[len(b)-4*picture-1] ^= 1 // in the size behind the second picture's tag
	write(t, "x.flv", b)
	code, out, _ := run("check", "x.flv")
	if code != 1 || !strings.Contains(out, ", goes on at byte ") || !strings.Contains(out, " (repair --cut cuts off all behind the damage); ") {
		t.Errorf("check: %d, %s", code, out)
	}
	code, _, diag := run("repair", "x.flv")
	if code != 1 || !strings.Contains(diag, "nothing was changed; with --cut all behind it goes, ") {
		t.Errorf("repair: %d, %s", code, diag)
	}
	if now, _ := os.ReadFile("x.flv"); !bytes.Equal(now, b) {
		t.Error("it was changed")
	}
	code, out, diag = run("repair", "--cut", "x.flv")
	if code != 0 || !strings.Contains(out, "repaired, ") || !strings.Contains(out, " 1 frames") {
		t.Errorf("repair --cut: %d, %s%s", code, out, diag)
	}
}

func TestGaps(t *testing.T) {
	t.Chdir(t.TempDir())
	b := growing(2)
	b = flv.AppendTag(b, flv.Tag{Type: flv.TypeVideo, Timestamp: 9500, Data: []byte{0x27, 1, 0, 0, 0, 1}})
	write(t, "x.flv", b)
	if code, out, _ := run("check", "x.flv"); code != 1 || !strings.Contains(out, "not completed") || !strings.Contains(out, "1 gaps (the longest 8.500 s)") {
		t.Errorf("%d, %s", code, out)
	}
}

// TestRefuses: what is no recording, or one under way, is not touched; the other
// files are still looked at.
func TestRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "text.flv", []byte("no recording at all, by no means"))
	write(t, "short.flv", []byte("FLV"))
	write(t, "busy.flv.tmp", growing(3))
	write(t, "good.flv", growing(3))
	if err := unix.Mkfifo("pipe.flv", 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := os.Open("busy.flv.tmp")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := unix.Flock(int(busy.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	code, out, diag := run("check", "busy.flv.tmp", "good.flv")
	if code != 1 || diag != "" || !strings.Contains(out, "busy.flv.tmp: being recorded: a server is writing it, and completes it; duration 3.000 s") ||
		!strings.Contains(out, "good.flv: not completed: its metadata does not say what is in it (repair mends it); ") {
		t.Errorf("check: %d\n%s%s", code, out, diag)
	}
	code, out, diag = run("repair", "absent.flv", "text.flv", "short.flv", "busy.flv.tmp", "pipe.flv", ".", "good.flv")
	if code != 1 || strings.Count(diag, "\n") != 6 || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "good.flv: repaired;") {
		t.Errorf("%d\n%s%s", code, out, diag)
	}
	for _, part := range []string{"absent.flv: no such file", "text.flv: flv: bad format", "short.flv: it ends within its header", "busy.flv.tmp: a server is recording to it", "pipe.flv: not a regular file"} {
		if !strings.Contains(diag, part) {
			t.Errorf("no %q in\n%s", part, diag)
		}
	}
	if b, _ := os.ReadFile("busy.flv.tmp"); !bytes.Equal(b, growing(3)) {
		t.Error("a file under way was changed")
	}
}

// TestLinks: a file gets another name under its own only, and one that has its name is
// repaired through a link, too.
func TestLinks(t *testing.T) {
	t.Chdir(t.TempDir())
	b := growing(3)
	if err := os.Mkdir("d", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, "d/x.flv.tmp", b)
	write(t, "d/y.flv", b[:len(b)-3])
	for link, to := range map[string]string{"link.flv.tmp": "d/x.flv.tmp", "link": "link.flv.tmp", "y": "d/y.flv", "y.flv.tmp": "y"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link.flv.tmp": "d/x.flv.tmp", "link": "d/x.flv.tmp", "y.flv.tmp": "d/y.flv"} {
		code, out, diag := run("repair", link)
		if code != 1 || out != "" || diag != "srs dvr repair: "+link+": it is a symbolic link to "+to+": nothing was changed; repair that file itself\n" {
			t.Errorf("%s: %d, %s%s", link, code, out, diag)
		}
	}
	if got, err := os.ReadFile("d/x.flv.tmp"); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the file has changed: %v", err)
	}
	for path, state := range map[string]string{"y": "repaired, ", "d/x.flv.tmp": "repaired, now d/x.flv"} {
		if code, out, diag := run("repair", path); code != 0 || diag != "" || !strings.HasPrefix(out, path+": "+state) {
			t.Errorf("%s: %d, %s%s", path, code, out, diag)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	const usage = "srs dvr repair FILE..."
	for _, c := range []struct {
		args        []string
		code        int
		out, errout string
	}{
		{nil, 2, "", usage},
		{[]string{"check"}, 2, "", "check which file?"},
		{[]string{"check", "--"}, 2, "", "check which file?"},
		{[]string{"mend", "x"}, 2, "", `unknown command "mend"`},
		{[]string{"check", "-v", "x"}, 2, "", "unknown option -v; a file of this name is ./-v"},
		{[]string{"-h"}, 0, usage, ""},
		{[]string{"help"}, 0, usage, ""},
		{[]string{"check", "--help"}, 0, usage, ""},
		{[]string{"repair", "x", "-h"}, 0, usage, ""},
		{[]string{"check", "--", "-h"}, 1, "", "open -h: no such file"},
	} {
		code, out, diag := run(c.args...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(diag, c.errout) || (out == "") != (c.out == "") || (diag == "") != (c.errout == "") {
			t.Errorf("%q: %d, %q, %q", c.args, code, out, diag)
		}
	}
}

// TestMarks: a mark that a glob gives is no recording, and no fault.
func TestMarks(t *testing.T) {
	t.Chdir(t.TempDir())
	mark := "x.flv.1f-ABCDEFGHIJKLMNOPQRSTUVWXYZ.done"
	write(t, mark, []byte("{}"))
	for _, command := range []string{"check", "repair"} {
		code, out, diag := run(command, mark)
		if code != 0 || diag != "" || !strings.Contains(out, mark+": passed over, no recording: it is there until x.flv is announced") {
			t.Errorf("%s: %d, %s%s", command, code, out, diag)
		}
	}
}

// TestNothingRecorded: a file without any frame is not whole, and is not made a
// recording.
func TestNothingRecorded(t *testing.T) {
	t.Chdir(t.TempDir())
	const before = "damaged behind byte "
	for name, c := range map[string]struct {
		content    []byte
		say, wrong string
	}{
		"header.flv":   {flv.AppendHeader(nil, true, true), "no frame is in it", ""},
		"left.flv.tmp": {growing(0), "no frame is in it", ""},
		"torn.flv.tmp": {growing(0)[:100], before, ", and no frame is in front of that"},
		"hole.flv.tmp": {append(append(flv.AppendHeader(nil, true, true), make([]byte, 100)...), growing(9)[flv.HeaderSize:]...), before, ", and no frame is in front of that"},
	} {
		write(t, name, c.content)
		for _, args := range [][]string{{"check", name}, {"repair", name}, {"repair", "--cut", name}} {
			code, out, diag := run(args...)
			if text := out + diag; code != 1 || !strings.Contains(text, name+": "+c.say) || !strings.Contains(text, c.wrong) ||
				strings.Contains(text, "(repair ") || strings.Contains(text, "with --cut") || args[0] == "repair" && !strings.Contains(diag, ": nothing was changed") {
				t.Errorf("%q: %d, %s%s", args, code, out, diag)
			}
		}
		if b, err := os.ReadFile(name); !bytes.Equal(b, c.content) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
}

// TestRemedy: repair is a remedy only for what it can write.
func TestRemedy(t *testing.T) {
	t.Chdir(t.TempDir())
	b := flv.AppendHeader(nil, false, true)
	b = flv.AppendTag(b, flv.Tag{Type: flv.TypeScript, Data: append([]byte("\x02\x00\x0aonMetaData\x08\x00\x00\x00\x01\x00\x08duration\x00"), make([]byte, 8+3)...)})
	b[len(b)-flv.TagTrailer-1] = 9 // its end
	write(t, "x.flv", append(b, growing(3)[len(growing(0)):]...))
	rest(t, "x.flv")
	for i, c := range []struct{ command, say string }{
		{"check", "x.flv: whole, but its metadata does not tell duration and size (repair writes them)"}, {"repair", "x.flv: repaired (its metadata has no room for size, an index of keyframes); "},
		{"check", "x.flv: whole; "}, {"repair", "x.flv: whole, nothing to do (its metadata has no room for size, an index of keyframes); "},
	} {
		if code, out, diag := run(c.command, "x.flv"); code != 0 || !strings.HasPrefix(out, c.say) {
			t.Errorf("%d %s: %d, %s%s", i, c.command, code, out, diag)
		}
	}
}

// TestForeignGrows: a file that another program may be writing is changed only when that
// is wanted. One that is as it is to be is none.
func TestForeignGrows(t *testing.T) {
	t.Chdir(t.TempDir())
	b := append(flv.AppendHeader(nil, false, true), growing(3)[len(growing(0)):]...)
	write(t, "cut.flv", b[:len(b)-3])
	write(t, "left.flv.tmp", b)
	write(t, "whole.flv", b)
	code, out, diag := run("repair", "cut.flv", "left.flv.tmp", "whole.flv")
	if code != 1 || strings.Count(diag, ": another program may be writing it, somebody did ") != 2 || strings.Count(diag, "; repair it in ") != 2 ||
		!strings.Contains(diag, "or with --now") || !strings.HasPrefix(out, "whole.flv: whole, nothing to do") {
		t.Errorf("%d, %s%s", code, out, diag)
	}
	if now, _ := os.ReadFile("cut.flv"); !bytes.Equal(now, b[:len(b)-3]) {
		t.Error("it was changed")
	}
	code, out, diag = run("repair", "--now", "cut.flv", "left.flv.tmp")
	if code != 0 || diag != "" || !strings.Contains(out, "cut.flv: repaired, ") || !strings.Contains(out, ", now left.flv;") {
		t.Errorf("--now: %d, %s%s", code, out, diag)
	}
	write(t, "cut.flv", b[:len(b)-3])
	rest(t, "cut.flv")
	if code, out, diag = run("repair", "cut.flv"); code != 0 || !strings.Contains(out, "cut.flv: repaired, ") {
		t.Errorf("at rest: %d, %s%s", code, out, diag)
	}
}

// TestRenameUnknown: where the file system cannot rename without replacing, a
// leftover still gets its name, and nothing is replaced. That call fails in a
// process of its own under strace.
func TestRenameUnknown(t *testing.T) {
	if dir := os.Getenv("DVR_TEST_RENAME"); dir != "" {
		t.Chdir(dir)
		if code, out, diag := run("repair", "x.flv.tmp"); code != 0 || !strings.Contains(out, ", now x-1.flv;") {
			t.Errorf("%d, %s%s", code, out, diag)
		}
		return
	}
	dir := t.TempDir()
	write(t, dir+"/x.flv.tmp", growing(3))
	write(t, dir+"/x.flv", []byte("an earlier recording"))
	cmd := exec.Command("strace", "-f", "-qq", "-o", dir+"/strace.log", "-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL",
		os.Args[0], "-test.run=^TestRenameUnknown$")
	cmd.Env = append(os.Environ(), "DVR_TEST_RENAME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	earlier, err := os.ReadFile(dir + "/x.flv")
	if log, _ := os.ReadFile(dir + "/strace.log"); err != nil || string(earlier) != "an earlier recording" || !bytes.Contains(log, []byte("INJECTED")) {
		t.Errorf("%v, %q\n%s", err, earlier, log)
	}
}

// TestOtherPrograms: files that ffmpeg and flvmeta have completed are whole, cut
// ones are not; what has no index of another program comes out whole.
func TestOtherPrograms(t *testing.T) {
	t.Chdir(t.TempDir())
	program := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	program("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x96:rate=25", "-f", "lavfi", "-i", "sine", "-t", "3",
		"-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "2", "-pix_fmt", "yuv420p", "-c:a", "aac", "file.flv")
	copied := func(name string, options ...string) {
		program(append(append([]string{"ffmpeg", "-v", "error", "-i", "file.flv", "-c", "copy"}, options...), name)...)
	}
	copied("index.flv", "-flvflags", "add_keyframe_index")
	copied("plain.flv", "-flvflags", "no_metadata")
	copied("unsaid.flv", "-flvflags", "no_duration_filesize")
	copied("sound.flv", "-vn")
	copied("pictures.flv", "-an")
	program("flvmeta", "--update", "file.flv", "updated.flv")
	program("sh", "-c", "ffmpeg -v error -i file.flv -c copy -f flv - >live.flv")
	files := []string{"file.flv", "index.flv", "plain.flv", "unsaid.flv", "sound.flv", "pictures.flv", "updated.flv", "live.flv"}
	const no = "its metadata has no room for "
	noRoom := map[string]string{
		"file.flv": no + "an index of keyframes)", "unsaid.flv": no + "duration, size, an index of keyframes)", "plain.flv": no + "duration, size, an index of keyframes)",
		"live.flv": no + "an index of keyframes)",
	}
	code, out, diag := run(append([]string{"check"}, files...)...)
	if code != 0 || diag != "" || strings.Count(out, ".flv: whole; ") != len(files)-1 || !strings.Contains(out, "live.flv: whole, but its metadata does not tell duration and size") {
		t.Errorf("%d\n%s%s", code, out, diag)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, "cut.flv", b[:len(b)/2])
		rest(t, "cut.flv")
		if code, out, _ := run("check", "cut.flv"); code != 1 || !strings.Contains(out, "damaged behind byte") {
			t.Errorf("%s cut: %d, %s", name, code, out)
		}
		code, out, diag := run("repair", "cut.flv")
		indexed := name == "index.flv" || name == "updated.flv"
		if code != 0 || diag != "" || strings.Contains(out, "as far as it goes: its index") != indexed || !strings.Contains(out, noRoom[name]) || strings.Contains(out, no) != (noRoom[name] != "" || name == "pictures.flv") {
			t.Errorf("%s repaired: %d, %s%s", name, code, out, diag)
		}
		if code, out, _ := run("check", "cut.flv"); (code != 0) != indexed || strings.Contains(out, "(repair leaves an index of another program as it is)") != indexed {
			t.Errorf("%s checked again: %d, %s", name, code, out)
		}
	}
}

// TestRepairRights: a recording of a server that says who has published is its owner's
// alone to read, and when that is taken out it is as others are; nobody else's rights change.
func TestRepairRights(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("new", nil, 0o664); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat("new")
	if err != nil {
		t.Fatal(err)
	}
	b := growing(4)
	foreign := flv.AppendTag(flv.AppendHeader(nil, true, true), flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 1, 0, 0, 0, 0}})
	const note = `{"client_id":7,"stream":"x","param":"?token=secret","mode":416}`
	continued := flv.AppendHeader(nil, true, true)
	continued = flv.AppendTag(continued, flv.Tag{Type: flv.TypeScript, Data: flv.NewFileMetadata(nil, 10, note, "").Body})
	continued = flv.AppendTag(continued, flv.Tag{Type: flv.TypeVideo, Data: []byte{0x17, 1, 0, 0, 0, 0}})
	for _, c := range []struct {
		name, to string
		text     []byte
		want     os.FileMode
	}{
		{"x.flv.tmp", "x.flv", b, info.Mode()},
		{"named.flv", "named.flv", b, info.Mode()},
		{"continued.flv.tmp", "continued.flv", continued, 0o640},
		{"foreign.flv.tmp", "foreign.flv", foreign, 0o600},
	} {
		write(t, c.name, c.text)
		rest(t, c.name)
		if code, out, diag := run("repair", c.name); code != 0 || !strings.Contains(out, "repaired") && c.want != 0o600 {
			t.Errorf("%d, %s%s", code, out, diag)
		}
		if got, err := os.Stat(c.to); err != nil || got.Mode() != c.want {
			t.Errorf("%s has the rights %v, %v, want %v", c.to, got.Mode(), err, c.want)
		}
		if text, err := os.ReadFile(c.to); err != nil || bytes.Contains(text, []byte("secret")) {
			t.Errorf("%s says who has published, %v", c.to, err)
		}
	}
}

package e2e

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cleanCopy copies what is, or would be, in the repository: what a clone has.
func cleanCopy(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(root, name), filepath.Join(dir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return dir
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, in)
	return err
}

// buildTime is what a build in a clean copy may take on a busy machine.
const buildTime = 5 * time.Minute

// TestMakeDemo: in a clean clone, one command shows everything and ends.
func TestMakeDemo(t *testing.T) {
	cmd := exec.Command("make", "demo")
	cmd.Dir, cmd.Env = cleanCopy(t), cleanEnv()
	demo := startProcess(t, cmd)
	if code := demo.exit(t, buildTime); code != 0 {
		t.Fatalf("make demo ended with %d:\n%s", code, demo.text())
	}
	for _, action := range []string{"on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop", "on_dvr"} {
		if len(demo.matching(0, action)) == 0 {
			t.Errorf("the demo shows no %s", action)
		}
	}
	for _, pattern := range []string{`^ *0 lost in 0 gaps, 0 out of order`, `/demo\.\d+\.flv$`} {
		if len(demo.matching(0, pattern)) == 0 {
			t.Errorf("the demo prints nothing like %q", pattern)
		}
	}
	if t.Failed() {
		t.Log(demo.text())
	}
}

// newcomer does what README says, in a network of its own, where port 1935 is
// free whatever runs on this machine: make run, the printed line that
// publishes, and a player in place of the printed one, which wants a screen.
const newcomer = `
set -eu
ip link set lo up
make run >run.log 2>&1 &
make=$!
tries=0
until grep -q 'ffplay rtmp://127.0.0.1:1935/live/livestream' run.log; do # the last line srs greets with
	tries=$((tries+1)); [ $tries -lt 2400 ] || { cat run.log; exit 3; }
	kill -0 $make || { cat run.log; exit 4; }
	sleep 0.1
done
line=$(sed -n 's/^ *\(ffmpeg .*\)$/\1/p' run.log | head -1)
[ -n "$line" ] || { cat run.log; exit 6; }
echo "publish: $line"
timeout -s INT 8 $line >publish.log 2>&1 </dev/null &
ffmpeg -v error -nostdin -i rtmp://127.0.0.1:1935/live/livestream -t 2 -c copy -f framemd5 played.txt || { cat run.log publish.log; exit 5; }
echo "frames: $(grep -vc '^#' played.txt)"
kill -TERM $(cat objs/srs.pid)
code=0; wait $make || code=$?
echo "make run: $code"
exit $code
`

// TestMakeRun: in a clean clone, make run serves, and what it prints works.
func TestMakeRun(t *testing.T) {
	args := []string{"-n", "sh", "-c", newcomer}
	if os.Getuid() != 0 {
		args = append([]string{"-r"}, args...)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Dir, cmd.Env = cleanCopy(t), cleanEnv()
	run := startProcess(t, cmd)
	if code := run.exit(t, buildTime); code != 0 {
		t.Fatalf("ended with %d:\n%s", code, run.text())
	}
	if len(run.matching(0, `frames: \d{2,}`)) == 0 {
		t.Errorf("too little was played:\n%s", run.text())
	}
}

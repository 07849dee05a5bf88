package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nginxCommand is what {nginx} stands for: nginx with its RTMP module, as it
// comes with Debian, as one process that sends at once and writes nothing.
const nginxCommand = "{nginxprogram} -p {dir} -e {dir}/nginx.log -c {nginxconf}"

// Where programs and modules of nginx are, besides $PATH.
var (
	nginxPrograms = []string{"/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/nginx/sbin/nginx"}
	nginxModules  = []string{"/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/local/nginx/modules", "/usr/share/nginx/modules"}
)

const nginxModule = "ngx_rtmp_module.so"

// A player starts at a keyframe, or its first frames would be at fault. Other
// than that, things are as the module's makers chose.
const nginxConf = `# Written by bench compare.
load_module %[1]s;
%[5]sdaemon off;
master_process off;
worker_rlimit_nofile %[4]d;
pid %[3]s/nginx.pid;
error_log %[3]s/nginx.log warn;
events { worker_connections %[4]d; }
rtmp {
    access_log off;
    server {
        listen %[2]s;
        chunk_size 4096;
        application live { live on; wait_key on; }
    }
}
`

func findNginx() (string, error) {
	if path, err := exec.LookPath("nginx"); err == nil {
		return path, nil
	}
	return findFile("nginx", "nginx", nginxPrograms)
}

// findFile returns the first path that exists.
func findFile(what, debian string, paths []string) (string, error) {
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: no %s in %s; on Debian: apt-get install %s", errMissing, what, strings.Join(paths, ", "), debian)
}

// errMissing says that a program to compare with is not installed.
var errMissing = errors.New("not installed")

// writeNginx writes a configuration and returns its path.
func (p place) writeNginx() (string, error) {
	var modules []string
	for _, dir := range nginxModules {
		modules = append(modules, filepath.Join(dir, nginxModule))
	}
	module, err := findFile("RTMP module of nginx", "libnginx-mod-rtmp", modules)
	if err != nil {
		return "", err
	}
	user := "" // only root may say who
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	path := filepath.Join(p.dir, "nginx.conf")
	text := fmt.Appendf(nil, nginxConf, module, p.address, p.dir, p.connections+spareFiles, user)
	return path, os.WriteFile(path, text, 0o664)
}

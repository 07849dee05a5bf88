package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"srs/conf"
	"srs/dvr"
	"srs/rtmp/server"
)

// check is srs -t: all that can be known of a configuration without serving.
func check(src source, config *conf.Config, stdout, stderr io.Writer) int {
	for _, w := range warnings(config, config.WorkDir) {
		fmt.Fprintln(stderr, w)
	}
	err := os.Chdir(config.WorkDir)
	if err != nil {
		err = fmt.Errorf("work_dir: %w", err)
	} else if force, bad := newInForce(config); bad != nil {
		err = bad
	} else {
		for _, w := range force.unused {
			fmt.Fprintln(stderr, w)
		}
		err = server.CheckDescriptors(config.MaxConnections)
	}
	switch {
	case badConfig(err):
		fmt.Fprintf(stderr, "%v\nsrs: the configuration %s is not usable\n", err, src.name)
		return exitConfig
	case err != nil:
		fmt.Fprintf(stderr, "srs: %v\n", err)
		return exitConfig
	}
	fmt.Fprintf(stdout, "srs: the configuration %s is good\n", src.name)
	return exitOK
}

// badConfig reports whether an error is a list of places in a configuration.
func badConfig(err error) bool {
	var places conf.Errors
	return errors.As(err, &places)
}

// warnings are what an owner should know of a configuration that is good: what
// it says and the server does not do, and what will fail when it is needed.
// Relative paths are below dir.
func warnings(config *conf.Config, dir string) []string {
	var list []string
	for _, w := range config.Warnings {
		list = append(list, w.String())
	}
	if config.Daemon {
		list = append(list, "daemon on: srs stays in the foreground; run it under systemd")
	}
	if config.Log.Tank != "console" {
		if err := checkFile(config.Log.File, dir); err != nil {
			list = append(list, fmt.Sprintf("srs_log_file %s: the server does not start as long as it cannot be written: %v", config.Log.File, err))
		}
	}
	if err := checkFile(config.PidFile, dir); err != nil {
		list = append(list, fmt.Sprintf("pid %s: the server does not start as long as it cannot be written: %v", config.PidFile, err))
	}
	if !slices.ContainsFunc(config.Vhosts, func(v *conf.Vhost) bool { return v.Enabled }) {
		list = append(list, fmt.Sprintf("no vhost is enabled: every client is refused; \"vhost %s { }\" serves all", conf.DefaultVhost))
	}
	if slices.ContainsFunc(config.Vhosts, func(v *conf.Vhost) bool { return v.Enabled && v.Hooks.Enabled }) {
		if err := dvr.CheckFolder(config.JournalDir, dir); err != nil {
			list = append(list, fmt.Sprintf("journal_dir %s: callbacks will wait in memory and not survive a restart as long as nothing can be written there: %v", config.JournalDir, err))
		}
	}
	for _, v := range config.Vhosts {
		if v.Enabled && v.Hooks.Enabled && v.Hooks.AllowOnFail {
			list = append(list, fmt.Sprintf("vhost %s: on_fail allow: while an endpoint fails, every client is accepted", v.Name))
		}
		if v.Enabled && v.DVR.Enabled {
			if err := dvr.Check(v.DVR.Path, dir); err != nil {
				list = append(list, fmt.Sprintf("vhost %s: dvr_path %s: nothing can be recorded there at the moment: %v", v.Name, v.DVR.Path, err))
			}
			if err := dvr.Enough(v.DVR.Path, dir, v.DVR.MinFree); err != nil {
				list = append(list, fmt.Sprintf("vhost %s: dvr_min_free %d can never be met, it is not looked at: %v", v.Name, v.DVR.MinFree/1e6, err))
			}
		}
	}
	return list
}

// checkFile reports why a file cannot be written at the moment, or nil.
func checkFile(path, dir string) error {
	if path == "" {
		return nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return dvr.CheckFolder(filepath.Dir(path), dir)
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "write", Path: path, Err: unix.EISDIR}
	case info.Mode().IsRegular():
		if errno := unix.Access(path, unix.W_OK); errno != nil {
			return &fs.PathError{Op: "write", Path: path, Err: errno}
		}
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A contender is a server in a comparison: a name, and a command line of words
// in which these stand for something else:
//
//	{bench}             this program
//	{addr} {port}       where to listen: a free address of the loopback, anew for each run
//	{dir}               a directory of its own, removed behind it
//	{conf}              a configuration of srs that listens there
//	{conf:DIRECTIVES}   such a one with these in its vhost
//	{file:PATH}         a copy of a file in which {addr}, {port} and {dir} are replaced
//	{nginx}             nginx with its RTMP module, all of a command line
type contender struct {
	Name    string             `json:"name"`
	Command string             `json:"command"`
	Runs    []*report          `json:"runs"`
	Errors  []string           `json:"errors,omitempty"` // of runs that gave no report
	Median  map[string]float64 `json:"median"`           // by the column's key
	Ratio   float64            `json:"ratio"`            // of the first column to the first server's
}

// contenders is the flag -server, which may come again.
type contenders []*contender

func (l *contenders) String() string { return "" }

func (l *contenders) Set(s string) error {
	name, command, ok := strings.Cut(s, "=")
	if !ok || name == "" || strings.TrimSpace(command) == "" {
		return errors.New("must be NAME=COMMAND")
	}
	for _, c := range *l {
		if c.Name == name {
			return fmt.Errorf("there are two named %q", name)
		}
	}
	*l = append(*l, &contender{Name: name, Command: command})
	return nil
}

// place is where a run of a contender happens.
type place struct {
	dir, address string
	connections  int
}

var placeholder = regexp.MustCompile(`\{(\w+)(?::([^{}]*))?\}`)

// expand returns the words of a command line, with placeholders replaced and
// the files made that they stand for.
func (p place) expand(command string) ([]string, error) {
	command = strings.ReplaceAll(command, "{nginx}", nginxCommand)
	var failed error
	var files []string // blanks within braces are no blanks between words
	text := placeholder.ReplaceAllStringFunc(command, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		path, err := p.replace(m[1], m[2])
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", s, err)
		}
		files = append(files, path)
		return "\x00" + strconv.Itoa(len(files)-1) + "\x00"
	})
	words := strings.Fields(text)
	for i := range words {
		parts := strings.Split(words[i], "\x00") // every second one is a number
		for j := 1; j < len(parts); j += 2 {
			n, err := strconv.Atoi(parts[j])
			if err != nil || n >= len(files) {
				return nil, fmt.Errorf("%w: a zero byte in %q", errUsage, command)
			}
			parts[j] = files[n]
		}
		words[i] = strings.Join(parts, "")
	}
	return words, failed
}

const srsConf = `# Written by bench.
listen              %[1]s;
max_connections     %[2]d;
srs_log_tank        file;
srs_log_file        %[3]s/srs.log;
pid                 %[3]s/srs.pid;
vhost __defaultVhost__ {
    gop_cache       on;
    %[4]s
}
`

// replace returns what stands for a placeholder.
func (p place) replace(name, argument string) (string, error) {
	_, port, err := net.SplitHostPort(p.address)
	if err != nil {
		return "", err
	}
	switch name {
	case "bench":
		return os.Executable()
	case "addr":
		return p.address, nil
	case "port":
		return port, nil
	case "dir":
		return p.dir, nil
	case "conf":
		path := filepath.Join(p.dir, "srs.conf")
		text := fmt.Appendf(nil, srsConf, p.address, p.connections+spareFiles, p.dir, argument)
		return path, os.WriteFile(path, text, 0o664)
	case "nginxprogram":
		return findNginx()
	case "nginxconf":
		return p.writeNginx()
	case "file":
		text, err := os.ReadFile(argument)
		if err != nil {
			return "", err
		}
		path := filepath.Join(p.dir, filepath.Base(argument))
		replaced := strings.NewReplacer("{addr}", p.address, "{port}", port, "{dir}", p.dir).Replace(string(text))
		return path, os.WriteFile(path, []byte(replaced), 0o664)
	}
	return "", fmt.Errorf("%w: unknown placeholder", errUsage)
}

// Where a pinned comparison runs.
const (
	serverCPU    = "0"
	generatorCPU = "1"
)

// run is one run: the server is started, the scenario measures it from a
// process of its own, the server is stopped.
func (c *contender) run(ctx context.Context, of *comparison) (r *report, err error) {
	p := place{connections: of.connections}
	if p.dir, err = os.MkdirTemp("", "bench-compare-"); err != nil {
		return nil, err
	}
	defer os.RemoveAll(p.dir)
	if p.address, err = freeAddress(); err != nil {
		return nil, err
	}
	words, err := p.expand(c.Command)
	if err != nil {
		return nil, err
	}
	server, err := startChild(c.Name, "", nil, pinned(of.Pinned, serverCPU, words)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if err := server.serves(ctx, p.address); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(p.dir, "report.json")
	args := append([]string{program, of.Scenario, "-url", "rtmp://" + p.address + "/live/bench",
		"-pid", strconv.Itoa(server.pid()), "-progress", "0", "-o", file}, of.Flags...)
	generator, err := startChild(of.Scenario, "", nil, pinned(of.Pinned, generatorCPU, args)...)
	if err != nil {
		return nil, err
	}
	select {
	case <-generator.done:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), generator.stop())
	}
	text, err := os.ReadFile(file)
	if err != nil { // it says why
		return nil, errors.Join(generator.stop(), err)
	}
	r = new(report)
	return r, json.Unmarshal(text, r)
}

func pinned(pin bool, cpu string, args []string) []string {
	if !pin {
		return args
	}
	return append([]string{"taskset", "-c", cpu}, args...)
}

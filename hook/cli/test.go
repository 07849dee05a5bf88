package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"srs/conf"
	"srs/hook"
	"srs/rtmp"
)

// errRefused is the exit status of a call that was not accepted; all is said.
var errRefused = errors.New("refused")

// maxShown is how much of an answer is printed, bytes.
const maxShown = 2048

// test calls the URLs of one event and says in words what they answer.
func test(ctx context.Context, args []string, version string, stdout, stderr io.Writer) error {
	var action hook.Action
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		action, args = hook.Action(args[0]), args[1:]
	}
	flags := flag.NewFlagSet("hook test", flag.ContinueOnError)
	url := flags.String("url", "", "call this `URL`")
	file := flags.String("conf", "", "call the URLs that this `file` configures")
	vhost := flags.String("vhost", conf.DefaultVhost, "`name` of the vhost")
	stream := flags.String("stream", "live/livestream", "`APP/NAME` of the stream, perhaps with ?parameters")
	ip := flags.String("ip", "127.0.0.1", "`address` of the client")
	var timeout time.Duration
	flags.Func("timeout", "wait so long for the answer, a `duration` like 5s or 300ms (default: as configured, else 30s)", func(s string) (err error) {
		if timeout, err = time.ParseDuration(s); err == nil && timeout <= 0 {
			err = errors.New("it is longer than 0")
		}
		return err
	})
	if err := parse(flags, args, stderr); err != nil {
		return err
	}
	ev, err := sample(action, *vhost, *stream, *ip)
	if err != nil {
		return err
	}
	rules, urls, serverID := &hook.Rules{}, []string{*url}, ""
	switch {
	case (*url == "") == (*file == ""):
		return fmt.Errorf("%w: either --url or --conf", errUsage)
	case *file == "":
		if err := hook.CheckURL(*url); err != nil {
			return fmt.Errorf("%w: --url begins with http:// or https:// and a host, or with http://unix:/ and a path: %w", errUsage, err)
		}
	default:
		if rules, urls, serverID, err = configured(*file, action, *vhost); err != nil {
			return err
		}
	}
	if timeout > 0 {
		rules.Timeout = timeout
	}
	serverID = cmp.Or(serverID, "hook-test")
	hook.TakeStandardLog(slog.New(slog.DiscardHandler)) // for good: stderr is for what is said here
	e := hook.New(hook.Options{ServerID: serverID, UserAgent: "SRS/" + version})
	defer e.Close(ctx)
	no := 0 // the first URL that says it, from 1
	for i, u := range urls {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		t := e.Try(ctx, ev, rules, u)
		show(stdout, &t)
		ok, words := explain(action, &t, rules)
		fmt.Fprintln(stdout, words)
		if !ok && no == 0 {
			no = i + 1
		}
	}
	if len(urls) > 1 {
		fmt.Fprintf(stdout, "\n%s\n", sum(action, no, len(urls)))
	}
	if no > 0 {
		return errRefused
	}
	return nil
}

// sum says what the server makes of the answers of several URLs, the first no
// being that of one, or of none.
func sum(a hook.Action, no, urls int) string {
	switch {
	case !gate(a) && no == 0:
		return fmt.Sprintf("ALL %d URLs: delivered.", urls)
	case !gate(a):
		return fmt.Sprintf("ALL %d URLs: not delivered to each. The server tells each endpoint by itself.", urls)
	case no == 0:
		return fmt.Sprintf("ALL %d URLs: ACCEPTED.", urls)
	case no < urls:
		return fmt.Sprintf("ALL %d URLs: REFUSED by the first no, of URL %d. The server does not ask those behind it.", urls, no)
	}
	return fmt.Sprintf("ALL %d URLs: REFUSED by the first no, of URL %d, the last.", urls, no)
}

// gate reports whether a client waits for the answer to an event.
func gate(a hook.Action) bool {
	return a == hook.OnConnect || a == hook.OnPublish || a == hook.OnPlay
}

// sample makes an event that looks like a real one.
func sample(a hook.Action, vhost, stream, ip string) (hook.Event, error) {
	switch a {
	case hook.OnConnect, hook.OnClose, hook.OnPublish, hook.OnUnpublish, hook.OnPlay, hook.OnStop, hook.OnDVR:
	case "":
		return hook.Event{}, fmt.Errorf("%w: which event?", errUsage)
	default:
		return hook.Event{}, fmt.Errorf("%w: no such event %q", errUsage, string(a))
	}
	if _, err := netip.ParseAddr(ip); err != nil {
		return hook.Event{}, fmt.Errorf("%w: --ip is an IP address, not %q", errUsage, ip)
	}
	path, _, _ := strings.Cut(stream, "?")
	i := strings.LastIndexByte(path, '/')
	if i <= 0 || i == len(path)-1 {
		return hook.Event{}, fmt.Errorf("%w: --stream is APP/NAME, not %q", errUsage, stream)
	}
	host := vhost
	if host == conf.DefaultVhost {
		host = "127.0.0.1"
	}
	tcURL := "rtmp://" + host + "/" + path[:i]
	n, err := rtmp.ParseStream(tcURL, path[:i], stream[i+1:]) // as the server reads what a client says
	if err != nil {
		return hook.Event{}, fmt.Errorf("%w: --stream %q would be refused without a call: %w", errUsage, stream, err)
	}
	if inURL, _ := rtmp.ParseConnect(tcURL, ""); inURL.Host != host {
		return hook.Event{}, fmt.Errorf("%w: --vhost is the name of a vhost, as its block has it, not %q", errUsage, vhost)
	}
	if n.Host != host {
		return hook.Event{}, fmt.Errorf("%w: the parameters of --stream ask for the vhost %q: say so with --vhost", errUsage, n.Host)
	}
	ev := hook.Event{
		Action: a, ClientID: 1, IP: ip, Vhost: vhost, App: n.App, Stream: n.Stream, Param: n.Param, TcURL: tcURL,
	}
	if a == hook.OnDVR {
		ev.Cwd, _ = os.Getwd()
		ev.File, ev.Duration, ev.Size = "./objs/nginx/html/"+n.App+"/"+n.Stream+".flv", 10*time.Second, 1<<20
	}
	return ev, nil
}

// configured finds the URLs of an event in a file, and what belongs to them.
func configured(file string, a hook.Action, vhost string) (*hook.Rules, []string, string, error) {
	c, err := conf.Load(file)
	if err != nil {
		return nil, nil, "", err
	}
	if err := os.Chdir(c.WorkDir); err != nil { // relative paths begin there
		return nil, nil, "", fmt.Errorf("work_dir: %w", err)
	}
	i := slices.IndexFunc(c.Vhosts, func(v *conf.Vhost) bool { return v.Name == vhost })
	if i < 0 {
		return nil, nil, "", fmt.Errorf("%s has no vhost %s", file, vhost)
	}
	v := c.Vhosts[i]
	if !v.Enabled {
		return nil, nil, "", fmt.Errorf("the vhost %s is not enabled", vhost)
	}
	all, _, err := Rules(c)
	if err != nil {
		return nil, nil, "", err
	}
	rules := all[vhost]
	urls := rules.URLs(a)
	switch {
	case !v.Hooks.Enabled:
		return nil, nil, "", fmt.Errorf("the http_hooks of vhost %s are not enabled: the server calls nobody", vhost)
	case len(urls) == 0:
		return nil, nil, "", fmt.Errorf("the vhost %s has no URL for %s: the server calls nobody%s", vhost, a, unasked(a))
	}
	return rules, urls, c.ServerID, nil
}

// unasked says what an event without a URL means to a client.
func unasked(a hook.Action) string {
	if gate(a) {
		return " and accepts every client"
	}
	return ""
}

// show prints what was sent and what came back.
func show(w io.Writer, t *hook.Trial) {
	fmt.Fprintf(w, "POST %s\n", t.URL)
	headers(w, t.Request)
	fmt.Fprintf(w, "\n%s\n\n", t.Body)
	took := t.Took.Round(100 * time.Microsecond)
	if t.Status == 0 {
		fmt.Fprintf(w, "no answer after %v\n", took)
		return
	}
	fmt.Fprintf(w, "%d %s after %v\n", t.Status, http.StatusText(t.Status), took)
	headers(w, t.Response)
	answer, more := t.Answer, ""
	if len(answer) > maxShown {
		answer, more = answer[:maxShown], fmt.Sprintf(" … and %d bytes more", len(t.Answer)-maxShown)
	}
	if utf8.Valid(answer) && !bytes.ContainsFunc(answer, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }) {
		fmt.Fprintf(w, "\n%s%s\n\n", answer, more)
	} else {
		fmt.Fprintf(w, "\n%q%s\n\n", answer, more)
	}
}

func headers(w io.Writer, h http.Header) {
	for _, k := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[k] {
			fmt.Fprintf(w, "%s: %q\n", k, v)
		}
	}
}

// explain says what the server would make of an answer.
func explain(a hook.Action, t *hook.Trial, rules *hook.Rules) (ok bool, words string) {
	why := ""
	if t.Refusal != nil {
		why = t.Refusal.Reason + ": " + reasons[t.Refusal.Reason]
		if t.Refusal.Detail != "" {
			why += " (" + t.Refusal.Detail + ")"
		}
	}
	switch {
	case gate(a) && t.Refusal == nil:
		return true, "ACCEPTED: the status is 200 or 201 and the answer is 0. The client may go on."
	case gate(a) && rules.AllowOnFail && t.Refusal.Undecided():
		return true, "ACCEPTED, because on_fail is allow: the endpoint has not decided, " + why + ".\nWith on_fail deny the client would be refused."
	case gate(a):
		return false, "REFUSED, " + why + ".\nA yes is status 200 or 201 with the body 0, or a JSON object with \"code\":0."
	case t.Taken && t.Refusal == nil:
		return true, "DELIVERED: the endpoint has taken it."
	case t.Taken:
		return true, "DELIVERED, although the answer would refuse a gate: " + why + ".\nAny answer with status 2xx or 4xx counts, but for 408, 425 and 429."
	}
	again := "it would be repeated"
	if rules.NoRetry {
		again = "and because retry is off it would not be repeated"
	}
	return false, "NOT DELIVERED, " + again + ": " + why + ".\nAn answer with status 2xx or 4xx counts, but for 408, 425 and 429."
}

// reasons puts the reasons of refusals into words.
var reasons = map[string]string{
	hook.ReasonDenied:      "the endpoint says no with a code that is not 0",
	hook.ReasonStatus:      "the status says no",
	hook.ReasonBadResponse: "that is no answer we understand",
	hook.ReasonTooBig:      "the answer is too big",
	hook.ReasonRedirect:    "redirects are not followed",
	hook.ReasonTimeout:     "the answer did not come in time",
	hook.ReasonRefused:     "there is no connection",
	hook.ReasonTLS:         "the TLS handshake failed",
	hook.ReasonCanceled:    "given up",
}

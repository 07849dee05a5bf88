package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A receiverReport is what a receiver has seen so far.
type receiverReport struct {
	Calls       int64    `json:"calls"`
	Connections int64    `json:"connections"`
	Clients     int64    `json:"clients"`
	Begins      int64    `json:"begins"`   // it said yes to
	Ends        int64    `json:"ends"`     // different ones
	Closed      int64    `json:"closed"`   // clients that are over
	Disorder    int64    `json:"disorder"` // calls that must not come where they did
	Repeats     int64    `json:"repeats"`
	Examples    []string `json:"examples,omitempty"`
}

// A hookReceiver decides callbacks and checks their order.
type hookReceiver struct {
	delay time.Duration
	fail  float64
	conns atomic.Int64

	mu      sync.Mutex
	report  receiverReport
	clients map[uint64]*hookClient
	ids     map[string]bool // webhook-ids that were taken
}

// A hookClient is a client as the receiver knows it.
//
//	"" -on_connect-> connect -on_publish, on_play-> in -on_unpublish, on_stop-> connect -on_close-> closed
type hookClient struct{ state string }

var moves = map[string]struct{ from, to string }{
	"on_connect": {"", "connect"}, "on_close": {"connect", "closed"},
	"on_publish": {"connect", "publish"}, "on_unpublish": {"publish", "connect"},
	"on_play": {"connect", "play"}, "on_stop": {"play", "connect"},
}

const maxExamples = 3

// receive is bench hooks -receive: the receiver, until ctx ends.
func receive(ctx context.Context, o *hooksOptions) error {
	ln, err := net.Listen("tcp", o.receive)
	if err != nil {
		return err
	}
	r := &hookReceiver{delay: o.delay, fail: o.fail, clients: make(map[uint64]*hookClient), ids: make(map[string]bool)}
	server := &http.Server{
		Handler: r, ReadHeaderTimeout: visitTimeout,
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				r.conns.Add(1)
			}
		},
	}
	if o.silent {
		server.Handler = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			io.Copy(io.Discard, req.Body)
			select {
			case <-req.Context().Done():
			case <-ctx.Done():
			}
		})
	}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(ln); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (r *hookReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodGet {
		r.mu.Lock()
		report := r.report
		report.Clients, report.Connections = int64(len(r.clients)), r.conns.Load()
		r.mu.Unlock()
		json.NewEncoder(w).Encode(report)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	if r.delay > 0 {
		time.Sleep(r.delay)
	}
	if r.fail > 0 && rand.Float64() < r.fail {
		r.mu.Lock()
		r.report.Calls++
		r.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	var ev struct {
		Action string `json:"action"`
		Client uint64 `json:"client_id"`
	}
	json.Unmarshal(body, &ev)
	r.note(ev.Action, ev.Client, req.Header.Get("Webhook-Id"))
	io.WriteString(w, "0")
}

// note checks one call that is answered with yes.
func (r *hookReceiver) note(action string, client uint64, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Calls++
	move, ok := moves[action]
	if !ok {
		return
	}
	if r.ids[id] {
		r.report.Repeats++
		return
	}
	r.ids[id] = true
	v := r.clients[client]
	if v == nil {
		v = new(hookClient)
		r.clients[client] = v
	}
	if v.state != move.from {
		r.report.Disorder++
		if len(r.report.Examples) < maxExamples {
			r.report.Examples = append(r.report.Examples, fmt.Sprintf("client %d: %s in state %q", client, action, v.state))
		}
	}
	switch action {
	case "on_connect", "on_publish", "on_play":
		r.report.Begins++
	default:
		r.report.Ends++
	}
	if v.state = move.to; v.state == "closed" {
		r.report.Closed++
	}
}

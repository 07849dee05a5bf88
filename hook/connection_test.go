package hook

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// HK-01, and URLs that cannot be called.
func TestHK01(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := "http://" + l.Addr().String() + "/?k=SECRET"
	l.Close()
	for _, url := range []string{free, "http://x.invalid/", "ftp://h/", "http://h:SECRET/", "http://unix:/no/such.sock:/"} {
		err := testEngine(t, all(url)).Client().Ask(t.Context(), event(OnPublish, 1, "s"))
		wantReason(t, err, ReasonRefused)
		if strings.Contains(err.Error(), "SECRET") {
			t.Error(err)
		}
	}
}

// HK-15: TLS failures are refusals before any request.
func TestHK15(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	err := testEngine(t, all(srv.URL)).Client().Ask(t.Context(), event(OnPublish, 1, "s"))
	wantReason(t, err, ReasonTLS)
	if !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	plain := newLedger(t, nil)
	err = testEngine(t, all(strings.Replace(plain.URL, "http:", "https:", 1))).Client().Ask(t.Context(), event(OnPublish, 1, "s"))
	wantReason(t, err, ReasonTLS)
}

// An endpoint that wants a certificate and gets none says so after the handshake
// (TLS 1.3), or within (1.2): both are failures of TLS.
func TestTLSWithoutOurCertificate(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: version, MaxVersion: version}
		srv.StartTLS()
		defer srv.Close()
		rules := all(srv.URL)
		rules.TLS = trusting(t, srv)
		e := testEngine(t, rules)
		for range 5 { // an alert may be overtaken by the end of the connection
			err := e.Client().Ask(t.Context(), event(OnPublish, 1, "s"))
			wantReason(t, err, ReasonTLS)
			if !strings.Contains(err.Error(), "remote error: tls: ") {
				t.Error(err)
			}
		}
	}
}

// trusting returns options for a test's https endpoint.
func trusting(t testing.TB, srv *httptest.Server) *TLS {
	ca := t.TempDir() + "/ca.pem"
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := LoadTLS(ca, "", "", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	return options
}

// HK-17: the endpoint closes a kept connection, in order or hard, even after it
// read the request: one transparent repeat.
func TestHK17(t *testing.T) {
	for _, reset := range []bool{false, true} {
		testKeepAlive(t, reset)
	}
}

func testKeepAlive(t *testing.T, reset bool) {
	var mu sync.Mutex
	var ids []string
	conns := 0
	url := rawServer(t, func(c *net.TCPConn) {
		mu.Lock()
		conns++
		first := conns == 1
		mu.Unlock()
		r := bufio.NewReader(c)
		for i := 0; ; i++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			mu.Lock()
			ids = append(ids, req.Header.Get("Webhook-Id"))
			mu.Unlock()
			if first && i == 1 {
				if reset {
					c.SetLinger(0)
				}
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n0")
		}
	})
	e := testEngine(t, all(url))
	c := e.Client()
	for range 3 {
		if err := c.Ask(t.Context(), event(OnPublish, 1, "s")); err != nil {
			t.Fatal(err)
		}
	}
	closeNow(t, e)
	mu.Lock()
	defer mu.Unlock()
	if conns != 2 || len(ids) != 4 || ids[1] != ids[2] || ids[0] == ids[1] || ids[2] == ids[3] {
		t.Errorf("%d connections, ids %q", conns, ids)
	}
}

func TestIdleConnectionsClosed(t *testing.T) {
	srv := newLedger(t, nil)
	e := testEngine(t, all(srv.URL))
	for range 20 {
		if err := e.Client().Ask(t.Context(), event(OnPublish, 1, "s")); err != nil {
			t.Fatal(err)
		}
		srv.CloseClientConnections()
	}
}

// Connections are reused, and none outlives 5 idle seconds.
func TestConnectionReuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var opened, open atomic.Int32
		p := newPipeNet(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }))
		e := newEngine(Options{Rules: func(string) (*Rules, bool) { return all("http://h/"), true }},
			func(ctx context.Context, network, addr string) (net.Conn, error) {
				opened.Add(1)
				open.Add(1)
				c, err := p.dial(ctx, network, addr)
				return &countedConn{Conn: c, open: &open}, err
			})
		defer closeNow(t, e)
		for range 50 {
			wantReason(t, e.Client().Ask(t.Context(), event(OnPublish, 1, "s")), ReasonStatus)
			<-time.After(time.Second)
		}
		if opened.Load() != 1 {
			t.Errorf("%d connections for 50 gates", opened.Load())
		}
		<-time.After(idleTimeout)
		synctest.Wait()
		if open.Load() != 0 {
			t.Errorf("%d connections kept", open.Load())
		}
	})
}

type countedConn struct {
	net.Conn
	open *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// HK-24: the environment's proxies are not for hooks.
func TestHK24(t *testing.T) {
	canary, srv := newLedger(t, nil), newLedger(t, nil)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"} {
		t.Setenv(name, canary.URL)
	}
	var d net.Dialer
	e := newEngine(Options{Rules: func(string) (*Rules, bool) { return all("http://hooks.example/"), true }},
		func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr != "hooks.example:80" {
				t.Errorf("dials %s", addr)
			}
			return d.DialContext(ctx, network, srv.Listener.Addr().String())
		})
	defer closeNow(t, e)
	if err := e.Client().Ask(t.Context(), event(OnPublish, 1, "s")); err != nil {
		t.Fatal(err)
	}
	if e.transport(parseTarget("http://h/"), nil).Transport.(*http.Transport).Proxy != nil { // net/http reads the environment once, perhaps before this test
		t.Error("a proxy function is set")
	}
	wantCalls(t, canary)
}

// HK-26: a unix socket, removed and made again.
func TestHK26(t *testing.T) {
	dir, err := os.MkdirTemp("", "hook") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s%20.sock")
	e := testEngine(t, all("http://unix:"+path+":/api?k=v"))
	for range 2 {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		var host, uri string
		srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			host, uri = r.Host, r.URL.RequestURI()
			io.WriteString(w, "0")
		})}}
		srv.Start()
		if err := e.Client().Ask(t.Context(), event(OnPublish, 1, "s")); err != nil || host != "localhost" || uri != "/api?k=v" {
			t.Fatalf("%v host %q uri %q", err, host, uri)
		}
		srv.Close()
		os.Remove(path)
		wantReason(t, e.Client().Ask(t.Context(), event(OnPublish, 1, "s")), ReasonRefused)
	}
}

// TestAnswerInTwoWrites: an endpoint that writes header and body each for itself
// does not wait for a delayed acknowledgement in between.
func TestAnswerInTwoWrites(t *testing.T) {
	url := rawServer(t, func(c *net.TCPConn) {
		c.SetNoDelay(false) // as sockets are
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
			io.WriteString(c, "0")
		}
	})
	client := testEngine(t, all(url)).Client()
	fastest := time.Hour
	for i := range 40 {
		begun := time.Now()
		if err := client.Ask(t.Context(), event(OnPlay, 1, "s")); err != nil {
			t.Fatal(err)
		}
		if i >= 20 { // a new connection is acknowledged at once for a while
			fastest = min(fastest, time.Since(begun))
		}
	}
	if fastest > 25*time.Millisecond { // the acknowledgement would come after 40
		t.Errorf("the fastest answer took %v", fastest)
	}
}

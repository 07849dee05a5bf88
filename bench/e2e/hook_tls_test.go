package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	stdlog "log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"srs/rtmp"
)

// An authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its certificate, PEM
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the tests"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, // it may be shown as well
	}
	a.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a certificate for a name, which is over after life.
func (a *authority) issue(t testing.TB, name string, life time.Duration) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses, template.DNSNames = []net.IP{ip}, nil
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secured serves a receiver over TLS.
func secured(t testing.TB, rcv *receiver, config *tls.Config) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: rcv, ErrorLog: stdlog.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(tls.NewListener(ln, config)) }()
	t.Cleanup(func() { server.Close(); <-served })
	return "https://" + ln.Addr().String() + "/"
}

// TestHK15: https is verified, always; each failure is refused before a byte of
// the request, with a reason of its own.
func TestHK15(t *testing.T) {
	t.Parallel()
	rcv, ca := newReceiver(t), newAuthority(t)
	here := ca.issue(t, "127.0.0.1", time.Hour)
	serve := func(cert tls.Certificate, most uint16) string {
		return secured(t, rcv, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: most})
	}
	other := newAuthority(t) // its own certificate is signed by itself
	alone := tls.Certificate{Certificate: [][]byte{other.cert.Raw}, PrivateKey: other.key}
	stalls := rawListener(t)
	shown := ca.issue(t, "srs", time.Hour)
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	mutual := secured(t, rcv, &tls.Config{Certificates: []tls.Certificate{here}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert})
	dir := t.TempDir()
	writePEM(t, dir+"/cert.pem", "CERTIFICATE", shown.Certificate[0])
	der, err := x509.MarshalECPrivateKey(shown.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, dir+"/key.pem", "EC PRIVATE KEY", der)

	trust := "ca_file " + ca.file + ";"
	cases := []struct{ name, hooks, log string }{
		{"trusted", onPlay(serve(here, tls.VersionTLS13), trust), ""},
		{"other name", onPlay(serve(ca.issue(t, "hooks.example", time.Hour), tls.VersionTLS13), trust, "server_name hooks.example;"), ""},
		{"our certificate", onPlay(mutual, trust, "cert_file "+dir+"/cert.pem;", "key_file "+dir+"/key.pem;"), ""},
		{"unknown authority", onPlay(serve(here, tls.VersionTLS13)), "unknown authority"},
		{"self-signed", onPlay(serve(alone, tls.VersionTLS13), trust), "unknown authority"},
		{"expired", onPlay(serve(ca.issue(t, "127.0.0.1", -time.Hour), tls.VersionTLS13), trust), "expired"},
		{"wrong name", onPlay(serve(ca.issue(t, "hooks.example", time.Hour), tls.VersionTLS13), trust), "doesn't contain any IP SANs"},
		{"TLS 1.0", onPlay(serve(here, tls.VersionTLS10), trust), "protocol version"},
		{"stalls", onPlay("https://"+stalls+"/", trust, "timeout 1000;"), "hook.timeout"},
		{"no TLS", onPlay("https" + strings.TrimPrefix(rcv.url("x"), "http")), "server gave HTTP response"},
	}
	var blocks []string
	for _, c := range cases {
		blocks = append(blocks, vhost(strings.ReplaceAll(c.name, " ", "-"), c.hooks))
	}
	blocks = append(blocks, vhost("no-certificate", onPlay(mutual, trust)))
	s := startServer(t, blocks...)
	for _, c := range cases {
		name := strings.ReplaceAll(c.name, " ", "-")
		calls := len(rcv.all())
		code, took := play(t, s, name, "s")
		if yes := code == rtmp.CodePlayStart; yes != (c.log == "") || took > 3*time.Second {
			t.Errorf("%s: %s after %v", c.name, code, took)
		}
		if c.log != "" {
			s.waitLog(t, "on_play refused .*vhost="+name+" .*"+c.log)
			if n := len(rcv.all()); n != calls {
				t.Errorf("%s: %d calls arrived", c.name, n-calls)
			}
		}
	}
	if code, _ := play(t, s, "no-certificate", "s"); code != rtmp.CodePlayFailed {
		t.Errorf("without our certificate: %s", code)
	}
}

// rawListener accepts connections and says nothing.
func rawListener(t testing.TB) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

package hook

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLS is what a vhost's https endpoints are verified with, and what we show
// them. nil: the system's roots and no certificate. Verification is never off.
type TLS struct {
	roots       *x509.CertPool
	certificate *tls.Certificate
	serverName  string
	sum         [sha256.Size]byte
}

// LoadTLS reads the files of a vhost's options; an empty name leaves one out.
func LoadTLS(caFile, certFile, keyFile, serverName string) (*TLS, error) {
	if caFile+certFile+keyFile+serverName == "" {
		return nil, nil
	}
	o := &TLS{serverName: serverName}
	h := sha256.New()
	fmt.Fprintf(h, "%q", serverName)
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		o.roots = x509.NewCertPool()
		if !o.roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form", caFile)
		}
		fmt.Fprintf(h, "ca %d", len(pem))
		h.Write(pem)
	}
	switch {
	case certFile != "" && keyFile != "":
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file, key_file: %w", err)
		}
		o.certificate = &cert
		for _, der := range cert.Certificate {
			fmt.Fprintf(h, "cert %d", len(der))
			h.Write(der)
		}
	case certFile+keyFile != "":
		return nil, fmt.Errorf("cert_file and key_file need each other")
	}
	h.Sum(o.sum[:0])
	return o, nil
}

// key is equal for options that say the same, also after a reload.
func (o *TLS) key() [sha256.Size]byte {
	if o == nil {
		return [sha256.Size]byte{}
	}
	return o.sum
}

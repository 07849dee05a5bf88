package hook

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
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

// An OptionError is about one option of a vhost's Rules, by the name of its
// directive.
type OptionError struct {
	Option string
	Err    error

	value int // which of several, from 1; 0: of all
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Err.Error() }

// Unwrap gives what is wrong with the option.
func (e *OptionError) Unwrap() error { return e.Err }

// Directive names the option.
func (e *OptionError) Directive() string { return e.Option }

// Value tells which of the option's values it is, counted from 1; 0 is all of them.
func (e *OptionError) Value() int { return e.value }

// LoadTLS reads the files of a vhost's options; an empty name leaves one out. Its
// error is all that is wrong, joined.
func LoadTLS(caFile, certFile, keyFile, serverName string) (*TLS, error) {
	if caFile+certFile+keyFile+serverName == "" {
		return nil, nil
	}
	var errs []error
	read := func(option, file string) []byte {
		if file == "" {
			return nil
		}
		b, err := os.ReadFile(file)
		if err == nil && len(b) == 0 {
			err = fmt.Errorf("%s is empty", file)
		}
		if err != nil {
			errs = append(errs, &OptionError{Option: option, Err: err})
			return nil
		}
		return b
	}
	o := &TLS{serverName: serverName}
	h := sha256.New()
	fmt.Fprintf(h, "%q", serverName)
	ca, cert, key := read("ca_file", caFile), read("cert_file", certFile), read("key_file", keyFile)
	if ca != nil {
		o.roots = x509.NewCertPool()
		if !o.roots.AppendCertsFromPEM(ca) {
			errs = append(errs, &OptionError{Option: "ca_file", Err: fmt.Errorf("%s holds no certificate in PEM form", caFile)})
		}
		fmt.Fprintf(h, "ca %d", len(ca))
		h.Write(ca)
	}
	switch {
	case certFile != "" && keyFile == "":
		errs = append(errs, &OptionError{Option: "cert_file", Err: errors.New("needs key_file beside it")})
	case certFile == "" && keyFile != "":
		errs = append(errs, &OptionError{Option: "key_file", Err: errors.New("needs cert_file beside it")})
	case cert != nil && key != nil:
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			errs = append(errs, &OptionError{Option: "cert_file", Err: fmt.Errorf("%s with %s: %w", certFile, keyFile, err)})
		}
		o.certificate = &pair
		for _, der := range pair.Certificate {
			fmt.Fprintf(h, "cert %d", len(der))
			h.Write(der)
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
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

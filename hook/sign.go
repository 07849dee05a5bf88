package hook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Sizes of a secret (Standard Webhooks 1.0, "Signature scheme"), bytes.
const (
	minSecret = 24
	maxSecret = 64
)

// A Secret is a key that calls are signed with. Printing it shows nothing.
type Secret struct{ key []byte }

func (Secret) String() string   { return "***" }
func (Secret) GoString() string { return "***" }

// ParseSecret reads a key: "whsec_" and 24 to 64 bytes in base64.
func ParseSecret(text string) (Secret, error) {
	encoded, ok := strings.CutPrefix(text, "whsec_")
	if !ok {
		return Secret{}, errors.New(`a secret begins with "whsec_"`)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Secret{}, errors.New(`a secret is "whsec_" and base64`)
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return Secret{}, fmt.Errorf("a secret has %d to %d bytes, this one has %d", minSecret, maxSecret, len(key))
	}
	return Secret{key}, nil
}

// LoadSecrets reads secrets from where a configuration says: env:NAME,
// file:PATH, which holds one or more, separated by blanks or line breaks, or
// the secret itself. Errors do not show it.
func LoadSecrets(sources []string) ([]Secret, error) {
	var all []Secret
	var errs []error
	for i, s := range sources {
		fail := func(err error) { errs = append(errs, &OptionError{"secret", err, i + 1}) }
		kind, where, _ := strings.Cut(s, ":")
		var text string
		switch kind {
		case "env":
			text = os.Getenv(where)
		case "file":
			b, err := os.ReadFile(where)
			if err != nil {
				fail(err)
				continue
			}
			text = string(b)
		default:
			text, s = s, "the configuration"
		}
		words := strings.Fields(text)
		if len(words) == 0 {
			fail(fmt.Errorf("there is none in %s", s))
		}
		for _, w := range words {
			secret, err := ParseSecret(w)
			if err != nil {
				fail(fmt.Errorf("%s: %w", s, err))
				break // a file of something else has thousands
			}
			all = append(all, secret)
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

// sign makes the value of webhook-signature: one signature for each secret.
func sign(secrets []Secret, id, timestamp string, body []byte) string {
	var b strings.Builder
	for i, s := range secrets {
		if i > 0 {
			b.WriteByte(' ')
		}
		m := hmac.New(sha256.New, s.key)
		fmt.Fprintf(m, "%s.%s.%s", id, timestamp, body)
		b.WriteString("v1,")
		b.WriteString(base64.StdEncoding.EncodeToString(m.Sum(nil)))
	}
	return b.String()
}

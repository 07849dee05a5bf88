package server

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted is how much of a client's text a log line shows, bytes.
const maxQuoted = 128

// quote makes a client's text fit for a log line: quoted, capped, without
// control characters.
func quote(s string) string { return strconv.Quote(cut(s, maxQuoted)) }

// cut shortens a text to at most n bytes without breaking a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// maskParam shows which parameters a client sent, not their values: they are
// tokens more often than not.
func maskParam(param string) string {
	if param == "" {
		return ""
	}
	pairs := strings.Split(strings.TrimPrefix(param, "?"), "&")
	for i, pair := range pairs {
		key, _, found := strings.Cut(pair, "=")
		pairs[i] = "***" // what is no pair is a token for all we know
		if found {
			pairs[i] = key + "=***"
		}
	}
	return cut("?"+strings.Join(pairs, "&"), maxQuoted)
}

// maskURL is a page's URL for a log line, its parameters masked.
func maskURL(url string) string {
	page, query, found := strings.Cut(url, "?")
	page = cut(page, maxQuoted)
	if found {
		page += maskParam("?" + query)
	}
	return page
}

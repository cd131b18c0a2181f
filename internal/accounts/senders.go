package accounts

import (
	"fmt"
	"strings"

	"golang.org/x/net/idna"
)

// sender is a compiled pattern of the addresses an account may send as.
type sender struct {
	null  bool   // "<>", the null reverse-path (PC-16)
	any   bool   // "*", every address but the null one
	local string // may hold "*"; "" for any
	// domain is a lower-case A-label name; "" for any. sub means below it only.
	domain string
	sub    bool
}

// patternMax is a local part, "@" and a domain (RFC 5321 §4.5.3.1).
const patternMax = 64 + 1 + 255

// CheckSender says why pattern is not one (SUB-5, AUTH-15). Patterns are:
//
//	anna@example.org     this address
//	example.org          any address of this domain; also @example.org, *@example.org
//	*.example.org        any address of a domain below it, not of itself
//	news-*@example.org   local parts by wildcard
//	*                    any address
//	<>                   the null sender, which no other pattern includes
//
// Letters match in either case, domains in Unicode or A-label form.
func CheckSender(pattern string) error {
	_, err := parseSender(pattern)
	return err
}

func parseSender(p string) (sender, error) {
	switch {
	case p == "<>":
		return sender{null: true}, nil
	case p == "*":
		return sender{any: true}, nil
	case p == "" || len(p) > patternMax || strings.ContainsAny(p, " \t\r\n\x00<>"):
		return sender{}, fmt.Errorf("%q is not a sender pattern (anna@example.org, example.org, *.example.org, *, <>)", p)
	}
	at := strings.LastIndexByte(p, '@')
	s := sender{local: strings.ToLower(p[:max(at, 0)])}
	if s.local == "*" {
		s.local = ""
	}
	domain := p[at+1:]
	if domain == "*" && s.local != "" {
		return s, nil
	}
	if rest, ok := strings.CutPrefix(domain, "*."); ok {
		s.sub, domain = true, rest
	}
	s.domain = foldDomain(domain)
	if s.domain == "" || strings.Contains(s.domain, "*") {
		return sender{}, fmt.Errorf("%q is not a sender pattern: a wildcard stands for whole labels at the front of a domain", p)
	}
	return s, nil
}

// match takes an address without angle brackets; "" is the null sender.
func (s sender) match(address string) bool {
	if address == "" || s.null {
		return address == "" && s.null
	}
	if s.any {
		return true
	}
	at := strings.LastIndexByte(address, '@')
	if at <= 0 {
		return false
	}
	domain := foldDomain(address[at+1:])
	if s.sub {
		rest, ok := strings.CutSuffix(domain, s.domain)
		if !ok || len(rest) < 2 || !strings.HasSuffix(rest, ".") {
			return false
		}
	} else if s.domain != "" && domain != s.domain {
		return false
	}
	return s.local == "" || glob(s.local, strings.ToLower(address[:at]))
}

// glob matches "*" with any run of characters, in time linear in len(s) for
// each star of the pattern.
func glob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return s == pattern
	}
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], more
	}
}

// foldDomain makes domains comparable: lower case, A-labels, no final dot.
func foldDomain(d string) string {
	d = strings.TrimSuffix(d, ".")
	if !isASCII(d) {
		if a, err := idna.Lookup.ToASCII(d); err == nil {
			return a
		}
	}
	return strings.ToLower(d)
}

// maySend reports whether the account may send as address, "" being the null sender.
func (e *entry) maySend(address string) bool {
	if e.anyone {
		return true
	}
	for _, s := range e.senders {
		if s.match(address) {
			return true
		}
	}
	return false
}

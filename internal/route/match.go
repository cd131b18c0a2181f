package route

import (
	"slices"
	"strings"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
)

// pattern is one word of a rule, made ready.
type pattern struct {
	any    bool   // "*"
	null   bool   // "<>"
	local  string // "user" of "user@example.org"; "" for any
	domain string // A-labels
	sub    bool   // only subdomains of it: "*.example.org"
}

func parsePattern(s string) pattern {
	p := pattern{any: s == "*" || s == "*@*", null: s == "<>"}
	if p.any || p.null {
		return p
	}
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		p.local, s = s[:at], s[at+1:]
		if p.local == "*" {
			p.local = ""
		}
	}
	if rest, ok := strings.CutPrefix(s, "*."); ok {
		p.sub, s = true, rest
	}
	p.domain = asciiDomain(s)
	return p
}

// asciiDomain is the form in which domains are compared and looked up; a text
// that has none stays as it is, in lower case, and matches only itself.
func asciiDomain(s string) string {
	if a, err := dns.ToASCII(s); err == nil {
		return a
	}
	return strings.ToLower(s)
}

// matches compares an address. Local parts are compared exactly, but for case
// where that is all that differs: no sane host tells "Anna" from "anna", and a
// rule that silently missed one would surprise.
func (p pattern) matches(address string) bool {
	switch {
	case p.any:
		return true
	case p.null || address == "":
		return p.null && address == ""
	case p.local != "" && !strings.EqualFold(p.local, mail.Local(address)):
		return false
	}
	return p.matchesDomain(asciiDomain(mail.Domain(address)))
}

func (p pattern) matchesDomain(domain string) bool {
	if p.sub {
		return strings.HasSuffix(domain, "."+p.domain)
	}
	return domain == p.domain
}

// rule is a Rule made ready.
type rule struct {
	recipient, sender []pattern
	account           []string
	route             mail.Route // what it leads to; for byMX only the settings
	byMX              bool
	exchangers        bool // route's hosts are mail domains: their MX are meant
}

func parsePatterns(list []string) []pattern {
	var out []pattern
	for _, s := range list {
		out = append(out, parsePattern(s))
	}
	return out
}

func (r *rule) matches(env *mail.Envelope, recipient string) bool {
	return anyMatches(r.recipient, recipient) && anyMatches(r.sender, env.From) && r.matchesAccount(env.Origin.Account)
}

func (r *rule) matchesAccount(account string) bool {
	return len(r.account) == 0 || slices.Contains(r.account, account) || account != "" && slices.Contains(r.account, "*")
}

func anyMatches(list []pattern, address string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(p pattern) bool { return p.matches(address) })
}

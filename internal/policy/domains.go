package policy

import (
	"errors"
	"fmt"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Domain is a domain whose mail is for us, or that we relay for.
type Domain struct {
	Name       string // "example.org", or "*.example.org" for all below it
	Recipients Recipients
	Aliases    map[string][]string // local part or address → addresses, or local parts of this domain
	CatchAll   string              // gets what is for nobody else; an address or a local part
}

// Recipients is who exists in a domain.
type Recipients struct {
	Any    bool
	Verify bool     // asked of the next hop
	List   []string // local parts or addresses; nil with neither of the above means Any
}

// domain is a Domain made ready for questions.
type domain struct {
	name     string // lower-case A-labels
	below    bool   // stands for the domains below name
	any      bool
	verify   bool
	listed   map[string]bool     // by folded local part
	aliases  map[string][]string // by folded local part; targets are addresses
	catchAll string
}

var errDomain = errors.New("not a domain name")

func newDomain(d Domain) (*domain, error) {
	name, below := strings.CutPrefix(d.Name, "*.")
	ascii, err := smtp.ASCIIDomain(name)
	if err != nil || ascii == "" || strings.ContainsAny(ascii, "*@ []") || strings.HasSuffix(ascii, ".") {
		return nil, errDomain
	}
	made := &domain{
		name: ascii, below: below, verify: d.Recipients.Verify,
		any:    d.Recipients.Any || !d.Recipients.Verify && d.Recipients.List == nil,
		listed: map[string]bool{}, aliases: map[string][]string{},
	}
	if below {
		made.name = "*." + ascii
	}
	for _, r := range d.Recipients.List {
		if !made.covers(r) {
			return nil, fmt.Errorf("recipient %q is of another domain", r)
		}
		made.listed[fold(mail.Local(r))] = true
	}
	for from, to := range d.Aliases {
		if !made.covers(from) {
			return nil, fmt.Errorf("alias %q is of another domain", from)
		}
		for _, t := range to {
			target, err := made.qualify(t)
			if err != nil {
				return nil, fmt.Errorf("alias %q: %w", from, err)
			}
			key := fold(mail.Local(from))
			made.aliases[key] = append(made.aliases[key], target)
		}
	}
	if d.CatchAll != "" {
		if made.catchAll, err = made.qualify(d.CatchAll); err != nil {
			return nil, fmt.Errorf("catch_all: %w", err)
		}
	}
	return made, nil
}

// covers reports that an entry is a local part, or an address of this domain.
func (d *domain) covers(entry string) bool {
	host := mail.Domain(entry)
	if host == "" {
		return true
	}
	ascii, err := smtp.ASCIIDomain(host)
	return err == nil && ascii == d.name
}

// qualify gives a target without domain this one.
func (d *domain) qualify(target string) (string, error) {
	if !strings.Contains(target, "@") {
		if d.below {
			return "", fmt.Errorf("%q needs a domain, since %s has many", target, d.name)
		}
		target += "@" + d.name
	}
	a, err := smtp.ParseAddress(target, true)
	if err != nil {
		return "", fmt.Errorf("%q: %w", target, err)
	}
	return a.String(), nil
}

// fold makes local parts comparable as everybody reads them: without quotes
// that mean nothing, in lower case. Addresses pass on byte-exact all the same.
func fold(local string) string { return strings.ToLower(unquote(local)) }

// base drops a subaddress, "user+tag" (RFC 5233).
func base(local string) (string, bool) {
	user, _, tagged := strings.Cut(local, "+")
	return user, tagged && user != ""
}

// knows reports that the local part is listed or an alias by its very name.
func (d *domain) knows(local string) bool {
	l := fold(local)
	return d.listed[l] || d.aliases[l] != nil
}

// alias returns what a local part stands for, nil if it is no alias.
func (d *domain) alias(local string) []string {
	l := fold(local)
	if to := d.aliases[l]; to != nil {
		return to
	}
	if user, tagged := base(l); tagged && !d.listed[l] {
		return d.aliases[user]
	}
	return nil
}

// has reports whether a mailbox is listed, as it is or without its subaddress.
func (d *domain) has(local string) bool {
	l := fold(local)
	user, tagged := base(l)
	return d.listed[l] || tagged && d.listed[user]
}

// find returns the domain of ours that a host name belongs to, nil if none: by
// its name, or else by the longest "*." above it.
func (p *Policy) find(host string) *domain {
	host, err := smtp.ASCIIDomain(host)
	if err != nil {
		return nil
	}
	if d := p.domains[host]; d != nil && !d.below {
		return d
	}
	for {
		_, above, ok := strings.Cut(host, ".")
		if !ok {
			return nil
		}
		if d := p.domains["*."+above]; d != nil {
			return d
		}
		host = above
	}
}

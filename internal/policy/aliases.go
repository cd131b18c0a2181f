package policy

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

const (
	// aliasDepthMax bounds aliases of aliases; more is a mistake.
	aliasDepthMax = 10
	// aliasTargetsMax is what one alias may open to: the most recipients an
	// envelope has (ABU-4).
	aliasTargetsMax = 1000
	// aliasLineMax bounds a line of an alias file: a thousand addresses.
	aliasLineMax = 256 << 10
)

var aliasTooBig = smtp.Reply{Code: 550, Enhanced: enhanced(5, 4, 6), Text: "Alias opens to too many addresses, or too deep"}

// expand returns whom a recipient stands for. One that is no alias stands for
// itself, byte-exact. An alias of several addresses is followed by itself as
// Expanded, with nothing to report yet: settleRecipients decides at the end of
// data, when NOTIFY is known, whether it is.
func (p *Policy) expand(f recipientFacts) ([]mail.Recipient, error) {
	if f.domain == nil || f.AcceptAll {
		return []mail.Recipient{{Address: f.Address}}, nil
	}
	x := expansion{policy: p, seen: map[string]bool{}}
	if !x.open(f.Address, f.domain, 0) {
		if f.Role {
			return []mail.Recipient{{Address: f.Address}}, nil // P25-3
		}
		return nil, refuse(about(aliasTooBig, f.To, aliasTooBig.Text), "alias", "look for a loop or a long list among the aliases")
	}
	out := make([]mail.Recipient, 0, len(x.found))
	for _, address := range x.found {
		r := mail.Recipient{Address: address}
		if address != f.Address || len(x.found) > 1 {
			r.Alias = f.Address
		}
		out = append(out, r)
	}
	if len(out) > 1 && !slices.Contains(x.found, f.Address) {
		out = append(out, mail.Recipient{Address: f.Address, Standing: mail.Standing{State: mail.Expanded, Reported: true}})
	}
	return out, nil
}

// expansion opens one alias, depth first, in the order written.
type expansion struct {
	policy *Policy
	seen   map[string]bool // addresses opened or found
	found  []string
}

// open reports false when a bound was hit. An alias that leads back to one
// being opened means that very mailbox: "anna: anna, archive" keeps a copy.
func (x *expansion) open(address string, d *domain, depth int) bool {
	if depth > aliasDepthMax || len(x.found) >= aliasTargetsMax {
		return false
	}
	targets := x.policy.targets(address, d)
	key := addressKey(address)
	if targets == nil || x.seen["opened "+key] {
		if !x.seen[key] {
			x.seen[key] = true
			x.found = append(x.found, address)
		}
		return true
	}
	x.seen["opened "+key] = true
	for _, t := range targets {
		if !x.open(t, x.policy.find(mail.Domain(t)), depth+1) {
			return false
		}
	}
	return true
}

// targets are what an address stands for, nil if for itself: by the aliases of
// its domain, or the catch-all where there is no such mailbox.
func (p *Policy) targets(address string, d *domain) []string {
	if d == nil {
		return nil
	}
	local := mail.Local(address)
	if to := d.alias(local); to != nil {
		return to
	}
	if d.any || d.has(local) {
		return nil
	}
	if d.verify {
		// Known already: RCPT asked before it came here.
		if e, ok := p.verified.get(address); !ok || e != no {
			return nil
		}
	}
	switch {
	case d.catchAll != "" && addressKey(d.catchAll) != addressKey(address):
		return []string{d.catchAll}
	case isRole(local) && p.cfg.Postmaster != "" && addressKey(p.cfg.Postmaster) != addressKey(address):
		return []string{p.cfg.Postmaster}
	}
	return nil
}

// addressKey is one for addresses that reach one mailbox as far as we can
// know: the domain folds, the local part is its owner's business.
func addressKey(a string) string { return mail.Local(a) + "@" + mail.Domain(a) }

// settleRecipients makes one of recipients named twice, and gives those of an
// alias with several addresses what RFC 3461 §5.2.7.3 (c) allows: their NOTIFY
// without SUCCESS, while the alias itself stays in the envelope as Expanded, to
// be reported, if SUCCESS was asked for. One address alone inherits all
// (§5.2.7.2).
func settleRecipients(list []mail.Recipient, from string) []mail.Recipient {
	members := map[string]int{}
	for _, r := range list {
		switch {
		case r.State == mail.Expanded:
			members[r.Address] = 2 // some may have been named by others before
		case r.Alias != "":
			members[r.Alias]++
		}
	}
	seen := map[string]int{} // address → index in out
	told := map[string]bool{}
	out := list[:0:0]
	for _, r := range list {
		alias := r.Alias
		if r.State == mail.Expanded {
			alias = r.Address
		}
		if alias != "" && members[alias] > 1 && r.Notify.Has(mail.NotifySuccess) {
			if !told[alias] && from != "" {
				told[alias] = true
				out = append(out, expanded(alias, r))
			}
			r.Notify = withoutSuccess(r.Notify)
		}
		if r.State == mail.Expanded {
			continue // nothing to report
		}
		key := addressKey(r.Address)
		if i, twice := seen[key]; twice {
			out[i].Notify = mergeNotify(out[i].Notify, r.Notify)
			continue
		}
		seen[key] = len(out)
		out = append(out, r)
	}
	return out
}

// expanded is the alias that r was opened from, as an end of its own.
func expanded(alias string, r mail.Recipient) mail.Recipient {
	return mail.Recipient{
		Address: alias, Original: r.Original, Notify: mail.NotifySuccess,
		Standing: mail.Standing{State: mail.Expanded},
	}
}

// withoutSuccess leaves NEVER where nothing else was asked for: none at all
// would mean the default, which tells of failures.
func withoutSuccess(n mail.Notify) mail.Notify {
	if n &^= mail.NotifySuccess; n == 0 {
		return mail.NotifyNever
	}
	return n
}

// mergeNotify asks for whatever one of two asked for. Not given (0) asks for
// failures, and for delays as the server likes.
func mergeNotify(a, b mail.Notify) mail.Notify {
	switch {
	case a == b:
		return a
	case a == mail.NotifyNever:
		return b
	case b == mail.NotifyNever:
		return a
	}
	if a == 0 || b == 0 {
		return a | b | mail.NotifyFailure | mail.NotifyDelay
	}
	return a | b
}

// ParseAliases reads an alias file: lines "name: target, target", "#" to the
// line's end a comment, a line that begins with white space continuing the one
// before. Names and targets are local parts or addresses. A name on two lines
// gets the targets of both. Errors name the line.
func ParseAliases(r io.Reader) (map[string][]string, error) {
	out := map[string][]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, aliasLineMax)
	name := ""
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		text := strings.TrimSpace(line)
		if text == "" {
			continue
		}
		if line[0] != ' ' && line[0] != '\t' {
			before, after, ok := strings.Cut(text, ":")
			name = strings.TrimSpace(before)
			if !ok || !aliasWord(name) {
				return nil, fmt.Errorf("line %d: %q is not \"name: target, target\"", n, smtp.Printable(text))
			}
			text = after
		} else if name == "" {
			return nil, fmt.Errorf("line %d: continues nothing", n)
		}
		for target := range strings.SplitSeq(text, ",") {
			target = strings.TrimSpace(target)
			if target == "" {
				continue
			}
			if !aliasWord(target) {
				return nil, fmt.Errorf("line %d: %q is not an address", n, smtp.Printable(target))
			}
			out[name] = append(out[name], target)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// aliasWord allows addresses and local parts, and none of what other servers'
// alias files run or read: "|program", "/file", ":include:".
func aliasWord(s string) bool {
	if !strings.Contains(s, "@") {
		s += "@x"
	}
	_, err := smtp.ParseAddress(s, true)
	return err == nil && s[0] != '|' && s[0] != '/'
}

package policy

import (
	"context"
	"strings"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

// senderFacts is what a MAIL on a submission port is judged by.
type senderFacts struct {
	From       string // "" for <>
	Account    string // "" when nobody logged in
	Trusted    bool   // by the listener's networks
	AnyDomain  bool   // bare host names will do (AcceptAll)
	MaySend    bool   // the account may send as From
	Quota      error  // why the account may send nothing now
	Senders    []string
	FromSyntax bool // From has a domain
}

// existence is what is known of a mailbox or a domain.
type existence uint8

const (
	yes     existence = iota
	no                // surely not
	doubt             // nobody could say
	nullMX            // the domain says that it takes no mail (RFC 7505)
	unasked           // it does not matter here
)

// recipientFacts is what a RCPT is judged by.
type recipientFacts struct {
	To         string // as given
	Address    string // as it will be served: <postmaster> and own literals become addresses
	Helo       string
	Submission bool // the port is for accounts; a stranger has no business here
	Relay      bool // the client may send anywhere
	AcceptAll  bool

	Role       bool // postmaster or abuse of what we serve (P25-3)
	Ours       bool // the domain is
	Literal    bool // the domain is an address literal, not ours or not for postmaster (REL-3)
	Bare       bool // the domain is a single label, where a full name is needed (SUB-3)
	Routing    bool // the local part has a form that old servers route on (REL-1)
	Mailbox    existence
	VerifyWhy  error     // the next hop's answer
	Domain     existence // of a domain that is not ours
	Sender     existence // of the sender's domain, on port 25
	FromDomain string

	domain *domain // ours, nil otherwise
}

// contentFacts is Facts for the end of data.
type Facts struct {
	Account    string
	Authors    []author // of From, then of Sender
	Unreadable bool     // From or Sender cannot be read
	Senders    []string // what the account may send as
	Recipients int      // for the account's limits
}

// author is an address of the header and whether the account may use it.
type author struct {
	Field, Address string
	Allowed        bool
}

func (p *Policy) senderFacts(o mail.Origin, from string) (senderFacts, error) {
	f := senderFacts{From: from, Account: o.Account, Trusted: o.Trusted, AnyDomain: p.cfg.AcceptAll}
	domain := mail.Domain(from)
	f.FromSyntax = from == "" || strings.Contains(domain, ".") || strings.HasPrefix(domain, "[")
	if o.Account == "" || p.needs.Accounts == nil {
		f.MaySend = true
		return f, nil
	}
	var err error
	if f.MaySend, err = p.needs.Accounts.MaySend(o.Account, from); err != nil {
		return f, err
	}
	if !f.MaySend {
		f.Senders = p.needs.Accounts.SendersOf(o.Account)
		return f, nil
	}
	f.Quota = p.needs.Accounts.Peek(o.Account)
	return f, nil
}

// recipientFacts asks no more than the judgement needs: a recipient that is
// refused for what it is costs no question to anybody.
func (p *Policy) recipientFacts(ctx context.Context, o mail.Origin, from, to string) recipientFacts {
	f := recipientFacts{
		To: to, Address: to, Helo: o.Helo, Submission: o.Role.IsSubmission(), Relay: p.trusted(o),
		AcceptAll: p.cfg.AcceptAll, Mailbox: unasked, Domain: unasked, Sender: unasked,
		FromDomain: mail.Domain(from),
	}
	local, host := mail.Local(to), mail.Domain(to)
	if host == "" || strings.HasPrefix(host, "[") {
		own := host == "" || p.ownLiteral(host)
		if own && strings.EqualFold(unquote(local), "postmaster") {
			f.Address, host = "postmaster@"+p.primary, p.primary
		} else {
			f.Literal = true
			return f
		}
	}
	f.Bare = !strings.Contains(host, ".")
	f.domain = p.find(host)
	f.Ours = f.domain != nil
	f.Role = f.Ours && isRole(local)
	f.Routing = routes(local) && !f.listed(local)
	switch {
	case f.AcceptAll || f.Role:
	case f.Ours:
		f.Sender = p.senderExists(ctx, o, from, f)
		if f.Sender == yes || f.Sender == unasked {
			f.Mailbox, f.VerifyWhy = p.mailbox(ctx, f.domain, f.Address)
		}
	case f.Relay && !f.Bare:
		f.Domain = p.domainExists(ctx, to, host)
	}
	return f
}

func (f recipientFacts) listed(local string) bool { return f.domain != nil && f.domain.knows(local) }

// senderExists looks up the sender's domain for strangers on port 25. It is
// asked at RCPT and not at MAIL, because postmaster must hear even of senders
// whose domain is broken (P25-3).
func (p *Policy) senderExists(ctx context.Context, o mail.Origin, from string, f recipientFacts) existence {
	if f.Relay || o.Role != mail.RoleMX || from == "" || p.cfg.SenderUnchecked || strings.HasPrefix(f.FromDomain, "[") || p.find(f.FromDomain) != nil {
		return unasked // our own domains are known without DNS
	}
	return p.lookUp(ctx, f.FromDomain)
}

func (p *Policy) domainExists(ctx context.Context, to, host string) existence {
	if p.cfg.RecipientUnchecked || p.needs.ByMX != nil && !p.needs.ByMX(to) {
		return unasked
	}
	return p.lookUp(ctx, host)
}

// lookUp finds out whether a domain can take mail: by MX, or by an address
// where there is no MX (RFC 5321 §5.1).
func (p *Policy) lookUp(ctx context.Context, name string) existence {
	if p.needs.DNS == nil {
		return unasked
	}
	name, err := smtp.ASCIIDomain(name)
	if err != nil {
		return no
	}
	mx := p.needs.DNS.MX(ctx, name)
	switch mx.Status {
	case dns.OK:
		if dns.NullMX(mx.Records) {
			return nullMX
		}
		return yes
	case dns.NXDomain:
		return no
	case dns.Temp:
		return doubt
	}
	switch p.needs.DNS.Addrs(ctx, name).Status {
	case dns.OK:
		return yes
	case dns.Temp:
		return doubt
	}
	return no
}

func (p *Policy) ownLiteral(host string) bool {
	ip, ok := smtp.ParseLiteral(host)
	if !ok {
		return false
	}
	for _, a := range p.cfg.Addresses {
		if a.Unmap() == ip.Unmap() {
			return true
		}
	}
	return false
}

// contentFacts reads the authors of a submission. An error is a fault of ours.
func (p *Policy) contentFacts(env *mail.Envelope, h message.Header) (Facts, error) {
	f := Facts{Account: env.Origin.Account}
	for _, r := range env.Recipients {
		if r.State != mail.Expanded {
			f.Recipients++
		}
	}
	if p.cfg.AuthorUnchecked || p.needs.Accounts == nil {
		return f, nil
	}
	for _, name := range []string{"From", "Sender"} {
		for _, field := range h.All(name) {
			list, err := claimed(field.Value())
			f.Unreadable = f.Unreadable || err != nil
			for _, address := range list {
				ok, err := p.needs.Accounts.MaySend(f.Account, address)
				if err != nil {
					return f, err
				}
				f.Authors = append(f.Authors, author{name, address, ok})
				if !ok && f.Senders == nil {
					f.Senders = p.needs.Accounts.SendersOf(f.Account)
				}
			}
		}
	}
	return f, nil
}

// claimed are the addresses that a field of authors names to any reader: those of
// its mailboxes, and one that stands where a name should.
func claimed(value string) ([]string, error) {
	list, err := message.Addresses(value)
	if err != nil {
		return nil, err
	}
	boxes, err := message.Mailboxes(value)
	for _, m := range boxes {
		if m.Beside != "" {
			list = append(list, m.Beside)
		}
	}
	return list, err
}

// isRole reports the local parts that are always served (P25-3, RFC 2142).
func isRole(local string) bool {
	l := strings.ToLower(unquote(local))
	return l == "postmaster" || l == "abuse"
}

// routes reports the forms by which servers of old were told to pass mail on:
// user%host, host!user, user@host in quotes, and "@a,@b:user" (REL-1). To us
// they are ordinary characters (REL-2), but what is behind us may think
// otherwise.
func routes(local string) bool { return local == "" || strings.ContainsAny(unquote(local), "%!@:") }

func unquote(local string) string { return smtp.Address{Local: local}.Unquoted() }

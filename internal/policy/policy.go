package policy

import (
	"context"
	"fmt"
	"net/netip"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Config says what is ours and how strict to be. The zero value relays for
// nobody and serves no domain.
type Config struct {
	Hostname string // ours: postmaster@hostname is always ours
	Domains  []Domain
	// Addresses are ours, for postmaster@[address] (REL-3).
	Addresses []netip.Addr
	// RelayNetworks may relay through port 25, besides the listener's trusted
	// ones. Nothing is implied: neither loopback nor private networks (REL-1).
	RelayNetworks []netip.Prefix
	// Deny are networks that are turned away at the greeting (RC-3).
	Deny []netip.Prefix
	// AcceptAll takes any recipient from anybody, for `paquebot dev`, and asks
	// no DNS. Never for a server that delivers.
	AcceptAll bool
	// Postmaster gets what is for postmaster or abuse of a domain that has no
	// such mailbox or alias; "": it is delivered to the domain as addressed.
	Postmaster string

	SenderUnchecked    bool // do not look up sender domains on port 25 (RC-23)
	RecipientUnchecked bool // do not look up recipient domains in sessions (SUB-4)
	AuthorUnchecked    bool // do not hold From and Sender against the account's senders (SUB-5)

	// MessagesPerMinute an address (/64 for IPv6) may send to port 25; 0: no
	// limit. Trusted networks and accounts have none here.
	MessagesPerMinute int
}

// Verdict is what policy thinks of a message.
type Verdict struct {
	Refuse  error    // nil: take it
	Reasons []string // for the record
	Prepend [][]byte // whole header fields with CRLF, first one topmost
}

// Policy decides whether mail may enter. It is safe for concurrent use.
type Policy struct {
	cfg      Config
	needs    Needs
	domains  map[string]*domain // by lower-case A-label name; "*.x" for all below x
	primary  string             // the first domain, or the host's name
	rate     *rate
	verified *verifications
}

// New checks the domains and their aliases. Two domains of one name, or an
// alias that is no address, are errors.
func New(c Config, n Needs) (*Policy, error) {
	p := &Policy{cfg: c, needs: n, domains: map[string]*domain{}, primary: c.Hostname,
		rate: newRate(c.MessagesPerMinute), verified: newVerifications()}
	for i, d := range c.Domains {
		made, err := newDomain(d)
		if err != nil {
			return nil, fmt.Errorf("domain %q: %w", d.Name, err)
		}
		if p.domains[made.name] != nil {
			return nil, fmt.Errorf("domain %q is there twice", d.Name)
		}
		p.domains[made.name] = made
		if i == 0 && !made.below {
			p.primary = made.name
		}
	}
	if host, err := newDomain(Domain{Name: c.Hostname, Recipients: Recipients{List: []string{}}}); err == nil && p.domains[host.name] == nil {
		p.domains[host.name] = host // postmaster@hostname alone (RFC 5321 §4.5.1)
	}
	return p, nil
}

// Connect is asked before the greeting.
func (p *Policy) Connect(_ context.Context, o mail.Origin) error {
	if contains(p.cfg.Deny, o.Client.Addr()) {
		return refuse(notWelcome, "denied-network", "")
	}
	return nil
}

// Mail judges a sender; from is "" for <>.
func (p *Policy) Mail(ctx context.Context, o mail.Origin, from string, _ mail.Params) error {
	if o.Role.IsSubmission() {
		facts, err := p.senderFacts(o, from)
		if err != nil {
			return err
		}
		return judgeSender(facts)
	}
	if p.trusted(o) || p.rate.take(o.Client.Addr()) {
		return nil
	}
	return refuse(flood.WithText("Too many messages from this address, try again later"), "rate:address", "")
}

// Rcpt judges a recipient and opens aliases. A recipient without domain is
// <postmaster>.
func (p *Policy) Rcpt(ctx context.Context, o mail.Origin, from, to string) ([]mail.Recipient, error) {
	facts := p.recipientFacts(ctx, o, from, to)
	if err := judgeRecipient(facts); err != nil {
		return nil, err
	}
	return p.expand(facts)
}

// Content judges a whole message, and settles the envelope's recipients: those
// named twice become one, and those an alias stands for get the notifications
// they are to ask for (RFC 3461 §5.2.7.3). The rights of authors and the
// account's limits are judged on submission; the relay on 25 takes content as
// it is (REL-7).
func (p *Policy) Content(_ context.Context, env *mail.Envelope, h message.Header) Verdict {
	env.Recipients = settleRecipients(env.Recipients, env.From)
	if !env.Origin.Role.IsSubmission() || env.Origin.Account == "" {
		return Verdict{}
	}
	facts, err := p.contentFacts(env, h)
	if err != nil {
		return Verdict{Refuse: err}
	}
	v := Judge(facts)
	if v.Refuse == nil && p.needs.Accounts != nil {
		// Last, since it counts.
		v.Refuse = p.needs.Accounts.Allow(env.Origin.Account, facts.Recipients, env.Size)
	}
	return v
}

// trusted reports the right to relay without a login: by the listener's list,
// or by ours for port 25 (PC-6, PC-19).
func (p *Policy) trusted(o mail.Origin) bool {
	return o.Trusted || o.Account != "" || o.Role == mail.RoleLocal ||
		o.Role == mail.RoleMX && contains(p.cfg.RelayNetworks, o.Client.Addr())
}

func contains(networks []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap()
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

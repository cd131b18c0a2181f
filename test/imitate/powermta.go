package imitate

import (
	"net"
	"sync"
)

// PowerMTA imitates somebody's own PowerMTA: a smtp-listener on each port, and
// <source> rules that let clients in by their address or by a sign-in.
// Greeting, EHLO and friendly replies are those of its makers' transcript; the
// words of its refusals are not documented.
type PowerMTA struct {
	Host    string            // its name
	Users   map[string]string // smtp-user to password
	Sources []*net.IPNet      // addresses that may always relay
	ByLogin map[int]bool      // listeners on which only a sign-in counts
	TooMany bool              // connections are answered 421, until Open

	mu sync.Mutex
}

// Ports are the usual ones; its operator may choose any.
func (*PowerMTA) Ports() []Port {
	return []Port{{25, false}, {587, false}, {2525, false}, {465, true}}
}

// Greeting refuses where there are too many connections.
func (p *PowerMTA) Greeting() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.TooMany {
		return "421 4.7.0 " + p.Host + " too many connections from your host"
	}
	return "220 " + p.Host + " (PowerMTA(TM) v5.0) ESMTP service ready"
}

// Open lets everybody in again.
func (p *PowerMTA) Open() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.TooMany = false
}

// Ehlo offers a sign-in after TLS.
func (p *PowerMTA) Ehlo(s *Session) []string {
	lines := []string{p.Host + " says hello"}
	if s.TLS == nil {
		lines = append(lines, "STARTTLS")
	} else {
		lines = append(lines, "AUTH CRAM-MD5 PLAIN LOGIN")
	}
	return append(lines, "ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "8BITMIME", "XACK", "XMRG", "SIZE 54525952", "VERP", "DSN")
}

// Words have enhanced codes.
func (p *PowerMTA) Words() Words {
	return Words{
		Mail: "250 2.1.0 MAIL ok", Rcpt: "250 2.1.5 ok", Data: "354 send message", Accepted: "250 2.6.0 message received",
		SignedIn: "235 2.7.0 authentication succeeded", StartTLS: "220 2.0.0 ready to start TLS", Bye: "221 2.0.0 " + p.Host + " says goodbye",
	}
}

// Login takes an smtp-user.
func (p *PowerMTA) Login(_ *Session, user, secret string) string {
	if password, ok := p.Users[user]; !ok || !matches(secret, password) {
		return "535 5.7.8 authentication failed"
	}
	return ""
}

// Mail takes any sender.
func (*PowerMTA) Mail(*Session, string) string { return "" }

// Rcpt relays for those let in.
func (p *PowerMTA) Rcpt(s *Session, to string) string {
	if s.User != "" || domainOf(to) == p.Host {
		return ""
	}
	if !p.ByLogin[s.Port.Number] {
		for _, source := range p.Sources {
			if source.Contains(s.Peer) {
				return ""
			}
		}
	}
	return "550 5.7.1 relaying denied"
}

// Data takes all.
func (*PowerMTA) Data(*Session, *Message) string { return "" }

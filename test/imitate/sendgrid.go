package imitate

import (
	"crypto/rand"
	"encoding/base64"
	"sync"
)

// SendGrid imitates smtp.sendgrid.net. Greeting, EHLO and friendly replies are
// those of published transcripts, the refusals of Twilio's page
// smtp-errors-and-troubleshooting and of users' reports.
type SendGrid struct {
	Keys []*SendGridKey

	mu sync.Mutex
}

// SendGridKey is an API key and what its account may do.
type SendGridKey struct {
	Key     string   // SG.….…
	Senders []string // verified senders and authenticated domains
	Credits int      // messages left; negative: any number
	PerHour int      // recipients an hour, 0: any

	recipients int
}

// Ports are those of Twilio's page; SendGrid takes mail in clear there as well.
func (*SendGrid) Ports() []Port {
	return []Port{{25, false}, {587, false}, {2525, false}, {465, true}}
}

// Greeting names the machine.
func (*SendGrid) Greeting() string {
	return "220 SG ESMTP service ready at ismtpd0013p1las1.sendgrid.net"
}

// Ehlo offers a sign-in before TLS as well, and in an old form beside it.
func (*SendGrid) Ehlo(s *Session) []string {
	lines := []string{"smtp.sendgrid.net", "8BITMIME", "PIPELINING", "SIZE 31457280"}
	if s.TLS == nil {
		lines = append(lines, "STARTTLS")
	}
	return append(lines, "AUTH PLAIN LOGIN", "AUTH=PLAIN LOGIN")
}

// Words have no enhanced codes.
func (*SendGrid) Words() Words {
	return Words{
		Mail: "250 Sender address accepted", Rcpt: "250 Recipient address accepted", Data: "354 Continue", Accepted: "250 Ok: queued as {id}",
		SignedIn: "235 Authentication successful", StartTLS: "220 Begin TLS negotiation now", Bye: "221 See you later",
		NeedLogin: "550 Unauthenticated senders not allowed",
	}
}

// Login takes the word apikey and a key, which is what tells accounts apart.
func (p *SendGrid) Login(s *Session, user, secret string) string {
	if user != "apikey" {
		return "535 Authentication failed: Bad username / password"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.Keys {
		if !matches(secret, k.Key) {
			continue
		}
		if k.Credits == 0 {
			return "451 Authentication failed: Maximum credits exceeded"
		}
		s.account = k
		return ""
	}
	return "535 Authentication failed: The provided authorization grant is invalid, expired, or revoked"
}

// Mail takes any sender: SendGrid looks at the From field.
func (*SendGrid) Mail(*Session, string) string { return "" }

// Rcpt counts recipients.
func (p *SendGrid) Rcpt(s *Session, _ string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := s.account.(*SendGridKey)
	if k.PerHour > 0 && k.recipients >= k.PerHour {
		return "452 Too many recipients received this hour (throttled)"
	}
	k.recipients++
	return ""
}

// Data checks the From field and the credits.
func (p *SendGrid) Data(s *Session, m *Message) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := s.account.(*SendGridKey)
	from := addressOf(m.Header("From"))
	verified := false
	for _, sender := range k.Senders {
		verified = verified || sender == from || sender == domainOf(from)
	}
	if !verified {
		return "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved. Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity requirements"
	}
	if k.Credits > 0 {
		k.Credits--
	}
	var b [16]byte
	_, _ = rand.Read(b[:])
	m.ID = base64.RawURLEncoding.EncodeToString(b[:])
	return ""
}

package imitate

import (
	"strings"
	"sync"
)

// Mailgun imitates one region of Mailgun. Greeting, EHLO and the friendly
// replies are those of published transcripts; its refusals' exact words are
// not documented, only what they are about.
type Mailgun struct {
	Domains []*MailgunDomain

	mu sync.Mutex
}

// MailgunDomain is a sending domain; its credentials are its own.
type MailgunDomain struct {
	Name        string
	Credentials map[string]string // user, a whole address, to password
	Inactive    bool              // the account is not activated
	Sandbox     bool
	Authorised  []string // the recipients of a sandbox
	Busy        int      // so many connections are answered 421 first
}

// Ports are those of Mailgun's send-smtp page.
func (*Mailgun) Ports() []Port {
	return []Port{{25, false}, {587, false}, {2525, false}, {465, true}}
}

// Greeting names the software.
func (*Mailgun) Greeting() string { return "220 Mailgun Influx ready" }

// Ehlo offers a sign-in before TLS as well.
func (*Mailgun) Ehlo(s *Session) []string {
	lines := []string{"391ef55d98cd", "AUTH PLAIN LOGIN", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "PIPELINING"}
	if s.TLS == nil {
		lines = append(lines, "STARTTLS")
	}
	return lines
}

// Words have no enhanced codes.
func (*Mailgun) Words() Words {
	return Words{
		Mail: "250 Sender address accepted", Rcpt: "250 Recipient address accepted", Data: "354 Continue", Accepted: "250 Great success",
		SignedIn: "235 Authentication successful", StartTLS: "220 Go ahead", Bye: "221 See you later. Yours truly, Mailgun",
		NeedLogin: "550 5.7.1 Relaying denied",
	}
}

func (p *Mailgun) domain(user string) *MailgunDomain {
	for _, d := range p.Domains {
		if _, ok := d.Credentials[user]; ok {
			return d
		}
	}
	return nil
}

// Login takes the credential of a domain.
func (p *Mailgun) Login(_ *Session, user, secret string) string {
	d := p.domain(user)
	if d == nil || !matches(secret, d.Credentials[user]) {
		return "535 5.7.0 Mailgun: Authentication failed"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.Busy > 0 {
		d.Busy--
		return "421 4.7.0 Too many connections, try again later"
	}
	return ""
}

// Mail takes any sender: Mailgun looks at the From field's domain.
func (*Mailgun) Mail(*Session, string) string { return "" }

// Rcpt refuses what a sandbox may not reach.
func (p *Mailgun) Rcpt(s *Session, to string) string {
	d := p.domain(s.User)
	if d.Sandbox && !strings.Contains(" "+strings.Join(d.Authorised, " ")+" ", " "+to+" ") {
		return "550 5.7.1 Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings."
	}
	return ""
}

// Data refuses for a domain that may not send.
func (p *Mailgun) Data(s *Session, m *Message) string {
	if d := p.domain(s.User); d.Inactive {
		return "550 5.7.1 Domain " + d.Name + " is not allowed to send: Please activate your Mailgun account. Check your inbox or log in to your control panel to resend the activation email."
	}
	if len(m.Content) > 25<<20 {
		return "552 5.3.4 Message size exceeds fixed limit"
	}
	return ""
}

package imitate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"time"
)

// SES imitates the SMTP interface of Amazon SES in one region. Its words are
// those of docs.aws.amazon.com/ses/latest/dg (smtp-response-codes,
// troubleshoot-error-messages) and of published transcripts; the refusal of a
// second DKIM signature is from users' reports.
type SES struct {
	Region   string
	Accounts []*SESAccount

	mu sync.Mutex
}

// SESAccount is an AWS account with one SMTP credential.
type SESAccount struct {
	AccessKey  string   // AKIA…
	Secret     string   // the IAM secret; SESPassword makes the password of it
	Identities []string // verified domains and addresses
	Sandbox    bool     // recipients must be verified too
	PerSecond  int      // maximum sending rate, 0: any
	PerDay     int      // quota, 0: any
	Denied     bool     // IAM forbids ses:SendRawEmail

	rate window
	sent int
}

// SESPassword derives the SMTP password of an IAM secret for a region, as AWS
// publishes it (signature version 4).
func SESPassword(secret, region string) string {
	key := []byte("AWS4" + secret)
	for _, word := range []string{"11111111", region, "ses", "aws4_request", "SendRawEmail"} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(word))
		key = mac.Sum(nil)
	}
	return base64.StdEncoding.EncodeToString(append([]byte{4}, key...))
}

// Ports are those of smtp-connect.html.
func (*SES) Ports() []Port {
	return []Port{{25, false}, {587, false}, {2587, false}, {465, true}, {2465, true}}
}

// Greeting names no region.
func (*SES) Greeting() string {
	return "220 email-smtp.amazonaws.com ESMTP SimpleEmailService-d-IMITATED0 0123456789abcdefghij"
}

// Ehlo ends with a line "Ok", which is no keyword.
func (*SES) Ehlo(s *Session) []string {
	lines := []string{"email-smtp.amazonaws.com", "8BITMIME"}
	if s.TLS == nil {
		return append(lines, "STARTTLS", "Ok")
	}
	return append(lines, "AUTH PLAIN LOGIN", "Ok")
}

// Words are terse and without enhanced codes.
func (*SES) Words() Words {
	return Words{
		Mail: "250 Ok", Rcpt: "250 Ok", Data: "354 End data with <CR><LF>.<CR><LF>", Accepted: "250 Ok {id}",
		SignedIn: "235 Authentication successful.", StartTLS: "220 Ready to start TLS", Bye: "221 Bye",
		NeedTLS: "530 Must issue a STARTTLS command first", NeedLogin: "530 Authentication required",
	}
}

func (p *SES) account(user string) *SESAccount {
	for _, a := range p.Accounts {
		if a.AccessKey == user {
			return a
		}
	}
	return nil
}

// Login takes the region's own password and no other.
func (p *SES) Login(_ *Session, user, secret string) string {
	a := p.account(user)
	if a == nil || !matches(secret, SESPassword(a.Secret, p.Region)) {
		return "535 Authentication Credentials Invalid"
	}
	return ""
}

// Mail takes all: identities are looked at when the message is there.
func (*SES) Mail(*Session, string) string { return "" }

// Rcpt takes all.
func (*SES) Rcpt(*Session, string) string { return "" }

// Data checks identities, permission, signatures, rate and quota, and names the
// message.
func (p *SES) Data(s *Session, m *Message) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.account(s.User)
	var failed []string
	for _, address := range append([]string{m.From, addressOf(m.Header("From"))}, a.checked(m.To)...) {
		if address != "" && !a.verified(address) {
			failed = append(failed, address)
		}
	}
	switch {
	case a.Denied:
		return "554 Access denied: User arn:aws:iam::123456789012:user/ses-smtp-user is not authorized to perform ses:SendRawEmail on resource arn:aws:ses:" + p.Region + ":123456789012:identity/" + domainOf(m.From)
	case len(failed) > 0:
		return "554 Message rejected: Email address is not verified. The following identities failed the check in region " + strings.ToUpper(p.Region) + ": " + strings.Join(failed, ", ")
	case m.Header("DKIM-Signature") != "":
		return "554 Transaction failed: Duplicate header 'DKIM-Signature'."
	case a.PerDay > 0 && a.sent >= a.PerDay:
		return "454 Throttling failure: Daily message quota exceeded."
	case a.PerSecond > 0 && a.rate.add(m.At, time.Second) > a.PerSecond:
		return "454 Throttling failure: Maximum sending rate exceeded."
	}
	a.sent++
	m.ID = sesID()
	return ""
}

// checked are the recipients that must be verified.
func (a *SESAccount) checked(to []string) []string {
	if a.Sandbox {
		return to
	}
	return nil
}

func (a *SESAccount) verified(address string) bool {
	for _, identity := range a.Identities {
		if strings.EqualFold(identity, address) || strings.EqualFold(identity, domainOf(address)) {
			return true
		}
	}
	return false
}

// sesID has the form of SES's message IDs.
func sesID() string {
	var b [24]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("0102%x-%x-%x-%x-%x-%x-000000", b[:6], b[6:10], b[10:12], b[12:14], b[14:16], b[16:22])
}

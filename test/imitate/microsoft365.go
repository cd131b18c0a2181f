package imitate

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Microsoft365 imitates smtp.office365.com with the token endpoint of one
// tenant. Greeting, EHLO and refusals are those of Microsoft's pages and of
// published transcripts; the tokens are random words, as a client must not
// look into them.
type Microsoft365 struct {
	Tenant    string
	Apps      []*EntraApp
	Mailboxes []*Mailbox
	Lifetime  time.Duration // of a token, as the endpoint says it

	mu     sync.Mutex
	tokens map[string]*token
	issued int
}

// EntraApp is an application registration.
type EntraApp struct {
	ID, Secret string
	SendAsApp  bool          // it has SMTP.SendAsApp with admin consent
	Mailboxes  []string      // that its service principal has access to
	Lifetime   time.Duration // of its tokens, if other than the tenant's
}

// Mailbox is one mailbox.
type Mailbox struct {
	Address       string
	Password      string   // for basic authentication
	BasicAuth     bool     // allowed by the tenant; else 550 5.7.30
	SMTPAuthOff   bool     // SmtpClientAuthenticationDisabled
	SendAs        []string // other senders it may use
	Throttled     bool     // continuous error throttling is on
	TooManyAtOnce int      // so many sign-ins are answered 432 first
}

type token struct {
	app  *EntraApp
	ends time.Time
}

// Ports are 587, and 25 which also answers.
func (*Microsoft365) Ports() []Port { return []Port{{587, false}, {25, false}} }

// stamp is the tail of Microsoft's replies.
const stamp = " [AM0PR01CA0001.eurprd01.prod.exchangelabs.com 2026-11-23T12:00:00.000Z 08DD0000000000AA]"

// Greeting names a front end.
func (*Microsoft365) Greeting() string {
	return "220 AM0PR01CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready at Mon, 23 Nov 2026 12:00:00 +0000" + stamp
}

// Ehlo offers a sign-in after TLS only, and no PLAIN.
func (*Microsoft365) Ehlo(s *Session) []string {
	lines := []string{"AM0PR01CA0001.outlook.office365.com Hello [" + s.Peer.String() + "]", "SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES"}
	if s.TLS == nil {
		lines = append(lines, "STARTTLS")
	} else {
		lines = append(lines, "AUTH LOGIN XOAUTH2")
	}
	return append(lines, "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8")
}

// Words have enhanced codes.
func (*Microsoft365) Words() Words {
	return Words{
		Mail: "250 2.1.0 Sender OK", Rcpt: "250 2.1.5 Recipient OK", Data: "354 Start mail input; end with <CRLF>.<CRLF>",
		Accepted: "250 2.0.0 OK <{id}> [Hostname=AM0PR01MB0001.eurprd01.prod.exchangelabs.com]",
		SignedIn: "235 2.7.0 Authentication successful", StartTLS: "220 2.0.0 SMTP server ready",
		Bye: "221 2.0.0 Service closing transmission channel", NeedTLS: "451 5.7.3 STARTTLS is required to send mail" + stamp,
		NeedLogin: "530 5.7.57 Client not authenticated to send mail." + stamp,
	}
}

func (p *Microsoft365) mailbox(address string) *Mailbox {
	for _, m := range p.Mailboxes {
		if strings.EqualFold(m.Address, address) {
			return m
		}
	}
	return nil
}

// Login takes a token, or a password where the tenant still allows it.
func (p *Microsoft365) Login(s *Session, user, secret string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.mailbox(user)
	refused := "535 5.7.3 Authentication unsuccessful" + stamp
	switch {
	case m == nil:
		return "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect." + stamp
	case m.SMTPAuthOff:
		return "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information." + stamp
	case s.Mechanism == "LOGIN" && !m.BasicAuth:
		return "550 5.7.30 Basic authentication is not supported for Client Submission." + stamp
	case s.Mechanism == "LOGIN" && !matches(secret, m.Password):
		return "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect." + stamp
	case s.Mechanism == "XOAUTH2" && !p.good(secret, m):
		return refused
	case m.TooManyAtOnce > 0:
		m.TooManyAtOnce--
		return "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information." + stamp
	}
	s.account = m
	return ""
}

// good says whether a token opens a mailbox now. The lock is held.
func (p *Microsoft365) good(bearer string, m *Mailbox) bool {
	t := p.tokens[bearer]
	if t == nil || time.Now().After(t.ends) || !t.app.SendAsApp {
		return false
	}
	for _, address := range t.app.Mailboxes {
		if strings.EqualFold(address, m.Address) {
			return true
		}
	}
	return false
}

// Mail refuses mailboxes that made too many errors.
func (*Microsoft365) Mail(s *Session, _ string) string {
	if s.account.(*Mailbox).Throttled {
		return "550 5.2.252 Sender throttled due to continuous send as denied errors." + stamp
	}
	return ""
}

// Rcpt takes all.
func (*Microsoft365) Rcpt(*Session, string) string { return "" }

// Data checks that the mailbox may send as the message's author.
func (*Microsoft365) Data(s *Session, m *Message) string {
	box := s.account.(*Mailbox)
	from := addressOf(m.Header("From"))
	allowed := strings.EqualFold(from, box.Address)
	for _, a := range box.SendAs {
		allowed = allowed || strings.EqualFold(a, from)
	}
	if !allowed {
		return "554 5.2.252 SendAsDenied; " + box.Address + " not allowed to send as " + from + "; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception" + stamp
	}
	m.ID = fmt.Sprintf("%x@AM0PR01MB0001.eurprd01.prod.exchangelabs.com", random(8))
	return ""
}

// Expire ends all tokens at once, before the time their endpoint told: what
// happens when an administrator revokes them.
func (p *Microsoft365) Expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tokens)
}

// Issued says how many tokens were given out.
func (p *Microsoft365) Issued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued
}

// ServeHTTP is the tenant's token endpoint: /TENANT/oauth2/v2.0/token, client
// credentials (RFC 6749 §4.4), credential in the form or by basic
// authentication.
func (p *Microsoft365) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	var app *EntraApp
	for _, a := range p.Apps {
		if a.ID == id && a.Secret == secret {
			app = a
		}
	}
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/"+p.Tenant+"/oauth2/v2.0/token":
		http.NotFound(w, r)
	case app == nil:
		problem(w, http.StatusUnauthorized, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
	case r.PostFormValue("grant_type") != "client_credentials":
		problem(w, http.StatusBadRequest, "unsupported_grant_type", "AADSTS70003: The app requested an unsupported grant type.")
	case r.PostFormValue("scope") != "https://outlook.office365.com/.default":
		problem(w, http.StatusBadRequest, "invalid_scope", "AADSTS70011: The provided value for the input parameter 'scope' is not valid.")
	default:
		answer(w, http.StatusOK, map[string]any{"token_type": "Bearer", "expires_in": int(p.lifetime(app).Seconds()), "access_token": p.issue(app)})
	}
}

func (p *Microsoft365) issue(app *EntraApp) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens == nil {
		p.tokens = map[string]*token{}
	}
	p.issued++
	bearer := base64.RawURLEncoding.EncodeToString(random(900)) // Microsoft's are more than a thousand octets long
	p.tokens[bearer] = &token{app: app, ends: time.Now().Add(p.lifetime(app))}
	return bearer
}

func (p *Microsoft365) lifetime(app *EntraApp) time.Duration {
	if app.Lifetime > 0 {
		return app.Lifetime
	}
	return p.Lifetime
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func problem(w http.ResponseWriter, status int, code, text string) {
	answer(w, status, map[string]any{"error": code, "error_description": text})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

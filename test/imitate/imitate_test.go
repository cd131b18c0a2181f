package imitate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// An imitation listens on the ports of the catalogue, with their modes.
func TestPortsAreThoseOfTheCatalogue(t *testing.T) {
	for name, service := range map[string]Service{
		"ses": &SES{}, "mailgun": &Mailgun{}, "sendgrid": &SendGrid{}, "powermta": &PowerMTA{}, "microsoft365": &Microsoft365{},
	} {
		p, _, err := provider.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for _, port := range p.Ports {
			want = append(want, fmt.Sprint(port.Number, port.Mode == mail.Implicit))
		}
		for _, port := range service.Ports() {
			got = append(got, fmt.Sprint(port.Number, port.Implicit))
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s listens on %v, the catalogue says %v", name, got, want)
		}
	}
}

// started is an imitation on ports of the system's choice.
type started struct {
	*Server
	addr   map[int]string // by the port it stands for
	client *tls.Config
}

func start(t *testing.T, service Service) started {
	t.Helper()
	server, client := certificate(t)
	s := started{addr: map[int]string{}, client: client}
	var err error
	s.Server, err = Start(service, server, func(port int) (net.Listener, error) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			s.addr[port] = l.Addr().String()
		}
		return l, err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"imitation.test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: pool, ServerName: "imitation.test"}
}

// session opens a session after TLS, with Go's own client.
func (s started) session(t *testing.T, p Port) *smtp.Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr[p.Number])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if p.Implicit {
		conn = tls.Client(conn, s.client)
	}
	c, err := smtp.NewClient(conn, "imitation.test")
	if err != nil {
		t.Fatal(err)
	}
	if !p.Implicit {
		if err := c.StartTLS(s.client); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func send(c *smtp.Client, from, to, content string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(content)); err != nil {
		return err
	}
	return w.Close()
}

const secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"

// Each imitation takes mail on each of its ports from a client that is not ours.
func TestEachTakesMailOnEachPort(t *testing.T) {
	loopback := &net.IPNet{IP: net.IPv4(127, 0, 0, 0), Mask: net.CIDRMask(8, 32)}
	for _, c := range []struct {
		name       string
		service    Service
		user, pass string
	}{
		{"ses", &SES{Region: "eu-west-1", Accounts: []*SESAccount{{AccessKey: "AKIAIOSFODNN7EXAMPLE", Secret: secret, Identities: []string{"example.org"}}}},
			"AKIAIOSFODNN7EXAMPLE", SESPassword(secret, "eu-west-1")},
		{"mailgun", &Mailgun{Domains: []*MailgunDomain{{Name: "mg.example.org", Credentials: map[string]string{"app@mg.example.org": "pw"}}}}, "app@mg.example.org", "pw"},
		{"sendgrid", &SendGrid{Keys: []*SendGridKey{{Key: "SG.a.b", Senders: []string{"example.org"}, Credits: -1}}}, "apikey", "SG.a.b"},
		{"powermta", &PowerMTA{Host: "pmta.test", Users: map[string]string{"feed": "pw"}}, "feed", "pw"},
		{"powermta by source", &PowerMTA{Host: "pmta.test", Sources: []*net.IPNet{loopback}}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, c.service)
			for i, p := range c.service.Ports() {
				k := s.session(t, p)
				if c.user != "" {
					if err := k.Auth(smtp.PlainAuth("", c.user, c.pass, "imitation.test")); err != nil {
						t.Fatal(err)
					}
				}
				text := "From: App <app@example.org>\r\nSubject: hello\r\n\r\n.dot\r\n"
				if err := send(k, "app@example.org", "anna@example.net", text); err != nil {
					t.Fatal(p, err)
				}
				got := s.Messages("Subject: hello")
				if len(got) != i+1 || got[i].Port != p || got[i].User != c.user || got[i].TLS == nil || string(got[i].Content) != text {
					t.Errorf("%v: %d messages, the last %+v", p, len(got), got[len(got)-1])
				}
			}
			if o := s.Offences(); len(o) != 0 {
				t.Error(o)
			}
		})
	}
}

// What each documented trouble is answered with, and that the catalogue knows
// what it means: nothing an imitation says is a riddle (RC-70..73).
func TestRefusalsAreExplained(t *testing.T) {
	key := "AKIAIOSFODNN7EXAMPLE"
	ses := func(a SESAccount) Service {
		a.AccessKey, a.Secret = key, secret
		if a.Identities == nil {
			a.Identities = []string{"example.org"}
		}
		return &SES{Region: "eu-west-1", Accounts: []*SESAccount{&a}}
	}
	password := SESPassword(secret, "eu-west-1")
	mailgun := func(d MailgunDomain) Service {
		d.Name, d.Credentials = "mg.example.org", map[string]string{"app@mg.example.org": "pw"}
		return &Mailgun{Domains: []*MailgunDomain{&d}}
	}
	sendgrid := func(k SendGridKey) Service {
		k.Key = "SG.a.b"
		return &SendGrid{Keys: []*SendGridKey{&k}}
	}
	m365 := func(m Mailbox) Service {
		m.Address, m.Password = "app@example.org", "pw"
		return &Microsoft365{Mailboxes: []*Mailbox{&m}}
	}
	signed := "DKIM-Signature: v=1; a=rsa-sha256; d=example.org\r\n"
	for _, c := range []struct {
		name, provider string
		service        Service
		user, pass     string
		more           string // header fields
		times          int    // how often to send; the last one counts
		want, class    string
	}{
		{name: "another region's password", provider: "ses", service: ses(SESAccount{}), user: key, pass: SESPassword(secret, "us-east-1"), want: "535 ", class: "auth"},
		{name: "the IAM secret itself", provider: "ses", service: ses(SESAccount{}), user: key, pass: secret, want: "535 ", class: "auth"},
		{name: "no sign-in", provider: "ses", service: ses(SESAccount{}), want: "530 Authentication required", class: "auth"},
		{name: "not verified", provider: "ses", service: ses(SESAccount{Identities: []string{"example.com"}}), user: key, pass: password, want: "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: app@example.org", class: "config"},
		{name: "the sandbox", provider: "ses", service: ses(SESAccount{Sandbox: true}), user: key, pass: password, want: "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: anna@example.net", class: "config"},
		{name: "too fast", provider: "ses", service: ses(SESAccount{PerSecond: 1}), user: key, pass: password, times: 2, want: "454 Throttling failure: Maximum sending rate", class: "throttle"},
		{name: "quota", provider: "ses", service: ses(SESAccount{PerDay: 1}), user: key, pass: password, times: 2, want: "454 Throttling failure: Daily message quota", class: "throttle"},
		{name: "a second signature", provider: "ses", service: ses(SESAccount{}), user: key, pass: password, more: signed, want: "554 Transaction failed: Duplicate header", class: "config"},
		{name: "IAM", provider: "ses", service: ses(SESAccount{Denied: true}), user: key, pass: password, want: "554 Access denied", class: "auth"},
		{name: "an API key", provider: "mailgun", service: mailgun(MailgunDomain{}), user: "app@mg.example.org", pass: "key-1", want: "535 ", class: "auth"},
		{name: "not activated", provider: "mailgun", service: mailgun(MailgunDomain{Inactive: true}), user: "app@mg.example.org", pass: "pw", want: "550 5.7.1 Domain", class: "config"},
		{name: "a sandbox", provider: "mailgun", service: mailgun(MailgunDomain{Sandbox: true}), user: "app@mg.example.org", pass: "pw", want: "550 5.7.1 Sandbox", class: "config"},
		{name: "busy", provider: "mailgun", service: mailgun(MailgunDomain{Busy: 1}), user: "app@mg.example.org", pass: "pw", want: "421 ", class: "throttle"},
		{name: "another user", provider: "sendgrid", service: sendgrid(SendGridKey{Credits: -1}), user: "me@example.org", pass: "SG.a.b", want: "535 ", class: "auth"},
		{name: "a revoked key", provider: "sendgrid", service: sendgrid(SendGridKey{Credits: -1}), user: "apikey", pass: "SG.x.y", want: "535 ", class: "auth"},
		{name: "an unverified sender", provider: "sendgrid", service: sendgrid(SendGridKey{Credits: -1}), user: "apikey", pass: "SG.a.b", want: "550 The from address does not match", class: "config"},
		{name: "no credits", provider: "sendgrid", service: sendgrid(SendGridKey{}), user: "apikey", pass: "SG.a.b", want: "451 Authentication failed: Maximum credits", class: "throttle"},
		{name: "too many an hour", provider: "sendgrid", service: sendgrid(SendGridKey{Credits: -1, PerHour: 1, Senders: []string{"example.org"}}), user: "apikey", pass: "SG.a.b", times: 2, want: "452 ", class: "throttle"},
		{name: "a stranger", provider: "powermta", service: &PowerMTA{Host: "pmta.test"}, want: "550 5.7.1 relaying denied", class: "config"},
		{name: "too many connections", provider: "powermta", service: &PowerMTA{Host: "pmta.test", TooMany: true}, want: "421 4.7.0 pmta.test too many connections", class: "throttle"},
		{name: "wrong password", provider: "powermta", service: &PowerMTA{Host: "pmta.test"}, user: "feed", pass: "x", want: "535 5.7.8", class: "auth"},
		{name: "basic authentication", provider: "microsoft365", service: m365(Mailbox{}), user: "app@example.org", pass: "pw", want: "550 5.7.30 Basic", class: "auth"},
		{name: "SMTP AUTH off", provider: "microsoft365", service: m365(Mailbox{SMTPAuthOff: true}), user: "app@example.org", pass: "pw", want: "535 5.7.139", class: "config"},
		{name: "a wrong password", provider: "microsoft365", service: m365(Mailbox{BasicAuth: true}), user: "app@example.org", pass: "x", want: "535 5.7.139", class: "auth"},
		{name: "a token made up", provider: "microsoft365", service: m365(Mailbox{}), user: "app@example.org", pass: "token x", want: "535 5.7.3", class: "auth"},
		{name: "no sign-in", provider: "microsoft365", service: m365(Mailbox{}), want: "530 5.7.57", class: "auth"},
		{name: "another sender", provider: "microsoft365", service: &Microsoft365{Mailboxes: []*Mailbox{{Address: "shop@example.org", Password: "pw", BasicAuth: true}}}, user: "shop@example.org", pass: "pw", want: "554 5.2.252 SendAsDenied", class: "config"},
		{name: "throttled", provider: "microsoft365", service: m365(Mailbox{BasicAuth: true, Throttled: true}), user: "app@example.org", pass: "pw", want: "550 5.2.252 Sender throttled", class: "throttle"},
		{name: "too many at once", provider: "microsoft365", service: m365(Mailbox{BasicAuth: true, TooManyAtOnce: 1}), user: "app@example.org", pass: "pw", want: "432 4.3.2 Concurrent", class: "throttle"},
	} {
		t.Run(c.provider+", "+c.name, func(t *testing.T) {
			s := start(t, c.service)
			var reply string
			for range max(c.times, 1) {
				reply = s.attempt(t, c.user, c.pass, c.more)
			}
			if !strings.HasPrefix(reply, c.want) {
				t.Fatalf("it says %q, want %q", reply, c.want)
			}
			p, _, err := provider.Find(c.provider)
			if err != nil {
				t.Fatal(err)
			}
			var code int
			_, err = fmt.Sscan(reply[:3], &code)
			if err != nil {
				t.Fatal(err)
			}
			if h, ok := p.Explain(code, reply[4:]); !ok || h.Class != c.class {
				t.Errorf("%q is explained as %+v, want class %s", reply, h, c.class)
			}
			if n := len(s.Messages()); n != max(c.times, 1)-1 {
				t.Errorf("it took %d messages", n)
			}
		})
	}
}

// attempt sends one message on 587 and returns the first refusal, or "".
func (s started) attempt(t *testing.T, user, pass, more string) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr[587])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c, err := smtp.NewClient(conn, "imitation.test")
	if err != nil {
		return said(err)
	}
	if err := c.StartTLS(s.client); err != nil {
		t.Fatal(err)
	}
	if user != "" {
		if err := c.Auth(anyAuth{user, pass}); err != nil {
			return said(err)
		}
	}
	if err := send(c, "app@example.org", "anna@example.net", more+"From: app@example.org\r\nSubject: x\r\n\r\nx\r\n"); err != nil {
		return said(err)
	}
	return ""
}

// said writes a reply as it was on the wire, its lines joined.
func said(err error) string {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return fmt.Sprintf("%d %s", reply.Code, strings.ReplaceAll(reply.Msg, "\n", " "))
	}
	return err.Error()
}

// anyAuth signs in with PLAIN, or with LOGIN, or, with a password "token X",
// with XOAUTH2, as offered.
type anyAuth struct{ user, pass string }

func (a anyAuth) Start(info *smtp.ServerInfo) (string, []byte, error) {
	if token, ok := strings.CutPrefix(a.pass, "token "); ok {
		return "XOAUTH2", []byte("user=" + a.user + "\x01auth=Bearer " + token + "\x01\x01"), nil
	}
	if slices.Contains(info.Auth, "PLAIN") {
		return "PLAIN", []byte("\x00" + a.user + "\x00" + a.pass), nil
	}
	return "LOGIN", nil, nil
}

func (a anyAuth) Next(challenge []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	if strings.HasPrefix(string(challenge), "User") {
		return []byte(a.user), nil
	}
	return []byte(a.pass), nil
}

// A password in clear is refused or taken, as the provider does, and noted.
func TestPasswordInClearIsAnOffence(t *testing.T) {
	s := start(t, &SendGrid{Keys: []*SendGridKey{{Key: "SG.a.b", Credits: -1}}})
	conn, err := net.Dial("tcp", s.addr[587])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Auth(anyAuth{"apikey", "SG.a.b"}); err != nil {
		t.Fatal(err)
	}
	if o := s.Offences(); len(o) != 1 {
		t.Error(o)
	}
}

// Tokens: for the right application and scope, as long as they last.
func TestTokenEndpoint(t *testing.T) {
	m := &Microsoft365{
		Tenant: "example", Lifetime: time.Hour,
		Apps:      []*EntraApp{{ID: "id", Secret: "s", SendAsApp: true, Mailboxes: []string{"app@example.org"}}},
		Mailboxes: []*Mailbox{{Address: "app@example.org"}, {Address: "other@example.org"}},
	}
	web := httptest.NewServer(m)
	defer web.Close()
	ask := func(secret, scope string) (int, string) {
		res, err := http.PostForm(web.URL+"/example/oauth2/v2.0/token", url.Values{
			"client_id": {"id"}, "client_secret": {secret}, "grant_type": {"client_credentials"}, "scope": {scope},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var b strings.Builder
		_ = res.Write(&b)
		_, token, _ := strings.Cut(b.String(), `"access_token":"`)
		token, _, _ = strings.Cut(token, `"`)
		return res.StatusCode, token
	}
	const scope = "https://outlook.office365.com/.default"
	if status, _ := ask("wrong", scope); status != http.StatusUnauthorized {
		t.Error("a wrong secret is answered", status)
	}
	if status, _ := ask("s", "https://graph.microsoft.com/.default"); status != http.StatusBadRequest {
		t.Error("a wrong scope is answered", status)
	}
	status, bearer := ask("s", scope)
	if status != http.StatusOK || bearer == "" {
		t.Fatal(status)
	}
	x := &Session{Mechanism: "XOAUTH2"}
	if r := m.Login(x, "app@example.org", bearer); r != "" {
		t.Error(r)
	}
	if r := m.Login(x, "other@example.org", bearer); !strings.HasPrefix(r, "535 5.7.3") {
		t.Errorf("a mailbox the application may not use: %q", r)
	}
	m.Expire()
	if r := m.Login(x, "app@example.org", bearer); !strings.HasPrefix(r, "535 5.7.3") {
		t.Errorf("after its end: %q", r)
	}
}

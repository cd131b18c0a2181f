package smtpserver

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
	"paquebot/internal/smtp"
)

// plainPolicy is a relay policy as REL-1 wants it, with recipients and senders
// that get a reply of their choice: <450+4.7.1@...> is answered 450 4.7.1.
type plainPolicy struct {
	connect error
	slow    time.Duration
}

// ruled is a reply by a rule.
type ruled struct{ rule, advice string }

func (r ruled) Error() string  { return "rule " + r.rule }
func (r ruled) Rule() string   { return r.rule }
func (r ruled) Advice() string { return r.advice }

func (p *plainPolicy) Connect(context.Context, mail.Origin) error { return p.connect }

func (p *plainPolicy) Mail(_ context.Context, o mail.Origin, from string, _ mail.Params) error {
	switch {
	case byName(from) != nil:
		return byName(from)
	case o.Role.IsSubmission() && o.Account != "" && from != o.Account && from != "":
		return smtp.NotYours.WithText("<%s>: sender not allowed for this account", smtp.Printable(from)) // TE-7
	case o.Role.IsSubmission() && from == "":
		return smtp.NotYours.WithText("<>: sender not allowed for this account") // PC-16
	}
	return nil
}

func (p *plainPolicy) Rcpt(_ context.Context, o mail.Origin, _, to string) ([]mail.Recipient, error) {
	addr, err := smtp.ParseAddress(to, true)
	switch {
	case errors.Is(err, smtp.ErrNoDomain): // <postmaster> (P25-3)
		return []mail.Recipient{{Address: to}}, nil
	case byName(to) != nil:
		return nil, byName(to)
	case strings.HasPrefix(to, "team@"):
		return []mail.Recipient{{Address: "a@here.example", Alias: to}, {Address: "b@here.example", Alias: to}}, nil
	case strings.HasPrefix(to, "info@"):
		return []mail.Recipient{{Address: "private@elsewhere.example", Alias: to}}, nil
	case o.Role.IsSubmission(), o.Account != "", o.Trusted, strings.EqualFold(addr.Domain, "here.example"):
		return []mail.Recipient{{Address: to}}, nil
	}
	return nil, smtp.RelayDeny.WithText("<%s>: relaying denied", smtp.Printable(to)) // TE-11
}

func (p *plainPolicy) Content(ctx context.Context, env *mail.Envelope, h message.Header) Verdict {
	if p.slow > 0 {
		select {
		case <-time.After(p.slow):
		case <-ctx.Done():
			return Verdict{Refuse: ctx.Err()}
		}
	}
	if code := h.Get("X-Test-Reply"); code != "" {
		return Verdict{Refuse: byName(code + "@")}
	}
	return Verdict{Reasons: []string{"plain"}}
}

var replyTexts = map[string]string{
	"550+5.1.1": "no such user", "550+5.1.2": "domain not found",
	"451+4.7.1": "Greylisted, try again later", "450+4.7.1": "Rate limit exceeded, retry later",
}

// byName reads "NNN+X.Y.Z" as a local part.
func byName(addr string) error {
	local := mail.Local(addr)
	code, enh, ok := strings.Cut(local, "+")
	e, ok2 := smtp.ParseEnhanced(enh)
	n, err := strconv.Atoi(code)
	if !ok || !ok2 || err != nil {
		return nil
	}
	text := replyTexts[local]
	if text == "" {
		text = "as asked for"
	}
	r := smtp.Reply{Code: n, Enhanced: e, Text: text}
	if local == "450+4.7.1" { // TE-9: the log names the limit
		return r.Because(ruled{"rate:account-hour", "ask for a higher limit"})
	}
	return r
}

// book is Accounts with one user, ann@here.example, password "secret", and
// users with a fate.
type book struct {
	full bool // nobody may enter

	mu   sync.Mutex
	open map[string]int // sessions
}

func (b *book) Enter(account string) (func(), error) {
	if b.full {
		return nil, smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Too many connections", Close: true}.
			Because(ruled{rule: "connections:account"})
	}
	b.count(account, 1)
	return func() { b.count(account, -1) }, nil
}

func (b *book) count(account string, by int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open == nil {
		b.open = map[string]int{}
	}
	b.open[account] += by
	return b.open[account]
}

func (*book) Mechanisms(state *tls.ConnectionState) []string { return []string{"PLAIN", "LOGIN"} }

func (*book) Begin(mech string, s AuthSession) (Exchange, error) {
	switch mech {
	case "PLAIN", "LOGIN", "FINAL":
		return &exchange{mech: mech}, nil
	case "CRAM-MD5":
		return nil, smtp.Reply{Code: 534, Enhanced: smtp.Enhanced{Class: 5, Subject: 7, Detail: 9}, Text: "Mechanism too weak"}
	case "X-NEEDS-TLS":
		return nil, smtp.Reply{Code: 538, Enhanced: smtp.Enhanced{Class: 5, Subject: 7, Detail: 11}, Text: "Encryption required"}
	}
	return nil, smtp.Reply{Code: 504, Enhanced: smtp.Enhanced{Class: 5, Subject: 5, Detail: 4}, Text: "Mechanism not known"}
}

type exchange struct {
	mech, user, pass string
	step             int
}

func (x *exchange) Account() string { return x.user }
func (x *exchange) Claimed() string { return x.user }

func (x *exchange) Next(_ context.Context, response []byte) ([]byte, bool, error) {
	x.step++
	switch x.mech {
	case "PLAIN":
		if response == nil {
			return []byte{}, false, nil
		}
		part := bytes.Split(response, []byte{0})
		if len(part) != 3 {
			return nil, false, smtp.BadLogin
		}
		x.user, x.pass = string(part[1]), string(part[2])
		return nil, true, x.check()
	case "FINAL": // the last word of a mechanism comes with success
		if response == nil {
			return []byte{}, false, nil
		}
		x.user = "ann@here.example"
		return []byte("v=ok"), true, nil
	}
	switch {
	case response == nil:
		return []byte("Username:"), false, nil
	case x.user == "":
		x.user = string(response)
		return []byte("Password:"), false, nil
	}
	x.pass = string(response)
	return nil, true, x.check()
}

func (x *exchange) check() error {
	switch x.user {
	case "temp":
		return smtp.Reply{Code: 454, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Temporary authentication failure"}
	case "old":
		return smtp.Reply{Code: 432, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 12}, Text: "Password must be changed"}
	case "disabled":
		return smtp.Reply{Code: 535, Enhanced: smtp.Enhanced{Class: 5, Subject: 7, Detail: 13}, Text: "Account disabled"}
	}
	if x.user != "ann@here.example" || x.pass != "secret" {
		return smtp.BadLogin.Because(errors.New("wrong password"))
	}
	return nil
}

// shelf is a Store in memory.
type shelf struct {
	mu       sync.Mutex
	messages []stored
	fail     error
	wait     time.Duration
	drafts   int // open
}

type stored struct {
	env  *mail.Envelope
	head string
	body string
}

func (s *shelf) text(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages[i].head + s.messages[i].body
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

func (s *shelf) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drafts
}

func (s *shelf) NewDraft() Draft {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drafts++
	return &draft{shelf: s}
}

type draft struct {
	shelf *shelf
	body  bytes.Buffer
	gone  bool
}

func (d *draft) Write(p []byte) (int, error) { return d.body.Write(p) }
func (d *draft) Size() int64                 { return int64(d.body.Len()) }

func (d *draft) Discard() {
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	if !d.gone {
		d.gone = true
		d.shelf.drafts--
	}
}

func (d *draft) Commit(_ context.Context, env *mail.Envelope, head []byte) error {
	if d.shelf.wait > 0 {
		time.Sleep(d.shelf.wait)
	}
	d.shelf.mu.Lock()
	defer d.shelf.mu.Unlock()
	if d.shelf.fail != nil {
		return d.shelf.fail
	}
	d.shelf.messages = append(d.shelf.messages, stored{env, string(head), d.body.String()})
	return nil
}

// record keeps events.
type record struct {
	mu     sync.Mutex
	events []event.Event
}

func (r *record) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *record) all() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]event.Event(nil), r.events...)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// testTLS makes a certificate for mx.example in the time of the test.
func testTLS(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates:           []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:             tls.VersionTLS12,
		SessionTicketsDisabled: true,
	}
}

func newIDs(t testing.TB) *mail.IDs {
	ids, err := mail.NewIDs(zeros{})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

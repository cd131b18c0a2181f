package doctor

import (
	"slices"
	"strings"
	"testing"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient"
)

// What DNS says of a domain does not get a credential to somebody else's host
// (RFC 6186 §6; SH-4, P4).
func TestCredentialStaysWithWhoWasNamed(t *testing.T) {
	login := &smtpclient.Login{User: "anna", Password: "secret"}
	d := New(Config{Login: login})
	domain := Target{Kind: KindDomain, Title: "example.org"}
	for _, c := range []struct {
		target Target
		host   string
		role   Role
		told   bool
	}{
		{domain, "example.org", Submission, true},
		{domain, "SMTP.example.org.", Submission, true},
		{domain, "example.org", Exchange, false},
		{domain, "smtp.evil.example", Submission, false},
		{domain, "notexample.org", Submission, false},
		{domain, "example.org.evil.example", Submission, false},
		{Target{Kind: KindDomain}, "smtp.example.org", Submission, false},
		{Target{Kind: KindHost, Title: "smtp.example.net"}, "smtp.example.net", Submission, true},
		{Target{Kind: KindProvider, Title: "SendGrid"}, "smtp.sendgrid.net", Submission, true},
		{Target{Kind: KindSelf}, "mx.example.org", Submission, false},
	} {
		e := Endpoint{Host: c.host, Port: 587, Mode: mail.Verify, Role: c.role}
		if got := d.options(e, &c.target).Login != nil; got != c.told {
			t.Errorf("%s %q: %s as %s gets the credential: %t, want %t", c.target.Kind, c.target.Title, c.host, c.role, got, c.told)
		}
	}
	if d.options(Endpoint{Host: "smtp.sendgrid.net", Role: Submission}, nil).Login != nil {
		t.Error("a host to compare with gets the credential")
	}
	domain.Endpoints = []Endpoint{{Host: "smtp.example.org", Port: 587, Role: Submission}, {Host: "smtp.evil.example", Port: 465, Role: Submission}}
	if !slices.ContainsFunc(domain.withheld(login), func(c Check) bool { return strings.Contains(c.Text, "smtp.evil.example:465") }) {
		t.Errorf("nobody is told where the credential was not tried: %v", domain.withheld(login))
	}
}

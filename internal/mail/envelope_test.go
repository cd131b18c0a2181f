package mail

import "testing"

// RCV-4: the table of RFC 3848 with the UTF8 forms of RFC 6531 §4.3.
func TestTransmissionType(t *testing.T) {
	tls := &TLS{}
	for _, c := range []struct {
		o    Origin
		utf8 bool
		want string
	}{
		{Origin{}, false, "SMTP"},
		{Origin{ESMTP: true}, false, "ESMTP"},
		{Origin{ESMTP: true}, true, "UTF8SMTP"},
		{Origin{ESMTP: true, TLS: tls}, false, "ESMTPS"},
		{Origin{ESMTP: true, TLS: tls}, true, "UTF8SMTPS"},
		{Origin{ESMTP: true, Account: "a"}, false, "ESMTPA"},
		{Origin{ESMTP: true, Account: "a"}, true, "UTF8SMTPA"},
		{Origin{ESMTP: true, TLS: tls, Account: "a"}, false, "ESMTPSA"},
		{Origin{ESMTP: true, TLS: tls, Account: "a"}, true, "UTF8SMTPSA"},
	} {
		if got := c.o.With(c.utf8); got != c.want {
			t.Errorf("%+v utf8=%v: %s, want %s", c.o, c.utf8, got, c.want)
		}
	}
}

// SRV-29: local parts stay as they are; a quoted one may hold an "@".
func TestPartsOfAnAddress(t *testing.T) {
	for _, c := range []struct{ address, local, domain string }{
		{"Anna@Example.ORG", "Anna", "example.org"},
		{`"a@b"@example.org`, `"a@b"`, "example.org"},
		{"postmaster", "postmaster", ""},
		{"", "", ""},
	} {
		if Local(c.address) != c.local || Domain(c.address) != c.domain {
			t.Errorf("%q: %q and %q", c.address, Local(c.address), Domain(c.address))
		}
	}
}

func TestTenant(t *testing.T) {
	for _, c := range []struct {
		e    Envelope
		want string
	}{
		{Envelope{From: "a@example.org", Origin: Origin{Account: "app"}}, "app"},
		{Envelope{From: "a@Example.org"}, "example.org"},
		{Envelope{}, "<>"},
	} {
		if got := c.e.Tenant(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.e, got, c.want)
		}
	}
}

func TestNotifyWords(t *testing.T) {
	if got := (NotifySuccess | NotifyDelay).String(); got != "SUCCESS,DELAY" {
		t.Error(got)
	}
	if got := Notify(0).String(); got != "" {
		t.Error(got)
	}
}

package doctor

import (
	"net/netip"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// Kind says what a target is.
type Kind string

const (
	KindProvider Kind = "provider" // an entry of the catalogue
	KindHost     Kind = "host"     // a host, with or without a port
	KindDomain   Kind = "domain"   // a mail domain: its MX and its submission services
	KindSelf     Kind = "self"     // this host
)

// Target is one thing to examine.
type Target struct {
	Kind      Kind
	Name      string             // as asked for: "sendgrid", "ses:eu-west-1", "mail.example.org:587"
	Title     string             // for people: "smtp.sendgrid.net (Twilio SendGrid)"
	Provider  *provider.Provider // nil: nobody the catalogue knows
	Region    *provider.Region   // of Provider
	Endpoints []Endpoint         // in the order to show; the judge chooses by its own (DIAG-80)
	Own       bool               // our own server: DIAG-70 to DIAG-72 apply
	// Checks were made while the target was found out (a null MX, SRV records
	// that disagree, a PTR that is missing); they are shown before the ports.
	Checks []Check
	// Findings that belong to those checks are weighed with the others.
	Findings []Finding
}

// Endpoint is one port of one host to look at.
type Endpoint struct {
	Host string
	Port uint16
	Mode mail.Security // Verify (STARTTLS), Implicit, or Opportunistic (port 25 of an MX)
	Role Role
	// Known: the catalogue, or the domain's own records, say that this port is
	// offered in this mode; what is missing then was taken away (DIAG-34).
	Known bool
	// Addrs are looked up if none are given here.
	Addrs []netip.Addr
	// Name is what the certificate must prove where that is not Host.
	Name string
}

// Role is what a port is used for.
type Role string

const (
	Submission Role = "submission" // with a credential, TLS verified
	Exchange   Role = "mx"         // server to server, port 25
)

// Word is a verdict in one word, the same in every table (ux.md §3.2.3).
type Word string

const (
	Good       Word = "ok"
	Warn       Word = "warn"
	Fail       Word = "FAIL"
	NotReached Word = "-"
	Unsure     Word = "?"
)

// Check is one line of a list: "PTR  ok  192.0.2.10 <-> out1.example.org".
type Check struct {
	Name string // "PTR", "MX", "SRV _submissions"; at most 12 letters
	Word Word
	Text string
}

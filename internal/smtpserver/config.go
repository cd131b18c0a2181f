package smtpserver

import (
	"cmp"
	"crypto/tls"
	"net/netip"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Config says what one listener's sessions do. Defaults fills in what a role
// asks for.
type Config struct {
	Role     mail.Role // mx, submission, submissions
	Listener string    // its address as configured, for events: ":587"
	Hostname string    // in greeting, EHLO reply and Received (SRV-21)
	Banner   string    // after "ESMTP" in the greeting, may be ""

	// TLS serves STARTTLS. nil hides it, and on a submission port leaves no way
	// to send: a listener that cannot do TLS should not be opened.
	TLS *tls.Config
	// TLSRequired answers 530 to everything but EHLO, NOOP, STARTTLS and QUIT
	// until TLS is active (CM). Never on a public MX (CM-2).
	TLSRequired bool
	// ClearAuth allows AUTH and mail in clear: for development only. It lifts
	// TLSRequired.
	ClearAuth bool
	// AuthOnMX offers AUTH on port 25 inside TLS (P25-7).
	AuthOnMX bool
	// Trusted networks need no AUTH; on loopback no TLS either (PC-19). It is
	// used again after XCLIENT.
	Trusted []netip.Prefix
	// XClient networks may say XCLIENT and XFORWARD on port 25 (INT-2).
	XClient []netip.Prefix

	// GreetingPause is how long the greeting waits for early talkers, on clear
	// ports (SRV-13). 0 does not look for them.
	GreetingPause time.Duration
	// BareLines is the rule for bare CR and LF in content; peers of
	// BareAllowed get allow (SRV-3).
	BareLines   smtp.BarePolicy
	BareAllowed []netip.Prefix

	// Extensions that are off unless asked for (standards §3.2).
	BinaryMIME   bool
	DeliverBy    bool
	DeliverByMin time.Duration
	FutureMax    time.Duration // FUTURERELEASE up to this far ahead; 0: off. Submission only
	MTPriority   bool
	RequireTLS   bool // REQUIRETLS, inside TLS

	// HideClient keeps the client's address out of Received (SUB-26).
	HideClient bool
	// Repair is the template of message.Prepare on submission.
	Repair Repair
	// AuthservID is ours in Authentication-Results; fields that claim it are
	// removed (SUB-27).
	AuthservID string
	// SubmitOn and SubmitTLSOn are the ports that advice names to clients that
	// came to the wrong one; 0 is 587 and 465.
	SubmitOn, SubmitTLSOn uint16

	// KeepDialogue adds the redacted dialogue to events.
	KeepDialogue bool

	Limits   Limits
	Timeouts Timeouts
}

// Repair is what header repair on submission may do beyond its rules (standards
// §8).
type Repair struct {
	Domain      string // of a Message-ID we make; "" is Hostname
	Strict      bool
	AddSender   bool
	MakeFrom    bool
	QualifyWith string
}

// Limits bound a session (standards §22).
type Limits struct {
	MessageSize   int64 // octets of a message (ABU-9)
	Recipients    int   // of a message, never below 100 (ABU-4)
	Messages      int   // transactions in a session (ABU-3)
	BadRecipients int   // refused for good in a session (ABU-5)
	Errors        int   // protocol errors in a session (ABU-6)
	AuthFailures  int   // in a session (ABU-7)
	Hops          int   // Received fields of a message, never below 100 (REL-4)
	TextLine      int64 // octets of a line of content (SRV-12)
	Mailless      int   // commands without a transaction, then each is an error
	Overlong      int   // lines beyond smtp.CommandLineMax (SRV-11)
}

// Timeouts bound what a session waits for.
type Timeouts struct {
	Command   time.Duration // a whole command line (SRV-36, PC-17)
	Data      time.Duration // the next octets of content
	Write     time.Duration // a reply to be taken
	Handshake time.Duration // STARTTLS (P465-4)
	Checks    time.Duration // all of Policy.Content (SRV-33)
}

// Bounds that are no matter of configuration.
const (
	rateWindow  = 5 * time.Minute // over which content must come at rateFloor (SRV-36)
	rateFloor   = 100             // octets a second
	overrun     = 4               // times the message size is read on to find the end of what is too big
	errorDelay  = time.Second     // per error, from the third (SRV-39)
	freeErrors  = 2               // errors without delay
	authDelay   = time.Second     // times the failures so far (AUTH-14)
	authSlowest = 5 * time.Second
	visitsMax   = 3 // times a message may come through here (REL-5)
)

// Defaults returns the configuration of a role, ready but for Hostname,
// Listener and TLS.
func Defaults(role mail.Role) Config {
	c := Config{
		Role:       role,
		RequireTLS: true,
		Limits: Limits{
			MessageSize: 50 << 20, Recipients: 1000, Messages: 100, BadRecipients: 10, Errors: 20,
			AuthFailures: 3, Hops: 100, TextLine: 64 << 10, Mailless: 100, Overlong: 3,
		},
		Timeouts: Timeouts{
			Command: 5 * time.Minute, Data: 3 * time.Minute, Write: time.Minute,
			Handshake: 30 * time.Second, Checks: time.Minute,
		},
		BareLines: smtp.BareReject,
	}
	if role == mail.RoleMX {
		c.Banner = "paquebot"
		return c
	}
	c.TLSRequired = role == mail.RoleSubmission
	c.BareLines = smtp.BareNormalise
	c.HideClient = true
	c.Limits.Messages = 1000
	c.Limits.BadRecipients = 50
	c.Timeouts.Command = 2 * time.Minute
	return c
}

// settle gives limits and times that are not set the value of Defaults, and
// raises those the standard sets a floor to.
func (c *Config) settle() {
	d := Defaults(c.Role)
	l, t := &c.Limits, &c.Timeouts
	for _, p := range []struct{ value, standard *int }{
		{&l.Recipients, &d.Limits.Recipients}, {&l.Messages, &d.Limits.Messages},
		{&l.BadRecipients, &d.Limits.BadRecipients}, {&l.Errors, &d.Limits.Errors},
		{&l.AuthFailures, &d.Limits.AuthFailures}, {&l.Hops, &d.Limits.Hops},
		{&l.Mailless, &d.Limits.Mailless}, {&l.Overlong, &d.Limits.Overlong},
	} {
		if *p.value <= 0 {
			*p.value = *p.standard
		}
	}
	for _, p := range []struct{ value, standard *int64 }{
		{&l.MessageSize, &d.Limits.MessageSize}, {&l.TextLine, &d.Limits.TextLine},
	} {
		if *p.value <= 0 {
			*p.value = *p.standard
		}
	}
	for _, p := range []struct{ value, standard *time.Duration }{
		{&t.Command, &d.Timeouts.Command}, {&t.Data, &d.Timeouts.Data}, {&t.Write, &d.Timeouts.Write},
		{&t.Handshake, &d.Timeouts.Handshake}, {&t.Checks, &d.Timeouts.Checks},
	} {
		if *p.value <= 0 {
			*p.value = *p.standard
		}
	}
	l.Recipients = max(l.Recipients, 100)                 // SRV-9
	l.MessageSize = max(l.MessageSize, 64<<10)            // SRV-9
	l.TextLine = max(l.TextLine, int64(smtp.TextLineMax)) // SRV-9
	l.Hops = max(l.Hops, 100)                             // REL-4
	if c.Role == mail.RoleMX {
		t.Command = max(t.Command, 5*time.Minute) // SRV-36
	}
}

func within(list []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// ports names where submission belongs, for advice.
func (c *Config) ports() (starttls, tls uint16) {
	return cmp.Or(c.SubmitOn, 587), cmp.Or(c.SubmitTLSOn, 465)
}

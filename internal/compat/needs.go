package compat

import (
	"context"
	"net"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

// Config says what to answer as.
type Config struct {
	// Version of the program, told by /api/v1/info.
	Version string
	// Label of this instance, "" for none.
	Label string
	// MailHog answers GET /api/v1/messages as MailHog does. Else it is Mailpit's.
	MailHog bool
	// BasePath is the sub-path all is served under, as the browser has it:
	// "/mail", or "" for none.
	BasePath string
	// Database is where mail is kept, as /api/v1/info tells it.
	Database string
	// SMTPPort is this instance's: a message that MailHog's clients release to it
	// is caught once more. 0: none is.
	SMTPPort uint16
	// MessageSize bounds a message that /api/v1/send makes, in octets.
	// Default: 50 MiB.
	MessageSize int64
}

// Needs are what the answers are made of.
type Needs struct {
	Store *catch.Store
	// IDs makes the name of a message that comes by /api/v1/send.
	IDs func() mail.ID
	// Release sends a caught message on. Nil: there is nowhere to send it to.
	Release Release
	// Mishaps are failures on purpose. Nil: there are none.
	Mishaps Mishaps
	// HTMLCheck judges HTML by what mail programs support; its answer is shown as
	// it is. Nil: there is no such judge.
	HTMLCheck func(document string) (any, error)
	// Resolve and Dial are for link-check. Dial gets addresses, never names. Nil:
	// the system's.
	Resolve func(ctx context.Context, host string) ([]net.IPAddr, error)
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
}

// Release hands caught mail to a configured route.
type Release interface {
	// Relays lists what can be named, the usual one first. Passwords are not told.
	Relays() []Relay
	// Release sends the message on to the recipients given, through the relay
	// named ("" for the usual one). It returns nil when the queue has it.
	Release(ctx context.Context, id mail.ID, relay string, to []string) error
}

// Relay is a configured way out of this machine.
type Relay struct {
	Name string
	Host string
	Port uint16 // 0 if several are tried
	User string
}

// Mishaps maps the two interfaces' chaos onto rules of failure.
type Mishaps interface {
	// Chaos returns Mailpit's three triggers.
	Chaos() Chaos
	SetChaos(Chaos) error
	// Jim returns MailHog's monkey; false when he is asleep.
	Jim() (Jim, bool)
	// SetJim wakes him, or sends him to sleep for nil.
	SetJim(*Jim) error
}

// Chaos is Mailpit's: each trigger has a reply code, 400 to 599, and a
// probability in percent.
type Chaos struct {
	Sender         Trigger
	Recipient      Trigger
	Authentication Trigger
}

// Trigger is one of Chaos.
type Trigger struct {
	ErrorCode   int
	Probability int
}

// Jim is MailHog's: chances are 0 to 1, link speeds bytes a second.
type Jim struct {
	DisconnectChance      float64
	AcceptChance          float64
	LinkSpeedAffect       float64
	LinkSpeedMin          float64
	LinkSpeedMax          float64
	RejectSenderChance    float64
	RejectRecipientChance float64
	RejectAuthChance      float64
}

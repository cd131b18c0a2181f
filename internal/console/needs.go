package console

import (
	"context"
	"net"
	"net/http"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
	"paquebot/internal/mishap"
)

// Config says who may ask.
type Config struct {
	// Hosts are names that a browser may call this page by, beside localhost and
	// loopback addresses. "*" lets any name in and with it DNS rebinding: only
	// behind something that checks.
	Hosts []string
	// LAN lets in whoever calls this page by a number or by a name without a dot,
	// as containers call each other. Neither can be an attacker's name.
	LAN bool
	// Version of the program, shown at the foot.
	Version string
	// BasePath is where the page lives behind a proxy: "/mail". "": at the root.
	BasePath string
}

// Needs is what the page shows.
type Needs struct {
	Store *catch.Store
	// Ready returns nil when the SMTP ports listen, else what is missing. Nil:
	// always ready.
	Ready func() error
	// Mishap is what goes wrong on purpose; nil where nothing does.
	Mishap *mishap.Mishap
	// CA is the certificate (PEM) that clients must trust, served at /ca.pem.
	CA []byte
	// Ports of this instance; a zero is left out of what is shown.
	Ports Ports

	// What follows may be nil; then the page does not offer it.

	// Critique says what production would have said of a message.
	Critique func(ctx context.Context, id mail.ID) ([]Finding, error)
	// Trace tells the life of a message, oldest step first.
	Trace func(ctx context.Context, id mail.ID) ([]Step, error)
	// Release sends caught mail out for real.
	Release Release
	// Submit hands a message to this server as another server would: a reply
	// comes in from outside. It returns what the server answered.
	Submit func(ctx context.Context, from string, to []string, message []byte) (reply string, err error)
	// Dial opens a connection to an address (never a name), for the pictures a
	// person asked to see. Nil: remote pictures cannot be loaded.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// More are further routes, guarded as ours are; one of ours with the same
	// pattern gives way. MoreBody is how large a request to them may be, in
	// octets; 0 for a request that is none of theirs.
	More     map[string]http.HandlerFunc
	MoreBody func(*http.Request) int64
}

// Level says how much a finding matters.
type Level string

const (
	Good    Level = "good"    // as it should be
	Hint    Level = "hint"    // could be better
	Warning Level = "warning" // some will mind
	Failing Level = "failing" // some will refuse it, or put it with the junk
)

// Finding is one thing that production would have said.
type Finding struct {
	ID     string `json:"id"` // "unsigned"
	Level  Level  `json:"level"`
	Title  string `json:"title"`            // a sentence: "Nobody signed this message"
	Detail string `json:"detail,omitempty"` // the evidence
	Fix    string `json:"fix,omitempty"`    // what to do; "" if nothing need be done
	Who    string `json:"who,omitempty"`    // who says so: "Gmail", "RFC 5322 §3.6.4"
}

// Step is something that happened to a message.
type Step struct {
	Time  time.Time
	Type  string // "delivery.tried"
	Facts []Fact
}

// Fact is one detail of a Step.
type Fact struct{ Name, Value string }

// Release sends a caught message to people for real.
type Release interface {
	// Routes are those that mail may leave by, the usual one first.
	Routes() []Route
	// Send queues the message for exactly these recipients by that route and
	// returns the ID to trace it by.
	Send(ctx context.Context, id mail.ID, via string, to []string) (mail.ID, error)
}

// Route is a way out.
type Route struct {
	Name string // as configured: "mx", "ses"
	What string // "email-smtp.eu-west-1.amazonaws.com"
}

// Ports are where this instance listens.
type Ports struct {
	Submission  uint16 // as 587: STARTTLS, then AUTH
	Submissions uint16 // as 465: TLS from the first byte, then AUTH
	Alternative uint16 // as 2525: the same as Submission
	MX          uint16 // as 25: server to server, no AUTH
}

// Like returns the standard port whose twin a port is, 0 if it is none of ours.
func (p Ports) Like(port uint16) uint16 {
	switch port {
	case 0:
		return 0
	case p.Submission:
		return 587
	case p.Submissions:
		return 465
	case p.Alternative:
		return 2525
	case p.MX:
		return 25
	}
	return 0
}

package smtpserver

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Needs are the others a session talks to. All are safe for concurrent use and
// none may be nil, but Accounts where no listener offers AUTH, and Mishap.
type Needs struct {
	Policy   Policy
	Accounts Accounts
	Store    Store
	IDs      *mail.IDs
	Events   event.Sink
	Mishap   Mishap // lets things go wrong on purpose; nil in a server
}

// Policy decides whether mail may enter. Every error is a smtp.Reply or becomes
// 451 4.3.0 (smtp.AsReply). An error whose chain holds a Ruling names its rule.
type Policy interface {
	// Connect is asked before the greeting.
	Connect(ctx context.Context, o mail.Origin) error
	// Mail is asked for a sender whose syntax is right. from is "" for <>.
	Mail(ctx context.Context, o mail.Origin, from string, p mail.Params) error
	// Rcpt returns whom to serve: usually one recipient with Address to; an
	// alias may expand to several. to is without domain only for <postmaster>.
	Rcpt(ctx context.Context, o mail.Origin, from, to string) ([]mail.Recipient, error)
	// Content judges a whole message. It must not keep h, whose octets are
	// reused, and has checksMax time.
	Content(ctx context.Context, env *mail.Envelope, h message.Header) Verdict
}

// Verdict is what Policy thinks of a message.
type Verdict struct {
	Refuse  error    // nil: take it
	Reasons []string // for the record
	Prepend [][]byte // whole header fields with CRLF, first one topmost
}

// Ruling is an error that says which rule refused: "relay",
// "rate:account-hour".
type Ruling interface {
	error
	Rule() string
}

// Adviser is an error that says in a sentence what would help, "" if nothing.
type Adviser interface {
	error
	Advice() string
}

// Accounts knows who may log in.
type Accounts interface {
	// Mechanisms lists what to offer in this state, in order; none hides AUTH.
	Mechanisms(state *tls.ConnectionState) []string
	// Begin starts an exchange; mech is in upper case. The error is a
	// smtp.Reply: 504 for a mechanism unknown or not offered.
	Begin(mech string, s AuthSession) (Exchange, error)
	// Enter counts a session as account's until leave is called. The error is a
	// smtp.Reply, 421 for an account that has too many at once (ABU-1).
	Enter(account string) (leave func(), err error)
}

// AuthSession is what a mechanism may know of the connection.
type AuthSession struct {
	Client   netip.Addr
	TLS      *tls.ConnectionState // nil in clear
	Hostname string               // ours
	Port     uint16               // ours
}

// Exchange is one run of a SASL mechanism. The session does base64 and lines.
type Exchange interface {
	// Next takes the client's response: nil when the client sent no initial
	// response, empty and not nil when it sent an empty one. It returns the next
	// challenge, or done. The error is a smtp.Reply.
	Next(ctx context.Context, response []byte) (challenge []byte, done bool, err error)
	Account() string // who that is, once done
	Claimed() string // who the client says to be, as far as it is known
}

// Store keeps messages.
type Store interface{ NewDraft() Draft }

// Draft is a message on its way in. Write takes body octets after the header
// section.
type Draft interface {
	io.Writer
	Size() int64 // octets written
	// Commit returns nil only when header and body are durable, and the queue
	// has them. env belongs to the queue from then on. The error is a smtp.Reply
	// or any other, which becomes 451 4.3.0.
	Commit(ctx context.Context, env *mail.Envelope, head []byte) error
	Discard() // harmless after Commit
}

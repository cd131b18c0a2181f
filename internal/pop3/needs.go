package pop3

import (
	"crypto/tls"

	"paquebot/internal/mail"
)

// Needs is what a server serves.
type Needs struct {
	Mail Mail
	// TLS is used for STLS. Nil: it is not offered, and only clients on loopback
	// can log in.
	TLS *tls.Config
}

// Mail is the caught mail. All is safe for concurrent use.
type Mail interface {
	// Messages returns what a mailbox holds, oldest first; "" means all.
	Messages(mailbox string) []Message
	// Open returns the octets of a message, to be closed.
	Open(mail.ID) (mail.Body, error)
	// Delete removes messages for good. One that is gone already is no error.
	Delete(...mail.ID) error
}

// Message is one of a mailbox.
type Message struct {
	ID   mail.ID // also its unique id (UIDL)
	Size int64   // octets
}

package listen

import (
	"context"
	"crypto/tls"
	"net"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Needs are the others a listener talks to.
type Needs struct {
	// Handler serves a connection and closes it.
	Handler Handler
	// Refuse writes a reply to a peer that is turned away and closes the
	// connection. It runs in its own goroutine and is bounded in time by it.
	Refuse func(conn net.Conn, r smtp.Reply)
	Events event.Sink
}

// Handler is smtpserver.Server as seen from here. state is nil unless TLS came
// first. Serve returns when the session is over.
type Handler interface {
	Serve(ctx context.Context, conn net.Conn, o mail.Origin, state *tls.ConnectionState)
}

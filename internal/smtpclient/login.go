package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// LogIn tries a credential in a session that somebody else has brought
// to its EHLO under TLS, of which ext is the reply; nothing may wait to be
// read. The Answer is the peer's last word on it, or why it was not asked. Of
// o, Login, TLS's ServerName, Verified, Timeouts and Transcript count. The
// connection stays open.
func LogIn(ctx context.Context, conn *tls.Conn, ext smtp.Extensions, o Options) Answer {
	o.Timeouts = o.Timeouts.orDefaults()
	c := &Client{opt: o, conn: conn, br: bufio.NewReaderSize(conn, smtp.ReplyLineMax), ext: ext, esmtp: true}
	c.tls = describe(conn.ConnectionState(), o)
	defer c.during(ctx)()
	if a := c.login(); a != nil {
		return *a
	}
	return Answer{Kind: Said, Stage: mail.StageAuth, Reply: c.last}
}

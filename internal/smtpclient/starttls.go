package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// secure brings the session to the demanded security, or fails: it is never
// lowered (P4, TLS-7).
func (c *Client) secure() *Answer {
	demanded := c.opt.Security == mail.Encrypt || c.opt.Security == mail.Verify
	switch {
	case c.tls != nil, c.opt.Security == mail.Clear:
		return nil
	case demanded && c.opt.TLS == nil:
		return ours(NoTLS, mail.StageStartTLS, smtp.TLSTrouble.WithText("TLS required but not configured"))
	case demanded && !c.ext.Has("STARTTLS"):
		return ours(NoTLS, mail.StageStartTLS, smtp.TLSTrouble.WithText("TLS required but not offered by host"))
	case c.opt.TLS == nil || !c.ext.Has("STARTTLS"):
		return nil
	}
	r, a := c.command(mail.StageStartTLS, c.opt.Timeouts.StartTLS, "STARTTLS")
	switch {
	case a != nil:
		return a
	case r.Code == 421:
		return said(mail.StageStartTLS, r)
	case r.Code != 220 && demanded:
		return ours(NoTLS, mail.StageStartTLS, smtp.TLSTrouble.WithText("TLS required but host said: %s", smtp.Printable(r.String())))
	case r.Code != 220:
		return nil // MIS-2: in clear on this connection, which policy allows
	case c.br.Buffered() > 0:
		return ours(Injected, mail.StageStartTLS, smtp.TLSTrouble.WithText("Host sent data between STARTTLS and TLS"))
	}
	if a := c.handshake(mail.StageStartTLS); a != nil {
		return a
	}
	return c.hello() // TLS-9: all earlier knowledge is void
}

// handshake puts TLS on the connection.
func (c *Client) handshake(stage mail.Stage) *Answer {
	if c.opt.TLS == nil {
		return ours(NoTLS, stage, smtp.TLSTrouble.WithText("TLS required but not configured"))
	}
	parent := c.ctx
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, c.opt.Timeouts.Handshake)
	defer cancel()
	c.conn.SetDeadline(noDeadline())
	t := tls.Client(c.conn, c.judged())
	if err := t.HandshakeContext(ctx); err != nil {
		c.say("(TLS handshake failed: " + err.Error() + ")")
		return ours(distrust(err), stage, smtp.TLSTrouble.WithText("TLS handshake failed").Because(err))
	}
	c.conn, c.br = t, bufio.NewReaderSize(t, smtp.ReplyLineMax)
	c.tls = describe(t.ConnectionState(), c.opt)
	c.obey()
	c.say("(TLS: " + c.tls.Version + " " + c.tls.Cipher + ")")
	return nil
}

// judged is the TLS of a handshake, with Judge in it: before the end of it, so
// that nobody who is not trusted sees a certificate of ours.
func (c *Client) judged() *tls.Config {
	judge := c.opt.Judge
	if judge == nil {
		return c.opt.TLS
	}
	conf := c.opt.TLS.Clone()
	conf.InsecureSkipVerify = true // PKIX has no say
	conf.VerifyConnection = func(s tls.ConnectionState) (err error) {
		if c.opt.Verified, err = judge(s.PeerCertificates); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
	return conf
}

// distrust tells a certificate that proves nothing from other trouble: the
// former is never worth a retry at lower security (P4, SH-3).
func distrust(err error) Kind {
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return Untrusted
	}
	return Handshake
}

// describe puts a handshake into words (TLS-13).
func describe(s tls.ConnectionState, o Options) *mail.TLS {
	out := &mail.TLS{
		Version:  tls.VersionName(s.Version),
		Cipher:   tls.CipherSuiteName(s.CipherSuite),
		SNI:      o.TLS.ServerName,
		Verified: o.Verified,
		Resumed:  s.DidResume,
	}
	if s.CurveID != 0 {
		out.Group = s.CurveID.String()
	}
	if out.Verified == "" {
		out.Verified = "none"
		if !o.TLS.InsecureSkipVerify {
			out.Verified = "pkix"
		}
	}
	return out
}

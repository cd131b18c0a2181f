package smtpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// starttls changes to TLS (RFC 3207). After it the session knows nothing of
// what was said before (P587-4, TLS-9).
func (s *Session) starttls(ctx context.Context, arg []byte) smtp.Reply {
	switch {
	case s.tls != nil:
		return smtp.BadOrder.WithText("TLS is active already") // P465-2, RC-17
	case len(arg) > 0:
		return smtp.BadArg // TLS-11
	case s.cfg.TLS == nil:
		return smtp.NotDone
	case len(s.in.pending()) > 0: // P587-3, TRAP-4, CVE-2011-0411
		s.attacked("starttls-injection", firstLine(s.in.pending()))
		s.in.drop()
		return smtp.BadOrder.WithText("Octets after STARTTLS").AndClose()
	}
	if r, struck := s.strike(mail.StageStartTLS, Moment{}); struck {
		return r
	}
	ready := smtp.Reply{Code: 220, Enhanced: smtp.Enhanced{Class: 2}, Text: "Ready to start TLS"}
	s.say(ready, "")
	s.flush()
	if !s.closing {
		s.handshake(ctx)
	}
	return smtp.Reply{} // 220 was all
}

func (s *Session) handshake(ctx context.Context) {
	s.in.shrink()
	raw := s.conn
	settings := s.cfg.TLS
	if m := s.srv.needs.Mishap; m != nil {
		settings = m.Handshake(settings, &s.origin)
	}
	conn := tls.Server(raw, settings)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.Handshake)
	defer cancel()
	raw.SetDeadline(time.Now().Add(s.cfg.Timeouts.Handshake))
	if err := conn.HandshakeContext(ctx); err != nil {
		s.advice = handshakeAdvice(err)
		s.srv.needs.Events.Emit(event.TLSFailed{Origin: s.origin, Error: smtp.Printable(err.Error()), Advice: s.advice})
		s.close("TLS handshake failed")
		return
	}
	raw.SetDeadline(time.Time{})
	s.mu.Lock()
	s.conn = conn
	s.mu.Unlock()
	state := conn.ConnectionState()
	s.forget()
	s.tls = &state
	s.origin.TLS = tlsFacts(&state)
}

// forget returns to the state after the greeting (TLS-9, XCLIENT).
func (s *Session) forget() {
	s.tx.reset()
	s.hello = false
	s.origin.Helo, s.origin.ESMTP = "", false
	s.origin.Account, s.origin.Method = "", ""
	s.leave()
}

// handshakeAdvice says what a failed handshake tells about the client.
func handshakeAdvice(err error) string {
	var head tls.RecordHeaderError
	var alert *net.OpError // crypto/tls wraps the peer's alert in one
	switch {
	case errors.As(err, &head):
		return "client sent no TLS after STARTTLS: " + smtp.Printable(string(head.RecordHeader[:]))
	case errors.As(err, &alert) && alert.Op == "remote error", strings.Contains(err.Error(), "bad record MAC"):
		// OpenSSL tells what it does not trust in clear, which TLS 1.3 cannot read.
		return "client ended the handshake; it may not trust the certificate"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "client began STARTTLS and fell silent"
	case errors.Is(err, net.ErrClosed):
		return "client closed within the handshake"
	}
	if strings.Contains(err.Error(), "unsupported versions") {
		return "client offers nothing newer than TLS 1.1; update it" // TE-15
	}
	return "" // the error says it: no common cipher, ALPN
}

// tlsFacts is what a handshake settled, for Received and events (TLS-13).
func tlsFacts(state *tls.ConnectionState) *mail.TLS {
	f := &mail.TLS{
		Version: tls.VersionName(state.Version), Cipher: tls.CipherSuiteName(state.CipherSuite),
		SNI: smtp.Printable(state.ServerName), Resumed: state.DidResume, Verified: "none",
	}
	if state.CurveID != 0 {
		f.Group = state.CurveID.String()
	}
	if len(state.VerifiedChains) > 0 {
		f.Verified = "pkix"
	}
	return f
}

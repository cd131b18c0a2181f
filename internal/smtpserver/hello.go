package smtpserver

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// greet says 220 or a refusal (SRV-20). It reports whether there is a session.
func (s *Session) greet(ctx context.Context) bool {
	if !s.earlyTalk() {
		return false
	}
	err := s.welcome(ctx)
	switch {
	case s.closing:
		return false
	case err == nil:
		s.srv.needs.Events.Emit(event.SessionStarted{Origin: s.origin})
		s.say(s.greeting(), "")
		return true
	}
	r := smtp.AsReply(err)
	if r.Code == 521 { // RFC 7504 §3: may close at once; RC-2
		r = r.WithText("%s %s", s.cfg.Hostname, r.Text)
		r.Enhanced = smtp.Enhanced{}
		r.Close = true
	}
	if r.Code == 421 {
		r.Close = true
	}
	s.unwelcome = true
	s.say(r, "connect")
	return !s.closing
}

// welcome returns why a client is not welcome.
func (s *Session) welcome(ctx context.Context) error {
	for _, stage := range [...]mail.Stage{mail.StageConnect, mail.StageGreeting} {
		if r, struck := s.strike(stage, Moment{}); struck {
			return r
		}
	}
	return s.srv.needs.Policy.Connect(ctx, s.origin)
}

func (s *Session) greeting() smtp.Reply {
	text := s.cfg.Hostname + " ESMTP"
	if s.cfg.Banner != "" {
		text += " " + s.cfg.Banner
	}
	return smtp.Reply{Code: 220, Text: text}
}

// earlyTalk waits a little for those who cannot: a mail server hears the
// greeting before it speaks (SRV-13). It reports whether the session goes on.
func (s *Session) earlyTalk() bool {
	if s.cfg.GreetingPause <= 0 || s.tls != nil || s.origin.Trusted {
		return true
	}
	s.wait, s.deadline = s.cfg.GreetingPause, time.Time{}
	err := s.in.fill()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return true
	case err != nil:
		s.connectionFault(err)
		return false
	case s.in.pending()[0] == 0x16:
		s.tlsOnClear()
		return false
	}
	s.attacked("early-talker", firstLine(s.in.pending()))
	r := syncError
	r.Enhanced = smtp.Enhanced{Class: 5, Subject: 5}
	s.say(r, "connect")
	return false
}

// ehlo answers the list of standards §3.2, computed afresh each time (EH-6).
func (s *Session) ehlo(_ context.Context, arg []byte) smtp.Reply {
	if r, bad := s.takeHello(arg); bad {
		return r
	}
	s.hidden = nil
	if r, struck := s.strike(mail.StageEhlo, Moment{}); struck {
		s.hello = false
		return r
	}
	s.origin.ESMTP = true
	return smtp.Reply{Code: 250, Text: s.without(s.keywords())}
}

// helo gives a session without extensions.
func (s *Session) helo(_ context.Context, arg []byte) smtp.Reply {
	if r, bad := s.takeHello(arg); bad {
		return r
	}
	if r, struck := s.strike(StageHelo, Moment{}); struck {
		s.hello = false
		return r
	}
	s.origin.ESMTP = false
	return smtp.Reply{Code: 250, Text: s.cfg.Hostname}
}

// takeHello is the common part: a name, which is taken as it is given and never
// refused for not resolving (P25-4), and a transaction reset (SRV-22).
func (s *Session) takeHello(arg []byte) (smtp.Reply, bool) {
	name := string(arg)
	if !smtp.ValidHello(name) {
		return smtp.Reply{Code: 501, Text: "Give a domain or an address literal"}, true // RC-8
	}
	s.tx.reset()
	s.origin.Helo = name
	s.hello = true
	return smtp.Reply{}, false
}

// keywords is the text of the EHLO reply.
func (s *Session) keywords() string {
	b := make([]byte, 0, 256)
	b = append(b, s.cfg.Hostname...)
	b = append(b, "\nPIPELINING\nSIZE "...)
	b = strconv.AppendInt(b, s.cfg.Limits.MessageSize, 10)
	b = append(b, "\n8BITMIME\nSMTPUTF8\nCHUNKING\nENHANCEDSTATUSCODES\nLIMITS RCPTMAX="...)
	b = strconv.AppendInt(b, int64(s.cfg.Limits.Recipients), 10)
	b = append(b, " MAILMAX="...)
	b = strconv.AppendInt(b, int64(s.cfg.Limits.Messages), 10)
	if s.offersStartTLS() {
		b = append(b, "\nSTARTTLS"...)
	}
	for i, m := range s.mechanisms() {
		if i == 0 {
			b = append(b, "\nAUTH"...)
		}
		b = append(append(b, ' '), m...)
	}
	if s.mustTLS() { // what comes after TLS is nobody's business yet (standards §3.2)
		return string(b)
	}
	b = append(b, "\nDSN"...)
	return string(s.optional(b))
}

// optional appends the keywords that are asked for in the configuration.
func (s *Session) optional(b []byte) []byte {
	p := s.offered()
	if p&smtp.ParamRequireTLS != 0 {
		b = append(b, "\nREQUIRETLS"...)
	}
	if p&smtp.ParamBinary != 0 {
		b = append(b, "\nBINARYMIME"...)
	}
	if p&smtp.ParamHold != 0 { // RFC 4865 §4: the longest interval, the latest date
		b = append(b, "\nFUTURERELEASE "...)
		b = strconv.AppendInt(b, int64(s.cfg.FutureMax/time.Second), 10)
		b = append(b, ' ')
		b = time.Now().Add(s.cfg.FutureMax).UTC().AppendFormat(b, time.RFC3339)
	}
	if p&smtp.ParamBy != 0 {
		b = append(b, "\nDELIVERBY"...)
		if s.cfg.DeliverByMin > 0 {
			b = strconv.AppendInt(append(b, ' '), int64(s.cfg.DeliverByMin/time.Second), 10)
		}
	}
	if p&smtp.ParamPriority != 0 {
		b = append(b, "\nMT-PRIORITY"...)
	}
	if s.mayXclient() {
		b = append(b, "\nXCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\nXFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"...)
	}
	return b
}

// offered are the parameters a client may use in the present state; none after
// HELO (SRV-27).
func (s *Session) offered() smtp.ParamSet {
	if !s.origin.ESMTP {
		return 0
	}
	p := smtp.ParamSize | smtp.ParamBody | smtp.ParamUTF8 | smtp.ParamDSN
	if s.origin.Account != "" || s.origin.Trusted {
		p |= smtp.ParamAuth // AUTH-13
	}
	if s.cfg.BinaryMIME {
		p |= smtp.ParamBinary
	}
	if s.cfg.FutureMax > 0 && s.cfg.Role.IsSubmission() {
		p |= smtp.ParamHold
	}
	if s.cfg.DeliverBy {
		p |= smtp.ParamBy
	}
	if s.cfg.MTPriority {
		p |= smtp.ParamPriority
	}
	if s.cfg.RequireTLS && s.tls != nil { // RTLS-1
		p |= smtp.ParamRequireTLS
	}
	for _, k := range s.hidden {
		p &^= hiddenParams[strings.ToUpper(k)]
	}
	return p
}

func (s *Session) offersStartTLS() bool {
	return s.tls == nil && s.cfg.TLS != nil && s.cfg.Role != mail.RoleSubmissions // EH-1, EH-2
}

// mechanisms are those to offer now: none before TLS, none after success
// (EH-3, EH-5), none on 25 unless an operator wants it (P25-7).
func (s *Session) mechanisms() []string {
	if !s.authHere() || s.origin.Account != "" || (s.tls == nil && !s.cfg.ClearAuth) {
		return nil
	}
	return s.srv.needs.Accounts.Mechanisms(s.tls)
}

func (s *Session) authHere() bool {
	return s.srv.needs.Accounts != nil && (s.cfg.Role.IsSubmission() || s.cfg.AuthOnMX)
}

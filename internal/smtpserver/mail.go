package smtpserver

import (
	"context"
	"errors"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// transaction is what MAIL began and RSET, the end of data or a second EHLO
// ends. The zero value is none.
type transaction struct {
	open       bool
	from       string
	params     mail.Params
	recipients []mail.Recipient
	content    *content // of a BDAT that is not the last
}

func (t *transaction) reset() {
	if t.content != nil {
		t.content.discard()
	}
	*t = transaction{}
}

// mail begins a transaction.
func (s *Session) mail(ctx context.Context, arg []byte) smtp.Reply {
	switch {
	case s.tx.open:
		return smtp.BadOrder.WithText("A transaction is open, one MAIL each") // SRV-23, TRAP-17
	case s.transactions >= s.cfg.Limits.Messages:
		return smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7}, Text: "Too many messages in this session", Close: true} // ABU-3
	}
	rest, ok := smtp.CutKeyword(string(arg), "FROM:")
	if !ok {
		return smtp.BadArg.WithText("Syntax: MAIL FROM:<address>")
	}
	from, rest, err := smtp.CutPath(rest, true)
	if err == nil && from.Domain == "" && !from.IsNull() {
		err = smtp.ErrNoDomain
	}
	if err != nil {
		return badPath(err, smtp.Enhanced{Class: 5, Subject: 1, Detail: 7}) // RC-16
	}
	p, err := smtp.ParseMailParams(rest, s.offered())
	if err != nil {
		return smtp.AsReply(err)
	}
	return s.begin(ctx, from, p)
}

func (s *Session) begin(ctx context.Context, from smtp.Address, p smtp.MailParams) smtp.Reply {
	if !p.UTF8 && !from.IsASCII() {
		return smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{Class: 5, Subject: 6, Detail: 7}, Text: "Address needs SMTPUTF8"} // RC-42
	}
	if p.Size > s.cfg.Limits.MessageSize {
		return s.tooBig() // EXT-1, TE-8
	}
	now := time.Now()
	params, ok := s.params(p, now)
	if !ok {
		return smtp.BadArg.WithText("Value of a parameter is out of range")
	}
	addr := from.String()
	if r, struck := s.strike(mail.StageMail, Moment{From: addr, HasFrom: true}); struck {
		return r
	}
	if err := s.srv.needs.Policy.Mail(ctx, s.origin, addr, params); err != nil {
		return smtp.AsReply(err)
	}
	s.transactions++
	s.mailless = 0
	s.tx = transaction{open: true, from: addr, params: params}
	okay := smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{Class: 2, Subject: 1}, Text: "Ok"}
	if p.Priority.Given && params.Priority != p.Priority.Value { // EXT-11: lowered, and said so
		okay.Enhanced = smtp.Enhanced{Class: 2, Subject: 3, Detail: 6}
		return okay.WithText("Ok, at priority %d", params.Priority)
	}
	return okay
}

func (s *Session) tooBig() smtp.Reply {
	if s.cfg.Role.IsSubmission() {
		return smtp.TooBig.WithText("Message size exceeds fixed limit (%d octets)", s.cfg.Limits.MessageSize)
	}
	return smtp.TooBig
}

// params turns what the client said into what outlives the session: times
// become absolute. It reports false for a value beyond our limits.
func (s *Session) params(p smtp.MailParams, now time.Time) (mail.Params, bool) {
	out := mail.Params{
		EnvelopeID: p.EnvelopeID, Return: mail.ReturnWhat(p.Return), Body: mail.BodyType(p.Body),
		UTF8: p.UTF8, RequireTLS: p.RequireTLS, Priority: p.Priority.Value,
	}
	if out.Priority > 0 && s.origin.Account == "" && !s.origin.Trusted {
		out.Priority = 0
	}
	if s.origin.Trusted && p.Auth != "<>" { // AUTH-13: anybody else's is as good as <>
		out.Auth = p.Auth
	}
	if p.By.Mode != 0 {
		left := time.Duration(p.By.Seconds) * time.Second
		if p.By.Mode == 'R' && left < s.cfg.DeliverByMin { // RFC 2852 §4
			return out, false
		}
		out.By = &mail.DeliverBy{Deadline: now.Add(left), Return: p.By.Mode == 'R', Trace: p.By.Trace}
	}
	switch {
	case p.HoldFor > 0:
		out.ReleaseAt = now.Add(p.HoldFor)
	case !p.HoldUntil.IsZero():
		out.ReleaseAt = p.HoldUntil
	}
	return out, !out.ReleaseAt.After(now.Add(s.cfg.FutureMax)) // EXT-10
}

// badPath tells what is wrong with a path. code is 5.1.7 for a sender, 5.1.3 for
// a recipient.
func badPath(err error, code smtp.Enhanced) smtp.Reply {
	text := "Not a valid mail address"
	switch {
	case errors.Is(err, smtp.ErrNoBrackets):
		text = "Address must be in angle brackets"
	case errors.Is(err, smtp.ErrNoDomain):
		text = "Address has no domain"
	case errors.Is(err, smtp.ErrAddressLength):
		text = "Address is too long"
	}
	return smtp.Reply{Code: 501, Enhanced: code, Text: text, Cause: err}
}

// rcpt adds a recipient. Those accepted stay so whatever becomes of others
// (SRV-25).
func (s *Session) rcpt(ctx context.Context, arg []byte) smtp.Reply {
	switch {
	case !s.tx.open:
		return smtp.BadOrder.WithText("Need MAIL first") // SRV-24
	case s.tx.content != nil:
		return smtp.BadOrder.WithText("Content has begun")
	}
	rest, ok := smtp.CutKeyword(string(arg), "TO:")
	if !ok {
		return smtp.BadArg.WithText("Syntax: RCPT TO:<address>")
	}
	to, rest, err := smtp.CutPath(rest, true)
	if err == nil && to.IsNull() {
		err = smtp.ErrAddressSyntax
	}
	if err != nil {
		return badPath(err, smtp.Enhanced{Class: 5, Subject: 1, Detail: 3}) // RC-16
	}
	p, err := smtp.ParseRcptParams(rest, s.offered(), s.tx.params.UTF8)
	if err != nil {
		return smtp.AsReply(err)
	}
	if !s.tx.params.UTF8 && !to.IsASCII() {
		return smtp.Reply{Code: 553, Enhanced: smtp.Enhanced{Class: 5, Subject: 6, Detail: 7}, Text: "Address needs SMTPUTF8"} // RC-42
	}
	if len(s.tx.recipients) >= s.cfg.Limits.Recipients {
		return smtp.TooManyRcp // EXT-12: those before stay accepted
	}
	if r, struck := s.strike(mail.StageRcpt, Moment{To: to.String()}); struck {
		return r
	}
	found, err := s.srv.needs.Policy.Rcpt(ctx, s.origin, s.tx.from, to.String())
	if err != nil {
		return s.badRecipient(smtp.AsReply(err))
	}
	if len(s.tx.recipients)+len(found) > s.cfg.Limits.Recipients {
		return smtp.TooManyRcp // an alias is taken whole or not at all
	}
	s.addRecipients(found, p)
	return smtp.Reply{Code: 250, Enhanced: smtp.Enhanced{Class: 2, Subject: 1, Detail: 5}, Text: "Ok"}
}

// addRecipients gives each its own parameters (TRAP-12) and keeps the first of
// those named twice.
func (s *Session) addRecipients(found []mail.Recipient, p smtp.RcptParams) {
	for _, r := range found {
		if r.Notify == 0 {
			r.Notify = mail.Notify(p.Notify)
		}
		if r.Original == "" {
			r.Original = p.Original
		}
		if !s.hasRecipient(r.Address) {
			s.tx.recipients = append(s.tx.recipients, r)
		}
	}
}

func (s *Session) hasRecipient(addr string) bool {
	for i := range s.tx.recipients {
		if s.tx.recipients[i].Address == addr {
			return true
		}
	}
	return false
}

// badRecipient counts those refused for good: many of them are a dictionary
// (ABU-5).
func (s *Session) badRecipient(r smtp.Reply) smtp.Reply {
	if !r.Permanent() {
		return r
	}
	s.badRcpts++
	if s.badRcpts > freeErrors {
		s.pause(errorDelay)
	}
	if s.badRcpts > s.cfg.Limits.BadRecipients {
		return smtp.Reply{Code: 421, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, Text: "Too many invalid recipients", Close: true, Cause: r}
	}
	return r
}

// looksLikeClient guesses from its EHLO name that a peer is a mail client and
// no server: then "relaying denied" means that it uses the wrong port (TE-11).
func looksLikeClient(helo string) bool {
	return strings.HasPrefix(helo, "[") || !strings.Contains(helo, ".") || strings.HasSuffix(helo, ".local") || strings.HasSuffix(helo, ".lan")
}
